/** `umbra prune`: removes what is left over or too old, once, by a process of its own, while servers may be running. */
import { randomBytes } from 'node:crypto';
import type { Config, StorageConfig } from './config/config.ts';
import { content, type Content } from './content/content.ts';
import type { ViewUid } from './content/keys.ts';
import { openStore, poolThreads } from './storage.ts';
import { systemTimers } from './workers/timers.ts';

export interface Pruning {
  /** Abandoned uploads, of every store. */
  readonly uploads: boolean;
  /** Tags of `main` that are older than `tagExpiry`, where it is set. */
  readonly tags: boolean;
  /** Nothing is removed. */
  readonly dryRun: boolean;
  readonly tell: (event: PruneEvent) => void;
}

export type PruneEvent =
  /** A tag that is too old. */
  | { readonly event: 'tag'; readonly name: string; readonly tag: string; readonly pushedMs: number }
  /** They are gone now, or would be. */
  | { readonly event: 'tags'; readonly removed: number; readonly kept: number }
  | { readonly event: 'uploads'; readonly removed: number; readonly kept: number };

const MAIN = 'main' as ViewUid; // views of the configuration have their names for uids
const MANIFEST_CACHE_BYTES = 1024 * 1024;

/** @throws Error where a store cannot be used */
export async function prune(config: Config, pruning: Pruning): Promise<void> {
  const { uploads, tags, dryRun, tell } = pruning;
  const { tagExpiryMs, limits } = config;
  if (tags && tagExpiryMs !== undefined) await inStore(config.storage, config, (store) => pruneTags(store, tagExpiryMs, pruning));
  if (!uploads) return;
  let [removed, kept] = [0, 0];
  for (const storage of [config.storage, config.upstreamStorage]) {
    if (storage === undefined) continue;
    const swept = await inStore(storage, config, (store) => (dryRun ? store.countUploads(limits.uploadsMs) : store.sweepUploads(limits.uploadsMs)));
    removed += swept.removed;
    kept += swept.kept;
  }
  tell({ event: 'uploads', removed, kept });
}

async function pruneTags({ expiry, tags, manifests }: Content, ageMs: number, { dryRun, tell }: Pruning): Promise<void> {
  const beforeMs = await expiry.cutoffMs(ageMs);
  let [removed, kept] = [0, 0];
  for await (const name of expiry.names(MAIN)) {
    const repo = { view: MAIN, name };
    for (const [tag, { taggedMs }] of await tags.list(repo)) {
      if (taggedMs >= beforeMs) kept++;
      else if ((await manifests.tagged(repo, tag)) !== undefined) {
        removed++;
        tell({ event: 'tag', name, tag, pushedMs: taggedMs });
      }
    }
  }
  // All of them go at once: a run that was broken off removed none.
  if (!dryRun && removed > 0) await expiry.expire(MAIN, beforeMs);
  tell({ event: 'tags', removed, kept });
}

async function inStore<T>(storage: StorageConfig, config: Config, work: (store: Content) => Promise<T>): Promise<T> {
  const driver = await openStore(storage, undefined, {
    nowMs: Date.now, timers: systemTimers, threads: poolThreads(process.env), memoryBytes: config.limits.memoryBytes, report: () => undefined,
  });
  try {
    await driver.check();
    const newId = (): string => randomBytes(16).toString('hex');
    return await work(content({ driver, nowMs: Date.now, newId, staleMs: 0, tell: async () => undefined, manifestCacheBytes: MANIFEST_CACHE_BYTES }));
  } finally {
    await driver.close();
  }
}
