/**
 * The driver contract over a real object store with a fault proxy before it: what drivers do about faults is theirs,
 * and nothing of it may be seen by who uses them. One run with all kinds at once, and one with listings that lag, which
 * the contract is told; each kind by itself in `make soak`.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { driverContract, type ContractPart, type Listings } from '../../src/drivers/contract/driver.contract.ts';
import { all } from '../../src/drivers/contract/store.contract.ts';
import type { StorageConfig } from '../../src/config/config.ts';
import { openStore, type StorageDeps } from '../../src/storage.ts';
import { systemTimers, type Timers } from '../../src/workers/timers.ts';
import { FaultProxy } from '../services/fault-proxy.ts';
import type { FaultRule, RuleOptions } from '../services/fault-rules.ts';
import { SOAK } from './soak.ts';
import { listingFaults, storeFaults, type StoreStyle } from './store-faults.ts';

export interface ContractFaults {
  /** The store, e.g. `radosgw`. */
  readonly name: string;
  readonly style: StoreStyle;
  readonly origin: string;
  /** The configuration that leads through the proxy. */
  readonly storage: (url: string, prefix: string) => StorageConfig | Promise<StorageConfig>;
  /**
   * How much of it there is in `make test`. `parts`: without what depends on many requests more than on what becomes of
   * them. `none`: a store so slow that the contract takes many minutes. In the soak: all.
   */
  readonly inTest: 'parts' | 'none';
  /** After all tests. */
  readonly remove: () => Promise<void>;
}

const SEED = Number(process.env['SEED'] ?? 20_262);

interface Run {
  readonly rules: readonly RuleOptions[];
  readonly listings?: Listings;
  /** Outside the soak; default: all. */
  readonly parts?: readonly ContractPart[] | undefined;
}

export function contractBehindFaults({ name, style, origin, storage, inTest, remove }: ContractFaults): void {
  // Behind listings that lag, as Swift's do: outside the soak what a driver makes of listings itself, not what its users do.
  const matrix: Readonly<Record<string, Run>> = {
    'all faults at once': { rules: Object.values(storeFaults(style, 0.006)).flat(), parts: inTest === 'parts' ? ['objects', 'claims'] : undefined },
    ...((SOAK || style === 'swift') && { 'listings that lag': { rules: listingFaults(style, 0.6), listings: 'lag' as const, parts: ['assemblies'] as const } }),
    ...(SOAK && Object.fromEntries(Object.entries(storeFaults(style, 0.05)).map(([kind, rules]) => [kind, { rules }]))),
  };
  for (const [kind, { rules, listings = 'fresh', parts }] of Object.entries(matrix)) {
    describe.skipIf(inTest === 'none' && !SOAK)(`${name} behind ${kind}`, () => {
      let proxy: FaultProxy;
      let added: FaultRule[];
      const events = new Map<string, number>();
      beforeAll(async () => {
        proxy = await FaultProxy.start({ origin, store: style, seed: SEED });
        added = rules.filter(isTheDrivers).map((rule) => proxy.add(rule));
      });
      afterAll(async () => {
        console.log(`${name} behind ${kind}, seed ${SEED}, ${proxy.requests} requests:\n${proxy.report()}\n`, Object.fromEntries(events));
        proxy.clear();
        await proxy[Symbol.asyncDispose]();
      });
      const deps: StorageDeps = {
        threads: 4, nowMs: Date.now, timers: hurried, memoryBytes: 32 * 1024 * 1024,
        report: ({ kind: event }) => events.set(event, (events.get(event) ?? 0) + 1),
      };

      driverContract(name, async () => {
        const prefix = `${randomBytes(6).toString('hex')}/`;
        return {
          open: async () => openStore(await storage(proxy.url, prefix), undefined, deps),
          close: async () => undefined,
          listings,
        };
      }, SOAK ? undefined : parts);
      test('every fault came about', async () => {
        // Some of the contract has too few requests for each to be sure of its turn: it has it here.
        if (!SOAK && inTest === 'parts') {
          for (const [index, rule] of added.entries()) {
            const options = rules.filter(isTheDrivers)[index];
            if (rule.happened === 0 && options !== undefined) added[index] = await struckBy(options);
          }
        }
        expect(added.filter(({ happened }) => happened === 0).map(({ name: missing }) => missing)).toEqual([]);
      });

      /** The fault alone, on the first requests that it fits. */
      async function struckBy(options: RuleOptions): Promise<FaultRule> {
        for (const each of added) each.stop();
        const rule = proxy.add({ ...options, when: { first: 2 } });
        const driver = await openStore(await storage(proxy.url, `${randomBytes(6).toString('hex')}/`), undefined, deps);
        const bytes = randomBytes(200_000);
        await driver.put('key', bytes);
        expect((await driver.get('key'))?.bytes.equals(bytes)).toBe(true);
        expect((await all(driver.list(''))).map(({ key }) => key)).toEqual(['key']);
        await driver.delete(['key']);
        expect(await driver.get('key')).toBeUndefined();
        await driver.close();
        return rule;
      }
    });
  }
  afterAll(remove);
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
