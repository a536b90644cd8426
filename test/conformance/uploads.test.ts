/** Distribution-spec 1.1.1, upload sessions: status (end-13), cancelling (end-14), and what is malformed or out of order. */
import { describe, expect, test } from 'vitest';
import { blob, unknownDigest } from './content.ts';
import { expectBlob, expectError, location, pushBlob, useRegistry, withQuery } from './registry.ts';
import { BINARY, uploadSteps } from './upload-steps.ts';

const registry = useRegistry();
const { begin, patch, close } = uploadSteps(registry);

describe('end-13: GET /v2/<name>/blobs/uploads/<reference>', () => {
  test('end-13: a fresh upload is 204 with Range and Location', async () => {
    const answer = await registry.send('GET', await begin(registry.freshName()));
    expect(answer.status).toBe(204);
    expect(answer.header('range')).toMatch(/^0-(0|-1)$/);
    expect(answer.body.length).toBe(0);
    expect((await registry.send('GET', location(answer))).status).toBe(204);
  });

  test('end-13: the range ends at the last byte received, and the upload goes on at the Location given', async () => {
    const name = registry.freshName();
    const what = blob(3000);
    const after = location(await patch(await begin(name), what.bytes.subarray(0, 1000)));
    const status = await registry.send('GET', after);
    expect(status.status).toBe(204);
    expect(status.header('range')).toBe('0-999');
    const rest = await patch(location(status), what.bytes.subarray(1000), '1000-2999');
    expect(rest.header('range')).toBe('0-2999');
    expect((await close(location(rest), what.digest)).status).toBe(201);
    await expectBlob(registry, name, what);
  });
});

describe('end-14: DELETE /v2/<name>/blobs/uploads/<reference>', () => {
  test('end-14: a cancelled upload is gone for every method', async () => {
    const name = registry.freshName();
    const what = blob();
    const at = location(await patch(await begin(name), what.bytes));
    const cancelled = await registry.send('DELETE', at, { headers: { 'content-length': '0' } });
    expect(cancelled.status).toBe(204);
    expect(cancelled.body.length).toBe(0);
    expectError(await registry.send('GET', at), 404, 'BLOB_UPLOAD_UNKNOWN');
    expectError(await patch(at, what.bytes), 404, 'BLOB_UPLOAD_UNKNOWN');
    expectError(await close(at, what.digest, what.bytes), 404, 'BLOB_UPLOAD_UNKNOWN');
    expectError(await registry.send('DELETE', at), 404, 'BLOB_UPLOAD_UNKNOWN');
    expect((await registry.send('HEAD', `/v2/${name}/blobs/${what.digest}`)).status).toBe(404);
  });

  test('end-14: a finished upload is no upload any more', async () => {
    const name = registry.freshName();
    const what = blob();
    const at = await begin(name);
    expect((await close(at, what.digest, what.bytes)).status).toBe(201);
    expectError(await registry.send('DELETE', at), 404, 'BLOB_UPLOAD_UNKNOWN');
    expectError(await registry.send('GET', at), 404, 'BLOB_UPLOAD_UNKNOWN');
    await expectBlob(registry, name, what);
  });
});

describe('code-3: BLOB_UPLOAD_UNKNOWN', () => {
  const strangers = [
    '9a7cd8a3-1c7d-4a1f-8f1a-0b1f5a5f0c11',
    'x',
    '0',
    'A'.repeat(200),
    '_state',
    '%2e%2e',
    '..%2f..%2fblobs',
    '%00',
    'a%20b',
  ];

  test.each(strangers)('code-3: an upload %s that was never begun is 404 for every method', async (id) => {
    const name = registry.freshName();
    await pushBlob(registry, name, blob());
    const at = `/v2/${name}/blobs/uploads/${id}`;
    const what = blob();
    for (const answer of [
      await registry.send('GET', at),
      await patch(at, what.bytes),
      await close(at, what.digest, what.bytes),
      await registry.send('DELETE', at),
    ]) {
      expectError(answer, [404, 400], 'BLOB_UPLOAD_UNKNOWN', 'NAME_INVALID', 'NOT_FOUND');
    }
  });

  test('code-3: an upload belongs to its name', async () => {
    const name = registry.freshName();
    const at = await begin(name);
    const stolen = at.replace(`/${name}/`, `/${registry.freshName()}/`);
    expect(stolen).not.toBe(at);
    const what = blob();
    for (const answer of [
      await registry.send('GET', stolen),
      await patch(stolen, what.bytes),
      await close(stolen, what.digest, what.bytes),
      await registry.send('DELETE', stolen),
    ]) {
      expectError(answer, 404, 'BLOB_UPLOAD_UNKNOWN');
    }
    expect((await close(at, what.digest, what.bytes)).status).toBe(201);
  });
});

describe('spec §Pushing a blob in chunks: out of order', () => {
  test.each([
    ['a gap', '1500-1999'],
    ['a chunk again', '0-999'],
    ['an overlap', '999-1498'],
  ])('spec §Pushing a blob in chunks: %s is answered 416, and the upload goes on', async (_, range) => {
    const name = registry.freshName();
    const what = blob(2000);
    const at = location(await patch(await begin(name), what.bytes.subarray(0, 1000), '0-999'));
    const [first = 0, last = 0] = range.split('-').map(Number);
    expect((await patch(at, what.bytes.subarray(first, last + 1), range)).status).toBe(416);
    const status = await registry.send('GET', at);
    expect(status.header('range')).toBe('0-999');
    const rest = await patch(location(status), what.bytes.subarray(1000), '1000-1999');
    expect(rest.status).toBe(202);
    expect((await close(location(rest), what.digest)).status).toBe(201);
    await expectBlob(registry, name, what);
  });

  test('spec §Pushing a blob in chunks: the first chunk must begin with 0', async () => {
    const at = await begin(registry.freshName());
    expectError(await patch(at, blob(10).bytes, '1-10'), 416);
  });

  test('spec §Pushing a blob in chunks: a last chunk out of order in the PUT is answered 416, and the upload goes on', async () => {
    const name = registry.freshName();
    const what = blob(2000);
    const at = location(await patch(await begin(name), what.bytes.subarray(0, 1000)));
    expect((await close(at, what.digest, what.bytes.subarray(1500), { 'content-range': '1500-1999' })).status).toBe(416);
    expect((await close(at, what.digest, what.bytes.subarray(1000), { 'content-range': '1000-1999' })).status).toBe(201);
    await expectBlob(registry, name, what);
  });

  test.each(['garbage', '0-', '-9', '9-0', '0-9-10', 'x-y', '1e1-2e1', '0 - 9', `0-${'9'.repeat(40)}`])(
    'spec §Pushing a blob in chunks: Content-Range %s is refused, and the upload goes on',
    async (range) => {
      const name = registry.freshName();
      const what = blob(10);
      const at = await begin(name);
      expectError(await patch(at, what.bytes, range), [400, 416]);
      expect((await close(at, what.digest, what.bytes)).status).toBe(201);
      await expectBlob(registry, name, what);
    },
  );

  test.each(['0-4', '0-99'])(
    'code-10: Content-Range %s that differs from the length sent (10) is refused, and nothing of it is kept',
    async (range) => {
      const name = registry.freshName();
      const what = blob(10);
      const at = await begin(name);
      expectError(await patch(at, what.bytes, range), [400, 416]);
      expect((await close(at, what.digest, what.bytes)).status).toBe(201);
      await expectBlob(registry, name, what);
    },
  );
});

describe('code-4: DIGEST_INVALID', () => {
  test('code-4: a PUT with a digest that does not fit is 400, stores nothing, and the upload is resumable', async () => {
    const name = registry.freshName();
    const what = blob(4000);
    const at = location(await patch(await begin(name), what.bytes));
    const wrong = unknownDigest();
    expectError(await close(at, wrong), 400, 'DIGEST_INVALID');
    expect((await registry.send('HEAD', `/v2/${name}/blobs/${wrong}`)).status).toBe(404);
    expect((await registry.send('HEAD', `/v2/${name}/blobs/${what.digest}`)).status).toBe(404);
    expect((await registry.send('GET', at)).header('range')).toBe('0-3999');
    expect((await close(at, what.digest)).status).toBe(201);
    await expectBlob(registry, name, what);
  });

  test.each([
    ['none', undefined],
    ['an empty one', ''],
    ['no algorithm', 'a'.repeat(64)],
    ['a short one', 'sha256:abc'],
    ['upper case', `sha256:${'A'.repeat(64)}`],
    ['another algorithm', `md5:${'a'.repeat(32)}`],
    ['the length of another algorithm', `sha512:${'a'.repeat(64)}`],
    ['more behind it', `sha256:${'a'.repeat(64)}0`],
    ['a path', 'sha256:../../../etc/passwd'],
  ])('code-4: a PUT with %s for a digest is 400, and the upload is resumable', async (_, digest) => {
    const name = registry.freshName();
    const what = blob();
    const at = await begin(name);
    expectError(
      digest === undefined ? await registry.send('PUT', at, { headers: BINARY, body: what.bytes }) : await close(at, digest, what.bytes),
      400,
      'DIGEST_INVALID',
    );
    expect((await registry.send('GET', at)).status).toBe(204);
    expect((await close(at, what.digest, what.bytes)).status).toBe(201);
    await expectBlob(registry, name, what);
  });

  test('code-4: two digests in one PUT that differ never both hold', async () => {
    const name = registry.freshName();
    const what = blob();
    const other = unknownDigest();
    const answer = await registry.send('PUT', `${withQuery(await begin(name), { digest: what.digest })}&digest=${other}`, {
      headers: BINARY,
      body: what.bytes,
    });
    expect([201, 400]).toContain(answer.status);
    expect((await registry.send('HEAD', `/v2/${name}/blobs/${other}`)).status).toBe(404);
  });
});
