/** A PostgreSQL server as a kysely dialect. */
import { types } from 'pg';
import { PostgresDialect, type Dialect } from 'kysely';
import { postgresPool } from '../../postgres/pool.ts';

const MAX_CONNECTIONS = 8;
/** https://www.postgresql.org/docs/current/datatype-numeric.html: `pg` gives it as text, since it may exceed what a number holds. Ours never do. */
const INT8 = 20;

/** @param url `postgres://user:password@host:port/database` */
export function postgresDialect(url: string): Dialect {
  return new PostgresDialect({
    pool: postgresPool({
      url,
      name: 'umbra-clusters',
      maxConnections: MAX_CONNECTIONS,
      types: { getTypeParser: (oid, format) => (oid === INT8 ? Number : (types.getTypeParser(oid, format) as unknown)) },
    }),
  });
}
