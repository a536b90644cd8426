/** A PostgreSQL server as a kysely dialect: a bounded pool in each process, every wait with an end. */
import { Pool, types } from 'pg';
import { PostgresDialect, type Dialect } from 'kysely';

/** In each process. */
const MAX_CONNECTIONS = 8;
const IDLE_MS = 30_000;
const CONNECT_MS = 5_000;
const STATEMENT_MS = 10_000;
const LOCK_MS = 5_000;
/** The server ends what a process began and did not end. */
const ABANDONED_MS = 30_000;
/** https://www.postgresql.org/docs/current/datatype-numeric.html: `pg` gives it as text, since it may exceed what a number holds. Ours never do. */
const INT8 = 20;

/** @param url `postgres://user:password@host:port/database` */
export function postgresDialect(url: string): Dialect {
  const pool = new Pool({
    connectionString: url,
    application_name: 'umbra-clusters',
    max: MAX_CONNECTIONS,
    idleTimeoutMillis: IDLE_MS,
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    statement_timeout: STATEMENT_MS,
    query_timeout: STATEMENT_MS + 2_000,
    lock_timeout: LOCK_MS,
    idle_in_transaction_session_timeout: ABANDONED_MS,
    types: { getTypeParser: (oid, format) => (oid === INT8 ? Number : (types.getTypeParser(oid, format) as unknown)) },
  });
  // A connection that breaks is replaced when the next one is needed; unheard, the event would end the process.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return new PostgresDialect({ pool });
}
