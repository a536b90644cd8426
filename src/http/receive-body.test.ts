import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runningHash, type RunningHash } from '../content/running-hash.ts';
import type { Slab } from '../content/intake.ts';
import { DriverError, type Appender, type AssemblyState, type Driver } from '../drivers/driver.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { digestOf } from '../oci/digest.ts';
import { hasCode } from '../oci/errors.ts';
import { ManualTimers } from '../upstream/fill.fixture.ts';
import { BufferPool } from './buffers.ts';
import { ClientLeft } from './exchange.ts';
import { receiveBody, type Received, type ReceiveOptions } from './receive-body.ts';
import { serve, type TestServer } from './server.fixture.ts';

const MIB = 1024 * 1024;
const BLOB = randomBytes(5 * MIB + 4321);

let pool: BufferPool;
let timers: ManualTimers;
let server: TestServer;
let driver: Driver;
let hash: RunningHash;
let state: AssemblyState;
let uploads = 0;
let received: number;
let options: Partial<ReceiveOptions>;
let appending: (appender: Appender) => Appender;

beforeEach(async () => {
  timers = new ManualTimers();
  pool = new BufferPool({ maxBytes: 4 * MIB, idleMs: 1, timers: new ManualTimers() });
  driver = memoryDriver();
  received = 0;
  options = {};
  appending = (appender) => appender;
  begin();
  server = await serve(async (req, res) => {
    const upload = { hash, state };
    const appender = await driver.assemblies.append(upload.state);
    try {
      const outcome = await receiveBody(req, appending(appender), upload.hash, {
        pool,
        timers,
        stallMs: 4_000,
        maxBytes: 100 * MIB,
        received: (bytes) => void (received += bytes),
        ...options,
      });
      state = await appender.finish();
      return outcome;
    } catch (error) {
      await appender.abandon();
      throw error;
    } finally {
      if (!res.destroyed) res.end();
    }
  });
});
afterEach(async () => {
  await server.close();
  await Promise.allSettled(server.outcomes);
  pool.close();
  if (pool.allocatedBytes > 0) throw new Error(`${pool.allocatedBytes} bytes of buffers did not come back`);
  if (timers.pending.length > 0) throw new Error('a timer was left running');
});

/** A new upload. */
function begin(): void {
  hash = runningHash('sha256');
  state = driver.assemblies.create(`uploads/${++uploads}`);
}

async function stored(): Promise<Buffer> {
  const source = await driver.assemblies.open(state);
  const bytes = Buffer.alloc(state.offset);
  for (let at = 0; at < bytes.length;) at += (await source?.read?.(bytes.subarray(at), at)) ?? bytes.length;
  return bytes;
}

function put(headers: Record<string, string | number> = {}): ClientRequest {
  const client = request({ port: server.port, host: '127.0.0.1', method: 'PUT', agent: false, headers });
  client.on('error', () => undefined); // some are cut off
  client.flushHeaders();
  return client;
}

async function arrived(bytes: number): Promise<void> {
  while (received < bytes) await new Promise(setImmediate);
}

async function outcome(index = 0): Promise<Received> {
  while (server.outcomes.length <= index) await new Promise(setImmediate);
  return (await server.outcomes[index]) as Received; // what the handler returns
}

async function finished(client: ClientRequest): Promise<void> {
  const [res] = (await once(client, 'response')) as [IncomingMessage];
  res.resume();
  await once(res, 'end');
}

describe('a whole body', () => {
  it.each([0, 1, 16_384, 65_537, 512 * 1024, MIB + 1, BLOB.length])('of %i bytes, sized or chunked, is hashed and stored', async (size) => {
    const bytes = BLOB.subarray(0, size);
    for (const headers of [{ 'content-length': size }, { 'transfer-encoding': 'chunked' }]) {
      begin();
      const client = put(headers);
      client.end(bytes);
      await finished(client);
      expect((await stored()).equals(bytes)).toBe(true);
      expect(hash.digest()).toBe(digestOf(bytes));
    }
    expect(await outcome(0)).toEqual({ bytes: size });
    expect(await outcome(1)).toEqual({ bytes: size });
    expect(received).toBe(2 * size);
  });

  it('may come in several requests', async () => {
    for (const [start, end] of [
      [0, 1000],
      [1000, 2 * MIB],
      [2 * MIB, BLOB.length],
    ] as const) {
      const client = put();
      client.end(BLOB.subarray(start, end));
      await finished(client);
    }
    expect((await stored()).equals(BLOB)).toBe(true);
    expect(hash.digest()).toBe(digestOf(BLOB));
  });

  it('comes from many more clients at once than there are buffers', async () => {
    const digests = new Map<AssemblyState, RunningHash>();
    await server.close();
    const ended: AssemblyState[] = [];
    server = await serve(async (req, res) => {
      const running = runningHash('sha256');
      const appender = await driver.assemblies.append(driver.assemblies.create(`uploads/${Math.random()}`));
      await receiveBody(req, appender, running, { pool, timers, stallMs: 60_000, maxBytes: 100 * MIB, received: () => undefined });
      const end = await appender.finish();
      digests.set(end, running);
      ended.push(end);
      res.end();
    });
    const bytes = BLOB.subarray(0, MIB);
    await Promise.all(
      Array.from({ length: 40 }, async () => {
        const client = put();
        client.end(bytes);
        await finished(client);
      }),
    );
    expect(ended).toHaveLength(40);
    for (const running of digests.values()) expect(running.digest()).toBe(digestOf(bytes));
    expect(pool.allocatedBytes).toBeLessThanOrEqual(4 * MIB);
  });
});

describe('a body that breaks off', () => {
  it('keeps what came, and the client can go on from there', async () => {
    const client = put({ 'content-length': BLOB.length });
    client.write(BLOB.subarray(0, 3 * MIB + 7));
    await arrived(3 * MIB + 7);
    client.destroy();
    expect(await outcome()).toEqual({ bytes: 3 * MIB + 7, failure: expect.any(ClientLeft) });
    while (state.offset === 0) await new Promise(setImmediate);
    expect(state.offset).toBe(3 * MIB + 7);
    expect(hash.digest()).toBe(digestOf(BLOB.subarray(0, 3 * MIB + 7)));
    const rest = put();
    rest.end(BLOB.subarray(3 * MIB + 7));
    await finished(rest);
    expect((await stored()).equals(BLOB)).toBe(true);
    expect(hash.digest()).toBe(digestOf(BLOB));
  });

  it('of a client that gives nothing is cut off, and what came is kept', async () => {
    const client = put({ 'content-length': 100 });
    const closed = new Promise((resolve) => client.once('close', resolve));
    client.write(BLOB.subarray(0, 10));
    await arrived(10);
    let waited = 0;
    while (timers.pending.length > 0) waited += await timers.pass();
    expect(waited).toBeGreaterThanOrEqual(4_000);
    expect(waited).toBeLessThanOrEqual(5_000);
    expect(await outcome()).toEqual({ bytes: 10, failure: expect.any(ClientLeft) });
    await closed;
    while (state.offset === 0) await new Promise(setImmediate);
    expect((await stored()).equals(BLOB.subarray(0, 10))).toBe(true);
  });

  it('a client that gives little, but something, is not cut off', async () => {
    const client = put({ 'content-length': 20 });
    for (let i = 0; i < 19; i++) {
      client.write(BLOB.subarray(i, i + 1));
      await arrived(i + 1);
      for (let quarter = 0; quarter < 4; quarter++) await timers.pass();
    }
    client.end(BLOB.subarray(19, 20));
    await finished(client);
    expect(await outcome()).toEqual({ bytes: 20 });
  });

  it('a client that waits for a slow store is not cut off', async () => {
    const writing = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    appending = (appender) => ({
      write: async (chunk) => {
        writing.resolve();
        await go.promise;
        await appender.write(chunk);
      },
      finish: () => appender.finish(),
      abandon: () => appender.abandon(),
    });
    const client = put();
    client.end(BLOB);
    await writing.promise;
    // Until the buffers are full and the request is not read any more: then time does not count.
    await arrived(1.5 * MIB);
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
    expect(received).toBeLessThan(3 * MIB);
    for (let i = 0; i < 100; i++) await timers.pass();
    go.resolve();
    await finished(client);
    expect(await outcome()).toEqual({ bytes: BLOB.length });
    expect(hash.digest()).toBe(digestOf(BLOB));
  });
});

describe('bounds', () => {
  it('more than a blob may have is refused', async () => {
    options = { maxBytes: MIB };
    const client = put();
    client.end(BLOB);
    await expect(outcome()).rejects.toSatisfy((error: unknown) => hasCode(error, 'BLOB_TOO_LARGE'));
    expect(state.offset).toBe(0);
    client.destroy();
  });

  it('more than a Content-Range announced is refused', async () => {
    options = { expectedBytes: 10 };
    put().end(BLOB.subarray(0, 11));
    await expect(outcome()).rejects.toSatisfy((error: unknown) => hasCode(error, 'SIZE_INVALID'));
  });

  it('less than it announced is kept, and told', async () => {
    options = { expectedBytes: 10 };
    put().end(BLOB.subarray(0, 9));
    expect(await outcome()).toEqual({ bytes: 9, failure: expect.toSatisfy((error: unknown) => hasCode(error, 'SIZE_INVALID')) });
  });

  it('a Content-Range that differs from the Content-Length is refused before anything is read', async () => {
    options = { expectedBytes: 10 };
    put({ 'content-length': 9 }).end(BLOB.subarray(0, 9));
    await expect(outcome()).rejects.toSatisfy((error: unknown) => hasCode(error, 'SIZE_INVALID'));
    expect(received).toBe(0);
  });
});

it('a store that is full fails the request, with its reason', async () => {
  let writes = 0;
  appending = (appender) => ({
    write: async (chunk) => {
      if (++writes > 2) throw new DriverError('full', 'no space left');
      await appender.write(chunk);
    },
    finish: () => appender.finish(),
    abandon: () => appender.abandon(),
  });
  const client = put();
  client.end(BLOB);
  await expect(outcome()).rejects.toThrow('no space left');
  client.destroy();
});

it('a client that idles with a buffer half full lets it go when others need it', async () => {
  pool = new BufferPool({ maxBytes: 512 * 1024, idleMs: 1, timers: new ManualTimers() });
  const slow = put();
  slow.write(BLOB.subarray(0, 1000));
  await arrived(1000);
  const hog = pool.join(1);
  const taken: Slab[] = [];
  for (let slab = hog.tryTake(1); slab !== undefined; slab = hog.tryTake(1)) taken.push(slab);
  expect(pool.allocatedBytes).toBe(512 * 1024); // all there is
  const [slowHash] = [hash];
  begin();
  const other = put();
  other.end(BLOB);
  await finished(other);
  expect(hash.digest()).toBe(digestOf(BLOB));
  slow.end(BLOB.subarray(1000, 2000));
  await finished(slow);
  expect(slowHash.digest()).toBe(digestOf(BLOB.subarray(0, 2000)));
  for (const slab of taken) slab.release();
});
