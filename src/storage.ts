/** Picks the driver that the configuration names. Each is loaded only where it is used. */
import type { Config } from './config/config.ts';
import type { Driver } from './drivers/driver.ts';

/** @throws DriverError where the store cannot be opened */
export async function openDriver(storage: Config['storage']): Promise<Driver> {
  switch (storage.driver) {
    case 'memory': {
      const { memoryDriver } = await import('./drivers/memory.ts');
      return memoryDriver();
    }
    case 'filesystem': {
      const { openFilesystem } = await import('./drivers/filesystem.ts');
      return await openFilesystem({ root: storage.root });
    }
  }
}
