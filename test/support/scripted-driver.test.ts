/** The scripted driver is a driver like the one inside; and it stalls, fails and crashes where it is told to. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { driverContract } from '../../src/drivers/contract/driver.contract.ts';
import { DriverError, type Driver } from '../../src/drivers/driver.ts';
import { openFilesystem } from '../../src/drivers/filesystem/filesystem.ts';
import { memoryDriver } from '../../src/drivers/memory/memory.ts';
import { atEveryCrash, crashPoints } from './every-crash.ts';
import { CrashError, described, scriptedDriver, type ScriptedDriver } from './scripted-driver.ts';

driverContract('scripted memory', async () => {
  const inner = memoryDriver();
  return { open: async () => scriptedDriver(inner), close: async () => {} };
});

async function keysOf(driver: Driver): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of driver.list('')) keys.push(key);
  return keys;
}

/** Touches every operation that changes a store. */
async function everything(driver: Driver): Promise<void> {
  const { assemblies } = driver;
  await driver.put('a/first', Buffer.from('1'), { durable: 'later' });
  const appender = await assemblies.append(assemblies.create('uploads/1'));
  await appender.write(Buffer.from('bytes'));
  const state = await appender.finish();
  const given = await assemblies.append(state);
  await given.abandon();
  await assemblies.complete(state, 'a/blob');
  await driver.sync(['a/first', 'a/blob']);
  await driver.claim('a/log/1', Buffer.from('x'));
  await driver.put('a/second', Buffer.from('2'));
  await assemblies.discard(assemblies.create('uploads/1'));
  await driver.delete(['a/first']);
}

describe('a script', () => {
  test('the journal tells what was asked, in order, with the time', async () => {
    let nowMs = 5;
    const driver = scriptedDriver(memoryDriver(), { clock: () => nowMs++ });
    await everything(driver);
    await driver.get('a/blob');
    const source = await driver.open('a/blob');
    for await (const _ of source?.stream({ start: 0, end: 4 }) ?? []);
    await source?.close();
    await keysOf(driver);
    expect(described(driver.journal)).toEqual([
      'put a/first', 'append uploads/1', 'append.write uploads/1', 'append.finish uploads/1', 'append uploads/1', 'append.abandon uploads/1',
      'assembly.complete uploads/1 a/blob', 'sync a/first a/blob', 'claim a/log/1', 'put a/second', 'assembly.discard uploads/1', 'delete a/first',
      'get a/blob', 'open a/blob', 'source.stream a/blob', 'list ',
    ]);
    expect(driver.journal.map(({ index }) => index)).toEqual(driver.journal.map((_, index) => index));
    expect(driver.journal.map(({ atMs }) => atMs)).toEqual(driver.journal.map((_, index) => index + 5));
    expect(driver.journal.filter(({ op }) => op === 'put').map(({ durable }) => durable)).toEqual(['later', 'now']);
  });

  test('an operation held before its effect takes it on release, one held after has taken it', async () => {
    const store = memoryDriver();
    const driver = scriptedDriver(store);
    for (const when of ['before', 'after'] as const) {
      const held = driver.hold(when, 'put', /_tags\//);
      let settled = false;
      const putting = driver.put(`x/_tags/${when}`, Buffer.from('x')).finally(() => (settled = true));
      expect((await held.reached).keys).toEqual([`x/_tags/${when}`]);
      expect(settled).toBe(false);
      expect((await store.head(`x/_tags/${when}`)) !== undefined).toBe(when === 'after');
      await driver.put('x/other', Buffer.from('y')); // others go on meanwhile
      await driver.put('x/_tags/second', Buffer.from('y')); // only the next one is held
      held.release();
      await putting;
      expect(await store.head(`x/_tags/${when}`)).toBeDefined();
    }
  });

  test('a step fails operations until it is removed, before or after their effect', async () => {
    const store = memoryDriver();
    const driver = scriptedDriver(store);
    const full = (): never => {
      throw new DriverError('full', 'no space');
    };
    const remove = driver.before('append.write', 'uploads/1', full);
    const removeAfter = driver.after('put', 'key', full);
    const appender = await driver.assemblies.append(driver.assemblies.create('uploads/1'));
    await expect(appender.write(Buffer.from('x'))).rejects.toThrow('no space');
    await expect(driver.put('key', Buffer.from('x'))).rejects.toMatchObject({ failure: 'full' });
    expect(await store.head('key')).toBeDefined();
    remove();
    removeAfter();
    await appender.write(Buffer.from('y'));
    await driver.assemblies.complete(await appender.finish(), 'key');
    expect((await store.get('key'))?.bytes.toString()).toBe('y');
  });

  test('after a crash nothing reaches the store, and the store goes on without', async () => {
    const store = memoryDriver();
    const driver = scriptedDriver(store);
    await driver.put('key', Buffer.from('x'));
    const source = await driver.open('key');
    const appender = await driver.assemblies.append(driver.assemblies.create('uploads/1'));
    const held = driver.hold('before', 'put', 'held');
    const holding = driver.put('held', Buffer.from('x'));
    const listing = driver.list('')[Symbol.asyncIterator]();
    await listing.next();
    await held.reached;
    driver.before('delete', 'key', () => 'crash');
    await expect(driver.delete(['key'])).rejects.toBeInstanceOf(CrashError);
    expect(driver.crashed).toBe(true);
    held.release();
    const dead: (() => unknown)[] = [
      () => holding, () => listing.next(), () => driver.head('key'), () => driver.get('key'), () => driver.open('key'), () => driver.put('other', Buffer.from('x')),
      () => driver.claim('other', Buffer.from('x')), () => driver.sync(['key']), () => driver.check(), () => keysOf(driver), () => driver.children('')[Symbol.asyncIterator]().next(),
      () => driver.stampNow?.('key'), () => source?.read?.(Buffer.alloc(1), 0), () => source?.stream({ start: 0, end: 0 })[Symbol.asyncIterator]().next(),
      () => appender.write(Buffer.from('x')), () => appender.finish(), () => appender.abandon(), () => driver.assemblies.create('uploads/2'),
      () => driver.assemblies.discard({ prefix: 'uploads/1', offset: 0, parts: null }),
    ];
    for (const call of dead) await expect((async () => call())()).rejects.toBeInstanceOf(CrashError);
    expect(await keysOf(store)).toEqual(['key', 'uploads/1/open.0000000000000001.0']);
    await source?.close();
  });
});

describe('every crash', () => {
  test('points lie before each operation and behind each that changes the store', async () => {
    const driver = scriptedDriver(memoryDriver());
    await driver.get('x');
    await driver.put('x', Buffer.from('y'));
    expect(crashPoints(driver.journal)).toEqual([{ index: 0, when: 'before' }, { index: 1, when: 'before' }, { index: 1, when: 'after' }]);
  });

  test('the store is left as it was between two operations, for each pair of them', async () => {
    const seen: string[][] = [];
    const points = await atEveryCrash({
      store: async () => memoryDriver(),
      scenario: async (driver) => {
        await driver.put('a', Buffer.from('1'));
        await driver.put('b', Buffer.from('2'));
        await driver.delete(['a']);
      },
      survives: async (store) => void seen.push(await keysOf(store)),
    });
    expect(points).toBe(6);
    expect(seen).toEqual([['b'], [], ['a'], ['a'], ['a', 'b'], ['a', 'b'], ['b']]);
  });

  test('every kind of change can be crashed at, over a real filesystem', async () => {
    const roots: string[] = [];
    const crashed = new Set<string>();
    try {
      await atEveryCrash({
        store: async () => {
          const root = await mkdtemp(join(tmpdir(), 'umbra-script-'));
          roots.push(root);
          return openFilesystem({ root });
        },
        scenario: everything,
        survives: async (store, point) => {
          if (point !== undefined) crashed.add(`${point.when} ${point.operation.op}`);
          // Whoever comes after can do it all.
          await store.assemblies.discard(store.assemblies.create('uploads/1'));
          await store.delete(await keysOf(store));
          await everything(store);
          expect(await keysOf(store)).toEqual(['a/blob', 'a/log/1', 'a/second']);
        },
      });
    } finally {
      for (const root of roots) await rm(root, { recursive: true });
    }
    const kinds = ['put', 'append', 'append.write', 'append.finish', 'append.abandon', 'assembly.complete', 'sync', 'claim', 'assembly.discard', 'delete'];
    expect([...crashed].toSorted()).toEqual(kinds.flatMap((kind) => [`after ${kind}`, `before ${kind}`]).toSorted());
  });

  test('a broken promise is reported with the place of the crash', async () => {
    const outOfOrder = async (driver: ScriptedDriver): Promise<void> => {
      await driver.put('record', Buffer.from('x'));
      await driver.put('bytes', Buffer.from('x'));
    };
    await expect(
      atEveryCrash({
        store: async () => memoryDriver(),
        scenario: outOfOrder,
        survives: async (store) => {
          if ((await store.head('record')) !== undefined && (await store.head('bytes')) === undefined) throw new Error('a record without bytes');
        },
      }),
    ).rejects.toThrow('after a crash after put record (operation 0)');
  });

  test('a scenario that fails by itself, or differs from run to run, is no crash test', async () => {
    const store = async (): Promise<Driver> => memoryDriver();
    const survives = async (): Promise<void> => {};
    await expect(atEveryCrash({ store, survives, scenario: async () => Promise.reject(new Error('broken')) })).rejects.toThrow('broken');
    let runs = 0;
    const fickle = async (driver: ScriptedDriver): Promise<void> => {
      if (runs++ === 0) await driver.put('once', Buffer.from('x'));
    };
    await expect(atEveryCrash({ store, survives, scenario: fickle })).rejects.toThrow('the same of the store each time');
  });
});
