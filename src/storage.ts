/**
 * Opens the stores that the configuration names. Each driver is loaded only where it is used, and wrapped here in what
 * belongs around it: strict claims from a database, a disk before an object store.
 */
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Config, DiskConfig, StorageConfig, SwiftStorage } from './config/config.ts';
import { placeOf } from './config/storage-checks.ts';
import { digestOfData, isClaimable, isRecord, keys } from './content/keys.ts';
import type { DiskEvents } from './drivers/disk-tier/events.ts';
import { DriverError, type Driver } from './drivers/driver.ts';
import { steadyNowMs, within, type Timers } from './workers/timers.ts';

export interface StorageDeps {
  /** Threads of libuv's pool: half of them may wait for the disk's cache, or reads would wait too. */
  readonly threads: number;
  readonly nowMs: () => number;
  readonly timers: Timers;
  /** Bytes of segments on their way to an object store, in this process. */
  readonly memoryBytes: number;
  /** What happens to the store: retries, a circuit that opens, a disk that fails. Never a secret. */
  readonly report: (event: StorageEvent) => void;
  /** Who counts what a disk before the store does, by the root of that disk. Nobody: no disk either, a command needs none. */
  readonly diskCounts?: (root: string) => Pick<DiskEvents, 'count' | 'used'>;
}

export interface StorageEvent {
  readonly kind: string;
  readonly [field: string]: unknown;
}

/** @throws Error where the store cannot be opened, saying what to do about it */
export async function openStore(storage: StorageConfig, coordination: Config['coordination'], deps: StorageDeps): Promise<Driver> {
  const open = async (): Promise<Driver> => await decided(await openDriver(storage, deps), coordination, deps);
  if (storage.driver === 'filesystem' && storage.maxBytes !== undefined) return await openBounded(storage.root, storage.maxBytes, deps);
  const disk = 'disk' in storage ? storage.disk : undefined;
  const counts = disk === undefined ? undefined : deps.diskCounts?.(disk.root);
  if (disk === undefined || counts === undefined) return await open();
  return await behindDisk(await openNoting(open, storage, disk, deps), disk, counts, deps);
}

/** A cache alone; in a command, which fills nothing, without its bound. */
async function openBounded(root: string, maxBytes: number, { threads, diskCounts, nowMs }: StorageDeps): Promise<Driver> {
  const [{ openFilesystem }, { boundedDriver }, { evictOldest, heldBytes }] = await Promise.all([
    import('./drivers/filesystem/filesystem.ts'), import('./drivers/bounded/bounded.ts'), import('./content/eviction.ts'),
  ]);
  const driver = await openFilesystem({ root, concurrentSyncs: syncsOf(threads), clock: nowMs, notesUse: (key) => digestOfData(key) !== undefined });
  const counts = diskCounts?.(root);
  if (counts === undefined) return driver;
  return boundedDriver(driver, {
    maxBytes,
    held: async () => await heldBytes(driver),
    evict: async (bytes) => {
      for (let evicted = await evictOldest(driver, bytes); evicted > 0; evicted--) counts.count('evicted');
    },
    used: (bytes) => counts.used(bytes),
  });
}

function syncsOf(threads: number): number {
  return Math.max(1, Math.floor(threads / 2));
}

/** How long a store may take to open where there is something to serve without it. */
const OPEN_MS = 10_000;
/** Of records; less where the disk is to hold little. */
const SEEN_BYTES = 64 * 1024 * 1024;

/** What it says is noted on the disk; where something is noted already, a store that cannot be opened is waited for in the background. */
async function openNoting(open: () => Promise<Driver>, storage: StorageConfig, disk: DiskConfig, { timers, nowMs, report }: StorageDeps): Promise<Driver> {
  const [{ SeenRecords }, { lastSeenDriver }, { factsOf, lateStore, readFacts }] = await Promise.all([
    import('./drivers/last-seen/seen-records.ts'), import('./drivers/last-seen/last-seen.ts'), import('./drivers/last-seen/late-store.ts'),
  ]);
  const seen = new SeenRecords({ file: join(disk.root, 'last-seen.db'), store: createHash('sha256').update(placeOf(storage)).digest('hex'), maxBytes: Math.min(SEEN_BYTES, disk.maxBytes / 16), timers, nowMs, report });
  const facts = readFacts(seen.facts());
  const noting = (driver: Driver): Driver => lastSeenDriver(driver, { seen, isRecord, mayServe: facts !== undefined, timers, nowMs, report });
  const opening = open();
  try {
    const driver = await (facts === undefined ? opening : within(opening, OPEN_MS, timers, () => new Error(`it took more than ${OPEN_MS / 1000} s`)));
    seen.putFacts(factsOf(driver));
    return noting(driver);
  } catch (error) {
    if (facts === undefined) {
      seen.close();
      throw error;
    }
    report({ kind: 'the store cannot be opened yet: what this node saw last is served', error: error instanceof Error ? error.message : String(error) });
    return noting(lateStore({ facts, open, opening, timers, nowMs, opened: (driver) => {
      seen.putFacts(factsOf(driver));
      report({ kind: 'the store is open' });
    } }));
  }
}

/** Claims by the database, where the store does not decide them itself. */
async function decided(driver: Driver, coordination: Config['coordination'], deps: StorageDeps): Promise<Driver> {
  if (coordination === undefined || driver.claims === 'strict') return driver;
  const { timers, nowMs, report } = deps;
  try {
    const { openStrictClaims } = await import('./drivers/postgres/claims.ts');
    const store = { key: keys.storeName() };
    return await openStrictClaims(driver, { url: coordination.url.reveal(), store, claimable: isClaimable, timers, nowMs, report });
  } catch (error) {
    await driver.close();
    throw error;
  }
}

async function behindDisk(driver: Driver, disk: DiskConfig, counts: Pick<DiskEvents, 'count' | 'used'>, deps: StorageDeps): Promise<Driver> {
  const { diskTier } = await import('./drivers/disk-tier/disk-tier.ts');
  const { timers, nowMs, report } = deps;
  const events: DiskEvents = { count: (what) => counts.count(what), used: (bytes) => counts.used(bytes), report };
  return diskTier(driver, { ...disk, timers, nowMs, events, digestOf: digestOfData });
}

async function openDriver(storage: StorageConfig, deps: StorageDeps): Promise<Driver> {
  // What is awaited must not end sooner or later when the machine's clock is set.
  switch (storage.driver) {
    case 'memory': {
      const { memoryDriver } = await import('./drivers/memory/memory.ts');
      return memoryDriver();
    }
    case 'filesystem': {
      const { openFilesystem } = await import('./drivers/filesystem/filesystem.ts');
      return await openFilesystem({ root: storage.root, concurrentSyncs: syncsOf(deps.threads) });
    }
    case 's3': {
      const { openS3 } = await import('./drivers/s3/s3.ts');
      return await openS3(storage, { ...deps, nowMs: steadyNowMs });
    }
    case 'swift':
      return await openSwiftStore(storage, { ...deps, nowMs: steadyNowMs });
  }
}

async function openSwiftStore(storage: SwiftStorage, { nowMs, timers, memoryBytes, report }: StorageDeps): Promise<Driver> {
  const [{ openSwift }, { openStackSession }, { describeAuth, describeAuthority }, { attempts }] = await Promise.all([
    import('./drivers/swift/swift.ts'), import('./openstack/session.ts'), import('./openstack/auth.ts'), import('./drivers/object-store/attempts.ts'),
  ]);
  const { auth, region, account, container, prefix, segmentBytes, tempUrlKey, redirect, ca, insecure } = storage;
  const retrying = { nowMs, timers, random: Math.random, report };
  const session = openStackSession({
    auth, region, account, interface: storage.interface, ca, insecure, nowMs, random: Math.random,
    // Keystone's failures are not the store's.
    retries: attempts({ ...retrying, store: describeAuthority(auth) }),
    failed: (kind, message, options) => new DriverError(kind, message, options),
  });
  try {
    return await openSwift({
      session, attempts: attempts({ ...retrying, store: `Swift, container ${container}` }),
      container, prefix, segmentBytes, memoryBytes, redirect: redirect !== 'never', tempUrlKey: tempUrlKey?.reveal(),
      who: describeAuth(auth), ca, insecure, newId: () => randomBytes(12).toString('hex'), nowMs, timers,
    });
  } catch (error) {
    await session.close();
    throw error;
  }
}

/** Threads of libuv's pool, as it reads them itself. */
export function poolThreads(env: Readonly<Record<string, string | undefined>>): number {
  const size = Number(env['UV_THREADPOOL_SIZE']);
  return Number.isInteger(size) && size > 0 ? size : 4;
}
