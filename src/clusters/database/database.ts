/**
 * The service's database, opened and brought up to date: `sqlite:<file>` for one machine, `postgres://…` for any number
 * of instances. Everything the service knows stands there; its processes keep no state that matters.
 */
import { Kysely, sql, type RawBuilder } from 'kysely';
import { Migrator } from 'kysely/migration';
import { postgresPlace } from '../../postgres/place.ts';
import type { Timers } from '../../workers/timers.ts';
import { migrations, type Engine } from './migrations.ts';
import type { Schema } from './schema.ts';

export interface ClusterDatabase {
  readonly engine: Engine;
  /** For messages, without a password: `sqlite file ./clusters.db`. */
  readonly place: string;
  readonly db: Kysely<Schema>;
  /** The database's own clock, in milliseconds since the epoch: the only one by which instances agree. */
  readonly nowMs: RawBuilder<number>;
  /** @throws Error when it cannot be asked */
  clock(): Promise<number>;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** `sqlite:<file>`, relative to the working folder, or `postgres://…`. */
  readonly url: string;
  readonly timers: Timers;
  readonly nowMs: () => number;
}

/** @throws Error that names the database and says why it cannot be used, never with its password */
export async function openDatabase(options: DatabaseOptions): Promise<ClusterDatabase> {
  const { engine, place } = databasePlace(options.url);
  const db = new Kysely<Schema>({ dialect: await dialectOf(engine, options) });
  try {
    const { error } = await new Migrator({ db, provider: migrations(engine) }).migrateToLatest();
    if (error !== undefined) throw error;
  } catch (cause) {
    await db.destroy();
    throw new Error(`the clusters' database, ${place}, cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  const nowMs = engine === 'sqlite' ? sql<number>`cast(unixepoch('subsec') * 1000 as integer)` : sql<number>`cast(extract(epoch from clock_timestamp()) * 1000 as bigint)`;
  return {
    engine, place, db, nowMs,
    async clock() {
      const { rows } = await sql<{ readonly now: number }>`select ${nowMs} as now`.execute(db);
      const [row] = rows;
      if (row === undefined) throw new Error(`${place} does not tell the time`);
      return row.now;
    },
    close: async () => await db.destroy(),
  };
}

const SQLITE = 'sqlite:';

/** What a URL of a database means. @throws Error that says what was expected */
export function databasePlace(url: string): { readonly engine: Engine; readonly place: string } {
  if (url.startsWith(SQLITE) && url.length > SQLITE.length) return { engine: 'sqlite', place: `SQLite file ${url.slice(SQLITE.length)}` };
  const place = /^postgres(?:ql)?:\/\//.test(url) ? postgresPlace(url) : undefined;
  if (place === undefined) throw new Error('expected sqlite:<file> or postgres://user:password@host:port/database');
  return { engine: 'postgres', place: `PostgreSQL ${place}` };
}

/** Loaded only where it is configured. */
async function dialectOf(engine: Engine, { url, timers, nowMs }: DatabaseOptions): Promise<ConstructorParameters<typeof Kysely<Schema>>[0]['dialect']> {
  if (engine === 'postgres') return (await import('./postgres.ts')).postgresDialect(url);
  return (await import('./sqlite.ts')).sqliteDialect({ file: url.slice(SQLITE.length), timers, nowMs });
}
