/** Distribution-spec 1.1.1, "Resumable Push": uploads whose connection broke, and several at a time. */
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { exchange, type Answer } from './client.ts';
import { blob, content, digestOf, TYPES, type Content } from './content.ts';
import { expectBlob, location, useRegistry, withQuery } from './registry.ts';
import { BINARY, uploadSteps } from './upload-steps.ts';

const registry = useRegistry();
const { begin, patch, close } = uploadSteps(registry);

describe('spec §Resumable Push', () => {
  test.each(['closed', 'reset'] as const)(
    'spec §Resumable Push: after a connection was %s amid a PATCH the upload continues where the status says',
    async (how) => {
      const name = registry.freshName();
      const what = blob(1024 * 1024);
      const at = await begin(name);
      await cutMidway(registry.origin, 'PATCH', at, what.bytes.subarray(0, 700_000), what.bytes.length, how);
      const done = await resume(at, what);
      expect((await close(done, what.digest)).status).toBe(201);
      await expectBlob(registry, name, what);
    },
  );

  test('spec §Resumable Push: what earlier chunks brought is kept when a later one breaks off', async () => {
    const at = await begin(registry.freshName());
    const kept = location(await patch(at, blob(5000).bytes));
    await cutMidway(registry.origin, 'PATCH', kept, blob(100).bytes, 1000, 'closed');
    const end = lastByte(await registry.send('GET', kept));
    expect(end).toBeGreaterThanOrEqual(4999);
    expect(end).toBeLessThanOrEqual(5099);
  });

  test.each(['closed', 'reset'] as const)(
    'spec §Resumable Push: a PUT whose connection was %s stores nothing, and the upload continues',
    async (how) => {
      const name = registry.freshName();
      const what = blob(300_000);
      const at = await begin(name);
      await cutMidway(
        registry.origin,
        'PUT',
        withQuery(at, { digest: what.digest }),
        what.bytes.subarray(0, 200_000),
        what.bytes.length,
        how,
      );
      expect((await registry.send('HEAD', `/v2/${name}/blobs/${what.digest}`)).status).toBe(404);
      const done = await resume(at, what);
      expect((await close(done, what.digest)).status).toBe(201);
      await expectBlob(registry, name, what);
    },
  );

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
    await expectBlob(registry, name, what);
  });

  test('spec §Layer Upload De-duplication: two uploads of one blob at a time both succeed', async () => {
    const name = registry.freshName();
    const what = blob(200_000);
    const uploads = await Promise.all([begin(name), begin(name), begin(name)]);
    const answers = await Promise.all(uploads.map((at) => close(at, what.digest, what.bytes)));
    expect(answers.map((a) => a.status)).toEqual([201, 201, 201]);
    await expectBlob(registry, name, what);
  });

  test('spec §Pushing blobs: sessions of one name do not disturb each other', async () => {
    const name = registry.freshName();
    const all = Array.from({ length: 5 }, () => blob(10_000));
    await Promise.all(
      all.map(async (what) => {
        const half = location(await patch(await begin(name), what.bytes.subarray(0, 5000)));
        const whole = location(await patch(half, what.bytes.subarray(5000)));
        expect((await close(whole, what.digest)).status).toBe(201);
      }),
    );
    for (const what of all) await expectBlob(registry, name, what);
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
function cutMidway(
  origin: string,
  method: string,
  target: string,
  bytes: Uint8Array,
  length: number,
  how: 'closed' | 'reset',
): Promise<void> {
  const { pathname, search, hostname, port, host } = new URL(target, origin);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ''));
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.resume();
    socket.write(
      `${method} ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${length}\r\n\r\n`,
    );
    if (how === 'closed') socket.end(bytes);
    else socket.write(bytes, () => socket.resetAndDestroy());
  });
}
