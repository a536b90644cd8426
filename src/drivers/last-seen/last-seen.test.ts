/** A store that goes away and comes back, read as pulls read it, over a real file of what was seen. */
import { statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CachedRecords } from '../../content/cached.ts';
import { systemTimers, type Timers } from '../../workers/timers.ts';
import { driverContract } from '../contract/driver.contract.ts';
import { DriverError, type Driver } from '../driver.ts';
import { memoryDriver } from '../memory/memory.ts';
import { lastSeenDriver } from './last-seen.ts';
import { factsOf, lateStore, readFacts } from './late-store.ts';
import { SeenRecords } from './seen-records.ts';

const STALE_MS = 1_000;
let folder: string;
let nowMs: number;
/** Writing is put off by these, until a test rings. */
let tasks: Set<() => void>;
let reports: string[];
let open: { close(): unknown }[];

const timers: Timers = {
  after(_ms, task) {
    tasks.add(task);
    return () => void tasks.delete(task);
  },
};
const ring = (): void => {
  for (const task of Array.from(tasks)) {
    tasks.delete(task);
    task();
  }
};

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'umbra-last-seen-'));
  [nowMs, tasks, reports, open] = [1_000_000, new Set(), [], []];
});
afterEach(async () => {
  for (const one of open) await one.close();
  await rm(folder, { recursive: true });
});

/** An object store in memory that can be away, or refuse. */
function networkStore(): { readonly driver: Driver; fails: 'retryable' | 'permanent' | undefined; gets: number; gate: Promise<void> } {
  const memory = memoryDriver();
  const state = { driver: memory as Driver, fails: undefined as 'retryable' | 'permanent' | undefined, gets: 0, gate: Promise.resolve() };
  state.driver = new Proxy<Driver>(memory, {
    get(target, name) {
      if (name === 'stampNow') return undefined;
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]): Promise<unknown> => {
        if (name === 'get') {
          state.gets++;
          await state.gate;
        }
        if (state.fails !== undefined && name !== 'close') throw new DriverError(state.fails, 'the store is away');
        return await (Reflect.apply(value, target, args) as unknown);
      };
    },
  });
  return state;
}

function records(file = 'seen.db', store = 'one', maxBytes?: number): SeenRecords {
  const made = new SeenRecords({ file: join(folder, file), store, timers, nowMs: () => nowMs, report: ({ kind }) => void reports.push(kind), ...(maxBytes === undefined ? {} : { maxBytes }) });
  open.push(made);
  return made;
}

function noting(inner: Driver, seen: SeenRecords, mayServe = false): Driver {
  return lastSeenDriver(inner, { seen, isRecord: (key) => key.startsWith('repos/'), mayServe, timers, nowMs: () => nowMs, report: ({ kind }) => void reports.push(kind) });
}

function reader(driver: Driver): CachedRecords<{ readonly n: number }> {
  return new CachedRecords({ driver, nowMs: () => nowMs, staleMs: STALE_MS, tell: async () => undefined }, 'record');
}

const bytes = (n: number): Buffer => Buffer.from(JSON.stringify({ n }));

describe('while the store is away', () => {
  test.each(['retryable', 'permanent'] as const)('(%s) what it said last is served, and what it never said is not', async (failure) => {
    const store = networkStore();
    await store.driver.put('repos/a', bytes(1));
    const driver = noting(store.driver, records());
    const cached = reader(driver);
    expect([await cached.read('repos/a'), await cached.read('repos/none')]).toEqual([{ n: 1 }, undefined]);
    nowMs += STALE_MS;
    store.fails = failure;
    expect(driver.lastSeen?.away).toBe(false);
    expect([await cached.read('repos/a'), await cached.read('repos/none')]).toEqual([{ n: 1 }, undefined]);
    expect(driver.lastSeen?.away).toBe(true);
    await expect(cached.read('repos/other')).rejects.toThrow('the store is away');
    // Whoever decides by it is not told an old answer.
    await expect(cached.readFresh('repos/a')).rejects.toThrow('the store is away');
    await expect(driver.get('repos/a')).rejects.toThrow('the store is away');
    await expect(driver.put('repos/a', bytes(2))).rejects.toThrow('the store is away');
    expect(await cached.read('repos/a')).toEqual({ n: 1 });
    expect(reports).toEqual(['the store does not answer: what this node saw last is served']);
  });

  test('what it said is not kept in memory, and its first answer counts again', async () => {
    const store = networkStore();
    const driver = noting(store.driver, records());
    const cached = reader(driver);
    await driver.put('repos/a', bytes(1));
    store.fails = 'retryable';
    expect(await cached.read('repos/a')).toEqual({ n: 1 });
    store.fails = undefined;
    await store.driver.put('repos/a', bytes(2)); // by another node
    await expect.poll(async () => await cached.read('repos/a')).toEqual({ n: 2 });
    expect(driver.lastSeen?.away).toBe(false);
    expect(reports.at(-1)).toBe('the store answers again');
  });

  test('one look at a time goes to the store, and nobody waits for it', async () => {
    const store = networkStore();
    const driver = noting(store.driver, records());
    await driver.put('repos/a', bytes(1));
    store.fails = 'retryable';
    const cached = reader(driver);
    await cached.read('repos/a');
    await cached.read('repos/a'); // whose look ends before the store hangs
    await new Promise((resolve) => setImmediate(resolve));
    const hung = Promise.withResolvers<void>();
    store.gate = hung.promise;
    const before = store.gets;
    for (let n = 0; n < 20; n++) expect(await cached.read('repos/a')).toEqual({ n: 1 });
    expect(store.gets - before).toBe(1);
    // A look that hangs is not the last: the store may be back, and this connection dead.
    ring();
    await expect.poll(async () => {
      await cached.read('repos/a');
      return store.gets - before;
    }).toBe(2);
    hung.resolve();
  });
});

describe('a store that hangs', () => {
  test('is waited for once, and a decision waits on', async () => {
    const store = networkStore();
    const driver = noting(store.driver, records());
    const cached = reader(driver);
    await driver.put('repos/a', bytes(1));
    const hung = Promise.withResolvers<void>();
    store.gate = hung.promise;
    const [served, decided] = [cached.read('repos/a'), cached.readFresh('repos/a')];
    await expect.poll(() => store.gets).toBe(2);
    ring();
    expect(await served).toEqual({ n: 1 });
    expect(driver.lastSeen?.away).toBe(true);
    expect(await cached.read('repos/a')).toEqual({ n: 1 });
    await store.driver.put('repos/a', bytes(2));
    hung.resolve();
    expect(await decided).toEqual({ n: 2 });
    expect(driver.lastSeen?.away).toBe(false);
  });

  test('is waited for as long as it takes where nothing was seen', async () => {
    const store = networkStore();
    await store.driver.put('repos/a', bytes(1));
    const driver = noting(store.driver, records());
    const hung = Promise.withResolvers<void>();
    store.gate = hung.promise;
    const read = reader(driver).read('repos/a');
    await expect.poll(() => store.gets).toBe(1);
    ring();
    hung.resolve();
    expect(await read).toEqual({ n: 1 });
  });
});

describe('what is noted', () => {
  test('is what was written and deleted here too, and no data', async () => {
    const seen = records();
    const driver = noting(networkStore().driver, seen);
    await driver.put('repos/a', bytes(1));
    await driver.put('repos/b', bytes(1));
    await driver.put('blobs/data', bytes(1));
    await driver.delete(['repos/b']);
    expect([seen.find('repos/a')?.bytes, seen.find('repos/b')]).toEqual([bytes(1), { bytes: undefined }]);
    expect(seen.find('blobs/data')).toBeUndefined();
  });

  test('is not what a read found that began before a write', async () => {
    const store = networkStore();
    await store.driver.put('repos/a', bytes(1));
    const [arrived, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const slow = new Proxy<Driver>(store.driver, {
      get: (target, name) => name !== 'get' ? (Reflect.get(target, name) as unknown) : async (key: string) => {
        const value = await target.get(key);
        arrived.resolve();
        await gate.promise;
        return value;
      },
    });
    const seen = records();
    const driver = noting(slow, seen);
    const reading = driver.get('repos/a');
    await arrived.promise;
    await driver.put('repos/a', bytes(2));
    gate.resolve();
    await reading;
    expect(seen.find('repos/a')?.bytes).toEqual(bytes(2));
  });

  test('is there for the next process, and for another beside this', async () => {
    const first = records();
    first.note('repos/a', bytes(1), nowMs);
    first.note('repos/gone', undefined, nowMs);
    ring();
    expect(records().find('repos/a')?.bytes).toEqual(bytes(1));
    first.close();
    expect(records().find('repos/gone')).toEqual({ bytes: undefined });
    expect(records().find('repos/never')).toBeUndefined();
  });

  test('is bounded: what was noted longest ago goes', () => {
    const maxBytes = 256 * 1024;
    const seen = records('seen.db', 'one', maxBytes);
    for (let n = 0; n < 1000; n++) {
      nowMs += 1;
      seen.note(`repos/${n}`, Buffer.alloc(1000, n), nowMs);
      if (n % 10 === 9) ring();
    }
    expect(seen.find('repos/0')).toBeUndefined();
    expect(seen.find('repos/999')?.bytes).toEqual(Buffer.alloc(1000, 999));
    const kept = Array.from({ length: 1000 }, (_, n) => seen.find(`repos/${n}`)).filter((found) => found !== undefined).length;
    expect(kept).toBeGreaterThan(100);
    expect(statSync(join(folder, 'seen.db')).size).toBeLessThan(1.5 * maxBytes);
    seen.note('repos/large', Buffer.alloc(65 * 1024), nowMs);
    expect(seen.find('repos/large')).toBeUndefined();
  });

  test('is what the store said last, to whichever process', () => {
    const [one, other] = [records(), records()];
    const said = (by: SeenRecords, n: number, atMs: number): void => {
      by.note('repos/a', bytes(n), atMs);
      by.write();
    };
    const seen = (): (Buffer | undefined)[] => [one, other].map((by) => by.find('repos/a')?.bytes);
    for (const [by, n] of [[one, 1], [other, 2], [one, 1]] as const) {
      nowMs += 1;
      said(by, n, nowMs);
      expect(seen()).toEqual([bytes(n), bytes(n)]);
    }
    // Read before, and told later.
    said(other, 2, nowMs - 1);
    expect(seen()).toEqual([bytes(1), bytes(1)]);
    // By a clock that was wrong.
    said(one, 3, nowMs + 1_000_000);
    said(other, 4, nowMs);
    expect(seen()).toEqual([bytes(4), bytes(4)]);
  });

  test('is of one store: of another it is forgotten', () => {
    const first = records();
    first.note('repos/a', bytes(1), nowMs);
    first.putFacts({ kind: 'x' });
    first.close();
    const other = records('seen.db', 'two');
    expect([other.find('repos/a'), other.facts()]).toEqual([undefined, undefined]);
  });

  test('is not believed where the disk changed it, and a file that is broken is made anew', () => {
    const first = records();
    first.note('repos/a', bytes(1), nowMs);
    first.close();
    const spoiling = new DatabaseSync(join(folder, 'seen.db'));
    spoiling.prepare('update records set bytes = ?').run(bytes(2));
    spoiling.close();
    const second = records();
    expect(second.find('repos/a')).toBeUndefined();
    second.close();
    writeFileSync(join(folder, 'seen.db'), 'this is no database, whatever else it may be'.repeat(100));
    const third = records();
    third.note('repos/a', bytes(3), nowMs);
    ring();
    expect(third.find('repos/a')?.bytes).toEqual(bytes(3));
  });

  test('is nothing where the disk cannot be written, which fails nobody', async () => {
    writeFileSync(join(folder, 'file'), '');
    const seen = records('file/seen.db');
    const driver = noting(networkStore().driver, seen);
    await driver.put('repos/a', bytes(1));
    expect([seen.find('repos/a'), seen.facts(), (await driver.get('repos/a'))?.bytes]).toEqual([undefined, undefined, bytes(1)]);
    expect(reports).toEqual(['what was seen last cannot be kept on the disk; this node serves nothing while the store is away']);
  });
});

describe('a store that cannot be opened yet', () => {
  test('is away until it is, and is itself then', async () => {
    const store = networkStore();
    await store.driver.put('repos/a', bytes(1));
    let tries = 0;
    const late = lateStore({
      facts: factsOf(store.driver), timers, nowMs: () => nowMs, opened: () => void reports.push('opened'),
      open: async () => {
        if (++tries < 3) throw new DriverError('permanent', 'refused');
        return store.driver;
      },
    });
    await expect(late.get('repos/a')).rejects.toMatchObject({ failure: 'retryable' });
    await expect.poll(() => tasks.size).toBe(1);
    await expect(late.get('repos/a')).rejects.toThrow('the store could not be opened yet: refused');
    expect(() => late.assemblies.create('uploads/x')).toThrow('the store could not be opened yet');
    while (tries < 3) {
      ring();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => reports).toEqual(['opened']);
    expect((await late.get('repos/a'))?.bytes).toEqual(bytes(1));
    await late.close();
  });

  test('stays away where it is not what everything above was built for', async () => {
    const store = networkStore();
    const closed = Promise.withResolvers<void>();
    const other = new Proxy(store.driver, { get: (target, name) => name === 'close' ? async () => closed.resolve() : (Reflect.get(target, name) as unknown) });
    const late = lateStore({ facts: { ...factsOf(store.driver), claims: 'settle' }, timers, nowMs: () => nowMs, opened: ({ claims }) => void reports.push(claims), open: async () => other });
    await closed.promise;
    await new Promise((resolve) => setImmediate(resolve));
    await expect(late.get('repos/a')).rejects.toThrow('restart Umbra');
    expect(reports).toEqual(['strict']);
    await late.close();
  });

  test('is not waited for by whoever closes', async () => {
    const late = lateStore({ facts: factsOf(networkStore().driver), timers, nowMs: () => nowMs, opened: () => undefined, open: async () => await new Promise<Driver>(() => undefined) });
    await late.close();
  });

  test.each([undefined, null, 'x', {}, { kind: 'swift', claims: 'maybe', listingLagSeconds: 1 }])('%j tells nothing of a store', (facts) => {
    expect(readFacts(facts)).toBeUndefined();
  });
});

driverContract('a store that is noted', async () => {
  const memory = memoryDriver();
  const seen = (): SeenRecords => new SeenRecords({ file: join(folder, 'contract.db'), store: 'one', timers: systemTimers, nowMs: Date.now, report: () => undefined });
  return { open: async () => lastSeenDriver(memory, { seen: seen(), isRecord: () => true, mayServe: false, timers: systemTimers, nowMs: Date.now, report: () => undefined }), close: async () => undefined };
}, ['objects']);
