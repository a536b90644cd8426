/**
 * Distribution-spec 1.1.1, "Pushing blobs": monolithic (end-4a, end-4b, end-6), chunked and streamed (end-5), and
 * `digest-algorithm` of the main branch (end-4c).
 */
import { describe, expect, test } from 'vitest';
import { type Answer } from './client.ts';
import { blob, content, TYPES, unknownDigest, type Algorithm, type Content } from './content.ts';
import { expectError, location, useRegistry, withQuery } from './registry.ts';
import { BINARY, uploadSteps } from './upload-steps.ts';

const registry = useRegistry();
const { begin, patch, close } = uploadSteps(registry);
const ALGORITHMS: readonly Algorithm[] = ['sha256', 'sha512'];

type Push = (name: string, what: Content, digest: string) => Promise<Answer>;

/** Sends the chunks and gives the location after the last. */
async function chunks(name: string, parts: readonly Uint8Array[], ranges: boolean): Promise<string> {
  let at = await begin(name);
  let offset = 0;
  for (const part of parts) {
    const answer = await patch(at, part, ranges ? `${offset}-${offset + part.length - 1}` : undefined);
    offset += part.length;
    expect(answer.status, answer.body.toString()).toBe(202);
    expect(answer.header('range')).toBe(`0-${offset - 1}`);
    expect(answer.body.length).toBe(0);
    at = location(answer);
  }
  return at;
}

async function* streamed(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
}

function thirds(bytes: Buffer): readonly [Buffer, Buffer, Buffer] {
  const size = Math.ceil(bytes.length / 3);
  return [bytes.subarray(0, size), bytes.subarray(size, 2 * size), bytes.subarray(2 * size)];
}

const WAYS: readonly (readonly [string, Push])[] = [
  [
    'end-4b: POST with the digest and the bytes',
    (name, what, digest) => registry.send('POST', `/v2/${name}/blobs/uploads/?digest=${digest}`, { headers: BINARY, body: what.bytes }),
  ],
  [
    'end-4b: POST with the digest and streamed bytes',
    (name, what, digest) =>
      registry.send('POST', `/v2/${name}/blobs/uploads/?digest=${encodeURIComponent(digest)}`, {
        headers: BINARY,
        body: streamed(what.bytes),
      }),
  ],
  ['end-4a, end-6: POST, PUT with the bytes', async (name, what, digest) => close(await begin(name), digest, what.bytes)],
  ['end-4a, end-6: POST, PUT with streamed bytes', async (name, what, digest) => close(await begin(name), digest, streamed(what.bytes))],
  [
    'end-4a, end-6: POST, PUT without a Content-Type',
    async (name, what, digest) => registry.send('PUT', withQuery(await begin(name), { digest }), { body: what.bytes }),
  ],
  ['end-5: POST, one PATCH, PUT', async (name, what, digest) => close(location(await patch(await begin(name), what.bytes)), digest)],
  [
    'end-5: POST, one streamed PATCH, PUT',
    async (name, what, digest) => close(location(await patch(await begin(name), streamed(what.bytes))), digest),
  ],
  [
    'end-5: POST, PATCH without a Content-Type, PUT',
    async (name, what, digest) => close(location(await registry.send('PATCH', await begin(name), { body: what.bytes })), digest),
  ],
  ['end-5: chunks with Content-Range, PUT', async (name, what, digest) => close(await chunks(name, thirds(what.bytes), true), digest)],
  ['end-5: chunks without Content-Range, PUT', async (name, what, digest) => close(await chunks(name, thirds(what.bytes), false), digest)],
  [
    'end-5, end-6: the last chunk in the PUT, with Content-Range',
    async (name, what, digest) => {
      const [a, b, c] = thirds(what.bytes);
      const range = { 'content-range': `${a.length + b.length}-${what.bytes.length - 1}` };
      return close(await chunks(name, [a, b], true), digest, c, range);
    },
  ],
  [
    'end-5, end-6: the last chunk in the PUT, streamed',
    async (name, what, digest) => {
      const [a, b, c] = thirds(what.bytes);
      return close(await chunks(name, [a, b], true), digest, streamed(c));
    },
  ],
];

describe.each(WAYS)('%s', (_, push) => {
  test.each(ALGORITHMS)('is 201 with the location and %s digest of a readable blob', async (algorithm) => {
    const name = registry.freshName();
    const what = blob(100_000, TYPES.layer, algorithm);
    const answer = await push(name, what, what.digest);
    expect(answer.status, answer.body.toString()).toBe(201);
    expect(answer.header('docker-content-digest')).toBe(what.digest);
    const got = await registry.send('GET', location(answer));
    expect(got.status).toBe(200);
    expect(got.body.equals(what.bytes)).toBe(true);
    expect((await registry.send('HEAD', `/v2/${name}/blobs/${what.digest}`)).header('content-length')).toBe(String(what.bytes.length));
  });

  test.each(ALGORITHMS)('with a %s digest that does not fit is 400 DIGEST_INVALID and stores nothing', async (algorithm) => {
    const name = registry.freshName();
    const what = blob(50_000);
    const wrong = unknownDigest(algorithm);
    expectError(await push(name, what, wrong), 400, 'DIGEST_INVALID');
    for (const digest of [wrong, what.digest]) expect((await registry.send('HEAD', `/v2/${name}/blobs/${digest}`)).status).toBe(404);
  });

  test('again with the same blob is 201 again', async () => {
    const name = registry.freshName();
    const what = blob(1000);
    expect((await push(name, what, what.digest)).status).toBe(201);
    expect((await push(name, what, what.digest)).status).toBe(201);
    expect((await registry.send('GET', `/v2/${name}/blobs/${what.digest}`)).body.equals(what.bytes)).toBe(true);
  });
});

describe('spec §Pushing blobs: well-known contents', () => {
  const empty = content('', TYPES.layer);
  test.each([
    ['nothing, PUT without a body', async (name: string) => close(await begin(name), empty.digest), empty],
    ['nothing, PUT with an empty body', async (name: string) => close(await begin(name), empty.digest, Buffer.alloc(0)), empty],
    [
      'nothing, POST with the digest and Content-Length 0',
      async (name: string) =>
        registry.send('POST', `/v2/${name}/blobs/uploads/?digest=${empty.digest}`, { headers: { ...BINARY, 'content-length': '0' } }),
      empty,
    ],
    [
      'nothing, streamed',
      async (name: string) => close(location(await patch(await begin(name), streamed(Buffer.alloc(0)))), empty.digest),
      empty,
    ],
    ['{}', async (name: string) => close(await begin(name), content('{}', TYPES.empty).digest, '{}'), content('{}', TYPES.empty)],
  ])('spec §Pushing blobs: a blob of %s', async (_, push, what) => {
    const name = registry.freshName();
    const answer = await push(name);
    expect(answer.status, answer.body.toString()).toBe(201);
    const got = await registry.send('GET', `/v2/${name}/blobs/${what.digest}`);
    expect(got.status).toBe(200);
    expect(got.body.equals(what.bytes)).toBe(true);
  });
});

describe('end-4a: POST /v2/<name>/blobs/uploads/', () => {
  test('end-4a: 202 with Location, an id of the session, the range and no body', async () => {
    const answer = await registry.send('POST', `/v2/${registry.freshName()}/blobs/uploads/`, { headers: { 'content-length': '0' } });
    expect(answer.status).toBe(202);
    expect(answer.body.length).toBe(0);
    expect(answer.header('docker-upload-uuid')).toMatch(/^[\w-]{8,}$/);
    expect(location(answer)).toContain(answer.header('docker-upload-uuid'));
    expect(answer.header('range')).toMatch(/^0-(0|-1)$/);
    const minimum = answer.header('oci-chunk-min-length');
    if (minimum !== undefined) expect(Number(minimum)).toBeGreaterThan(0);
  });

  test('end-4a: every session has its own id', async () => {
    const name = registry.freshName();
    expect(await begin(name)).not.toBe(await begin(name));
  });

  test('end-4a: the Location is on the host that was asked', async () => {
    expect(new URL(await begin(registry.freshName()), registry.origin).origin).toBe(registry.origin);
  });

  test('end-4a: without the last slash it is the same or 404, never another repository', async () => {
    const answer = await registry.send('POST', `/v2/${registry.freshName()}/blobs/uploads`);
    expect([202, 301, 307, 308, 404, 405]).toContain(answer.status);
  });
});

describe('end-4b: POST with digest', () => {
  test.each(['sha256:abc', 'md5:d41d8cd98f00b204e9800998ecf8427e', `sha256:${'A'.repeat(64)}`, `sha1:${'a'.repeat(40)}`, 'sha256', ':'])(
    'end-4b: the malformed digest %s is 400 DIGEST_INVALID',
    async (digest) => {
      const answer = await registry.send('POST', `/v2/${registry.freshName()}/blobs/uploads/?digest=${encodeURIComponent(digest)}`, {
        headers: BINARY,
        body: blob(10).bytes,
      });
      expectError(answer, 400, 'DIGEST_INVALID');
    },
  );
});

describe('spec (main) §Pushing blobs: digest-algorithm', () => {
  test('end-4c: a session announced as sha512 ends under a sha512 digest', async () => {
    const name = registry.freshName();
    const what = blob(30_000, TYPES.layer, 'sha512');
    const at = await begin(name, '?digest-algorithm=sha512');
    const [a, b, c] = thirds(what.bytes);
    let next = location(await patch(at, a));
    next = location(await patch(next, b));
    const answer = await close(next, what.digest, c);
    expect(answer.status).toBe(201);
    expect(answer.header('docker-content-digest')).toBe(what.digest);
    expect((await registry.send('GET', location(answer))).body.equals(what.bytes)).toBe(true);
  });

  test('end-4c: the announcement is a hint: a session may end under another algorithm', async () => {
    const name = registry.freshName();
    const what = blob(30_000);
    const at = location(await patch(await begin(name, '?digest-algorithm=sha512'), what.bytes));
    expect((await close(at, what.digest)).status).toBe(201);
    expect((await registry.send('GET', `/v2/${name}/blobs/${what.digest}`)).body.equals(what.bytes)).toBe(true);
  });

  test('end-4c: sha256 may be announced', async () => {
    const name = registry.freshName();
    const what = blob();
    expect((await close(await begin(name, '?digest-algorithm=sha256'), what.digest, what.bytes)).status).toBe(201);
  });

  test.each(['md5', 'sha1', 'SHA256', '', 'sha256,sha512', '../x'])(
    'end-4c: the algorithm %j that is not supported is 400',
    async (algorithm) => {
      const answer = await registry.send(
        'POST',
        `/v2/${registry.freshName()}/blobs/uploads/?digest-algorithm=${encodeURIComponent(algorithm)}`,
      );
      expectError(answer, 400, 'DIGEST_INVALID', 'PARAMETER_INVALID', 'UNSUPPORTED');
    },
  );
});
