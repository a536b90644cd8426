/** Distribution-spec 1.1.1, upload sessions: status (end-13), cancelling (end-14), resuming, and everything that can go wrong on the way. */
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { exchange, type Answer } from './client.ts';
import { blob, content, digestOf, TYPES, unknownDigest, type Content } from './content.ts';
import { expectError, location, pushBlob, useRegistry, withQuery } from './registry.ts';

const registry = useRegistry();
const BINARY = { 'content-type': 'application/octet-stream' };

const begin = async (name: string): Promise<string> => {
  const answer = await registry.send('POST', `/v2/${name}/blobs/uploads/`);
  expect(answer.status).toBe(202);
  return location(answer);
};
const patch = (at: string, bytes: Uint8Array, range?: string): Promise<Answer> =>
  registry.send('PATCH', at, { headers: { ...BINARY, ...(range === undefined ? {} : { 'content-range': range }) }, body: bytes });
const close = (at: string, digest: string, bytes?: Uint8Array, headers: Readonly<Record<string, string>> = {}): Promise<Answer> =>
  registry.send('PUT', withQuery(at, { digest }), bytes === undefined ? { headers } : { headers: { ...BINARY, ...headers }, body: bytes });
const expectReadable = async (name: string, what: Content): Promise<void> => {
  const got = await registry.send('GET', `/v2/${name}/blobs/${what.digest}`);
  expect(got.status).toBe(200);
  expect(got.body.equals(what.bytes)).toBe(true);
};

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
    await expectReadable(name, what);
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
    await expectReadable(name, what);
  });
});

describe('code-3: BLOB_UPLOAD_UNKNOWN', () => {
  const strangers = ['9a7cd8a3-1c7d-4a1f-8f1a-0b1f5a5f0c11', 'x', '0', 'A'.repeat(200), '_state', '%2e%2e', '..%2f..%2fblobs', '%00', 'a%20b'];

  test.each(strangers)('code-3: an upload %s that was never begun is 404 for every method', async (id) => {
    const name = registry.freshName();
    await pushBlob(registry, name, blob());
    const at = `/v2/${name}/blobs/uploads/${id}`;
    const what = blob();
    for (const answer of [await registry.send('GET', at), await patch(at, what.bytes), await close(at, what.digest, what.bytes), await registry.send('DELETE', at)]) {
      expectError(answer, [404, 400], 'BLOB_UPLOAD_UNKNOWN', 'NAME_INVALID', 'NOT_FOUND');
    }
  });

  test('code-3: an upload belongs to its name', async () => {
    const name = registry.freshName();
    const at = await begin(name);
    const stolen = at.replace(`/${name}/`, `/${registry.freshName()}/`);
    expect(stolen).not.toBe(at);
    const what = blob();
    for (const answer of [await registry.send('GET', stolen), await patch(stolen, what.bytes), await close(stolen, what.digest, what.bytes), await registry.send('DELETE', stolen)]) {
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
    await expectReadable(name, what);
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
    await expectReadable(name, what);
  });

  test.each(['garbage', '0-', '-9', '9-0', '0-9-10', 'x-y', '1e1-2e1', '0 - 9', `0-${'9'.repeat(40)}`])(
    'spec §Pushing a blob in chunks: Content-Range %s is refused, and the upload goes on',
    async (range) => {
      const name = registry.freshName();
      const what = blob(10);
      const at = await begin(name);
      expectError(await patch(at, what.bytes, range), [400, 416]);
      expect((await close(at, what.digest, what.bytes)).status).toBe(201);
      await expectReadable(name, what);
    },
  );

  test.each(['0-4', '0-99'])('code-10: Content-Range %s that differs from the length sent (10) is refused, and nothing of it is kept', async (range) => {
    const name = registry.freshName();
    const what = blob(10);
    const at = await begin(name);
    expectError(await patch(at, what.bytes, range), [400, 416]);
    expect((await close(at, what.digest, what.bytes)).status).toBe(201);
    await expectReadable(name, what);
  });
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
    await expectReadable(name, what);
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
    expectError(digest === undefined ? await registry.send('PUT', at, { headers: BINARY, body: what.bytes }) : await close(at, digest, what.bytes), 400, 'DIGEST_INVALID');
    expect((await registry.send('GET', at)).status).toBe(204);
    expect((await close(at, what.digest, what.bytes)).status).toBe(201);
    await expectReadable(name, what);
  });

  test('code-4: two digests in one PUT that differ never both hold', async () => {
    const name = registry.freshName();
    const what = blob();
    const other = unknownDigest();
    const answer = await registry.send('PUT', `${withQuery(await begin(name), { digest: what.digest })}&digest=${other}`, { headers: BINARY, body: what.bytes });
    expect([201, 400]).toContain(answer.status);
    expect((await registry.send('HEAD', `/v2/${name}/blobs/${other}`)).status).toBe(404);
  });
});

describe('spec §Resumable Push', () => {
  test.each(['closed', 'reset'] as const)('spec §Resumable Push: after a connection was %s amid a PATCH the upload continues where the status says', async (how) => {
    const name = registry.freshName();
    const what = blob(1024 * 1024);
    const at = await begin(name);
    await cutMidway(registry.origin, 'PATCH', at, what.bytes.subarray(0, 700_000), what.bytes.length, how);
    const done = await resume(at, what);
    expect((await close(done, what.digest)).status).toBe(201);
    await expectReadable(name, what);
  });

  test('spec §Resumable Push: what earlier chunks brought is kept when a later one breaks off', async () => {
    const at = await begin(registry.freshName());
    const kept = location(await patch(at, blob(5000).bytes));
    await cutMidway(registry.origin, 'PATCH', kept, blob(100).bytes, 1000, 'closed');
    const end = lastByte(await registry.send('GET', kept));
    expect(end).toBeGreaterThanOrEqual(4999);
    expect(end).toBeLessThanOrEqual(5099);
  });

  test.each(['closed', 'reset'] as const)('spec §Resumable Push: a PUT whose connection was %s stores nothing, and the upload continues', async (how) => {
    const name = registry.freshName();
    const what = blob(300_000);
    const at = await begin(name);
    await cutMidway(registry.origin, 'PUT', withQuery(at, { digest: what.digest }), what.bytes.subarray(0, 200_000), what.bytes.length, how);
    expect((await registry.send('HEAD', `/v2/${name}/blobs/${what.digest}`)).status).toBe(404);
    const done = await resume(at, what);
    expect((await close(done, what.digest)).status).toBe(201);
    await expectReadable(name, what);
  });

  /**
   * What a client does: ask for the status and send the rest, until it is taken (the server may notice the broken
   * connection only while the next chunk arrives). Returns the location after it.
   */
  async function resume(at: string, what: Content): Promise<string> {
    const length = what.bytes.length;
    for (let attempt = 0; attempt < 100; attempt++) {
      const status = await registry.send('GET', at);
      expect(status.status).toBe(204);
      const offset = lastByte(status) + 1;
      if (offset === length) return location(status);
      const rest = await patch(location(status), what.bytes.subarray(offset), `${offset}-${length - 1}`);
      if (rest.status === 202) {
        expect(rest.header('range')).toBe(`0-${length - 1}`);
        return location(rest);
      }
      expect([409, 416]).toContain(rest.status);
    }
    throw new Error('the upload could not be continued');
  }

  /** The position of the last byte kept. `0-0` is also how an upload with nothing reads; no test keeps one byte. */
  function lastByte(status: Answer): number {
    const end = Number(/^0-(-?\d+)$/.exec(status.header('range') ?? '')?.[1]);
    return end === 0 ? -1 : end;
  }
});

describe('spec §Pushing blobs: what a session must not show or lose', () => {
  test('spec §Pushing blobs: bytes are not readable before the upload is closed', async () => {
    const name = registry.freshName();
    const what = blob();
    const at = location(await patch(await begin(name), what.bytes));
    expect((await registry.send('HEAD', `/v2/${name}/blobs/${what.digest}`)).status).toBe(404);
    expect((await close(at, what.digest)).status).toBe(201);
    await expectReadable(name, what);
  });

  test('spec §Layer Upload De-duplication: two uploads of one blob at a time both succeed', async () => {
    const name = registry.freshName();
    const what = blob(200_000);
    const uploads = await Promise.all([begin(name), begin(name), begin(name)]);
    const answers = await Promise.all(uploads.map((at) => close(at, what.digest, what.bytes)));
    expect(answers.map((a) => a.status)).toEqual([201, 201, 201]);
    await expectReadable(name, what);
  });

  test('spec §Pushing blobs: sessions of one name do not disturb each other', async () => {
    const name = registry.freshName();
    const all = Array.from({ length: 5 }, () => blob(10_000));
    await Promise.all(all.map(async (what) => {
      const half = location(await patch(await begin(name), what.bytes.subarray(0, 5000)));
      const whole = location(await patch(half, what.bytes.subarray(5000)));
      expect((await close(whole, what.digest)).status).toBe(201);
    }));
    for (const what of all) await expectReadable(name, what);
  });

  test('spec §Pushing blobs: a second PATCH while one is under way cannot mix its bytes in', async () => {
    const name = registry.freshName();
    const a = blob(100_000);
    const b = blob(100_000);
    const at = await begin(name);
    const answers = await Promise.all([patch(at, a.bytes, '0-99999'), patch(at, b.bytes, '0-99999')]);
    const winner = answers.findIndex((x) => x.status === 202);
    expect(winner).toBeGreaterThanOrEqual(0);
    for (const answer of answers) expect([202, 409, 416, 400]).toContain(answer.status);
    const status = await registry.send('GET', at);
    if (answers.filter((x) => x.status === 202).length > 1) {
      // Both were taken, one over the other: what stands is one of them.
      const either = await Promise.all([a, b].map(async (what) => (await close(at, what.digest)).status));
      expect(either).toContain(201);
    } else {
      expect(status.header('range')).toBe('0-99999');
      expect((await close(location(status), [a, b][winner]?.digest ?? '')).status).toBe(201);
    }
  });

  test('spec §Pushing a blob in chunks: an empty PATCH changes nothing', async () => {
    const name = registry.freshName();
    const what = blob();
    const at = location(await patch(await begin(name), what.bytes));
    const empty = await registry.send('PATCH', at, { headers: BINARY, body: Buffer.alloc(0) });
    expect(empty.status).toBe(202);
    expect((await close(at, what.digest)).status).toBe(201);
  });

  test('RFC 9110 §10.1.1: a client that waits for 100 Continue is told to go on', async () => {
    const name = registry.freshName();
    const what = content('waited', TYPES.layer);
    const target = withQuery(await begin(name), { digest: what.digest });
    const { pathname, search, host } = new URL(target, registry.origin);
    const answer = await exchange(
      registry.origin,
      `PUT ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\nwaited`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 100 /);
    expect(answer).toMatch(/HTTP\/1\.1 201 /);
    expect(digestOf((await registry.send('GET', `/v2/${name}/blobs/${what.digest}`)).body)).toBe(what.digest);
  });
});

/** Sends a request that announces `length` bytes, but only these of them, and breaks the connection. */
function cutMidway(origin: string, method: string, target: string, bytes: Uint8Array, length: number, how: 'closed' | 'reset'): Promise<void> {
  const { pathname, search, hostname, port, host } = new URL(target, origin);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ''));
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.resume();
    socket.write(`${method} ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/octet-stream\r\nContent-Length: ${length}\r\n\r\n`);
    if (how === 'closed') socket.end(bytes);
    else socket.write(bytes, () => socket.resetAndDestroy());
  });
}
