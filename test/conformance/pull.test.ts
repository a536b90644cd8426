/** Distribution-spec 1.1.1, "Determining Support" (end-1), "Pull" (end-2, end-3) and conditional requests (RFC 9110, section 13). */
import { describe, expect, test } from 'vitest';
import { blob, content, image, TYPES, unknownDigest } from './content.ts';
import { expectError, pushBlob, pushImage, pushManifest, useRegistry } from './registry.ts';

const registry = useRegistry();

describe('end-1: GET /v2/', () => {
  test.each(['GET', 'HEAD'])('end-1: %s says that the API is here', async (method) => {
    const answer = await registry.send(method, '/v2/');
    expect(answer.status).toBe(200);
    expect(answer.header('docker-distribution-api-version')).toBe('registry/2.0');
  });

  test('end-1: without the last slash it is answered or redirected there', async () => {
    const answer = await registry.send('GET', '/v2');
    expect([200, 301, 307, 308]).toContain(answer.status);
    if (answer.status !== 200) expect(answer.header('location')).toMatch(/\/v2\/$/);
  });
});

describe('end-2: GET|HEAD /v2/<name>/blobs/<digest>', () => {
  test.each([
    ['of some bytes', blob(10_000)],
    ['larger than a buffer', blob(3 * 1024 * 1024 + 1)],
    ['of one byte', blob(1)],
    ['empty', blob(0)],
    ['under sha512', blob(700, TYPES.layer, 'sha512')],
  ])('end-2: a blob %s is given whole, with length and digest', async (_, what) => {
    const name = registry.freshName();
    await pushBlob(registry, name, what);
    const got = await registry.send('GET', `/v2/${name}/blobs/${what.digest}`);
    expect(got.status).toBe(200);
    expect(got.body.equals(what.bytes)).toBe(true);
    expect(got.header('content-length')).toBe(String(what.bytes.length));
    expect(got.header('docker-content-digest')).toBe(what.digest);
    expect(got.header('content-type')).toBe('application/octet-stream');
  });

  test('end-2: a colon escaped as %3A is the same digest', async () => {
    const name = registry.freshName();
    const what = blob();
    await pushBlob(registry, name, what);
    expect((await registry.send('GET', `/v2/${name}/blobs/${what.digest.replace(':', '%3A')}`)).body.equals(what.bytes)).toBe(true);
  });

  test('end-2: a blob that is not there is 404 BLOB_UNKNOWN', async () => {
    const name = registry.freshName();
    await pushBlob(registry, name, blob());
    expectError(await registry.send('GET', `/v2/${name}/blobs/${unknownDigest()}`), 404, 'BLOB_UNKNOWN');
    expectError(await registry.send('GET', `/v2/${name}/blobs/${unknownDigest('sha512')}`), 404, 'BLOB_UNKNOWN');
  });

  test('end-2: a blob of a name that is not there is 404', async () => {
    expectError(await registry.send('GET', `/v2/${registry.freshName()}/blobs/${unknownDigest()}`), 404, 'BLOB_UNKNOWN', 'NAME_UNKNOWN');
  });

  test('end-2: bytes pushed to one name are not readable through another', async () => {
    const what = blob();
    await pushBlob(registry, registry.freshName(), what);
    const other = registry.freshName();
    await pushBlob(registry, other, blob());
    expectError(await registry.send('GET', `/v2/${other}/blobs/${what.digest}`), 404, 'BLOB_UNKNOWN');
  });
});

describe('end-3: GET|HEAD /v2/<name>/manifests/<reference>', () => {
  test('end-3: by tag and by digest the same bytes come, under the type they were pushed with', async () => {
    const name = registry.freshName();
    const { manifest } = await pushImage(registry, name, ['v1', 'latest']);
    for (const reference of ['v1', 'latest', manifest.digest]) {
      const got = await registry.send('GET', `/v2/${name}/manifests/${reference}`, { headers: { accept: manifest.mediaType } });
      expect(got.status).toBe(200);
      expect(got.body.equals(manifest.bytes)).toBe(true);
      expect(got.header('content-type')).toBe(manifest.mediaType);
      expect(got.header('content-length')).toBe(String(manifest.bytes.length));
      expect(got.header('docker-content-digest')).toBe(manifest.digest);
    }
  });

  test.each([undefined, '*/*', 'application/json', `${TYPES.dockerImage}, ${TYPES.image};q=0.1`])(
    'end-3: Accept %s gets the manifest as it was pushed (it is never converted)',
    async (accept) => {
      const name = registry.freshName();
      const { manifest } = await pushImage(registry, name, ['v1']);
      const got = await registry.send('GET', `/v2/${name}/manifests/v1`, accept === undefined ? {} : { headers: { accept } });
      expect(got.status).toBe(200);
      expect(got.header('content-type')).toBe(TYPES.image);
      expect(got.body.equals(manifest.bytes)).toBe(true);
    },
  );

  test.each([
    ['a tag', 'absent'],
    ['a digest', unknownDigest()],
    ['a sha512 digest', unknownDigest('sha512')],
  ])('end-3: %s that is not there is 404 MANIFEST_UNKNOWN', async (_, reference) => {
    const name = registry.freshName();
    await pushImage(registry, name, ['v1']);
    expectError(await registry.send('GET', `/v2/${name}/manifests/${reference}`), 404, 'MANIFEST_UNKNOWN');
  });

  test('end-3: a name that is not there is 404', async () => {
    expectError(await registry.send('GET', `/v2/${registry.freshName()}/manifests/latest`), 404, 'NAME_UNKNOWN', 'MANIFEST_UNKNOWN');
  });

  test('end-3: a blob is not a manifest', async () => {
    const name = registry.freshName();
    const what = content('{}', TYPES.config);
    await pushBlob(registry, name, what);
    expectError(await registry.send('GET', `/v2/${name}/manifests/${what.digest}`), 404, 'MANIFEST_UNKNOWN', 'NAME_UNKNOWN');
  });

  test('end-3: a manifest of one name is not readable through another', async () => {
    const { manifest } = await pushImage(registry, registry.freshName(), ['v1']);
    const other = registry.freshName();
    await pushImage(registry, other, ['v2']);
    expectError(await registry.send('GET', `/v2/${other}/manifests/${manifest.digest}`), 404, 'MANIFEST_UNKNOWN');
  });
});

describe('spec §Checking if content exists in the registry: HEAD', () => {
  const COMPARED = [
    'content-length',
    'content-type',
    'docker-content-digest',
    'docker-distribution-api-version',
    'etag',
    'accept-ranges',
    'cache-control',
  ];

  test('spec §Checking if content exists: HEAD has the headers of GET and no body', async () => {
    const name = registry.freshName();
    const { layer, manifest } = await pushImage(registry, name, ['v1']);
    for (const path of [`blobs/${layer.digest}`, 'manifests/v1', `manifests/${manifest.digest}`]) {
      const got = await registry.send('GET', `/v2/${name}/${path}`);
      const head = await registry.send('HEAD', `/v2/${name}/${path}`);
      expect(head.status).toBe(200);
      expect(head.body.length).toBe(0);
      for (const header of COMPARED) expect(head.header(header), `${path} ${header}`).toBe(got.header(header));
    }
  });

  test('spec §Checking if content exists: HEAD of what is not there is 404 without a body', async () => {
    const name = registry.freshName();
    await pushImage(registry, name, ['v1']);
    for (const path of [`blobs/${unknownDigest()}`, 'manifests/absent', `manifests/${unknownDigest()}`]) {
      const head = await registry.send('HEAD', `/v2/${name}/${path}`);
      expect(head.status).toBe(404);
      expect(head.body.length).toBe(0);
    }
  });
});

describe('RFC 9110 §13: conditional requests', () => {
  const pushed = async (): Promise<string[]> => {
    const name = registry.freshName();
    const { layer, manifest } = await pushImage(registry, name, ['v1']);
    return [`/v2/${name}/blobs/${layer.digest}`, `/v2/${name}/manifests/v1`, `/v2/${name}/manifests/${manifest.digest}`];
  };

  test.each([
    ['the entity tag', (etag: string) => etag],
    ['its weak form', (etag: string) => `W/${etag}`],
    ['a list that has it', (etag: string) => `"a,b", ${etag} , "c"`],
    ['any', () => '*'],
  ])('RFC 9110 §13.1.2: If-None-Match with %s is 304 without a body', async (_, condition) => {
    for (const path of await pushed()) {
      const etag = (await registry.send('HEAD', path)).header('etag');
      expect(etag).toMatch(/^"[^"]+"$/);
      for (const method of ['GET', 'HEAD']) {
        const answer = await registry.send(method, path, { headers: { 'if-none-match': condition(etag ?? '') } });
        expect(answer.status, `${method} ${path}`).toBe(304);
        expect(answer.body.length).toBe(0);
        expect(answer.header('etag')).toBe(etag);
      }
    }
  });

  test.each(['"sha256:0000"', 'W/"x"', 'garbage', '""', '"'])(
    'RFC 9110 §13.1.2: If-None-Match %s does not match, the whole comes',
    async (condition) => {
      for (const path of await pushed()) {
        expect((await registry.send('GET', path, { headers: { 'if-none-match': condition } })).status).toBe(200);
      }
    },
  );

  test('RFC 9110 §13.1.2: a tag that moved has another entity tag', async () => {
    const name = registry.freshName();
    await pushImage(registry, name, ['v1']);
    const before = (await registry.send('HEAD', `/v2/${name}/manifests/v1`)).header('etag') ?? '';
    const config = blob(10, TYPES.config);
    await pushBlob(registry, name, config);
    const next = image(config, []);
    await pushManifest(registry, name, next, 'v1');
    const got = await registry.send('GET', `/v2/${name}/manifests/v1`, { headers: { 'if-none-match': before } });
    expect(got.status).toBe(200);
    expect(got.body.equals(next.bytes)).toBe(true);
  });
});
