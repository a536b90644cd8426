/** Fills of several machines over one object store: one download, followed by the piece, left where it stands still. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DriverError, type Driver } from '../drivers/driver.ts';
import { pieceDriver } from '../drivers/contract/pieces.fixture.ts';
import { RegistryError } from '../oci/errors.ts';
import { members } from '../workers/group.fixture.ts';
import { systemTimers } from '../workers/timers.ts';
import { Client, Clock, Far, quiet, Shelf, someBytes } from './fill.fixture.ts';
import { sweepLeases } from './fill-lease.ts';
import type { FillJob, Fills } from './fill.ts';
import { fills } from './fills.ts';
import { sharedFills } from './shared-fills.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const PIECE = 256 * KIB;
/** A contest is decided. */
const DECIDED_MS = 100;
/** A follower has looked. */
const LOOKED_MS = 1_000;
const never = new AbortController().signal;

describe('a fill that several machines read', () => {
  let clock: Clock;
  let driver: Driver;
  let shelf: Shelf;
  let running: Fills[];
  let ids: number;

  beforeEach(() => {
    clock = new Clock();
    driver = pieceDriver(PIECE, { clock: clock.nowMs });
    shelf = new Shelf(driver);
    running = [];
    ids = 0;
  });
  afterEach(async () => {
    await Promise.all(running.map(async (set) => set.close()));
    // A machine that stops leaves nothing to wait for, whatever it was doing.
    const left = (await shelf.keys()).filter((key) => key.startsWith('leases/'));
    if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
  });

  /** A machine of so many workers. */
  function machine({ workers = 1, store = driver, nowMs = clock.nowMs }: { workers?: number; store?: Driver; nowMs?: () => number } = {}): Fills[] {
    const newId = (): string => `id${++ids}`;
    const sets = members(workers, systemTimers).map(({ member }) =>
      fills({ driver: store, timers: clock, nowMs, newId, group: sharedFills({ group: member, driver: store, timers: clock, nowMs, newId }), detachedMs: 60_000, observe: () => undefined }),
    );
    running.push(...sets);
    return sets;
  }

  async function client(set: Fills, job: FillJob, range?: { readonly start: number; readonly end: number }): Promise<Client> {
    const reader = await set.open(job, never);
    if (reader === undefined) throw new Error('expected a reader');
    return new Client(reader, range);
  }

  /** One leads and another follows, both readers having all that stands in the store: `count` bytes. */
  async function following(far: Far, count: number, stores: { leader?: Driver } = {}): Promise<{ leads: Client; follows: Client; set: Fills; other: Fills }> {
    const [set] = machine({ store: stores.leader ?? driver }) as [Fills];
    const [other] = machine() as [Fills];
    const leads = client(set, shelf.job(far));
    await clock.pass(DECIDED_MS);
    const follows = client(other, shelf.job(far));
    far.downloads[0]!.give(count);
    await clock.pass(LOOKED_MS);
    await (await follows).has(count);
    return { leads: await leads, follows: await follows, set, other };
  }

  test('is downloaded once, though all ask at the same moment', async () => {
    const far = new Far(someBytes(3 * MIB + 17));
    const sets = [machine(), machine(), machine()].flat();
    const clients = sets.map(async (set) => client(set, shelf.job(far)));
    await clock.pass(DECIDED_MS);
    for (const download of far.downloads) download.give(MIB);
    await clock.pass(LOOKED_MS);
    for (const one of clients) await (await one).has(MIB);
    for (const download of far.downloads) download.finish();
    await clock.pass(LOOKED_MS);
    for (const one of clients) expect((await (await one).end).equals(far.bytes)).toBe(true);
    // Not even opened twice: what an upstream sends before it hears that nobody wants it are megabytes.
    expect(far.asked).toBe(1);
    expect(shelf.published.length).toBe(1);
    expect(new Set(await Promise.all(clients.map(async (one) => (await one).reader.etag))).size).toBe(1);
  });

  test('asks upstream for nothing before it is known who leads', async () => {
    const far = new Far(someBytes(2 * MIB));
    const [set] = machine() as [Fills];
    const one = client(set, shelf.job(far));
    await quiet();
    expect(far.asked).toBe(0);
    await clock.pass(DECIDED_MS);
    far.downloads[0]!.give(MIB);
    await (await one).has(MIB);
    far.downloads[0]!.finish();
    expect((await (await one).end).equals(far.bytes)).toBe(true);
  });

  test('is not downloaded again by a machine that looks for a lease just as the download ends', async () => {
    const far = new Far(someBytes(2 * MIB));
    const gate = Promise.withResolvers<void>();
    const held: Driver = new Proxy(driver, {
      get: (target, key) => (key === 'get' ? async (...args: Parameters<Driver['get']>) => gate.promise.then(async () => target.get(...args)) : (Reflect.get(target, key) as unknown)),
    });
    const [set] = machine() as [Fills];
    const [late] = machine({ store: held }) as [Fills];
    const one = client(set, shelf.job(far));
    await clock.pass(DECIDED_MS);
    const other = client(late, shelf.job(far));
    await quiet();
    far.downloads[0]!.finish();
    expect((await (await one).end).equals(far.bytes)).toBe(true);
    gate.resolve();
    await clock.pass(DECIDED_MS);
    expect((await (await other).end).equals(far.bytes)).toBe(true);
    expect(far.asked).toBe(1);
    await clock.pass(10_000);
  });

  test('leaves its last word to those who follow, though another machine asks before they have read it', async () => {
    const far = new Far(someBytes(2 * MIB));
    const [late] = machine() as [Fills];
    const { leads, follows } = await following(far, MIB);
    far.downloads[0]!.finish();
    expect((await leads.end).equals(far.bytes)).toBe(true);
    await quiet();
    expect(await late.complete(shelf.job(far), never)).toBe(true);
    await clock.pass(LOOKED_MS);
    expect((await follows.end).equals(far.bytes)).toBe(true);
    expect(far.asked).toBe(1);
  });

  test('holds back the last byte everywhere until it is verified and stored', async () => {
    const far = new Far(someBytes(2 * MIB));
    const gate = Promise.withResolvers<void>();
    shelf.gate = gate.promise;
    const { follows } = await following(far, MIB);
    far.downloads[0]!.finish();
    await clock.pass(LOOKED_MS);
    expect(follows.count).toBeLessThan(2 * MIB);
    gate.resolve();
    await clock.pass(LOOKED_MS);
    expect((await follows.end).equals(far.bytes)).toBe(true);
  });

  test('is read on every worker of a machine that follows', async () => {
    const far = new Far(someBytes(2 * MIB));
    const [leads] = machine() as [Fills];
    const workers = machine({ workers: 3 });
    const first = client(leads, shelf.job(far));
    await clock.pass(DECIDED_MS);
    const others = workers.map(async (set) => client(set, shelf.job(far)));
    const stored = workers[1]!.complete(shelf.job(far), never);
    far.downloads[0]!.give(MIB);
    await clock.pass(LOOKED_MS);
    for (const one of others) await (await one).has(MIB);
    far.downloads[0]!.finish();
    await clock.pass(LOOKED_MS);
    for (const one of [first, ...others]) expect((await (await one).end).equals(far.bytes)).toBe(true);
    expect(await stored).toBe(true);
    expect(far.asked).toBe(1);
  });

  test('is waited for while bytes come, though no piece is whole', async () => {
    const far = new Far(someBytes(2 * MIB));
    driver = pieceDriver(4 * MIB, { clock: clock.nowMs });
    shelf = new Shelf(driver);
    const [set] = machine() as [Fills];
    const [other] = machine() as [Fills];
    const leads = client(set, shelf.job(far));
    await clock.pass(DECIDED_MS);
    const follows = client(other, shelf.job(far));
    for (let seconds = 0; seconds < 20; seconds += 2) {
      far.downloads[0]!.give(1000);
      await clock.pass(2_000);
    }
    expect((await follows).count).toBe(0);
    far.downloads[0]!.finish();
    await clock.pass(LOOKED_MS);
    for (const one of [leads, follows]) expect((await (await one).end).equals(far.bytes)).toBe(true);
    expect(far.asked).toBe(1);
  });

  test('that stands still for 5 s is left: a download of their own, from what they have', async () => {
    const far = new Far(someBytes(3 * MIB));
    const { leads, follows } = await following(far, MIB);
    await clock.pass(3_000);
    expect(far.asked).toBe(1);
    await clock.pass(4_000);
    const own = await far.nth(1);
    expect(own.start).toBe(MIB);
    own.finish();
    expect((await follows.end).equals(far.bytes)).toBe(true);
    far.downloads[0]!.finish();
    expect((await leads.end).equals(far.bytes)).toBe(true);
  });

  test('of a machine that dies is gone on with, and begun again by those who had nothing', async () => {
    const far = new Far(someBytes(3 * MIB));
    let dead = false;
    // Nothing that it does reaches the store any more.
    const dying: Driver = new Proxy(driver, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key);
        return key === 'put' ? async (...args: Parameters<Driver['put']>) => (dead ? Promise.reject(new DriverError('retryable', 'unplugged')) : target.put(...args)) : value;
      },
    });
    const { follows, other } = await following(far, MIB, { leader: dying });
    const tail = client(other, shelf.job(far), { start: 2 * MIB, end: 3 * MIB - 1 });
    dead = true;
    await clock.pass(7_000);
    // What was opened while the dead one's lease still stood is dropped.
    const [own, fresh] = far.downloads.slice(1).filter(({ signal }) => !signal.aborted).toSorted((x, y) => y.start - x.start);
    expect([own!.start, fresh!.start]).toEqual([MIB, 0]);
    own!.finish();
    fresh!.finish();
    await clock.pass(LOOKED_MS);
    expect((await follows.end).equals(far.bytes)).toBe(true);
    expect((await (await tail).end).equals(far.bytes.subarray(2 * MIB))).toBe(true);
    expect(shelf.published.length).toBe(1);
  });

  test('of wrong bytes gives no follower the last one, whoever it had them from', async () => {
    const far = new Far(someBytes(3 * MIB));
    const wrong = Buffer.from(far.bytes);
    wrong.writeUInt8(wrong.readUInt8(5) ^ 1, 5);
    far.answer = async (from, signal, n) => far.download(from, signal, { bytes: n === 0 ? wrong : far.bytes });
    const { follows } = await following(far, MIB);
    await clock.pass(7_000);
    (await far.nth(1)).finish();
    await expect(follows.end).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
    expect(follows.count).toBeLessThan(3 * MIB);
  });

  test('of a machine that stops is gone on with at once', async () => {
    const far = new Far(someBytes(3 * MIB));
    const { leads, follows, set } = await following(far, MIB);
    await Promise.all([set.close(), expect(leads.end).rejects.toMatchObject({ code: 'UNAVAILABLE' })]);
    await clock.pass(LOOKED_MS);
    const own = await far.nth(1);
    expect(own.start).toBe(MIB);
    own.finish();
    expect((await follows.end).equals(far.bytes)).toBe(true);
  });

  test('that upstream refused to one machine is asked for by the other', async () => {
    const far = new Far(someBytes(3 * MIB));
    const { leads, follows } = await following(far, MIB);
    far.answer = async (start, signal, n) => {
      if (n === 1) throw new RegistryError('DENIED', 'not you');
      return far.download(start, signal).finish();
    };
    far.downloads[0]!.break(new RegistryError('DENIED', 'your time is up'));
    await clock.pass(10_000);
    await expect(leads.end.then((bytes) => bytes.length)).resolves.toBe(3 * MIB);
    expect((await follows.end).equals(far.bytes)).toBe(true);
    // What it had is left to those who follow for a while.
    await clock.pass(70_000);
    expect((await shelf.keys()).filter((key) => key.startsWith('uploads/'))).toEqual([]);
  });

  test('whose holder died long ago, by the clock of the store, is begun at once', async () => {
    const far = new Far(someBytes(2 * MIB));
    await driver.put(`leases/fills/sha256/${far.digest.slice(7)}`, Buffer.from(JSON.stringify({ holder: 'dead', beat: 3, came: 9 })));
    await clock.pass(6_000);
    // Its own clock stands years apart.
    const store: Driver = new Proxy(driver, { get: (target, key) => (key === 'clock' ? async () => clock.nowMs() : (Reflect.get(target, key) as unknown)) });
    const [set] = machine({ store, nowMs: () => clock.nowMs() - 1e12 }) as [Fills];
    const one = client(set, shelf.job(far));
    await clock.pass(DECIDED_MS);
    far.downloads[0]!.finish();
    expect((await (await one).end).equals(far.bytes)).toBe(true);
    expect(far.asked).toBe(1);
    await clock.pass(10_000);
  });

  test('goes on alone where the store does not say in time who leads', async () => {
    const far = new Far(someBytes(2 * MIB));
    const slow: Driver = new Proxy(driver, {
      get: (target, key) => (key === 'get' ? async () => new Promise(() => undefined) : (Reflect.get(target, key) as unknown)),
    });
    const [set] = machine({ store: slow }) as [Fills];
    const one = client(set, shelf.job(far));
    await clock.pass(3_000);
    far.downloads[0]!.finish();
    expect((await (await one).end).equals(far.bytes)).toBe(true);
    running = [];
  });

  test('takes no lease for a small blob', async () => {
    const far = new Far(someBytes(MIB - 1));
    const [set] = machine() as [Fills];
    const one = client(set, shelf.job(far, { size: MIB - 1 }));
    (await far.nth(0)).finish();
    expect((await (await one).end).equals(far.bytes)).toBe(true);
    expect((await shelf.keys()).filter((key) => !key.startsWith('blobs/'))).toEqual([]);
  });

  test('leaves neither lease nor pieces', async () => {
    const far = new Far(someBytes(2 * MIB));
    const { follows, leads } = await following(far, MIB);
    far.downloads[0]!.finish();
    await clock.pass(LOOKED_MS);
    for (const one of [leads, follows]) expect((await one.end).equals(far.bytes)).toBe(true);
    await clock.pass(10_000);
    expect((await shelf.keys()).filter((key) => !key.startsWith('blobs/'))).toEqual([]);
  });

  test('of a machine that died leaves a lease for an hour at most', async () => {
    const dead = Array.from({ length: 250 }, (_, n) => `leases/fills/sha256/${String(n).padStart(64, '0')}`);
    for (const key of dead) await driver.put(key, Buffer.from('{}'));
    await clock.pass(60 * 60_000);
    await driver.put('leases/fills/sha256/fresh', Buffer.from('{}'));
    await clock.pass(1);
    await sweepLeases({ driver, nowMs: clock.nowMs, signal: never });
    expect(await shelf.keys()).toEqual(['leases/fills/sha256/fresh']);
    await driver.delete(['leases/fills/sha256/fresh']);
  });

  test('is not stopped while another machine reads it, and is when none does', async () => {
    const far = new Far(someBytes(3 * MIB));
    const { leads, follows } = await following(far, MIB);
    leads.abort.abort(new Error('left'));
    await expect(leads.end).rejects.toThrow('left');
    for (let seconds = 0; seconds < 130; seconds += 2) {
      far.downloads[0]!.give(1000);
      await clock.pass(2_000);
    }
    expect(far.downloads[0]!.signal.aborted).toBe(false);
    follows.abort.abort(new Error('left too'));
    await expect(follows.end).rejects.toThrow('left too');
    await clock.pass(120_000);
    expect(far.downloads[0]!.signal.aborted).toBe(true);
    expect(far.asked).toBe(1);
    await clock.pass(70_000);
    expect((await shelf.keys()).filter((key) => key.startsWith('uploads/') || key.startsWith('leases/'))).toEqual([]);
  });

  test('goes on for somebody who comes on another machine just before it would be stopped', async () => {
    const far = new Far(someBytes(3 * MIB));
    const [set, other] = [...machine(), ...machine()] as [Fills, Fills];
    const leads = client(set, shelf.job(far));
    await clock.pass(DECIDED_MS);
    far.downloads[0]!.give(MIB);
    await (await leads).has(MIB);
    (await leads).abort.abort(new Error('left'));
    await expect((await leads).end).rejects.toThrow('left');
    await clock.pass(58_000);
    const follows = client(other, shelf.job(far));
    await clock.pass(4_000);
    far.downloads[0]!.finish();
    await clock.pass(LOOKED_MS);
    expect((await (await follows).end).equals(far.bytes)).toBe(true);
    expect(far.asked).toBe(1);
    await clock.pass(10_000);
    expect((await shelf.keys()).filter((key) => key.startsWith('leases/'))).toEqual([]);
  });

  test('is waited for while its holder, who has all of it, is still storing it', async () => {
    const far = new Far(someBytes(2 * MIB));
    const gate = Promise.withResolvers<void>();
    shelf.gate = gate.promise;
    const { follows, other } = await following(far, MIB);
    const stored = other.complete(shelf.job(far), never);
    stored.catch(() => undefined); // looked at below
    far.downloads[0]!.finish();
    await clock.pass(40_000);
    gate.resolve();
    await clock.pass(LOOKED_MS);
    expect(await stored).toBe(true);
    expect((await follows.end).equals(far.bytes)).toBe(true);
    expect(far.asked).toBe(1);
  });
});
