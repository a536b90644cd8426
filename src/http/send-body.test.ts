import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Source } from '../drivers/driver.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { ManualTimers } from '../upstream/fill.fixture.ts';
import { BufferPool } from './buffers.ts';
import { ClientLeft } from './exchange.ts';
import { multipart, type Section } from './multipart.ts';
import { sendChunks, sendSource, type SendOptions } from './send-body.ts';
import { serve, type TestServer } from './server.fixture.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const BLOB = randomBytes(3 * MIB + 12_345);
const WHOLE: readonly Section[] = [{ start: 0, end: BLOB.length - 1 }];

let pool: BufferPool;
let server: TestServer;
let sent: number;
let handle: (res: ServerResponse, options: SendOptions) => Promise<void>;
let stallMs: number;

beforeEach(async () => {
  pool = new BufferPool({ maxBytes: 2 * MIB, idleMs: 1, timers: new ManualTimers() });
  sent = 0;
  stallMs = 60_000;
  server = await serve((_, res) => handle(res, { pool, stallMs, sent: (bytes) => void (sent += bytes) }));
});
afterEach(async () => {
  await server.close();
  await Promise.allSettled(server.outcomes);
  pool.close();
  if (pool.allocatedBytes > 0) throw new Error(`${pool.allocatedBytes} bytes of buffers did not come back`);
});

async function blob(): Promise<Source> {
  const driver = memoryDriver();
  await driver.put('blob', BLOB);
  const source = await driver.open('blob');
  if (source === undefined) throw new Error('it was just put');
  return source;
}

async function fetchAll(agent?: Agent): Promise<{ res: IncomingMessage; body: Buffer }> {
  const [res] = (await once(get({ port: server.port, host: '127.0.0.1', agent: agent ?? false }), 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of res as AsyncIterable<Buffer>) chunks.push(chunk);
  return { res, body: Buffer.concat(chunks) };
}

describe('a source', () => {
  it('arrives byte for byte, again and again on one connection', async () => {
    const source = await blob();
    handle = (res, options) => {
      res.writeHead(200, ['Content-Length', String(BLOB.length)]);
      return sendSource(res, source, WHOLE, options);
    };
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; i < 3; i++) expect((await fetchAll(agent)).body.equals(BLOB)).toBe(true);
    agent.destroy();
    await Promise.all(server.outcomes);
    expect(sent).toBe(3 * BLOB.length);
  });

  it('arrives in sections, many small ones too', async () => {
    const source = await blob();
    const parts = Array.from({ length: 500 }, (_, i) => ({ start: i * 6000, end: i * 6000 + 99 + i }));
    const { contentLength, sections } = multipart(parts, BLOB.length, 'application/octet-stream', 'xyz');
    handle = (res, options) => {
      res.writeHead(206, ['Content-Length', String(contentLength)]);
      return sendSource(res, source, sections, options);
    };
    const { body } = await fetchAll();
    expect(body.length).toBe(contentLength);
    const expected = sections.map((one) => (one instanceof Uint8Array ? one : BLOB.subarray(one.start, one.end + 1)));
    expect(body.equals(Buffer.concat(expected))).toBe(true);
  });

  it('that cannot be read at random is streamed', async () => {
    const source = streamOnly(await blob());
    handle = (res, options) => {
      res.writeHead(206, ['Content-Length', String(MIB + 2)]);
      return sendSource(res, source, [Buffer.from('<'), { start: 5, end: MIB + 4 }, Buffer.from('>')], options);
    };
    expect((await fetchAll()).body.equals(Buffer.concat([Buffer.from('<'), BLOB.subarray(5, MIB + 5), Buffer.from('>')]))).toBe(true);
  });

  it('is sent to many more clients at once than there are buffers', async () => {
    const source = await blob();
    const range = { start: 0, end: 700_000 - 1 };
    handle = (res, options) => {
      res.writeHead(206, ['Content-Length', '700000']);
      return sendSource(res, source, [range], options);
    };
    const bodies = await Promise.all(Array.from({ length: 60 }, () => fetchAll()));
    expect(bodies.every(({ body }) => body.equals(BLOB.subarray(0, 700_000)))).toBe(true);
    expect(pool.allocatedBytes).toBeLessThanOrEqual(2 * MIB);
  });

  it.each([
    ['fails', async () => Promise.reject(new Error('bad sector')), 'bad sector'],
    ['is shorter than promised', async () => 0, 'the source ends at byte 1048576'],
  ])('that %s in the middle destroys the connection', async (_, rest, message) => {
    const source = await blob();
    const read: Source['read'] = (into, position) => (position < MIB ? (source.read?.(into, position) ?? rest()) : rest());
    handle = (res, options) => {
      res.writeHead(200, ['Content-Length', String(BLOB.length)]);
      return sendSource(res, { ...streamOnly(source), read }, WHOLE, options);
    };
    await expect(fetchAll()).rejects.toThrow('aborted');
    await expect(server.outcomes[0]).rejects.toThrow(message);
  });
});

describe('a stream', () => {
  it.each([[BLOB.length], [undefined]])('arrives byte for byte, promised to have %j bytes', async (length) => {
    handle = (res, options) => {
      res.writeHead(200, length === undefined ? [] : ['Content-Length', String(length)]);
      return sendChunks(res, () => pieces(BLOB, 70_000), length, options);
    };
    expect((await fetchAll()).body.equals(BLOB)).toBe(true);
    await server.outcomes[0];
    expect(sent).toBe(BLOB.length);
  });

  it.each([0, undefined])('of no bytes, promised to have %j, ends', async (length) => {
    handle = (res, options) => {
      res.writeHead(200, length === undefined ? [] : ['Content-Length', String(length)]);
      return sendChunks(res, () => pieces(Buffer.alloc(0), 1), length, options);
    };
    expect((await fetchAll()).body.length).toBe(0);
  });

  it.each([
    ['is shorter than promised', MIB, 2 * MIB, 'ends after 1048576 of the 2097152'],
    ['is longer than promised', 2 * MIB, MIB - 1, 'longer than the 1048575'],
  ])('that %s destroys the connection', async (_, real, promised, message) => {
    handle = (res, options) => {
      res.writeHead(200, ['Content-Length', String(promised)]);
      return sendChunks(res, () => pieces(BLOB.subarray(0, real), 60_000), promised, options);
    };
    await expect(fetchAll()).rejects.toThrow('aborted');
    await expect(server.outcomes[0]).rejects.toThrow(message);
  });

  it('that fails destroys the connection, chunked or not', async () => {
    handle = (res, options) => {
      res.writeHead(200);
      return sendChunks(
        res,
        async function* () {
          yield BLOB.subarray(0, 1000);
          await Promise.resolve();
          throw new Error('digest mismatch');
        },
        undefined,
        options,
      );
    };
    await expect(fetchAll()).rejects.toThrow(/aborted|socket hang up/); // by whether the head went out before
    await expect(server.outcomes[0]).rejects.toThrow('digest mismatch');
  });
});

describe('a client', () => {
  it('that leaves frees everything at once', async () => {
    const source = await blob();
    handle = (res, options) => {
      res.writeHead(200, ['Content-Length', String(1000 * BLOB.length)]);
      return sendSource(
        res,
        source,
        Array.from({ length: 1000 }, () => WHOLE[0] as Section),
        options,
      );
    };
    const request = get({ port: server.port, host: '127.0.0.1', agent: false });
    request.on('error', () => undefined);
    const [res] = (await once(request, 'response')) as [IncomingMessage];
    await once(res, 'data');
    res.destroy();
    await expect(server.outcomes[0]).rejects.toThrow(ClientLeft);
    expect(sent).toBeLessThan(1000 * BLOB.length);
  });

  it('that leaves while a stream has nothing to give aborts the stream', async () => {
    const aborted = Promise.withResolvers<unknown>();
    handle = (res, options) => {
      res.writeHead(200);
      return sendChunks(
        res,
        async function* (signal) {
          yield BLOB.subarray(0, 1000);
          await once(signal, 'abort');
          aborted.resolve(signal.reason);
          signal.throwIfAborted();
        },
        undefined,
        options,
      );
    };
    const request = get({ port: server.port, host: '127.0.0.1', agent: false });
    request.on('error', () => undefined);
    const [res] = (await once(request, 'response')) as [IncomingMessage];
    await once(res, 'data');
    res.destroy();
    expect(await aborted.promise).toBeInstanceOf(ClientLeft);
    await expect(server.outcomes[0]).rejects.toThrow(ClientLeft);
  });

  it.each(['source', 'stream'])('that takes nothing is cut off, and the %s is not read far ahead of it', async (kind) => {
    stallMs = 100;
    const source = await blob();
    let given = 0;
    const endless = async function* (): AsyncGenerator<Buffer> {
      for (;;) {
        given += 64 * KIB;
        yield BLOB.subarray(0, 64 * KIB);
        await Promise.resolve();
      }
    };
    handle = (res, options) => {
      res.writeHead(200);
      if (kind === 'stream') return sendChunks(res, endless, undefined, options);
      return sendSource(
        res,
        source,
        Array.from({ length: 1000 }, () => WHOLE[0] as Section),
        options,
      );
    };
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.pause();
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(socket, 'connect');
    while (server.outcomes.length === 0) await new Promise(setImmediate);
    await expect(server.outcomes[0]).rejects.toThrow('the client took nothing for too long');
    expect(given).toBeLessThan(sent + MIB);
    socket.destroy();
  });

  it('that is gone before the body begins is noticed', async () => {
    const source = await blob();
    handle = async (res, options) => {
      res.destroy();
      await sendSource(res, source, WHOLE, options);
    };
    await expect(fetchAll()).rejects.toThrow('socket hang up');
    await expect(server.outcomes[0]).rejects.toThrow(ClientLeft);
  });
});

/** The same without random access. */
function streamOnly(source: Source): Source {
  return { stat: source.stat, stream: (range, options) => source.stream(range, options), close: () => source.close() };
}

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) {
    await Promise.resolve();
    yield bytes.subarray(at, at + size);
  }
}
