/** Strict claims over a real PostgreSQL: the contract, servers and claimants that die, and databases that cannot be used. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Postgres } from '../../../test/services/postgres.ts';
import { SOAK } from '../../../test/support/soak.ts';
import { systemTimers, type Timers } from '../../workers/timers.ts';
import { driverContract } from '../contract/driver.contract.ts';
import type { CallOptions, Driver } from '../driver.ts';
import { openFilesystem } from '../filesystem/filesystem.ts';
import { memoryDriver } from '../memory/memory.ts';
import { openStrictClaims, type StrictClaimsOptions } from './claims.ts';
import { all, expectFailure, text } from '../contract/store.contract.ts';

let postgres: Postgres;
beforeAll(async () => void (postgres = await Postgres.start()));
afterAll(async () => await postgres[Symbol.asyncDispose]());

/** As a store that has no lock: what it says of claims is not believed, and its conditional put decides nothing. */
function lockless(driver: Driver): Driver {
  return new Proxy(driver, {
    get(target, name) {
      if (name === 'claims') return 'settle';
      if (name === 'claim') return async () => expect.fail('the store has no lock');
      if (name === 'put') {
        return async (key: string, bytes: Uint8Array, options: Parameters<Driver['put']>[2]) => {
          if (options?.when !== undefined) expect.fail('the store has no lock');
          return await target.put(key, bytes, options);
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

const reports: { readonly kind: string }[] = [];
const open = (inner: Driver, name: string, options: Partial<StrictClaimsOptions> = {}): Promise<Driver> =>
  openStrictClaims(lockless(inner), {
    url: postgres.url(),
    store: { name },
    timers: systemTimers,
    nowMs: Date.now,
    report: (event) => void reports.push(event),
    ...options,
  });

driverContract('strict claims', async () => {
  const inner = memoryDriver();
  const name = randomUUID();
  return { open: async () => await open(inner, name), close: async () => undefined };
  // The rest is the store's own; in the soak.
}, SOAK ? undefined : ['objects', 'claims']);

describe('strict claims', () => {
  const opened: Driver[] = [];
  const using = async (inner: Driver, name: string, options: Partial<StrictClaimsOptions> = {}): Promise<Driver> => {
    const driver = await open(inner, name, options);
    opened.push(driver);
    return driver;
  };
  const closeAll = async (): Promise<void> => {
    for (const driver of opened.splice(0)) await driver.close();
  };
  afterAll(closeAll);
  const rows = async (name: string): Promise<string[]> => {
    const printed = await postgres.sql(`SELECT key FROM umbra_claims WHERE store = '${name}' ORDER BY key`);
    return printed.split('\n').filter((line) => line !== '');
  };

  test('what was claimed before there was a database stays claimed', async () => {
    const inner = memoryDriver();
    await inner.claim('log/1', Buffer.from('before'));
    const driver = await using(inner, randomUUID());
    expect(await driver.claim('log/1', Buffer.from('after'))).toEqual({ won: false, value: Buffer.from('before') });
  });

  test('readers find it without a database, and it stays claimed when the database is lost', async () => {
    const inner = memoryDriver();
    const name = randomUUID();
    await (await using(inner, name)).claim('log/1', Buffer.from('one'));
    expect(text((await inner.get('log/1'))?.bytes)).toBe('one');
    await postgres.sql(`DELETE FROM umbra_claims WHERE store = '${name}'`);
    expect(await (await using(inner, name)).claim('log/1', Buffer.from('two'))).toEqual({ won: false, value: Buffer.from('one') });
  });

  test('a deleted key may be claimed again, and leaves no row', async () => {
    const inner = memoryDriver();
    const name = randomUUID();
    const driver = await using(inner, name);
    await driver.claim('log/1', Buffer.from('one'));
    await driver.put('log/2', Buffer.from('one'), { when: 'absent' });
    expect(await rows(name)).toEqual(['log/1', 'log/2']);
    await driver.delete(['log/1', 'log/2']);
    expect(await rows(name)).toEqual([]);
    expect((await driver.claim('log/1', Buffer.from('two'))).won).toBe(true);
    await driver.put('log/2', Buffer.from('two'), { when: 'absent' });
  });

  test('stores are told apart by the name that each keeps itself', async () => {
    const [one, two] = [memoryDriver(), memoryDriver()];
    const at = { store: { key: 'coordination/name' } } as const;
    const drivers = await Promise.all([using(one, '', at), using(one, '', at), using(two, '', at)]);
    const names = await Promise.all([one, two].map(async (inner) => text((await inner.get('coordination/name'))?.bytes)));
    expect(new Set(names).size).toBe(2);
    const claimed = await Promise.all(drivers.map((driver, index) => driver.claim('log/1', Buffer.from(String(index)))));
    expect(claimed.filter(({ won }) => won).length).toBe(2);
    expect(claimed[2]).toEqual({ won: true, value: Buffer.from('2') });
    expect(claimed[0]?.value).toEqual(claimed[1]?.value);
  });

  test('keys that cannot be claimed do not ask the database', async () => {
    const inner = memoryDriver();
    const dead = await using(inner, randomUUID(), { claimable: (key) => key.startsWith('log/') });
    await postgres.kill();
    await dead.put('blobs/1', Buffer.from('x'), { durable: 'later' });
    await dead.delete(['blobs/1']);
    expect(await dead.head('blobs/1')).toBeUndefined();
    await dead.check();
    await expectFailure(dead.claim('blobs/1', Buffer.from('x')), 'permanent');
    await postgres.begin();
  });

  test('a server that is killed and started again costs a claim some time, and is reported once each way', async () => {
    const inner = memoryDriver();
    const driver = await using(inner, randomUUID());
    await driver.claim('log/1', Buffer.from('one'));
    await postgres.kill();
    reports.length = 0;
    const claiming = Promise.all([1, 2, 3, 4, 5, 6].map((entry) => driver.claim(`log/${entry}`, Buffer.from('two'))));
    while (reports.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await postgres.begin();
    expect((await claiming).map(({ won }) => won)).toEqual([false, true, true, true, true, true]);
    expect(reports.map(({ kind }) => kind)).toEqual([
      `the database postgres at 127.0.0.1:${postgres.port} fails; tried again`,
      `the database postgres at 127.0.0.1:${postgres.port} answers again`,
    ]);
  });

  test('a server that stays away ends a claim after half a minute, with where it is and without the password', async () => {
    let nowMs = Date.now();
    const timers: Timers = {
      after(ms, task) {
        nowMs += ms;
        const due = setImmediate(task);
        return () => clearImmediate(due);
      },
    };
    const driver = await using(memoryDriver(), randomUUID(), { timers, nowMs: () => nowMs });
    await postgres.kill();
    const error: unknown = await driver.claim('log/1', Buffer.from('one')).catch((reason: unknown) => reason);
    await postgres.begin();
    await expectFailure(Promise.reject(error), 'retryable');
    expect(String(error)).toMatch(/cannot claim log\/1: the database postgres at 127\.0\.0\.1:\d+ cannot be reached/);
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error)) + JSON.stringify(reports)).not.toContain('correct-horse');
  });

  test('an abort ends the wait for a server', async () => {
    const driver = await using(memoryDriver(), randomUUID());
    await postgres.kill();
    const aborting = new AbortController();
    reports.length = 0;
    const claiming = driver.claim('log/1', Buffer.from('one'), { signal: aborting.signal });
    claiming.catch(() => undefined);
    while (reports.length === 0) await new Promise((resolve) => setImmediate(resolve));
    aborting.abort(new Error('the client left'));
    await expect(claiming).rejects.toThrow('the client left');
    await postgres.begin();
  });

  test('connections that the server ends under claims cost no claim, and none has two winners', async () => {
    const inner = memoryDriver();
    const name = randomUUID();
    const drivers = [await using(inner, name), await using(inner, name)];
    let claiming = true;
    const cutting = (async () => {
      while (claiming) await postgres.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'umbra'`);
    })();
    for (let round = 0; round < 15; round++) {
      const claimed = await Promise.all(Array.from({ length: 8 }, (_, index) => (drivers[index % 2] as Driver).claim(`log/${round}`, Buffer.from(`${index}`))));
      expect(claimed.filter(({ won }) => won).length).toBe(1);
      const winner = claimed.findIndex(({ won }) => won);
      expect(claimed.map(({ value }) => text(value))).toEqual(claimed.map(() => String(winner)));
      expect(text((await inner.get(`log/${round}`))?.bytes)).toBe(String(winner));
    }
    claiming = false;
    await cutting;
  });

  test('a claimant that is killed between the two writes is finished by the next one', async () => {
    const root = await mkdtemp(join(tmpdir(), 'umbra-claims-'));
    const name = randomUUID();
    const at = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
    const program = `
      import { openFilesystem } from ${at('../filesystem/filesystem.ts')};
      import { openStrictClaims } from ${at('claims.ts')};
      import { systemTimers } from ${at('../../workers/timers.ts')};
      const inner = await openFilesystem({ root: ${JSON.stringify(root)} });
      inner.put = async () => { process.stdout.write('decided\\n'); await new Promise((resolve) => setTimeout(resolve, 1e9)); };
      const driver = await openStrictClaims(inner, { url: ${JSON.stringify(postgres.url())}, store: { name: ${JSON.stringify(name)} }, timers: systemTimers, nowMs: Date.now, report: () => {} });
      await driver.claim('log/1', Buffer.from('of the dead'));`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(createInterface({ input: child.stdout }), 'line');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const store = await openFilesystem({ root });
    expect(await all(store.list(''))).toEqual([]);
    expect(await rows(name)).toEqual(['log/1']);
    const driver = await using(store, name);
    expect(await driver.claim('log/1', Buffer.from('mine'))).toEqual({ won: false, value: Buffer.from('of the dead') });
    expect(text((await store.get('log/1'))?.bytes)).toBe('of the dead');
    await rm(root, { recursive: true });
  });

  /** Resolves when the call waits for a lock of the database, or has ended, as it must not. */
  const waits = async (call: Promise<unknown>): Promise<void> => {
    let ended = false;
    void call.finally(() => (ended = true)).catch(() => undefined);
    while (!ended && (await postgres.sql('SELECT count(*) FROM pg_locks WHERE NOT granted')) === '0\n') await new Promise((resolve) => setImmediate(resolve));
  };
  /** The store, with one of its calls held until the gate is opened. */
  const held = (inner: Driver, call: 'get' | 'put' | 'delete'): { readonly driver: Driver; readonly reached: Promise<void>; readonly open: () => void } => {
    const reached = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const driver = new Proxy(inner, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return async (...args: unknown[]): Promise<unknown> => {
          const result: unknown = name === 'get' ? await value.apply(target, args) : undefined;
          if (name === call) {
            reached.resolve();
            await gate.promise;
          }
          return name === 'get' ? result : ((await value.apply(target, args)) as unknown);
        };
      },
    });
    return { driver, reached: reached.promise, open: () => gate.resolve() };
  };

  test('a claimant that stalls before it writes to the store does not bring a deleted key back', async () => {
    const inner = memoryDriver();
    const name = randomUUID();
    const stalling = held(inner, 'put');
    const claiming = (await using(stalling.driver, name)).claim('log/1', Buffer.from('one'));
    await stalling.reached;
    const deleting = (await using(inner, name)).delete(['log/1']);
    await waits(deleting);
    stalling.open();
    expect((await claiming).won).toBe(true);
    await deleting;
    expect([await rows(name), await inner.head('log/1')]).toEqual([[], undefined]);
  });

  test('a delete that stalls before it reaches the store does not remove what was claimed anew', async () => {
    const inner = memoryDriver();
    const name = randomUUID();
    const driver = await using(inner, name);
    const late = held(inner, 'get');
    const claiming = (await using(late.driver, name)).claim('log/1', Buffer.from('anew'));
    await late.reached; // it saw nothing in the store
    await driver.claim('log/1', Buffer.from('old'));
    const stalling = held(inner, 'delete');
    const deleting = (await using(stalling.driver, name)).delete(['log/1']);
    await stalling.reached;
    late.open();
    await waits(claiming);
    stalling.open();
    await deleting;
    expect((await claiming).won).toBe(true);
    expect(text((await inner.get('log/1'))?.bytes)).toBe('anew');
  });

  test.each(['claim', 'delete'] as const)('a %s that the store does not end is given up while the row is still held', async (how) => {
    const memory = memoryDriver();
    const stalled = async (_: unknown, options: CallOptions | undefined): Promise<never> => {
      await new Promise<void>((resolve) => (options?.signal ?? expect.fail('nothing ends it')).addEventListener('abort', () => resolve()));
      throw options?.signal?.reason;
    };
    const timers: Timers = { after: (ms, task) => systemTimers.after(ms === 20_000 ? 0 : ms, task) };
    const stalling = new Proxy(memory, {
      get(target, name) {
        if (name === 'put') return async (key: string, _: Uint8Array, options?: CallOptions) => await stalled(key, options);
        if (name === 'delete') return stalled;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    const name = randomUUID();
    const driver = await using(stalling, name, { timers });
    const call = how === 'claim' ? driver.claim('key', Buffer.from('one')) : driver.delete(['key']);
    await expect(call).rejects.toMatchObject({ failure: 'retryable', message: expect.stringContaining('more than 20 s') });
    const other = await using(memory, name);
    expect(text((await other.claim('key', Buffer.from('two'))).value)).toBe(how === 'claim' ? 'one' : 'two');
  });

  test('deleting and claiming at once leave the key in both or in neither', async () => {
    const inner = memoryDriver();
    const name = randomUUID();
    const drivers = [await using(inner, name), await using(inner, name)] as const;
    for (let round = 0; round < 10; round++) {
      await Promise.all([
        drivers[0].claim('log/1', Buffer.from('one')),
        drivers[1].claim('log/1', Buffer.from('two')),
        drivers[round % 2 === 0 ? 0 : 1].delete(['log/1']),
      ]);
      const row = (await rows(name)).length;
      const held = (await inner.head('log/1')) === undefined ? 0 : 1;
      expect(row).toBe(held);
      await drivers[0].delete(['log/1']);
      expect([(await rows(name)).length, await inner.head('log/1')]).toEqual([0, undefined]);
    }
  });
});

describe('a database that cannot be used stops the start', () => {
  const failing = async (options: Partial<StrictClaimsOptions>): Promise<string> => {
    const error: unknown = await open(memoryDriver(), randomUUID(), options).then(() => undefined, (reason: unknown) => reason);
    await expectFailure(Promise.reject(error), 'permanent', 'retryable');
    expect(String(error)).not.toMatch(/correct-horse|wrong-horse/);
    return String(error);
  };
  const atOnce = (): Pick<StrictClaimsOptions, 'timers' | 'nowMs'> => {
    let nowMs = 0;
    return {
      nowMs: () => nowMs,
      timers: {
        after(ms, task) {
          nowMs += ms;
          const due = setImmediate(task);
          return () => clearImmediate(due);
        },
      },
    };
  };

  test('one that is not there', async () => {
    expect(await failing({ url: postgres.url('nowhere') })).toMatch(/database nowhere at 127\.0\.0\.1:\d+ does not exist: create it, or correct coordination\.url/);
  });

  test('a wrong password', async () => {
    expect(await failing({ url: postgres.url('postgres', 'umbra', 'wrong-horse') })).toMatch(/refuses the user or the password/);
  });

  test('nobody at the address', async () => {
    expect(await failing({ url: 'postgres://umbra:wrong-horse@127.0.0.1:1/umbra', ...atOnce() })).toMatch(/database umbra at 127\.0\.0\.1:1 cannot be reached \(ECONNREFUSED\)/);
  });

  test('no URL', async () => {
    expect(await failing({ url: 'wrong-horse' })).toMatch(/coordination\.url is no URL/);
  });

  test('a user who may neither make nor use the table; one who may use it will do', async () => {
    await postgres.sql(`CREATE DATABASE narrow`);
    await postgres.sql(`CREATE ROLE guest LOGIN PASSWORD 'wrong-horse'`);
    const url = postgres.url('narrow', 'guest', 'wrong-horse');
    expect(await failing({ url })).toMatch(/database narrow at .* does not permit it \(permission denied for schema public\)/);
    await (await open(memoryDriver(), 'x', { url: postgres.url('narrow') })).close();
    expect(await failing({ url })).toMatch(/GRANT SELECT, INSERT, UPDATE, DELETE ON umbra_claims TO guest/);
    await postgres.sql('GRANT SELECT, INSERT, UPDATE, DELETE ON umbra_claims TO guest', 'narrow');
    const driver = await open(memoryDriver(), 'x', { url });
    expect((await driver.claim('log/1', Buffer.from('one'))).won).toBe(true);
    await driver.close();
  });

  test('many nodes that start at once make one table', async () => {
    await postgres.sql(`CREATE DATABASE fresh`);
    const drivers = await Promise.all(Array.from({ length: 8 }, () => open(memoryDriver(), 'x', { url: postgres.url('fresh') })));
    for (const driver of drivers) await driver.close();
  });

  test('over the socket of the machine', async () => {
    const driver = await open(memoryDriver(), 'x', { url: `postgres://umbra:correct-horse@localhost:${postgres.port}/postgres?host=${encodeURIComponent(postgres.folder)}` });
    expect((await driver.claim('log/socket', Buffer.from('one'))).won).toBe(true);
    await driver.close();
  });
});
