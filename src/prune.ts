/** `umbra prune`: what a server does hourly, done once by a process of its own, while servers may be running. */
import { randomBytes } from 'node:crypto';
import type { Config } from './config/config.ts';
import { content } from './content/content.ts';
import { openDriver, poolThreads } from './storage.ts';

/** Sweeps abandoned uploads. @throws Error where the store cannot be used */
export async function pruneUploads(config: Config): Promise<{ readonly removed: number; readonly kept: number }> {
  const driver = await openDriver(config.storage, poolThreads(process.env));
  try {
    await driver.check();
    const newId = (): string => randomBytes(16).toString('hex');
    const { uploads } = content({ driver, nowMs: Date.now, newId, staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1 });
    return await uploads.sweep(Date.now() - config.limits.uploadsMs);
  } finally {
    await driver.close();
  }
}
