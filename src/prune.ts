/** `umbra prune`: what a server does hourly, done once by a process of its own, while servers may be running. */
import { randomBytes } from 'node:crypto';
import type { Config, StorageConfig } from './config/config.ts';
import { content } from './content/content.ts';
import type { Swept } from './housekeeping.ts';
import { openStore, poolThreads } from './storage.ts';
import { systemTimers } from './workers/timers.ts';

/** Sweeps abandoned uploads of every store. @throws Error where one cannot be used */
export async function pruneUploads(config: Config): Promise<Swept> {
  let [removed, kept] = [0, 0];
  for (const storage of [config.storage, config.upstreamStorage]) {
    const swept = storage === undefined ? undefined : await prune(storage, config);
    removed += swept?.removed ?? 0;
    kept += swept?.kept ?? 0;
  }
  return { removed, kept };
}

async function prune(storage: StorageConfig, config: Config): Promise<Swept> {
  const driver = await openStore(storage, undefined, {
    nowMs: Date.now, timers: systemTimers, threads: poolThreads(process.env), memoryBytes: config.limits.memoryBytes, report: () => undefined,
  });
  try {
    await driver.check();
    const newId = (): string => randomBytes(16).toString('hex');
    const store = content({ driver, nowMs: Date.now, newId, staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1 });
    return await store.sweepUploads(config.limits.uploadsMs);
  } finally {
    await driver.close();
  }
}
