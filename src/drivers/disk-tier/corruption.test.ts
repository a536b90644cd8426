/** A disk that gives other bytes than were written: every reader gets the right ones, or hears that the store has none. */
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BufferPool } from '../../http/buffers.ts';
import { sendSource } from '../../http/send-body.ts';
import { systemTimers } from '../../workers/timers.ts';
import { BLOCK_BYTES, SUM_BYTES } from './sums.ts';
import { blobOf, fileOf, flip, MiB, readBlob, Tiers, type Tier } from './disk-tier.fixture.ts';
import type { ByteRange, Source } from '../driver.ts';
import { all, expectFailure, rangeOf } from '../contract/store.contract.ts';

const SIZE = 2 * MiB + 5;
const bytes = blobOf(SIZE);

describe('a corrupted disk', () => {
  const tiers = new Tiers();
  let it: Tier;
  let key: string;
  let file: string;
  beforeEach(async () => {
    it = await tiers.make();
    ({ key, file } = await filled(bytes));
  });
  afterEach(async () => await tiers.close());

  async function filled(blob: Buffer): Promise<{ key: string; file: string }> {
    const made = await it.store.blob(blob);
    await readBlob(it.tier, made);
    await it.tier.idle();
    await readBlob(it.tier, made, { start: 0, end: 9 }); // this process knows it well
    it.store.streamed.length = 0;
    for (const what of Object.keys(it.counts)) delete it.counts[what as keyof typeof it.counts];
    return { key: made, file: fileOf(it.root, made) };
  }

  const opened = async (tier: Tier = it): Promise<Source> => (await tier.tier.open(key)) ?? expect.fail('it is gone');
  const isRight = (found: Buffer | undefined, { start, end }: ByteRange = { start: 0, end: SIZE - 1 }): void =>
    expect(found?.equals(bytes.subarray(start, end + 1))).toBe(true);

  describe.each([
    ['at its start', 0],
    ['in its middle', MiB + 1],
    ['at its end', SIZE - 1],
  ])('with a bit flipped %s', (_, at) => {
    const start = at - (at % BLOCK_BYTES);

    test('a reader by random access gets the right bytes, those from there on from the store', async () => {
      await flip(file, at);
      isRight(await readBlob(it.tier, key));
      expect(it.store.streamed).toEqual([{ key, range: { start, end: SIZE - 1 } }]);
      expect(it.counts).toEqual({ hit: 1, corrupt: 1 });
      expect(it.reports).toMatchObject([{ file, why: `the bytes from ${start} are not those that were written` }]);
      isRight(await readBlob(it.tier, key));
      await it.tier.idle();
      isRight(await readBlob(it.tier, key));
      expect(it.counts).toEqual({ hit: 2, corrupt: 1, miss: 1, stored: 1 });
      expect(it.store.open).toBe(0);
    });

    test('a reader by stream, too', async () => {
      await flip(file, at);
      const source = await opened();
      isRight(Buffer.concat(await all(source.stream({ start: 0, end: SIZE - 1 }))));
      isRight(Buffer.concat(await all(source.stream({ start: 0, end: SIZE - 1 })))); // from the store
      await source.close();
      expect(it.counts).toEqual({ hit: 1, corrupt: 1 });
      expect(it.store.open).toBe(0);
    });

    test('whoever reads beside it, too, and the file is dropped once', async () => {
      await flip(file, at);
      const sources = await Promise.all([opened(), opened(), opened(it.another())]);
      for (const source of sources) isRight(await rangeOf(source, { start: 0, end: SIZE - 1 }));
      await Promise.all(sources.map((source) => source.close()));
      expect(it.counts).toEqual({ hit: 2, corrupt: 1 });
    });

    test('a range of that block gets the right bytes, one beside it does not notice', async () => {
      await flip(file, at);
      const beside = (start + 4 * BLOCK_BYTES) % (SIZE - 5);
      const elsewhere = { start: beside + 10, end: beside + 1000 };
      isRight(await readBlob(it.tier, key, elsewhere), elsewhere);
      expect(it.counts).toEqual({ hit: 1 });
      const within = { start: Math.max(0, at - 2), end: Math.min(SIZE - 1, at + 2) };
      isRight(await readBlob(it.tier, key, within), within);
      expect(it.counts).toEqual({ hit: 2, corrupt: 1 });
    });
  });

  test('one of blocks in each other\'s place, or of zeros, gives neither', async () => {
    const handle = await open(file, 'r+');
    await handle.write(bytes, BLOCK_BYTES, BLOCK_BYTES, 5 * BLOCK_BYTES);
    await handle.close();
    isRight(await readBlob(it.tier, key));
    isRight(await readBlob(it.tier, key));
    await it.tier.idle();
    const again = await open(file, 'r+');
    await again.write(Buffer.alloc(4096), 0, 4096, 9 * BLOCK_BYTES);
    await again.close();
    isRight(await readBlob(it.tier, key));
    expect(it.counts).toEqual({ hit: 2, corrupt: 2, miss: 1, stored: 1 });
  });

  test.each([
    ['the first sum', SIZE],
    ['the last sum', SIZE + 32 * SUM_BYTES],
    ['the sum of the sums', -500],
    ['the description', -480],
    ['the padding', -1],
  ])('with a bit flipped in %s is not there for who opens it first', async (_, at) => {
    await flip(file, at);
    const another = it.another();
    isRight(await readBlob(another.tier, key));
    await another.tier.idle();
    isRight(await readBlob(another.tier, key));
    expect(another.counts).toEqual({ corrupt: 1, miss: 1, stored: 1, hit: 1 });
  });

  test('and a store that is down: the reader hears of it, and gets no wrong byte before', async () => {
    await flip(file, MiB + 1);
    it.store.gate = async () => Promise.reject(new Error('the store is down'));
    for (const how of ['read', 'stream'] as const) {
      const source = await opened(it.another());
      const seen = Buffer.alloc(SIZE);
      let length = 0;
      const reading = async (): Promise<void> => {
        if (how === 'stream') for await (const chunk of source.stream({ start: 0, end: SIZE - 1 })) length += chunk.copy(seen, length);
        else for (let count = -1; count !== 0; length += count) count = (await source.read?.(seen.subarray(length, length + 100_000), length)) ?? 0;
      };
      await expect(reading()).rejects.toThrow('the store is down');
      expect(length).toBeLessThanOrEqual(MiB);
      expect(seen.subarray(0, length).equals(bytes.subarray(0, length))).toBe(true);
      it.store.gate = async () => undefined;
      expect(await source.read?.(seen.subarray(0, 100), MiB + 1)).toBeGreaterThan(0); // it is back
      expect(seen.subarray(0, 50).equals(bytes.subarray(MiB + 1, MiB + 51))).toBe(true);
      await source.close();
      it.store.gate = async () => Promise.reject(new Error('the store is down'));
      await restored();
    }
    expect(it.store.open).toBe(0);
  });

  /** The file as it was, flipped anew. */
  async function restored(): Promise<void> {
    const { gate } = it.store;
    it.store.gate = async () => undefined;
    await readBlob(it.tier, key);
    await it.tier.idle();
    await flip(file, MiB + 1);
    it.store.gate = gate;
  }

  test('and a store that gives wrong bytes as well: neither\'s are given', async () => {
    await flip(file, MiB + 1);
    it.store.spoil = (piece) => Buffer.alloc(piece.length);
    const source = await opened();
    expect((await rangeOf(source, { start: 0, end: MiB - 1 })).equals(bytes.subarray(0, MiB))).toBe(true);
    await expectFailure(rangeOf(source, { start: MiB, end: SIZE - 1 }), 'retryable');
    it.store.spoil = (piece) => piece.subarray(0, 10);
    await expectFailure(rangeOf(source, { start: MiB, end: SIZE - 1 }), 'retryable');
    await source.close();
  });

  test('whatever is flipped, and however it is read', async () => {
    const size = 5 * BLOCK_BYTES + 77;
    const small = blobOf(size, 9);
    const spot = fc.record({ at: fc.nat(size + 6 * SUM_BYTES + 511), known: fc.boolean() });
    const reading = fc.record({ start: fc.nat(size - 1), length: fc.integer({ min: 1, max: size }), piece: fc.integer({ min: 1000, max: 3 * BLOCK_BYTES }), streams: fc.boolean() });
    const { key: smallKey, file: smallFile } = await filled(small);
    await fc.assert(
      fc.asyncProperty(fc.array(spot, { minLength: 1, maxLength: 3 }), fc.array(reading, { maxLength: 4 }), async (spots, readings) => {
        await rm(smallFile, { force: true });
        await readBlob(it.tier, smallKey);
        await it.tier.idle();
        for (const { at } of spots) await flip(smallFile, at);
        const { tier } = spots[0]?.known === true ? it : it.another();
        const source = await tier.open(smallKey);
        if (source === undefined) throw new Error('it is gone');
        for (const { start, length, piece, streams } of readings) {
          const end = Math.min(size, start + length);
          const found = Buffer.alloc(end - start);
          if (streams || source.read === undefined) expect((await rangeOf(source, { start, end: end - 1 })).equals(small.subarray(start, end))).toBe(true);
          else {
            for (let done = 0; done < found.length; ) done += await source.read(found.subarray(done, done + piece), start + done);
            expect(found.equals(small.subarray(start, end))).toBe(true);
          }
        }
        await source.close();
        await tier.idle();
      }),
      { numRuns: 60 },
    );
    expect(it.store.open).toBe(0);
  });

  describe('while it is filled', () => {
    test.each(['this process', 'another process'])('a reader in %s that is far behind gets the right bytes', async (where) => {
      const blob = blobOf(6 * MiB, 3);
      const fresh = await it.store.blob(blob);
      const half = Promise.withResolvers<void>();
      const reached = Promise.withResolvers<void>();
      it.store.gate = async (position) => {
        if (position < 4 * MiB) return;
        reached.resolve();
        await half.promise;
      };
      const first = readBlob(it.tier, fresh);
      await reached.promise;
      const filling = join(it.root, 'v1/filling');
      const [name = ''] = await readdir(filling);
      await flip(join(filling, name), MiB + 5);
      it.store.gate = async () => undefined;
      const source = await (where === 'this process' ? it : it.another()).tier.open(fresh);
      if (source === undefined) throw new Error('it is gone');
      const second = rangeOf(source, { start: 0, end: blob.length - 1 });
      half.resolve();
      expect((await first)?.equals(blob)).toBe(true);
      expect((await second).equals(blob)).toBe(true);
      await source.close();
      await it.tier.idle();
      expect((await readBlob(it.tier, fresh))?.equals(blob)).toBe(true); // what was kept is bad
      expect(it.counts.corrupt).toBe(1);
      await expect(stat(fileOf(it.root, fresh))).rejects.toThrow('ENOENT');
    });
  });

  describe('over HTTP, a blob of 40 MiB', () => {
    const large = blobOf(40 * MiB + 5, 5);
    const pool = new BufferPool({ maxBytes: 8 * MiB, idleMs: 1000, timers: systemTimers });
    let server: Server;
    let url: string;
    let largeKey: string;
    let failed: unknown[];
    let asFilled: Buffer | undefined;
    beforeEach(async () => {
      failed = [];
      largeKey = await it.store.blob(large);
      const largeFile = fileOf(it.root, largeKey);
      if (asFilled === undefined) {
        await filled(large);
        asFilled = await readFile(largeFile);
      } else {
        await mkdir(dirname(largeFile), { recursive: true });
        await writeFile(largeFile, asFilled);
      }
      for (const what of Object.keys(it.counts)) delete it.counts[what as keyof typeof it.counts];
      server = createServer((request, response) => {
        const [, start = 0, end = large.length - 1] = (/(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? []).map(Number);
        response.writeHead(200, { 'content-length': end + 1 - start });
        void it.tier.open(largeKey).then(async (source) => {
          if (source === undefined) return response.destroy();
          await sendSource(response, source, [{ start, end }], { pool, stallMs: 10_000, sent: () => undefined }).catch((error: unknown) => failed.push(error));
          return await source.close();
        });
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    });
    afterEach(() => server.close().closeAllConnections());

    const get = async (range?: string): Promise<Buffer> => Buffer.from(await (await fetch(url, range === undefined ? {} : { headers: { range } })).arrayBuffer());

    test.each([0, 20 * MiB + 3, 40 * MiB + 4])('is whole for the client, with byte %d flipped', async (at) => {
      await flip(fileOf(it.root, largeKey), at);
      expect((await get()).equals(large)).toBe(true);
      expect(it.counts).toEqual({ hit: 1, corrupt: 1 });
      expect(failed).toEqual([]);
    });

    test('and a range of it is right', async () => {
      await flip(fileOf(it.root, largeKey), 20 * MiB);
      const start = 20 * MiB - 1000;
      expect((await get(`bytes=${start}-${start + 3 * MiB}`)).equals(large.subarray(start, start + 3 * MiB + 1))).toBe(true);
      expect(it.counts).toEqual({ hit: 1, corrupt: 1 });
    });

    test('and with the store down it is cut off, never ended as if it were whole', async () => {
      await flip(fileOf(it.root, largeKey), 20 * MiB);
      it.store.gate = async () => Promise.reject(new Error('the store is down'));
      await expect(get()).rejects.toThrow('terminated');
      expect(failed).toMatchObject([{ message: 'the store is down' }]);
    });
  });
});
