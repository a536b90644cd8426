/**
 * Distribution-spec 1.1.1, "Error Codes" and the grammar of names ("Pull"): every malformed request gets a 4xx that says
 * why, and none harms the server.
 */
import { describe, expect, test } from 'vitest';
import { exchange } from './client.ts';
import { blob, unknownDigest } from './content.ts';
import { expectError, pushBlob, pushImage, useRegistry } from './registry.ts';

const registry = useRegistry();

describe('spec §Pull: <name>', () => {
  test.each([
    ['one component', 'a'],
    ['separators', 'x/a.b_c__d-e---f/g.h/0'],
    ['255 characters in one component', 'n'.repeat(255)],
    ['255 characters in many components', `${'a/'.repeat(127)}a`],
    ['components called like endpoints', 'conformance/blobs/uploads'],
    ['components called like endpoints, all of them', 'manifests/tags/list/referrers/blobs'],
    ['a component v2', 'v2/v2'],
  ])('spec §Pull: a name of %s can be pushed to and pulled from', async (_, name) => {
    const { manifest, layer } = await pushImage(registry, name, ['v1']);
    expect((await registry.send('GET', `/v2/${name}/manifests/v1`)).body.equals(manifest.bytes)).toBe(true);
    expect((await registry.send('GET', `/v2/${name}/blobs/${layer.digest}`)).body.equals(layer.bytes)).toBe(true);
    expect((await registry.send('GET', `/v2/${name}/tags/list`)).json()).toMatchObject({ name, tags: ['v1'] });
    expect((await registry.send('GET', `/v2/${name}/referrers/${manifest.digest}`)).status).toBe(200);
    expect((await registry.send('DELETE', `/v2/${name}/manifests/v1`)).status).toBe(202);
  });

  const malformed = [
    'UPPER',
    'a/B',
    '-a',
    'a-',
    '.a',
    'a.',
    '_a',
    'a_',
    'a..b',
    'a___b',
    'a._b',
    'a/-b',
    'a/.b',
    'a//b',
    'a/',
    '/a',
    'a b',
    'a%20b',
    'a+b',
    'a@b',
    'a%2F%2Fb',
    'ä',
    '%C3%A4',
    'a%00b',
    'a%0Ab',
    '..',
    '../..',
    'a/../b',
    '%2e%2e/%2e%2e',
    '..%2f..%2fetc',
    'a\\b',
    'a%5Cb',
    '%',
    '%zz',
    'a%',
    '%ff',
    '~',
    '*',
    '_tags/x',
    'a/_blobs',
    `${'a/'.repeat(2000)}a`,
    'x'.repeat(5000),
  ];

  test.each(malformed)('code-8: the malformed name %s is 400 or 404 with a code, for reading and writing', async (name) => {
    for (const [method, path] of [
      ['GET', 'manifests/v1'],
      ['GET', `blobs/${unknownDigest()}`],
      ['GET', 'tags/list'],
      ['POST', 'blobs/uploads/'],
      ['DELETE', 'manifests/v1'],
      ['PUT', 'manifests/v1'],
    ] as const) {
      const answer = await registry.send(method, encodeNonAscii(`/v2/${name}/${path}`));
      expectError(
        answer,
        [400, 404, 414],
        'NAME_INVALID',
        'NOT_FOUND',
        'NAME_UNKNOWN',
        'PARAMETER_INVALID',
        'MANIFEST_UNKNOWN',
        'BLOB_UNKNOWN',
      );
    }
    expect((await registry.send('GET', '/v2/')).status).toBe(200);
  });

  test.each(['UPPER/case', 'a/-b', 'a/b..c'])('code-8: the answer for %s is NAME_INVALID and names it', async (name) => {
    const answer = await registry.send('GET', `/v2/${name}/tags/list`);
    expectError(answer, 400, 'NAME_INVALID');
    expect(answer.body.toString()).toContain(name);
  });
});

describe('spec §Error Codes', () => {
  test('spec §Error Codes: an error body is JSON with code and message, and its length', async () => {
    const answer = await registry.send('GET', `/v2/${registry.freshName()}/manifests/absent`);
    expectError(answer, 404);
    expect(answer.header('content-length')).toBe(String(answer.body.length));
    expect(answer.header('docker-distribution-api-version')).toBe('registry/2.0');
  });

  test.each([
    ['a blob', 'GET', `blobs/sha256:abc`, 'DIGEST_INVALID', 'sha256:abc'],
    ['a blob', 'GET', `blobs/md5:${'0'.repeat(32)}`, 'DIGEST_INVALID', 'md5:'],
    ['a manifest', 'GET', 'manifests/sha256:abc', 'DIGEST_INVALID', 'sha256:abc'],
    ['a referrer', 'GET', 'referrers/sha256:abc', 'DIGEST_INVALID', 'sha256:abc'],
  ])('code-4: a malformed digest of %s is 400 and named', async (_, method, path, code, named) => {
    const answer = await registry.send(method, `/v2/${registry.freshName()}/${path}`);
    expectError(answer, 400, code);
    expect(answer.body.toString()).toContain(named);
  });

  test.each([
    ['/v2/a/nonsense'],
    ['/v2/a/blobs'],
    ['/v2/a/blobs/'],
    ['/v2/a/manifests'],
    ['/v2/a/manifests/'],
    ['/v2/a/tags'],
    ['/v2/a/tags/'],
    ['/v2/a/tags/list/'],
    ['/v2/a/referrers/'],
    ['/v2/a/manifests/v1/x'],
    ['/v2/a'],
    ['/v2//'],
    ['/v2/blobs/uploads/'],
    ['/v2/_catalog/x'],
    ['/v3/'],
    ['/v1/_ping'],
    ['/v2/../../etc/passwd'],
    ['//v2/'],
    ['/v2/;/'],
    ['/v2/a/tags/list%00'],
  ])('spec §Endpoints: %s is no endpoint: 404 or 400', async (path) => {
    const answer = await registry.send('GET', path);
    expect([400, 404, 405]).toContain(answer.status);
    expect((await registry.send('GET', '/v2/')).status).toBe(200);
  });

  test.each([
    ['POST', '/v2/'],
    ['DELETE', '/v2/'],
    ['POST', '/v2/a/tags/list'],
    ['PUT', '/v2/a/tags/list'],
    ['PATCH', '/v2/a/manifests/v1'],
    ['POST', '/v2/a/manifests/v1'],
    ['PUT', `/v2/a/blobs/${unknownDigest()}`],
    ['POST', `/v2/a/blobs/${unknownDigest()}`],
    ['PATCH', `/v2/a/blobs/${unknownDigest()}`],
    ['POST', `/v2/a/referrers/${unknownDigest()}`],
    ['DELETE', `/v2/a/referrers/${unknownDigest()}`],
    ['PUT', '/v2/a/blobs/uploads/'],
    ['POST', '/v2/_catalog'],
    ['OPTIONS', '/v2/a/manifests/v1'],
    ['TRACE', '/v2/'],
  ])('code-13: %s %s is 405 UNSUPPORTED and Allow says what is', async (method, path) => {
    const answer = await registry.send(method, path);
    expectError(answer, 405, 'UNSUPPORTED');
    expect(answer.header('allow')).toMatch(/^[A-Z]+(, ?[A-Z]+)*$/);
    expect(answer.header('allow')).not.toContain(method);
  });
});

describe('RFC 9112: requests that are no requests', () => {
  test.each([
    ['no HTTP', 'hello\r\n\r\n'],
    ['a bad version', 'GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n'],
    ['no Host', 'GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n'],
    ['a space in the path', 'GET /v2/a b/tags/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
    ['a header without a name', 'GET /v2/ HTTP/1.1\r\nHost: x\r\n: y\r\nConnection: close\r\n\r\n'],
    ['a negative length', 'POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\nConnection: close\r\n\r\n'],
    [
      'two lengths',
      'POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab',
    ],
    [
      'a length and chunks',
      'POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a bad chunk', 'POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n'],
    ['100 kB of headers', `GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(100_000)}\r\nConnection: close\r\n\r\n`],
    ['a path of 100 kB', `GET /v2/${'a/'.repeat(50_000)}tags/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`],
    ['an absolute target', 'GET http://example.com/v2/%2e%2e/ HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n'],
    ['an asterisk', 'GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
    ['CONNECT', 'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n'],
    ['an upgrade', 'GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: h2c\r\n\r\n'],
  ])('RFC 9112: %s is answered or cut off, and the server goes on', async (_, bytes) => {
    const answer = await exchange(registry.origin, bytes);
    expect(answer).toMatch(/^$|^HTTP\/1\.1 (200|4\d\d|505) /);
    expect((await registry.send('GET', '/v2/')).status).toBe(200);
  });

  test('RFC 9112 §9.3: requests in a pipeline are answered in order', async () => {
    const name = registry.freshName();
    const what = blob(10_000);
    await pushBlob(registry, name, what);
    const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
    const answer = await exchange(
      registry.origin,
      get(`/v2/${name}/blobs/${what.digest}`) + get(`/v2/${name}/manifests/absent`) + get('/v2/', 'Connection: close\r\n'),
    );
    expect([...answer.matchAll(/HTTP\/1\.1 (\d+) /g)].map((m) => m[1])).toEqual(['200', '404', '200']);
    expect(answer).toContain(what.bytes.toString('latin1'));
  });

  test('RFC 9112 §9.6: a client that stops reading amid a blob harms nobody', async () => {
    const name = registry.freshName();
    const what = blob(8 * 1024 * 1024);
    await pushBlob(registry, name, what);
    const aborts = Array.from({ length: 5 }, async () => {
      const controller = new AbortController();
      const answer = await fetch(`${registry.origin}/v2/${name}/blobs/${what.digest}`, { signal: controller.signal });
      await answer.body?.getReader().read();
      controller.abort();
    });
    await Promise.all(aborts);
    expect((await registry.send('GET', `/v2/${name}/blobs/${what.digest}`)).body.equals(what.bytes)).toBe(true);
  });
});

function encodeNonAscii(path: string): string {
  return path.replace(/[^\x21-\x7e]/g, (c) => encodeURIComponent(c));
}
