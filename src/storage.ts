/** Picks the driver that the configuration names. Each is loaded only where it is used. */
import type { Config } from './config/config.ts';
import type { Driver } from './drivers/driver.ts';

/**
 * @param threads of libuv's pool: half of them may wait for the disk's cache, or reads would wait too
 * @throws DriverError where the store cannot be opened
 */
export async function openDriver(storage: Config['storage'], threads: number): Promise<Driver> {
  switch (storage.driver) {
    case 'memory': {
      const { memoryDriver } = await import('./drivers/memory.ts');
      return memoryDriver();
    }
    case 'filesystem': {
      const { openFilesystem } = await import('./drivers/filesystem.ts');
      return await openFilesystem({ root: storage.root, concurrentSyncs: Math.max(1, Math.floor(threads / 2)) });
    }
    case 'swift':
    case 's3':
      throw new Error(`storage.driver ${storage.driver} is being built`);
  }
}

/** Threads of libuv's pool, as it reads them itself. */
export function poolThreads(env: Readonly<Record<string, string | undefined>>): number {
  const size = Number(env['UV_THREADPOOL_SIZE']);
  return Number.isInteger(size) && size > 0 ? size : 4;
}
