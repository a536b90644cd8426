/**
 * The loop that looks for clusters with something to do, in every process: at each wake-up, and now and then for what
 * another instance left. Leases see to it that each cluster is one instance's at a time.
 */
import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { ledger as openLedger } from '../credentials/ledger.ts';
import { leases as openLeases } from '../database/leases.ts';
import type { ClusterDatabase } from '../database/database.ts';
import { advance, type AdvanceDeps } from './advance.ts';
import { clusterRows } from './cluster.ts';
import { checkHealth } from './health.ts';
import type { Lifecycle, LifecycleDeps, LifecycleIntervals } from './lifecycle.ts';
import { sweep } from './sweep.ts';

const DEFAULTS: LifecycleIntervals = { pollMs: 5_000, healthMs: 300_000, sweepMs: 3_600_000, leaseMs: 30_000, graceMs: 24 * 3_600_000 };
/** Clusters worked on at once in one process: each keeps Keystone busy with one call. */
const MAX_RUNNING = 8;
/** Looked at in one look. */
const SCANNED = 256;
const SERVICE = { cluster_uuid: 'service', generation: -1, step: 'identity' } as const;

export function startLifecycle(deps: LifecycleDeps): Lifecycle {
  const { database, secrets, cloud, timers, nowMs, random, report } = deps;
  const intervals = { ...DEFAULTS, ...deps.intervals };
  const leases = openLeases({ database, timers, ttlMs: intervals.leaseMs });
  const rows = clusterRows(database, secrets);
  const closing = new AbortController();
  const { signal } = closing;
  const running = new Map<string, Promise<void>>();
  const background = new Set<Promise<void>>();
  const cancels = new Set<() => void>();
  let scanning: Promise<void> | undefined;
  let again = false;
  /** Found due while they were worked on. */
  const missed = new Set<string>();
  /** Found to be another instance's, until when they are left alone. */
  const elsewhereUntil = new LRUCache<string, number>({ max: SCANNED });
  /** Some are due for whom there was no place. */
  let isMore = false;
  let prepared: Promise<AdvanceDeps> | undefined;

  const prepare = async (): Promise<AdvanceDeps> => {
    prepared ??= serviceIdOf(database).then((serviceId) => ({ database, secrets, cloud, timers, random, report, leases, rows, serviceId, ledger: openLedger(database), graceMs: intervals.graceMs, missing: deps.missing }));
    prepared.catch(() => void (prepared = undefined));
    return await prepared;
  };
  const failed = (what: string, error: unknown): void => {
    if (!signal.aborted) report({ kind: 'failed', what, error: error instanceof Error ? error.message : String(error) });
  };

  const work = async (uuid: string): Promise<boolean> => {
    try {
      const advanceDeps = await prepare();
      return await leases.under(`cluster/${uuid}`, async (held) => await advance(advanceDeps, uuid, held), signal);
    } catch (error) {
      failed(`cluster ${uuid}`, error);
      return false;
    }
  };

  const scan = async (): Promise<void> => {
    while (again && !signal.aborted) {
      again = false;
      isMore = false;
      for (const uuid of await rows.due(SCANNED)) {
        if (running.has(uuid)) missed.add(uuid);
        else if ((elsewhereUntil.get(uuid) ?? 0) > nowMs()) continue;
        else if (running.size >= MAX_RUNNING) isMore = true;
        else running.set(uuid, work(uuid).then((wasOurs) => ended(uuid, wasOurs)));
      }
    }
  };
  const ended = (uuid: string, wasOurs: boolean): void => {
    running.delete(uuid);
    elsewhereUntil.delete(uuid);
    if (!wasOurs) elsewhereUntil.set(uuid, nowMs() + intervals.pollMs / 2);
    // What was asked meanwhile, and who waits for a place.
    if (missed.delete(uuid) || isMore) wake();
  };
  const track = (task: Promise<void>): void => {
    const tracked = task.catch((error: unknown) => failed('look for work', error)).finally(() => background.delete(tracked));
    background.add(tracked);
  };
  const wake = (): void => {
    if (signal.aborted) return;
    again = true;
    scanning ??= scan().catch((error: unknown) => failed('look for work', error)).finally(() => void (scanning = undefined));
  };

  const every = (ms: number, task: () => void | Promise<void>): void => {
    const cancel = timers.after(ms * (0.9 + random() / 5), () => {
      cancels.delete(cancel);
      track((async () => {
        try {
          await task();
        } finally {
          if (!signal.aborted) every(ms, task);
        }
      })());
    });
    cancels.add(cancel);
  };
  every(intervals.pollMs, wake);
  every(intervals.healthMs, async () => {
    const advanceDeps = await prepare();
    await leases.under('health', async (held) => await checkHealth(advanceDeps, held), signal);
  });
  every(intervals.sweepMs, async () => {
    const advanceDeps = await prepare();
    await leases.under('sweep', async (held) => {
      await deps.tidy?.();
      await sweep(advanceDeps, held);
    }, signal);
  });
  wake();

  return {
    wake,
    async close() {
      closing.abort(new Error('the clusters service is closed'));
      for (const cancel of cancels) cancel();
      await scanning;
      await Promise.all([...running.values(), ...background]);
    },
  };
}

/** Of all instances over this database: what they make elsewhere is marked with it. */
async function serviceIdOf({ db, nowMs }: ClusterDatabase): Promise<string> {
  await db.insertInto('intents').values({ ...SERVICE, state: 'done', detail: `umbra-clusters ${randomUUID()}`, created_ms: nowMs })
    .onConflict((conflict) => conflict.columns(['cluster_uuid', 'generation', 'step']).doNothing()).execute();
  const row = await db.selectFrom('intents').select('detail').where('cluster_uuid', '=', SERVICE.cluster_uuid).where('generation', '=', SERVICE.generation).where('step', '=', SERVICE.step).executeTakeFirstOrThrow();
  return row.detail;
}
