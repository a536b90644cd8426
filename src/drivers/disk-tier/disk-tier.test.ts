/** The disk tier over other drivers: the contract, what it keeps and for how long, who downloads, and what it verifies. */
import { stat, truncate, writeFile } from 'node:fs/promises';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOfData } from '../../content/keys.ts';
import { systemTimers } from '../../workers/timers.ts';
import { blobOf, fileOf, flip, MiB, readBlob, Tiers, type TellingStore, type Tier } from './disk-tier.fixture.ts';
import { diskTier } from './disk-tier.ts';
import { driverContract } from '../contract/driver.contract.ts';
import type { Driver } from '../driver.ts';
import { openFilesystem } from '../filesystem/filesystem.ts';
import { memoryDriver } from '../memory/memory.ts';
import { all, expectFailure, rangeOf } from '../contract/store.contract.ts';

for (const [name, makeInner] of [
  ['memory', async () => memoryDriver],
  ['the filesystem driver', async (root: string) => () => openFilesystem({ root: join(root, 'store') })],
] as const) {
  driverContract(`the disk tier over ${name}`, async () => {
    const root = await mkdtemp(join(tmpdir(), 'umbra-disk-'));
    const open = await makeInner(root);
    const memory = name === 'memory' ? memoryDriver() : undefined;
    return {
      open: async () =>
        diskTier(memory ?? (await open()), {
          root: join(root, 'disk'),
          maxBytes: 100 * MiB,
          digestOf: digestOfData,
          timers: systemTimers,
          nowMs: Date.now,
          events: { count: () => undefined, used: () => undefined, report: () => undefined },
        }),
      close: async () => await rm(root, { recursive: true }),
    };
  });
}

describe('the disk tier', () => {
  const tiers = new Tiers();
  let it: Tier;
  beforeEach(async () => {
    it = await tiers.make();
  });
  afterEach(async () => await tiers.close());

  test('a blob that was read is read from the disk from then on, by random access', async () => {
    const bytes = blobOf(3 * MiB + 5);
    const key = await it.store.blob(bytes);
    expect((await readBlob(it.tier, key))?.equals(bytes)).toBe(true);
    await it.tier.idle();
    for (const reader of [it, it.another()]) {
      const source = await reader.tier.open(key);
      expect(source?.read).toBeDefined();
      expect(source?.stat).toEqual(await it.store.driver.head(key));
      await source?.close();
      expect((await readBlob(reader.tier, key))?.equals(bytes)).toBe(true);
      expect((await readBlob(reader.tier, key, { start: MiB, end: 2 * MiB }))?.equals(bytes.subarray(MiB, 2 * MiB + 1))).toBe(true);
    }
    expect(it.store.streamed.length).toBe(1);
    expect(it.counts).toEqual({ miss: 1, stored: 1, hit: 3 });
    expect(it.store.open).toBe(0);
  });

  test('random access ends where the blob does, not where its file does', async () => {
    const bytes = blobOf(1000);
    const key = await it.store.blob(bytes);
    await readBlob(it.tier, key);
    await it.tier.idle();
    const source = await it.tier.open(key);
    const into = Buffer.alloc(2000);
    expect(await source?.read?.(into, 0)).toBe(1000);
    expect(await source?.read?.(into, 990)).toBe(10);
    expect(await source?.read?.(into, 1000)).toBe(0);
    expect(await source?.read?.(into, 1200)).toBe(0);
    expect(source && (await rangeOf(source, { start: 900, end: 5000 })).equals(bytes.subarray(900))).toBe(true);
    await source?.close();
  });

  test('a small blob read whole is kept as well', async () => {
    const bytes = blobOf(2000);
    const key = await it.store.blob(bytes);
    const first = await it.tier.get(key);
    await it.tier.idle();
    await it.store.driver.delete([key]); // so that only the disk can have it
    expect(await it.tier.get(key)).toEqual(first);
    expect(first?.bytes.equals(bytes)).toBe(true);
    await expectFailure(it.tier.get(key, { maxBytes: 1999 }), 'permanent');
  });

  test('records are never kept', async () => {
    for (const key of ['repos/main/docker.io/library/x/_tags/latest', 'blobs/sha256/aa/aaaa/current', 'uploads/1/state']) {
      await it.store.driver.put(key, Buffer.from('one'));
      await it.tier.get(key);
      await readBlob(it.tier, key);
      await it.store.driver.put(key, Buffer.from('two'));
      expect((await it.tier.get(key))?.bytes.toString()).toBe('two');
      expect((await readBlob(it.tier, key))?.toString()).toBe('two');
    }
    await it.tier.idle();
    expect(await it.files()).toEqual([]);
    expect(it.counts).toEqual({});
  });

  test('readers at once cost the store one reading', async () => {
    const bytes = blobOf(5 * MiB);
    const key = await it.store.blob(bytes);
    const read = await Promise.all(Array.from({ length: 8 }, () => readBlob(it.tier, key)));
    for (const each of read) expect(each?.equals(bytes)).toBe(true);
    expect(it.store.streamed.length).toBe(1);
  });

  test('another process follows the fill of the first', async () => {
    const bytes = blobOf(2 * MiB);
    const key = await it.store.blob(bytes);
    const other = it.another();
    const half = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    it.store.gate = async (position) => {
      if (position < MiB) return;
      reached.resolve();
      await half.promise;
    };
    const first = readBlob(it.tier, key);
    await reached.promise;
    const second = readBlob(other.tier, key);
    half.resolve();
    expect((await first)?.equals(bytes)).toBe(true);
    expect((await second)?.equals(bytes)).toBe(true);
    expect(it.store.streamed.length).toBe(1);
  });

  test('a reader that leaves does not end a fill that is nearly done, and ends one that is not', async () => {
    const reach = async (size: number, at: number): Promise<void> => {
      const key = await it.store.blob(blobOf(size));
      const source = await it.tier.open(key);
      let seen = 0;
      for await (const chunk of source?.stream({ start: 0, end: size - 1 }) ?? []) if ((seen += chunk.length) > at) break;
      await source?.close();
      await it.tier.idle();
    };
    await reach(2 * MiB, 0);
    expect(it.counts).toEqual({ miss: 1, stored: 1 });
    it.store.gate = async (position) => (position > MiB ? await new Promise((resolve) => setImmediate(resolve)) : undefined);
    await reach(40 * MiB, 0);
    expect(it.counts).toEqual({ miss: 2, stored: 1, abandoned: 1 });
    expect((await it.files()).length).toBe(1);
    expect(it.store.open).toBe(0);
  });

  describe('ranges of a blob that is not there', () => {
    const size = 8 * MiB;
    test('small ones come from the store, until a quarter was asked for', async () => {
      const bytes = blobOf(size);
      const key = await it.store.blob(bytes);
      for (let part = 0; part < 4; part++) {
        const range = { start: part * 512 * 1024, end: (part + 1) * 512 * 1024 - 1 };
        expect((await readBlob(it.tier, key, range))?.equals(bytes.subarray(range.start, range.end + 1))).toBe(true);
        await it.tier.idle();
        expect((await it.files()).length).toBe(part < 3 ? 0 : 1);
      }
    });

    test('one far ahead of the fill it begins comes from the store', async () => {
      const bytes = blobOf(size);
      const key = await it.store.blob(bytes);
      const range = { start: 5 * MiB, end: size - 1 };
      expect((await readBlob(it.tier, key, range))?.equals(bytes.subarray(range.start))).toBe(true);
      await it.tier.idle();
      expect(it.store.streamed.map((one) => one.range)).toEqual(expect.arrayContaining([range, { start: 0, end: size - 1 }]));
      expect(it.counts.stored).toBe(1);
    });
  });

  describe('verified', () => {
    test('when filled: wrong bytes are not kept, not completed, and reported', async () => {
      const key = await it.store.blob(blobOf(MiB));
      it.store.spoil = (piece) => Buffer.concat([piece.subarray(1), Buffer.from('x')]);
      await expectFailure(readBlob(it.tier, key), 'retryable');
      await it.tier.idle();
      expect(it.counts).toMatchObject({ mismatch: 1 });
      expect(it.reports.map(({ kind }) => kind)).toEqual(['the store gave bytes that do not have their digest']);
      expect(await it.files()).toEqual([]);
      it.store.spoil = (piece) => piece;
      expect((await readBlob(it.tier, key))?.equals(blobOf(MiB))).toBe(true);
    });

    test('the last byte waits for it', async () => {
      const size = MiB;
      const key = await it.store.blob(blobOf(size));
      const source = await it.tier.open(key);
      it.store.spoil = (piece) => Buffer.alloc(piece.length);
      let seen = 0;
      const reading = (async () => {
        for await (const chunk of source?.stream({ start: 0, end: size - 1 }) ?? []) seen += chunk.length;
      })();
      await expectFailure(reading, 'retryable');
      expect(seen).toBe(size - 1);
      await source?.close();
    });

    test.each([
      ['cut', (file: string) => truncate(file, 1000)],
      ['empty', (file: string) => truncate(file, 0)],
      ['something else', (file: string) => writeFile(file, blobOf(2 * MiB, 7))],
      ['without its end', async (file: string) => await truncate(file, (await stat(file)).size - 1)],
    ])('at every open: a file that is %s is dropped and fetched again', async (_, spoil) => {
      const bytes = blobOf(2 * MiB);
      const key = await it.store.blob(bytes);
      await readBlob(it.tier, key);
      await it.tier.idle();
      await spoil(fileOf(it.root, key));
      expect((await readBlob(it.tier, key))?.equals(bytes)).toBe(true);
      await it.tier.idle();
      expect(it.counts).toEqual({ miss: 2, stored: 2, corrupt: 1 });
      expect(it.reports.length).toBe(1);
      expect((await readBlob(it.tier, key))?.equals(bytes)).toBe(true);
      expect(it.counts.hit).toBe(1);
    });

    test('now and then in the background: a flipped bit is found, and the blob fetched again', async () => {
      const bytes = blobOf(MiB);
      const key = await it.store.blob(bytes);
      await readBlob(it.tier, key);
      await it.tier.idle();
      const file = fileOf(it.root, key);
      await flip(file, 500_000);
      const looking = it.another({ random: () => 0 });
      await readBlob(looking.tier, key, { start: 0, end: 9 });
      await looking.tier.idle();
      expect(looking.counts).toEqual({ hit: 1, corrupt: 1 });
      expect(looking.reports).toMatchObject([{ file, why: 'its bytes do not have its digest' }]);
      expect((await readBlob(it.tier, key))?.equals(bytes)).toBe(true);
      expect(it.counts).toMatchObject({ miss: 2 });
    });

    test('each time where it is small and read whole', async () => {
      const bytes = blobOf(1000);
      const key = await it.store.blob(bytes);
      await it.tier.get(key);
      await it.tier.idle();
      const file = fileOf(it.root, key);
      await flip(file, 500);
      expect((await it.tier.get(key))?.bytes.equals(bytes)).toBe(true);
      expect(it.counts).toMatchObject({ corrupt: 1 });
    });

    test('a file that is cut while it is read is finished from the store', async () => {
      const bytes = blobOf(2 * MiB);
      const key = await it.store.blob(bytes);
      await readBlob(it.tier, key);
      await it.tier.idle();
      for (const how of ['read', 'stream'] as const) {
        const source = await it.tier.open(key);
        if (source?.read === undefined) throw new Error('it is not on the disk');
        const into = Buffer.alloc(MiB);
        expect(await source.read(into, 0)).toBe(MiB);
        await truncate(fileOf(it.root, key), 1000);
        if (how === 'stream') expect((await rangeOf(source, { start: 500, end: 2 * MiB - 1 })).equals(bytes.subarray(500))).toBe(true);
        else {
          const rest: Buffer[] = [];
          for (let position = MiB; position < bytes.length; ) {
            const count = await source.read(into, position);
            rest.push(Buffer.from(into.subarray(0, count)));
            position += count;
          }
          expect(Buffer.concat(rest).equals(bytes.subarray(MiB))).toBe(true);
          expect(await source.read(into, 10)).toBeGreaterThan(0); // back again
          expect(into.subarray(0, 100).equals(bytes.subarray(10, 110))).toBe(true);
        }
        await source.close();
        await readBlob(it.tier, key);
        await it.tier.idle();
      }
      expect(it.counts.corrupt).toBe(2);
      expect(it.store.open).toBe(0);
    });
  });

  test('deleting a key drops its blob; what was opened stays readable', async () => {
    const bytes = blobOf(MiB);
    const key = await it.store.blob(bytes);
    await readBlob(it.tier, key);
    await it.tier.idle();
    const source = await it.tier.open(key);
    await it.tier.delete([key]);
    expect(await it.files()).toEqual([]);
    expect(await it.tier.open(key)).toBeUndefined();
    expect(source && (await rangeOf(source, { start: 0, end: MiB - 1 })).equals(bytes)).toBe(true);
    await source?.close();
  });

  test('deleting a key while its blob is filled leaves nothing', async () => {
    const key = await it.store.blob(blobOf(MiB));
    const source = await it.tier.open(key);
    const chunks = source?.stream({ start: 0, end: MiB - 1 })[Symbol.asyncIterator]();
    await chunks?.next();
    await it.tier.delete([key]);
    await chunks?.return?.();
    await source?.close();
    await it.tier.idle();
    expect(await it.files()).toEqual([]);
  });

  test('a redirect is for what is not on the disk', async () => {
    const signing: Driver = new Proxy(it.store.driver, { get: (target, name) => (name === 'redirect' ? async (key: string) => `https://store.example/${key}` : (Reflect.get(target, name) as unknown)) });
    const tier = diskTier(signing, { root: it.root, maxBytes: 100 * MiB, digestOf: digestOfData, timers: systemTimers, nowMs: Date.now, events: { count: () => undefined, used: () => undefined, report: () => undefined } });
    const key = await it.store.blob(blobOf(1000));
    expect([tier.isNear?.(key), tier.isNear?.('repos/x')]).toEqual([false, false]);
    expect(await tier.redirect?.(key)).toBe(`https://store.example/${key}`);
    await readBlob(tier, key);
    await tier.idle();
    expect(tier.isNear?.(key)).toBe(true);
    expect(await tier.redirect?.(key)).toBeUndefined();
    expect(await tier.redirect?.('repos/x')).toBe('https://store.example/repos/x');
    for (const name of ['redirect', 'stampNow']) expect(Reflect.get(it.tier, name)).toBeUndefined();
    await tier.close();
  });

  describe('evicts', () => {
    const inTurn = async (tier: Tier, blobs: readonly string[]): Promise<void> => {
      for (const key of blobs) {
        tier.nowMs += 120_000;
        await readBlob(tier.tier, key);
        await tier.tier.idle();
      }
    };
    const there = async (tier: Tier, blobs: readonly string[]): Promise<boolean[]> =>
      Promise.all(blobs.map(async (key) => (await stat(fileOf(tier.root, key)).catch(() => undefined)) !== undefined));
    const blobs = async (store: TellingStore, count: number, size: number): Promise<string[]> => Promise.all(Array.from({ length: count }, (_, index) => store.blob(blobOf(size, index + 1))));

    test('what was used least recently, and stays within its bound', async () => {
      const small = await tiers.make({ maxBytes: 5 * MiB });
      const five = await blobs(small.store, 5, MiB);
      await inTurn(small, five.slice(0, 4));
      await inTurn(small, [five[0] ?? '']); // used again
      await inTurn(small, five.slice(4));
      expect(await there(small, five)).toEqual([true, false, true, true, true]);
      expect(small.counts.evicted).toBe(1);
      expect(small.used).toBeLessThanOrEqual(5 * MiB);
    });

    test('what a tier before it, or beside it, used least recently', async () => {
      const small = await tiers.make({ maxBytes: 5 * MiB });
      const five = await blobs(small.store, 5, MiB);
      await inTurn(small, five.slice(0, 4));
      const later = small.another();
      later.nowMs = small.nowMs;
      await inTurn(later, [five[0] ?? '', five[4] ?? '']);
      expect(await there(small, five)).toEqual([true, false, true, true, true]);
    });

    test('at the start where its bound was lowered', async () => {
      const small = await tiers.make({ maxBytes: 5 * MiB });
      const four = await blobs(small.store, 4, MiB);
      await inTurn(small, four);
      const lower = small.another({ maxBytes: 3 * MiB });
      await lower.tier.idle();
      expect(await there(small, four)).toEqual([false, false, true, true]);
    });

    test('nothing for a blob that takes more than half of it', async () => {
      const small = await tiers.make({ maxBytes: 5 * MiB });
      const [one = ''] = await blobs(small.store, 1, MiB);
      await inTurn(small, [one, await small.store.blob(blobOf(3 * MiB))]);
      expect(await small.files()).toHaveLength(1);
      expect(small.counts).toMatchObject({ miss: 1, passed: 1 });
    });

    test('a blob that is being read, which is read to its end', async () => {
      const small = await tiers.make({ maxBytes: 3 * MiB });
      const [one = '', two = '', three = ''] = await blobs(small.store, 3, MiB + 1000);
      await inTurn(small, [one]);
      const source = await small.tier.open(one);
      await inTurn(small, [two, three]);
      expect(await there(small, [one])).toEqual([false]);
      expect(source && (await rangeOf(source, { start: 0, end: MiB + 999 })).equals(blobOf(MiB + 1000, 1))).toBe(true);
      await source?.close();
    });

    test('room is kept for what other processes are filling', async () => {
      const small = await tiers.make({ maxBytes: 5 * MiB });
      const other = small.another();
      const keys = await blobs(small.store, 12, MiB);
      await Promise.all(keys.map((key, index) => readBlob((index % 2 === 0 ? small : other).tier, key)));
      await small.tier.idle();
      await other.tier.idle();
      let bytes = 0;
      for (const [index, key] of keys.entries()) if ((await there(small, keys))[index] === true) bytes += (await stat(fileOf(small.root, key))).size;
      expect(bytes).toBeLessThanOrEqual(5 * MiB);
      expect(bytes).toBeGreaterThan(0);
    });
  });

  test('whatever is read, put and deleted, it is as if there were no disk', async () => {
    const command = fc.record({ what: fc.constantFrom('read', 'get', 'range', 'put', 'delete', 'idle'), blob: fc.nat(5), tier: fc.nat(1), start: fc.nat(4_999), length: fc.nat(5_000) });
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 40 }), async (commands) => {
        const one = await tiers.make({ maxBytes: 40_000 });
        const both = [one, one.another()];
        const bytes = Array.from({ length: 6 }, (_, index) => blobOf(5_000, index + 1));
        const keys = await Promise.all(bytes.map((each) => one.store.blob(each)));
        const deleted = new Set<number>();
        for (const { what, blob, tier: which, start, length } of commands) {
          const tier = both[which]?.tier as Driver & { idle(): Promise<void> };
          const key = keys[blob] ?? '';
          // A key that was deleted elsewhere may still be on the disk: nobody has a link to it.
          const expected = deleted.has(blob) ? undefined : bytes[blob];
          if (what === 'idle') await tier.idle();
          else if (what === 'delete') {
            for (const { tier: each } of both) await each.delete([key]);
            deleted.add(blob);
          } else if (what === 'put') {
            await tier.put(key, bytes[blob] ?? Buffer.alloc(0));
            deleted.delete(blob);
          } else if (what === 'get') expect((await tier.get(key))?.bytes).toEqual(expected);
          else {
            const range = what === 'read' ? { start: 0, end: 4_999 } : { start, end: Math.min(4_999, start + length) };
            expect(await readBlob(tier, key, range)).toEqual(expected?.subarray(range.start, range.end + 1));
          }
        }
        for (const { tier } of both) await tier.idle();
        expect((await one.files()).filter((name) => name.includes('~'))).toEqual([]);
        await tiers.close();
        expect(one.store.open).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test('closing ends fills, and leaves nothing half-written', async () => {
    const size = 40 * MiB;
    const key = await it.store.blob(blobOf(size));
    const source = await it.tier.open(key);
    const chunks = source?.stream({ start: 0, end: size - 1 })[Symbol.asyncIterator]();
    await chunks?.next();
    const closing = it.tier.close();
    await chunks?.return?.();
    await source?.close();
    await closing;
    expect((await it.files()).filter((name) => name.includes('~'))).toEqual([]);
  });

  test('keys of blobs are told from others', async () => {
    const hex = 'ab'.repeat(32);
    expect(digestOfData(`blobs/sha256/ab/${hex}/data/x`)).toBe(`sha256:${hex}`);
    for (const key of [`blobs/sha256/ac/${hex}/data/x`, `blobs/sha256/ab/${hex}/current`, `blobs/sha256/ab/${hex}/data/x/y`, `x/blobs/sha256/ab/${hex}/data/x`, `blobs/md5/ab/${hex}/data/x`, `repos/ab`]) {
      expect(digestOfData(key)).toBeUndefined();
    }
    expect(await all(it.tier.list(''))).toEqual([]);
  });
});
