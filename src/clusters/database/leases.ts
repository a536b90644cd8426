/**
 * Who of several instances does what: a row with a name, a holder and an end by the database's clock. Work under a lease
 * is told when it may have been lost; that it is not done twice at the same moment is what each step's own conditions are for.
 */
import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import type { Timers } from '../../workers/timers.ts';
import type { ClusterDatabase } from './database.ts';

export interface Leases {
  /**
   * Runs the work if nobody holds the lease, holds it meanwhile, and gives it up. The work's signal is aborted when the
   * lease could not be renewed in time, or `signal` is.
   * @returns whether the work was run
   */
  under(name: string, work: (signal: AbortSignal) => Promise<void>, signal?: AbortSignal): Promise<boolean>;
}

export interface LeasesDeps {
  readonly database: ClusterDatabase;
  readonly timers: Timers;
  /** How long a lease outlives a holder that died. */
  readonly ttlMs: number;
}

/** It is renewed so many times in its life. */
const RENEWALS = 3;

export function leases({ database, timers, ttlMs }: LeasesDeps): Leases {
  const { db, nowMs } = database;

  /** Taken, or held on to. */
  async function take(name: string, holder: string): Promise<boolean> {
    const until = { until_ms: laterBy(database, ttlMs) };
    const { numInsertedOrUpdatedRows } = await db.insertInto('leases').values({ name, holder, ...until })
      .onConflict((conflict) => conflict.column('name').doUpdateSet({ holder, ...until })
        .where((where) => where.or([where('leases.holder', '=', holder), where('leases.until_ms', '<', nowMs)])))
      .executeTakeFirstOrThrow();
    return (numInsertedOrUpdatedRows ?? 0n) > 0n;
  }

  return {
    async under(name, work, signal) {
      signal?.throwIfAborted();
      const holder = randomUUID();
      if (!(await take(name, holder))) return false;
      const lost = new AbortController();
      const both = signal === undefined ? lost.signal : AbortSignal.any([lost.signal, signal]);
      let cancel = (): void => undefined;
      let renewing: Promise<void> = Promise.resolve();
      const renewLater = (): void => {
        cancel = timers.after(ttlMs / RENEWALS, () => {
          renewing = take(name, holder).then(
            (held) => (held ? renewLater() : lost.abort(new Error(`another instance took the lease ${name}`))),
            (error: unknown) => lost.abort(new Error(`the lease ${name} could not be renewed`, { cause: error })),
          );
        });
      };
      renewLater();
      try {
        await work(both);
        return true;
      } finally {
        cancel();
        await renewing;
        cancel();
        await db.deleteFrom('leases').where('name', '=', name).where('holder', '=', holder).execute();
      }
    },
  };
}

/** The database's clock, so much later. */
export function laterBy({ nowMs }: ClusterDatabase, ms: number): ClusterDatabase['nowMs'] {
  return sql<number>`${nowMs} + cast(${ms} as bigint)`;
}
