/** The contract behind faults, of the drivers that have no socket: operations fail, or come late, or their answers are lost. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { faultyDriver, retrying, type FaultyDriver, type FaultyOptions } from '../../test/support/faulty-driver.ts';
import { driverContract } from './contract/driver.contract.ts';
import type { Driver } from './driver.ts';
import { openFilesystem } from './filesystem/filesystem.ts';
import { memoryDriver } from './memory/memory.ts';
import { SOAK } from '../../test/support/soak.ts';

const SEED = Number(process.env['SEED'] ?? 20_261);
/** The long matrix: `make soak`. */
const FAULTS = {
  'operations that fail': { failing: 0.2, lost: 0, late: 0 },
  'lost answers': { failing: 0, lost: 0.2, late: 0 },
  'late operations': { failing: 0, lost: 0, late: 0.3 },
  'all faults at once': { failing: 0.1, lost: 0.1, late: 0.2 },
} satisfies Record<string, Omit<FaultyOptions, 'seed'>>;

for (const [name, chances] of Object.entries(FAULTS)) {
  const happened = { failing: 0, lost: 0, late: 0 };
  let stores = 0;
  const behind = (inner: Driver): Driver => {
    const faulty: FaultyDriver = faultyDriver(inner, { ...chances, seed: SEED + stores++ });
    const driver = retrying(faulty.driver);
    return {
      ...driver,
      async close() {
        for (const kind of ['failing', 'lost', 'late'] as const) happened[kind] += faulty.happened[kind];
        await inner.close();
      },
    };
  };

  driverContract(`memory behind ${name}`, async () => {
    const inner = memoryDriver();
    return { open: async () => behind(inner), close: async () => {} };
  });
  // It syncs: one run of each kind is for the soak.
  if (name === 'all faults at once' || SOAK) driverContract(`filesystem behind ${name}`, async () => {
    const root = await mkdtemp(join(tmpdir(), 'umbra-faults-'));
    return { open: async () => behind(await openFilesystem({ root })), close: () => rm(root, { recursive: true }) };
  });

  describe(`${name}`, () => {
    afterAll(() => console.log(`${name}, seed ${SEED}, ${stores} drivers:`, happened));
    test('came about, each often', () => {
      for (const kind of ['failing', 'lost', 'late'] as const) {
        if (chances[kind] > 0) expect(happened[kind]).toBeGreaterThan(100);
        else expect(happened[kind]).toBe(0);
      }
    });
  });
}
