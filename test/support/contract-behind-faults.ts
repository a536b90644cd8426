/**
 * The driver contract over a real object store with a fault proxy before it: what drivers do about faults is theirs,
 * and nothing of it may be seen by who uses them. One run with all kinds at once; each kind by itself in `make soak`.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { driverContract } from '../../src/drivers/contract/driver.contract.ts';
import type { StorageConfig } from '../../src/config/config.ts';
import { openStore, type StorageDeps } from '../../src/storage.ts';
import { systemTimers, type Timers } from '../../src/workers/timers.ts';
import { FaultProxy } from '../services/fault-proxy.ts';
import type { FaultRule, RuleOptions } from '../services/fault-rules.ts';
import { storeFaults, type StoreStyle } from './store-faults.ts';

export interface ContractFaults {
  readonly style: StoreStyle;
  readonly origin: string;
  /** The configuration that leads through the proxy. */
  readonly storage: (url: string, prefix: string) => StorageConfig | Promise<StorageConfig>;
  /** Nothing but in the soak: a store so slow that the contract takes many minutes. */
  readonly onlySoak?: boolean;
  /** After all tests. */
  readonly remove: () => Promise<void>;
}

const SEED = Number(process.env['SEED'] ?? 20_262);
/** The long matrix: `make soak`. */
const SOAK = process.env['UMBRA_SOAK'] !== undefined;

export function contractBehindFaults({ style, origin, storage, onlySoak = false, remove }: ContractFaults): void {
  const matrix: Readonly<Record<string, readonly RuleOptions[]>> = {
    'all faults at once': Object.values(storeFaults(style, 0.006)).flat(),
    ...(SOAK && storeFaults(style, 0.05)),
  };
  for (const [kind, rules] of Object.entries(matrix)) {
    describe.skipIf(onlySoak && !SOAK)(`behind ${kind}`, () => {
      let proxy: FaultProxy;
      let added: FaultRule[];
      const events = new Map<string, number>();
      beforeAll(async () => {
        proxy = await FaultProxy.start({ origin, store: style, seed: SEED });
        added = rules.filter(isTheDrivers).map((rule) => proxy.add(rule));
      });
      afterAll(async () => {
        console.log(`${style} behind ${kind}, seed ${SEED}, ${proxy.requests} requests:\n${proxy.report()}\n`, Object.fromEntries(events));
        proxy.clear();
        await proxy[Symbol.asyncDispose]();
        await remove();
      });
      const deps: StorageDeps = {
        threads: 4, nowMs: Date.now, timers: hurried, memoryBytes: 32 * 1024 * 1024,
        report: ({ kind: event }) => events.set(event, (events.get(event) ?? 0) + 1),
      };

      driverContract(style, async () => {
        const prefix = `${randomBytes(6).toString('hex')}/`;
        return {
          open: async () => openStore(await storage(proxy.url, prefix), undefined, deps),
          close: async () => undefined,
        };
      });
      test('every fault came about', () => {
        expect(added.filter(({ happened }) => happened === 0).map(({ name }) => name)).toEqual([]);
      });
    });
  }
}

/** What a stream gives is hashed by who reads it (src/http/verified.ts): a driver that reads ranges has no sum to compare with. */
function isTheDrivers({ fault }: RuleOptions): boolean {
  return !(fault.kind === 'corrupted' && fault.body === 'response');
}

/** Waits between attempts are a hundredth as long; deadlines are as they are. */
const hurried: Timers = {
  ...systemTimers,
  after: (ms, act) => systemTimers.after(ms <= 4_000 ? ms / 100 : ms, act),
};
