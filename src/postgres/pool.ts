/** Connections to a PostgreSQL server: a bounded pool in which every wait has an end, whoever uses it and for what. */
import { Pool, type PoolConfig } from 'pg';

export interface PostgresPoolOptions {
  /** `postgres://user:password@host:port/database`. */
  readonly url: string;
  /** As the server lists its connections. */
  readonly name: string;
  /** In this process; they are closed when nobody needs them for a while. */
  readonly maxConnections: number;
  readonly types?: PoolConfig['types'];
}

const IDLE_MS = 30_000;
const CONNECT_MS = 5_000;
const STATEMENT_MS = 10_000;
/** A row is held for milliseconds. */
const LOCK_MS = 5_000;
/** The server ends what a process began and did not end: one that died, or stands still. */
const ABANDONED_MS = 30_000;

export function postgresPool({ url, name, maxConnections, types }: PostgresPoolOptions): Pool {
  const pool = new Pool({
    connectionString: url,
    application_name: name,
    max: maxConnections,
    idleTimeoutMillis: IDLE_MS,
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    // The server ends a statement; where it does not even answer that, the client does.
    statement_timeout: STATEMENT_MS,
    query_timeout: STATEMENT_MS + 2_000,
    lock_timeout: LOCK_MS,
    idle_in_transaction_session_timeout: ABANDONED_MS,
    ...(types === undefined ? {} : { types }),
  });
  // An idle connection that breaks is replaced when the next one is needed; unheard, the event would end the process.
  pool.on('error', () => undefined);
  // The pool stops listening before whoever waits for a connection has it: one that breaks then, or between two
  // statements, must not end the process either.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}
