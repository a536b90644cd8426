/** Fills between the workers of one machine: what one of them downloads the others read from the store as it grows. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Driver } from '../drivers/driver.ts';
import { openFilesystem } from '../drivers/filesystem/filesystem.ts';
import { RegistryError } from '../oci/errors.ts';
import { members, type OneOfGroup } from '../workers/group.fixture.ts';
import { Client, Far, fullAfter, ManualTimers, quiet, Shelf, someBytes } from './fill.fixture.ts';
import { machineFills } from './fill-group.ts';
import type { FillJob, Fills } from './fill.ts';
import { fills } from './fills.ts';

const MIB = 1024 * 1024;
const never = new AbortController().signal;

describe('a fill that several workers read', () => {
  let root: string;
  let driver: Driver;
  let shelf: Shelf;
  let timers: ManualTimers;
  let group: readonly OneOfGroup[];
  let leader: Fills;
  let follower: Fills;
  let other: Fills;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'fills-'));
    driver = await openFilesystem({ root });
    shelf = new Shelf(driver);
    timers = new ManualTimers();
    group = members(3, timers);
    [leader, follower, other] = group.map(({ member }) => start(member, driver)) as [Fills, Fills, Fills];
  });
  afterEach(async () => {
    await Promise.all([leader, follower, other].map(async (set) => set.close()));
    await driver.close();
    await rm(root, { recursive: true });
  });

  function start(member: OneOfGroup['member'], store: Driver): Fills {
    let ids = 0;
    return fills({ driver: store, timers, group: machineFills(member), nowMs: () => 0, detachedMs: 1000, newId: () => `id${member.id}x${++ids}`, observe: () => undefined });
  }

  async function client(set: Fills, job: FillJob, range?: { readonly start: number; readonly end: number }): Promise<Client> {
    const reader = await set.open(job, never);
    if (reader === undefined) throw new Error('expected a reader');
    return new Client(reader, range);
  }

  test('is downloaded once', async () => {
    const far = new Far(someBytes(5 * MIB + 3));
    const early = await Promise.all([leader, follower, other].map(async (set) => client(set, shelf.job(far))));
    const download = await far.nth(0);
    download.give(2 * MIB);
    for (const one of early) await one.has(2 * MIB);
    const late = await client(other, shelf.job(far), { start: MIB, end: 5 * MIB + 2 });
    await late.has(MIB);
    const stored = follower.complete(shelf.job(far), never);
    download.finish();
    for (const one of early) expect((await one.end).equals(far.bytes)).toBe(true);
    expect((await late.end).equals(far.bytes.subarray(MIB))).toBe(true);
    expect(await stored).toBe(true);
    expect([far.asked, shelf.published.length]).toEqual([1, 1]);
    expect(new Set(early.map((one) => one.reader.etag)).size).toBe(1);
  });

  test('gives no worker the last byte before it is stored', async () => {
    const far = new Far(someBytes(1000));
    const gate = Promise.withResolvers<void>();
    shelf.gate = gate.promise;
    await client(leader, shelf.job(far));
    const one = await client(follower, shelf.job(far));
    (await far.nth(0)).finish();
    await one.has(999);
    await quiet();
    expect(one.count).toBe(999);
    gate.resolve();
    expect((await one.end).equals(far.bytes)).toBe(true);
  });

  test('tells all workers what upstream answered', async () => {
    const far = new Far(someBytes(1000));
    const asked = Promise.withResolvers<undefined>();
    const question = Promise.withResolvers<void>();
    far.answer = async () => {
      question.resolve();
      return asked.promise;
    };
    const waiting = [leader, follower, other].map(async (set) => set.open(shelf.job(far), never));
    await question.promise;
    await quiet();
    asked.reject(new RegistryError('TOOMANYREQUESTS', 'slow down', { retryAfterSeconds: 3 }));
    for (const outcome of await Promise.allSettled(waiting)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'TOOMANYREQUESTS', message: 'slow down', retryAfterSeconds: 3 } });
    }
    expect(far.asked).toBe(1);
    far.answer = async () => undefined;
    expect(await Promise.all([leader, follower, other].map(async (set) => set.open(shelf.job(far), never)))).toEqual([undefined, undefined, undefined]);
  });

  test('of wrong bytes is tried again for those who had nothing yet', async () => {
    const far = new Far(someBytes(1000));
    far.answer = async (from, signal, n) => far.download(from, signal, n === 0 ? { bytes: someBytes(1000) } : {});
    await client(leader, shelf.job(far), { start: 999, end: 999 });
    const spoilt = await client(follower, shelf.job(far));
    const patient = await client(other, shelf.job(far), { start: 900, end: 999 });
    (await far.nth(0)).give(500);
    await spoilt.has(500);
    (await far.nth(0)).break();
    await timers.pass();
    const resumed = await far.nth(1);
    resumed.send(Buffer.concat([far.bytes, far.bytes]));
    await expect(spoilt.end).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
    (await far.nth(2)).finish();
    expect((await patient.end).equals(far.bytes.subarray(900))).toBe(true);
  });

  test('lives on while another worker reads it', async () => {
    const far = new Far(someBytes(1000));
    const first = await client(leader, shelf.job(far));
    const second = await client(follower, shelf.job(far));
    (await far.nth(0)).give(500);
    await second.has(500);
    first.abort.abort(new Error('left'));
    await expect(first.end).rejects.toThrow('left');
    await quiet();
    expect(timers.pending).toEqual([]);
    second.abort.abort(new Error('left'));
    await expect(second.end).rejects.toThrow('left');
    expect(await timers.pass()).toBe(1000);
    await (await far.nth(0)).left;
    await leader.close();
    expect(await shelf.keys()).toEqual([]);
  });

  test('of a worker that dies is begun again by those who had nothing yet', async () => {
    const far = new Far(someBytes(1000));
    await client(leader, shelf.job(far));
    const begun = await client(follower, shelf.job(far));
    const waiting = await client(other, shelf.job(far), { start: 900, end: 999 });
    (await far.nth(0)).give(500);
    await begun.has(500);
    group[0]!.die();
    await expect(begun.end).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    (await far.nth(1)).finish();
    expect((await waiting.end).equals(far.bytes.subarray(900))).toBe(true);
  });

  test('of a worker that stops is begun again by those who had nothing yet', async () => {
    const far = new Far(someBytes(1000));
    const stopped = leader.complete(shelf.job(far), never);
    stopped.catch(() => undefined);
    await far.nth(0);
    const stored = Promise.all([follower.complete(shelf.job(far), never), other.complete(shelf.job(far), never)]);
    await quiet();
    await leader.close();
    await expect(stopped).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    (await far.nth(1)).finish();
    expect(await stored).toEqual([true, true]);
    expect(far.asked).toBe(2);
  });

  test('goes past a full disk in every worker, the whole hashed by each that gives the last byte', async () => {
    leader = start(group[0]!.member, fullAfter(driver, MIB));
    const far = new Far(someBytes(2 * MIB));
    await client(leader, shelf.job(far), { start: 0, end: 9 });
    const whole = await client(follower, shelf.job(far));
    const tail = await client(other, shelf.job(far), { start: 2 * MIB - 10, end: 2 * MIB - 1 });
    (await far.nth(0)).give(MIB);
    await whole.has(MIB);
    (await far.nth(0)).give(MIB);
    const own = [await far.nth(1), await far.nth(2)];
    expect(own.map((download) => download.start)).toEqual([MIB, MIB]);
    await expect(other.complete(shelf.job(far), never)).rejects.toMatchObject({ code: 'STORAGE_FULL' });
    for (const download of own) download.finish();
    expect((await whole.end).equals(far.bytes)).toBe(true);
    expect((await tail.end).equals(far.bytes.subarray(2 * MIB - 10))).toBe(true);
  });

  test('is read from where it was published by a worker that comes just then', async () => {
    const far = new Far(someBytes(1000));
    const published = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const job = shelf.job(far);
    const slow: FillJob = {
      ...job,
      publish: async (...args) => {
        await job.publish(...args);
        published.resolve();
        await release.promise;
      },
    };
    const first = await client(leader, slow);
    (await far.nth(0)).finish();
    await published.promise;
    // What the leader announced has moved to its final place by now, and the leader has not said so yet.
    const late = await client(follower, shelf.job(far));
    await quiet();
    release.resolve();
    expect((await late.end).equals(far.bytes)).toBe(true);
    expect((await first.end).equals(far.bytes)).toBe(true);
    expect(far.asked).toBe(1);
  });
});
