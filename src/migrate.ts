/** `umbra migrate`: another registry's store and ours, put together for one run, while servers may be running. */
import { randomBytes } from 'node:crypto';
import { compilePattern } from './auth/pattern.ts';
import type { Config, StorageConfig } from './config/config.ts';
import { content, type Content } from './content/content.ts';
import type { ViewUid } from './content/keys.ts';
import { RegistryError } from './oci/errors.ts';
import type { Name, ViewId } from './oci/name.ts';
import type { Counts, MigrateEvent } from './migrate/events.ts';
import { filesystemSource } from './migrate/filesystem-source.ts';
import { readFrom, type FromSurroundings } from './migrate/from.ts';
import type { From } from './migrate/old-config.ts';
import { runMigration } from './migrate/run.ts';
import type { ReadableStore } from './migrate/source-store.ts';
import { enter } from './registry/names.ts';
import { openStore, poolThreads, type StorageDeps } from './storage.ts';
import { configuredViews } from './views/views.ts';
import { systemTimers } from './workers/timers.ts';

export type { Counts, MigrateEvent };

export interface Migration extends FromSurroundings {
  /** The other registry's configuration or folder. */
  readonly from: string;
  readonly mode: 'dry-run' | 'move' | 'verify';
  readonly view: ViewId;
  /** What a name without a host means. */
  readonly host: string;
  /** Patterns of canonical names; none: all. */
  readonly only: readonly string[];
  readonly overwrite: boolean;
  readonly blobsAtOnce: number;
  readonly tell: (event: MigrateEvent) => void;
  readonly signal: AbortSignal;
}

const MANIFEST_CACHE_BYTES = 16 * 1024 * 1024;

/** @throws Error where the source is not understood or a store cannot be used; what `runMigration` throws */
export async function migrate(config: Config, migration: Migration): Promise<Counts> {
  const { mode, host, signal, tell } = migration;
  const view = viewOf(config, migration.view);
  const from = await readFrom(migration.from, migration);
  const deps: StorageDeps = {
    nowMs: Date.now, timers: systemTimers, threads: poolThreads(process.env), memoryBytes: config.limits.memoryBytes, report: () => undefined,
  };
  const patterns = migration.only.map(compilePattern);
  const closing: (() => Promise<void>)[] = [];
  try {
    const store = await openSource(from, deps);
    closing.push(() => store.close());
    tell({ event: 'began', kind: from.kind, storage: from.storage.driver, view: migration.view, host });
    const target = mode === 'dry-run' ? undefined : await openTarget(config, deps, closing);
    return await runMigration({
      kind: from.kind, root: from.root, store, signal,
      mode: target === undefined ? { kind: 'dry-run' } : { kind: mode === 'verify' ? 'verify' : 'move', content: target, view, overwrite: migration.overwrite },
      nameOf: (path) => nameOf(path, host),
      wanted: (name) => patterns.length === 0 || patterns.some((matches) => matches(name)),
      blobsAtOnce: migration.blobsAtOnce,
      maxManifestBytes: config.limits.manifestBytes,
      tell,
    });
  } finally {
    for (const close of closing.toReversed()) await close();
  }
}

function viewOf(config: Config, id: ViewId): ViewUid {
  const views = configuredViews(config.views.define);
  const view = views.find(id);
  if (view === undefined) throw new Error(`view ${id} is not defined: expected main, approved or one of views.define`);
  if (view === views.upstream) throw new Error('the view upstream is filled by pulls only: take the images into main or a view of your own');
  return view.uid;
}

async function openSource({ storage }: From, deps: StorageDeps): Promise<ReadableStore> {
  switch (storage.driver) {
    case 'filesystem':
      return filesystemSource(storage.root);
    case 'swift':
      return (await import('./migrate/swift-source.ts')).swiftSource(storage, deps);
    case 's3':
      return (await import('./migrate/s3-source.ts')).s3Source(storage, deps);
    case 'memory':
      throw new Error('memory is no store that another registry left anything in');
  }
}

async function openTarget(config: Config, deps: StorageDeps, closing: (() => Promise<void>)[]): Promise<Content> {
  const driver = await openStore(withoutDisk(config.storage), config.coordination, deps);
  closing.push(() => driver.close());
  await driver.check();
  const newId = (): string => randomBytes(16).toString('hex');
  return content({ driver, nowMs: Date.now, newId, staleMs: 0, tell: async () => undefined, manifestCacheBytes: MANIFEST_CACHE_BYTES });
}

/** A node's disk belongs to its server; and what is read back to be compared must come from the store. */
function withoutDisk(storage: StorageConfig): StorageConfig {
  return 'disk' in storage ? { ...storage, disk: undefined } : storage;
}

/** As a client's push to that path would be named. */
function nameOf(path: string, host: string): { readonly name: Name } | { readonly problem: string } {
  try {
    const { name, view } = enter(path, undefined, { defaultUpstream: host, hostHeader: undefined, viewHostSuffix: undefined });
    return view === undefined ? { name } : { problem: `it cannot be reached here: a first component that ends in .view names a view` };
  } catch (error) {
    if (error instanceof RegistryError) return { problem: error.message };
    throw error;
  }
}
