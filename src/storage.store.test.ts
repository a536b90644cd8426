/** Stores as the configuration names them, over a real Swift: a disk before it, and a database that decides its claims. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { freshContainer } from '../test/services/openstack.ts';
import { Postgres } from '../test/services/postgres.ts';
import { Secret, type Config, type SwiftStorage } from './config/config.ts';
import { keys, type Generation } from './content/keys.ts';
import type { DiskCount } from './drivers/disk-tier/events.ts';
import { readBlob } from './drivers/disk-tier/disk-tier.fixture.ts';
import type { Driver } from './drivers/driver.ts';
import { patterned, text } from './drivers/contract/store.contract.ts';
import { passwordAuth, rawSwift, type RawSwift } from './drivers/swift/swift.fixture.ts';
import { digestOf } from './oci/digest.ts';
import { openStore } from './storage.ts';
import { systemTimers } from './workers/timers.ts';

const MiB = 1024 * 1024;
const container = freshContainer('storage');
let raw: RawSwift;
let folder: string;
const opened: Driver[] = [];

beforeAll(() => {
  raw = rawSwift(inject('openstack'));
});
afterAll(async () => {
  await raw.remove(container);
  await raw.close();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'umbra-storage-'));
});
afterEach(async () => {
  for (const driver of opened.splice(0)) await driver.close();
  await rm(folder, { recursive: true });
});

interface Node {
  readonly driver: Driver;
  readonly counts: Partial<Record<DiskCount, number>>;
}

/** As one more node opens the store. */
async function node(disk: string | undefined, coordination?: Config['coordination']): Promise<Node> {
  const storage: SwiftStorage = {
    driver: 'swift', container, account: undefined, prefix: '', region: undefined, interface: 'public',
    auth: passwordAuth(inject('openstack')),
    segmentBytes: 4 * MiB, tempUrlKey: undefined, redirect: 'never', ca: undefined, insecure: false,
    disk: disk === undefined ? undefined : { root: join(folder, disk), maxBytes: 100 * MiB },
  };
  const counts: Partial<Record<DiskCount, number>> = {};
  const driver = await openStore(storage, coordination, {
    threads: 4, nowMs: Date.now, timers: systemTimers, memoryBytes: 64 * MiB, report: () => undefined,
    diskCounts: () => ({ count: (what) => void (counts[what] = (counts[what] ?? 0) + 1), used: () => undefined }),
  });
  opened.push(driver);
  return { driver, counts };
}

describe('storage.disk', () => {
  test('nodes with disks of their own: pushed on one, pulled on another, and served by its disk when the store has it no more', async () => {
    const [one, two] = [await node('one'), await node('two')];
    const bytes = patterned(9 * MiB + 7);
    const key = keys.data(digestOf(bytes), 'a'.repeat(32) as Generation);
    const appender = await one.driver.assemblies.append(one.driver.assemblies.create('uploads/1'));
    for (let at = 0; at < bytes.length; at += MiB) await appender.write(bytes.subarray(at, at + MiB));
    await one.driver.assemblies.complete(await appender.finish(), key);

    const readers = await Promise.all([1, 2, 3].map(() => readBlob(two.driver, key)));
    for (const read of readers) expect(read?.equals(bytes)).toBe(true);
    await settled(two, 'stored', 1);
    expect(two.counts).toMatchObject({ stored: 1 });
    expect(one.counts).toEqual({}); // a push is not written twice

    await one.driver.delete([key]);
    expect((await readBlob(two.driver, key))?.equals(bytes)).toBe(true);
    expect(two.counts.hit).toBe(1);
    expect(await one.driver.open(key)).toBeUndefined();
  });

  test('a disk that is wiped loses nothing', async () => {
    const wiped = await node('wiped');
    const bytes = patterned(2 * MiB);
    const key = keys.data(digestOf(bytes), 'b'.repeat(32) as Generation);
    await wiped.driver.put(key, bytes);
    expect((await readBlob(wiped.driver, key))?.equals(bytes)).toBe(true);
    await settled(wiped, 'stored', 1);
    await rm(join(folder, 'wiped'), { recursive: true });
    expect((await readBlob(wiped.driver, key))?.equals(bytes)).toBe(true);
    await settled(wiped, 'stored', 2);
    expect((await readdir(join(folder, 'wiped/v1/blobs'))).length).toBe(1);
  });
});

describe('coordination', () => {
  let postgres: Postgres;
  beforeAll(async () => void (postgres = await Postgres.start()));
  afterAll(async () => await postgres[Symbol.asyncDispose]());

  test('makes claims strict between nodes over Swift, and leaves their values there', async () => {
    const coordination = { driver: 'postgres', url: new Secret(postgres.url()) } as const;
    const nodes = await Promise.all([node('one', coordination), node(undefined, coordination), node('three', coordination)]);
    expect(nodes.map(({ driver }) => driver.claims)).toEqual(['strict', 'strict', 'strict']);
    for (let round = 0; round < 5; round++) {
      const key = `views/1/log/${round}`;
      const claimed = await Promise.all(Array.from({ length: 9 }, (_, index) => (nodes[index % 3] as Node).driver.claim(key, Buffer.from(String(index)))));
      const winner = claimed.findIndex(({ won }) => won);
      expect(claimed.filter(({ won }) => won).length).toBe(1);
      expect(claimed.map(({ value }) => text(value))).toEqual(claimed.map(() => String(winner)));
      const without = await node(undefined);
      expect(without.driver.claims).toBe('settle');
      expect(text((await without.driver.get(key))?.bytes)).toBe(String(winner));
    }
  });

  test('stops the start where it cannot be used', async () => {
    const coordination = { driver: 'postgres', url: new Secret(postgres.url('nowhere')) } as const;
    await expect(node(undefined, coordination)).rejects.toThrow(/database nowhere at .* does not exist/);
  });
});

/** Waits for the disk to be done with what was read, which nobody who reads has to. */
async function settled({ counts }: Node, what: DiskCount, times: number): Promise<void> {
  while ((counts[what] ?? 0) < times) await new Promise((resolve) => setImmediate(resolve));
}
