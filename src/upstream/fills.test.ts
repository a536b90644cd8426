import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DriverError, type Assemblies, type Driver } from '../drivers/driver.ts';
import { openFilesystem } from '../drivers/filesystem/filesystem.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { pieceDriver } from '../drivers/contract/pieces.fixture.ts';
import { RegistryError } from '../oci/errors.ts';
import { soloGroup } from '../workers/solo.ts';
import type { FillEvent } from './fill-event.ts';
import { Client, Far, fullAfter, ManualTimers, quiet, Shelf, someBytes } from './fill.fixture.ts';
import { machineFills } from './fill-group.ts';
import type { FillJob, FillReader, Fills } from './fill.ts';
import { fills, type FillsOptions } from './fills.ts';

const MIB = 1024 * 1024;
const DETACHED_MS = 60_000;

const never = new AbortController().signal;

describe.each(['memory', 'filesystem', 'pieces'] as const)('a fill over the %s driver', (kind) => {
  let driver: Driver;
  let root: string | undefined;
  let shelf: Shelf;
  let timers: ManualTimers;
  let events: FillEvent[];
  let running: Fills[];

  beforeEach(async () => {
    root = kind === 'filesystem' ? await mkdtemp(join(tmpdir(), 'fills-')) : undefined;
    driver = root !== undefined ? await openFilesystem({ root }) : kind === 'memory' ? memoryDriver() : pieceDriver(64 * 1024);
    shelf = new Shelf(driver);
    timers = new ManualTimers();
    events = [];
    running = [];
  });
  afterEach(async () => {
    await Promise.all(running.map(async (one) => one.close()));
    await driver.close();
    if (root !== undefined) await rm(root, { recursive: true });
  });

  function start(options: Partial<FillsOptions> = {}): Fills {
    let ids = 0;
    const set = fills({
      driver, timers, group: machineFills(soloGroup(timers)), nowMs: () => 0, detachedMs: DETACHED_MS, newId: () => `id${++ids}`, observe: (event) => events.push(event), ...options,
    });
    running.push(set);
    return set;
  }

  async function open(set: Fills, job: FillJob): Promise<FillReader> {
    const reader = await set.open(job, never);
    if (reader === undefined) throw new Error('expected a reader');
    return reader;
  }

  async function client(set: Fills, job: FillJob, range?: { readonly start: number; readonly end: number }): Promise<Client> {
    return new Client(await open(set, job), range);
  }

  describe('with a willing upstream', () => {
    test('serves any number of readers from one download and stores the blob', async () => {
      const far = new Far(someBytes(3 * MIB + 17));
      const set = start();
      const clients = await Promise.all(Array.from({ length: 5 }, async () => client(set, shelf.job(far))));
      const download = await far.nth(0);
      while (download.start + clients[0]!.count < MIB) {
        download.give(100_000);
        await clients[0]!.has(clients[0]!.count + 1);
      }
      const late = await client(set, shelf.job(far));
      download.finish();
      for (const one of [...clients, late]) expect((await one.end).equals(far.bytes)).toBe(true);
      expect(far.downloads.length).toBe(1);
      expect(shelf.published).toEqual(['id1']);
      expect((await shelf.bytes(far))?.equals(far.bytes)).toBe(true);
      expect(clients[0]!.reader).toMatchObject({ size: far.bytes.length, etag: `"${far.digest};fill=id1"` });
      await set.close();
      expect(await shelf.keys()).toEqual([`blobs/${far.digest.slice(7)}`]);
      expect(events).toEqual([{ kind: 'began', digest: far.digest }, { kind: 'ended', digest: far.digest, outcome: 'stored', bytes: far.bytes.length, durationMs: 0, error: undefined }]);
    });

    test('gives bytes as they come, and the last one when the blob is stored', async () => {
      const far = new Far(someBytes(1000));
      const gate = Promise.withResolvers<void>();
      shelf.gate = gate.promise;
      const one = await client(start(), shelf.job(far));
      const download = await far.nth(0);
      download.give(10);
      await one.has(10);
      download.finish();
      await one.has(999);
      await quiet();
      expect(one.count).toBe(999);
      gate.resolve();
      expect((await one.end).equals(far.bytes)).toBe(true);
    });

    test('ends ranges before the last byte without waiting for it', async () => {
      const far = new Far(someBytes(500_000));
      const set = start();
      const download = far.nth(0);
      const middle = await client(set, shelf.job(far), { start: 100_000, end: 299_999 });
      const tail = await client(set, shelf.job(far), { start: 400_000, end: 499_999 });
      (await download).give(300_000);
      expect((await middle.end).equals(far.bytes.subarray(100_000, 300_000))).toBe(true);
      (await download).give(199_999);
      await tail.has(99_999);
      const early = await client(set, shelf.job(far), { start: 0, end: 9 });
      expect((await early.end).equals(far.bytes.subarray(0, 10))).toBe(true);
      (await download).finish();
      expect((await tail.end).equals(far.bytes.subarray(400_000))).toBe(true);
    });

    test('clamps a range to the blob', async () => {
      const far = new Far(someBytes(100));
      const one = await client(start(), shelf.job(far), { start: 90, end: 1_000_000 });
      (await far.nth(0)).finish();
      expect((await one.end).equals(far.bytes.subarray(90))).toBe(true);
    });

    test('takes a blob of unknown size', async () => {
      const far = new Far(someBytes(300_000));
      far.answer = async (from, signal) => far.download(from, signal, { size: undefined });
      const one = await client(start(), shelf.job(far));
      expect(one.reader.size).toBeUndefined();
      const download = await far.nth(0);
      download.give(1000);
      await one.has(999);
      await quiet();
      expect(one.count).toBe(999);
      download.finish();
      expect((await one.end).equals(far.bytes)).toBe(true);
      expect(one.reader.size).toBe(300_000);
    });

    test('takes an empty blob', async () => {
      const far = new Far(Buffer.alloc(0));
      const one = await client(start(), shelf.job(far));
      (await far.nth(0)).end();
      expect((await one.end).length).toBe(0);
      expect(shelf.published.length).toBe(1);
    });

    test('is not slowed by a reader that takes nothing', async () => {
      const far = new Far(someBytes(12 * MIB));
      const set = start();
      const idle = await open(set, shelf.job(far));
      const iterator = idle.stream(undefined, never)[Symbol.asyncIterator]();
      const done = set.complete(shelf.job(far), never);
      const first = iterator.next();
      const download = await far.nth(0);
      for (let sent = 0; sent < 12; sent++) download.give(MIB);
      download.end();
      expect(await done).toBe(true);
      // And what it left in the store meanwhile is still there for it.
      const chunks = [(await first).value as Buffer];
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) chunks.push(next.value);
      expect(Buffer.concat(chunks).equals(far.bytes)).toBe(true);
      idle.close();
    });

    test('is read to its end where opening what grows takes longer than the download', async () => {
      const far = new Far(someBytes(1000));
      const opening = Promise.withResolvers<void>();
      const open: Assemblies['open'] = async (state) => {
        await opening.promise;
        return driver.assemblies.open(state);
      };
      const slow: Driver = new Proxy(fullAfter(driver, Infinity), {
        get: (target, key) => (key === 'assemblies' ? { ...target.assemblies, open } : (Reflect.get(target, key) as unknown)),
      });
      const one = await client(start({ driver: slow }), shelf.job(far));
      (await far.nth(0)).finish();
      await one.has(999);
      await quiet();
      opening.resolve();
      expect((await one.end).equals(far.bytes)).toBe(true);
    });

    test('is found stored by one that comes just as it has ended', async () => {
      const far = new Far(someBytes(1000));
      const set = start();
      const first = await client(set, shelf.job(far));
      (await far.nth(0)).finish();
      await first.end;
      await quiet();
      const second = await client(set, shelf.job(far));
      expect(second.reader.size).toBe(1000);
      expect((await second.end).equals(far.bytes)).toBe(true);
      expect(await set.complete(shelf.job(far), never)).toBe(true);
      expect(far.downloads.length).toBe(1);
      expect(events.map((event) => event.kind)).toEqual(['began', 'ended']);
    });

    test('resolves complete once the blob is stored', async () => {
      const far = new Far(someBytes(1000));
      const set = start();
      const done = set.complete(shelf.job(far, { size: 1000 }), never);
      (await far.nth(0)).finish();
      expect(await done).toBe(true);
      expect((await shelf.bytes(far))?.equals(far.bytes)).toBe(true);
    });
  });

  describe('with an upstream that has none', () => {
    test('tells all who wait, after one question', async () => {
      const far = new Far(someBytes(10));
      const asked = Promise.withResolvers<undefined>();
      const question = Promise.withResolvers<void>();
      far.answer = async () => {
        question.resolve();
        return asked.promise;
      };
      const set = start();
      const waiting = [set.open(shelf.job(far), never), set.open(shelf.job(far), never), set.complete(shelf.job(far), never)];
      await question.promise;
      asked.resolve(undefined);
      expect(await Promise.all(waiting)).toEqual([undefined, undefined, false]);
      expect(far.asked).toBe(1);
    });

    test('tells all who wait why it could not be asked', async () => {
      const far = new Far(someBytes(10));
      const asked = Promise.withResolvers<undefined>();
      const question = Promise.withResolvers<void>();
      far.answer = async () => {
        question.resolve();
        return asked.promise;
      };
      const set = start();
      const waiting = [set.open(shelf.job(far), never), set.open(shelf.job(far), never), set.complete(shelf.job(far), never)];
      await question.promise;
      asked.reject(new RegistryError('TOOMANYREQUESTS', 'slow down', { retryAfterSeconds: 30 }));
      for (const outcome of await Promise.allSettled(waiting)) {
        expect(outcome).toMatchObject({ status: 'rejected', reason: { name: 'RegistryError', code: 'TOOMANYREQUESTS', message: 'slow down', retryAfterSeconds: 30 } });
      }
      expect(far.asked).toBe(1);
      expect(await shelf.keys()).toEqual([]);
    });

    test('lets a job of another origin ask its own', async () => {
      const far = new Far(someBytes(10));
      const refused = Promise.withResolvers<undefined>();
      far.answer = async (from, signal, n) => (n === 0 ? refused.promise : far.download(from, signal).finish());
      const set = start();
      const first = set.open(shelf.job(far, { origin: 'quay.io/evil' }), never);
      const second = client(set, shelf.job(far, { origin: 'docker.io/good' }));
      await quiet();
      refused.resolve(undefined);
      expect(await first).toBeUndefined();
      expect((await (await second).end).equals(far.bytes)).toBe(true);
    });

    test('leaves who gives up waiting alone', async () => {
      const far = new Far(someBytes(10));
      const asked = Promise.withResolvers<undefined>();
      far.answer = async () => asked.promise;
      const set = start();
      const impatient = new AbortController();
      const waiting = set.open(shelf.job(far), impatient.signal);
      await quiet();
      impatient.abort(new Error('client left'));
      await expect(waiting).rejects.toThrow('client left');
      asked.resolve(undefined);
    });
  });

  describe('of bytes that differ from the digest', () => {
    test('is tried once more, unseen by readers that had nothing yet', async () => {
      const far = new Far(someBytes(1000));
      far.answer = async (from, signal, n) => far.download(from, signal, n === 0 ? { bytes: someBytes(1000) } : {});
      const set = start();
      const spoilt = await client(set, shelf.job(far));
      const patient = await client(set, shelf.job(far), { start: 999, end: 999 });
      (await far.nth(0)).give(500);
      await spoilt.has(500);
      (await far.nth(0)).finish();
      await expect(spoilt.end).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining(far.digest) });
      expect(spoilt.count).toBeLessThan(1000);
      (await far.nth(1)).finish();
      expect((await patient.end).equals(far.bytes.subarray(999))).toBe(true);
      expect(patient.reader.etag).toBe(`"${far.digest};fill=id2"`);
      await set.close();
      expect(await shelf.keys()).toEqual([`blobs/${far.digest.slice(7)}`]);
      expect(events.filter((event) => event.kind === 'mismatch').length).toBe(1);
    });

    test('fails everybody the second time and stores nothing', async () => {
      const far = new Far(someBytes(1000));
      far.answer = async (from, signal) => far.download(from, signal, { bytes: someBytes(1000) }).finish();
      const set = start();
      const outcomes = await Promise.allSettled([set.complete(shelf.job(far), never), (await client(set, shelf.job(far), { start: 999, end: 999 })).end]);
      for (const outcome of outcomes) {
        expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'UPSTREAM_FAILED', message: expect.stringContaining(far.digest) } });
      }
      expect(far.asked).toBe(2);
      await set.close();
      expect(await shelf.keys()).toEqual([]);
    });

    test.each([
      ['more bytes than upstream said', (far: Far) => ({ bytes: Buffer.concat([far.bytes, Buffer.alloc(5 * MIB)]), size: 1000 })],
      ['more bytes than the descriptor says, from an upstream that says nothing', (far: Far) => ({ bytes: Buffer.concat([far.bytes, Buffer.alloc(5 * MIB)]), size: undefined })],
      ['fewer bytes than the descriptor says, from an upstream that says nothing', (far: Far) => ({ bytes: far.bytes.subarray(0, 900), size: undefined })],
    ])('is cut off: %s', async (_, wrong) => {
      const far = new Far(someBytes(1000));
      far.answer = async (from, signal) => far.download(from, signal, wrong(far)).finish();
      const set = start();
      await expect(set.complete(shelf.job(far, { size: 1000 }), never)).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining(far.digest) });
      expect(far.asked).toBe(2);
      await set.close();
      expect(await shelf.keys()).toEqual([]);
    });

    test('fails only the reader whose descriptor has the wrong size', async () => {
      const far = new Far(someBytes(1000));
      const set = start();
      const wrong = set.open(shelf.job(far, { size: 7 }), never);
      const wrongToo = set.complete(shelf.job(far, { size: 7 }), never);
      wrongToo.catch(() => undefined);
      const right = client(set, shelf.job(far, { size: 1000 }));
      (await far.nth(0)).finish();
      await expect(wrong).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
      await expect(wrongToo).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
      expect((await (await right).end).equals(far.bytes)).toBe(true);
    });

    test.each([1000, undefined])('is refused when it is longer than may be (upstream says %s)', async (size) => {
      const far = new Far(someBytes(1000));
      far.answer = async (from, signal) => far.download(from, signal, { size }).finish();
      const set = start({ maxBytes: 999 });
      await expect(set.complete(shelf.job(far), never)).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining('999') });
      await set.close();
      expect(await shelf.keys()).toEqual([]);
    });
  });

  describe('that breaks off', () => {
    test('is resumed where it ended and verified as a whole', async () => {
      const far = new Far(someBytes(2 * MIB));
      const one = await client(start(), shelf.job(far));
      (await far.nth(0)).give(MIB).break();
      expect(await timers.pass()).toBe(100);
      const second = await far.nth(1);
      expect(second.start).toBe(MIB);
      second.give(1000).break();
      await timers.pass();
      (await far.nth(2)).finish();
      expect((await one.end).equals(far.bytes)).toBe(true);
      expect(events.filter((event) => event.kind === 'resuming').map((event) => event.offset)).toEqual([MIB, MIB + 1000]);
    });

    test('is resumed when it ends short without a word', async () => {
      const far = new Far(someBytes(1000));
      const one = await client(start(), shelf.job(far));
      (await far.nth(0)).give(400).end();
      await timers.pass();
      expect((await far.nth(1)).start).toBe(400);
      (await far.nth(1)).finish();
      expect((await one.end).equals(far.bytes)).toBe(true);
    });

    test('is found wrong when what comes after the break belongs to other bytes', async () => {
      const far = new Far(someBytes(1000));
      far.answer = async (from, signal, n) => far.download(from, signal, n === 1 ? { bytes: someBytes(1000) } : {});
      const set = start();
      const done = set.complete(shelf.job(far), never);
      (await far.nth(0)).give(400).break();
      await timers.pass();
      (await far.nth(1)).finish();
      (await far.nth(2)).finish();
      expect(await done).toBe(true);
      expect((await shelf.bytes(far))?.equals(far.bytes)).toBe(true);
    });

    test('fails after breaks in a row without progress', async () => {
      const far = new Far(someBytes(1000));
      far.answer = async (from, signal) => far.download(from, signal).give(from === 0 ? 10 : 0).break();
      const set = start();
      const one = await client(set, shelf.job(far));
      const waits: number[] = [];
      while (waits.length < 5) waits.push(await timers.pass());
      await expect(one.end).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining('connection reset') });
      expect(waits).toEqual([100, 200, 400, 800, 1600]);
      expect(far.asked).toBe(6);
      await set.close();
      expect(await shelf.keys()).toEqual([]);
    });

    test('is resumed any number of times while it gets on', async () => {
      const far = new Far(someBytes(8 * MIB));
      far.answer = async (from, signal) => (from < 7 * MIB ? far.download(from, signal).give(MIB).break() : far.download(from, signal).finish());
      const one = await client(start(), shelf.job(far));
      for (let breaks = 0; breaks < 7; breaks++) expect(await timers.pass()).toBe(100);
      expect((await one.end).equals(far.bytes)).toBe(true);
    });

    test('waits as upstream wishes, within reason', async () => {
      const far = new Far(someBytes(1000));
      far.answer = async (from, signal, n) => {
        if (n === 1) throw new RegistryError('TOOMANYREQUESTS', 'slow down', { retryAfterSeconds: 2 });
        if (n === 2) throw new RegistryError('TOOMANYREQUESTS', 'go away', { retryAfterSeconds: 3600 });
        return far.download(from, signal).give(400).break();
      };
      const one = await client(start(), shelf.job(far));
      expect([await timers.pass(), await timers.pass()]).toEqual([100, 2000]);
      await expect(one.end).rejects.toMatchObject({ code: 'TOOMANYREQUESTS', message: 'go away', retryAfterSeconds: 3600 });
    });
  });

  describe('without readers', () => {
    test('goes on, and is theirs who come in time', async () => {
      const far = new Far(someBytes(1000));
      const set = start();
      const first = await client(set, shelf.job(far));
      (await far.nth(0)).give(500);
      await first.has(500);
      first.abort.abort(new Error('client left'));
      await expect(first.end).rejects.toThrow('client left');
      expect(timers.pending.map((timer) => timer.ms)).toEqual([DETACHED_MS]);
      const second = await client(set, shelf.job(far));
      expect(timers.pending).toEqual([]);
      await second.has(500);
      (await far.nth(0)).finish();
      expect((await second.end).equals(far.bytes)).toBe(true);
      expect(far.downloads.length).toBe(1);
    });

    test('is stored when it ends before the time is up', async () => {
      const far = new Far(someBytes(1000));
      const set = start();
      (await open(set, shelf.job(far))).close();
      const download = await far.nth(0);
      download.finish();
      await download.left;
      expect(await set.complete(shelf.job(far), never)).toBe(true);
      expect(timers.pending).toEqual([]);
      expect(far.downloads.length).toBe(1);
    });

    test('is given up when the time is up, and leaves nothing', async () => {
      const far = new Far(someBytes(1000));
      const set = start();
      const reader = await open(set, shelf.job(far));
      const download = await far.nth(0);
      download.give(500);
      reader.close();
      expect(await timers.pass()).toBe(DETACHED_MS);
      await download.left;
      expect(download.signal.aborted).toBe(true);
      await set.close();
      expect(await shelf.keys()).toEqual([]);
      expect(events.at(-1)).toMatchObject({ kind: 'ended', outcome: 'aborted' });
    });

    test('is begun again by one that comes as it is given up', async () => {
      const far = new Far(someBytes(1000));
      const set = start();
      (await open(set, shelf.job(far))).close();
      await far.nth(0);
      await timers.pass();
      const late = client(set, shelf.job(far));
      (await far.nth(1)).finish();
      expect((await (await late).end).equals(far.bytes)).toBe(true);
    });

    test('counts one that waits for its end as a reader', async () => {
      const far = new Far(someBytes(1000));
      const set = start();
      const leaving = new AbortController();
      const done = set.complete(shelf.job(far), leaving.signal);
      await far.nth(0);
      expect(timers.pending).toEqual([]);
      leaving.abort(new Error('commit given up'));
      await expect(done).rejects.toThrow('commit given up');
      expect(timers.pending.length).toBe(1);
    });

    test('is given up when the server stops', async () => {
      const far = new Far(someBytes(1000));
      const set = start();
      const one = await client(set, shelf.job(far));
      (await far.nth(0)).give(500);
      await one.has(500);
      await set.close();
      await expect(one.end).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      await expect(set.open(shelf.job(far), never)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      expect(await shelf.keys()).toEqual([]);
    });
  });

  describe('on a full disk', () => {
    test('goes on past it: each reader downloads the rest for itself', async () => {
      const far = new Far(someBytes(3 * MIB));
      const set = start({ driver: fullAfter(driver, MIB) });
      const whole = await client(set, shelf.job(far));
      const tail = await client(set, shelf.job(far), { start: 2 * MIB, end: 3 * MIB - 1 });
      const middle = await client(set, shelf.job(far), { start: MIB, end: 3 * MIB - 2 });
      const first = await far.nth(0);
      first.give(MIB);
      await whole.has(MIB);
      first.give(MIB).give(10);
      await first.left;
      const own = await Promise.all([far.nth(1), far.nth(2), far.nth(3)]);
      for (const download of own) download.finish();
      expect((await whole.end).equals(far.bytes)).toBe(true);
      expect((await tail.end).equals(far.bytes.subarray(2 * MIB))).toBe(true);
      expect((await middle.end).equals(far.bytes.subarray(MIB, 3 * MIB - 1))).toBe(true);
      // Nothing that the store took is asked for again.
      for (const download of own) expect(download.start).toBeGreaterThanOrEqual(MIB);
      await set.close();
      expect(await shelf.keys()).toEqual([]);
      expect(events).toMatchObject([{ kind: 'began' }, { kind: 'full', landed: MIB }, { kind: 'ended', outcome: 'unstored', bytes: MIB }]);
    });

    test.each(['append', 'write'] as const)('serves who comes to one that took nothing (%s fails)', async (fails) => {
      const far = new Far(someBytes(1000));
      far.answer = async (from, signal) => far.download(from, signal).finish();
      const set = start({ driver: fullAfter(driver, 0, fails) });
      const [one, two] = await Promise.all([client(set, shelf.job(far)), client(set, shelf.job(far), { start: 10, end: 19 })]);
      expect((await one.end).equals(far.bytes)).toBe(true);
      expect((await two.end).equals(far.bytes.subarray(10, 20))).toBe(true);
      await set.close();
      expect(await shelf.keys()).toEqual([]);
    });

    test.each([
      ['DriverError', new DriverError('full', 'no space left')],
      ['RegistryError', new RegistryError('STORAGE_FULL', 'no space left')],
    ])('gives the last byte of a verified blob that could not be published (%s)', async (_, refusal) => {
      const far = new Far(someBytes(1000));
      const set = start();
      const job: FillJob = { ...shelf.job(far), publish: async () => Promise.reject(refusal) };
      const one = await client(set, job);
      (await far.nth(0)).finish();
      expect((await one.end).equals(far.bytes)).toBe(true);
      expect(far.asked).toBe(1);
      await set.close();
      expect(await shelf.keys()).toEqual([]);
    });

    test('gives the last byte of a verified blob that could not be finished', async () => {
      const far = new Far(someBytes(1000));
      const set = start({ driver: fullAfter(driver, Infinity, 'finish') });
      const one = await client(set, shelf.job(far));
      (await far.nth(0)).finish();
      expect((await one.end).equals(far.bytes)).toBe(true);
      expect(far.asked).toBe(1);
    });

    test('withholds the last byte of a wrong blob, whatever range it is in', async () => {
      const far = new Far(someBytes(2 * MIB));
      const wrong = Buffer.from(far.bytes);
      wrong.writeUInt8(wrong.readUInt8(MIB + 5) ^ 1, MIB + 5);
      far.answer = async (from, signal) => far.download(from, signal, { bytes: wrong }).finish();
      const set = start({ driver: fullAfter(driver, MIB) });
      const whole = await client(set, shelf.job(far));
      const tail = await client(set, shelf.job(far), { start: 2 * MIB - 100, end: 2 * MIB - 1 });
      await expect(whole.end).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
      await expect(tail.end).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
      expect([whole.count, tail.count]).toEqual([2 * MIB - 1, 99]);
    });

    test('holds back the end of a blob of unknown size', async () => {
      const far = new Far(someBytes(2000));
      far.answer = async (from, signal) => far.download(from, signal, { size: undefined }).give(1000).finish();
      const set = start({ driver: fullAfter(driver, 0) });
      const one = await client(set, shelf.job(far));
      expect((await one.end).equals(far.bytes)).toBe(true);
    });

    test('resumes the downloads of its readers too', async () => {
      const far = new Far(someBytes(1000));
      const set = start({ driver: fullAfter(driver, 0) });
      const one = await client(set, shelf.job(far));
      (await far.nth(0)).give(10);
      (await far.nth(1)).give(600).break();
      await timers.pass();
      expect((await far.nth(2)).start).toBe(610);
      (await far.nth(2)).finish();
      expect((await one.end).equals(far.bytes)).toBe(true);
    });

    test('names the bytes of each reader apart, so that a client never splices two', async () => {
      const far = new Far(someBytes(1000));
      const set = start({ driver: fullAfter(driver, 0) });
      const before = await client(set, shelf.job(far));
      (await far.nth(0)).give(10);
      await far.nth(1);
      const [one, two] = [await client(set, shelf.job(far)), await client(set, shelf.job(far))];
      expect(new Set([before, one, two].map(({ reader }) => reader.etag)).size).toBe(3);
    });

    test('vouches for no byte of the broken download that it has not hashed', async () => {
      const far = new Far(someBytes(1000));
      const wrong = Buffer.from(far.bytes);
      wrong.writeUInt8(wrong.readUInt8(5) ^ 1, 5);
      far.answer = async (from, signal, n) => (n === 0 ? far.download(from, signal, { bytes: wrong }) : far.download(from, signal).finish());
      // Refuses only once the reader has had the wrong bytes from memory.
      const had = Promise.withResolvers<void>();
      const full = fullAfter(driver, 0);
      const slow: Driver = new Proxy(full, {
        get(target, key) {
          if (key !== 'assemblies') return Reflect.get(target, key) as unknown;
          const append: Assemblies['append'] = async (state) => {
            const appender = await full.assemblies.append(state);
            return { ...appender, write: async (chunk) => had.promise.then(async () => appender.write(chunk)) };
          };
          return { ...full.assemblies, append };
        },
      });
      const one = await client(start({ driver: slow }), shelf.job(far));
      (await far.nth(0)).give(500);
      await one.has(500);
      had.resolve();
      await expect(one.end).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
      expect(one.count).toBeLessThan(1000);
    });

    test('tells who needs it stored', async () => {
      const far = new Far(someBytes(1000));
      far.answer = async (from, signal) => far.download(from, signal).finish();
      const set = start({ driver: fullAfter(driver, 0) });
      await expect(set.complete(shelf.job(far), never)).rejects.toMatchObject({ code: 'STORAGE_FULL', message: expect.stringContaining(far.digest) });
    });

    test('is forgotten with its last reader: the next one finds room again', async () => {
      const far = new Far(someBytes(1000));
      far.answer = async (from, signal) => far.download(from, signal).finish();
      let full = true;
      const fickle: Driver = new Proxy(driver, {
        get: (target, key) => (key === 'assemblies' && full ? fullAfter(driver, 0).assemblies : (Reflect.get(target, key) as unknown)),
      });
      const set = start({ driver: fickle });
      await (await client(set, shelf.job(far))).end;
      await quiet();
      full = false;
      expect(await set.complete(shelf.job(far), never)).toBe(true);
    });
  });

  test('on a store that fails otherwise tells so', async () => {
    const far = new Far(someBytes(1000));
    far.answer = async (from, signal) => far.download(from, signal).finish();
    const set = start();
    const job: FillJob = { ...shelf.job(far), publish: async () => Promise.reject(new DriverError('permanent', 'input/output error')) };
    await expect(set.complete(job, never)).rejects.toMatchObject({ code: 'UNAVAILABLE', message: expect.not.stringContaining('input/output error') as string });
    expect(events).toContainEqual({ kind: 'refused', digest: far.digest, error: new DriverError('permanent', 'input/output error') });
    await set.close();
    expect(await shelf.keys()).toEqual([]);
  });
});
