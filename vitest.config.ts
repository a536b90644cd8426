/**
 * `unit`: tests beside the code and those in test/ that need no program but ours. `stores`: parts of it over a real object
 * store, which one set-up starts for all of them; `stores-e2e`: all of it over one. `e2e`: real clients and registries,
 * which share ports, mounts and patience: one file after another.
 */
import { defineConfig, type ViteUserConfig } from 'vitest/config';

/** After each file: nothing that Umbra said in it was a secret. */
const NO_SECRETS = ['test/support/secrets.setup.ts'];

/** Several Pythons on the same two cores: one of them that is late, once, proves nothing. */
const OVER_STORES = { setupFiles: NO_SECRETS, globalSetup: ['test/services/stores.setup.ts'], fileParallelism: false, testTimeout: 300_000, hookTimeout: 300_000, retry: 1 };

const config: ViteUserConfig = defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'bench/**/*.test.ts', 'test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/stores/**', '**/*.store.test.ts'],
          // Against what hangs: nothing here is timed, and the machine may be busy.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'stores',
          include: ['src/**/*.store.test.ts'],
          ...OVER_STORES,
        },
      },
      {
        test: {
          name: 'stores-e2e',
          include: ['test/stores/**/*.test.ts'],
          ...OVER_STORES,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          setupFiles: NO_SECRETS,
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});

export default config;
