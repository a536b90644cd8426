/**
 * The database that decides claims: a bounded pool of connections, each statement with a deadline, tried again when the
 * connection or the server went away. Errors name the server and the database, never a password.
 */
import type { Pool, PoolClient, QueryResultRow } from 'pg';
import { postgresPlace } from '../../postgres/place.ts';
import { postgresPool } from '../../postgres/pool.ts';
import type { Timers } from '../../workers/timers.ts';
import { DriverError, type DriverFailure } from '../driver.ts';

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database`. */
  readonly url: string;
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly report: (event: { readonly kind: string; readonly [field: string]: unknown }) => void;
}

const MAX_CONNECTIONS = 4;
/** Everything about one call, tries and waits included. */
const CALL_MS = 30_000;
const FIRST_WAIT_MS = 50;
const MAX_WAIT_MS = 2_000;

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const AGAIN: ReadonlySet<string> = new Set([
  '40001', '40P01', // serialization failure, deadlock
  '53300', // too many connections
  '55P03', // a lock was not to be had in time
  '57014', // cancelled, as by statement_timeout
  '57P01', '57P02', '57P03', // shutting down, crashed, starting
  '25006', // read-only: a server that is about to be the primary
  '25P03', // idle in transaction for too long
]);
const SYSTEM: ReadonlySet<string> = new Set([
  'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN', 'ENOTFOUND', 'ENOENT',
]);

/** The database failed, not what a task does beside it. */
class DatabaseFault extends Error {
  override readonly name = 'DatabaseFault';
}

/** One connection, during one task. */
export interface Connection {
  query<Row extends QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<readonly Row[]>;
}

export class Database {
  /** Where it is, for messages: `database umbra at db.example.org:5432`. */
  readonly place: string;
  readonly #options: DatabaseOptions;
  readonly #pool: Pool;
  #troubled = false;

  constructor(options: DatabaseOptions) {
    this.#options = options;
    this.place = placeOf(options.url);
    this.#pool = postgresPool({ url: options.url, name: 'umbra', maxConnections: MAX_CONNECTIONS });
  }

  /**
   * Runs a task on a connection, and again where the connection was lost: the task must bear that what it did before
   * may have happened.
   * @param doing for messages: `claim views/1/pins/x`
   * @throws DriverError retryable, where it did not succeed in time; permanent, where the database refuses
   */
  async run<T>(doing: string, task: (connection: Connection) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { nowMs, report } = this.#options;
    const untilMs = nowMs() + CALL_MS;
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, MAX_WAIT_MS)) {
      signal?.throwIfAborted();
      try {
        const result = await this.#once(task);
        if (this.#troubled) report({ kind: `the ${this.place} answers again` });
        this.#troubled = false;
        return result;
      } catch (thrown) {
        if (!(thrown instanceof DatabaseFault)) throw thrown; // what the task threw itself
        const error = thrown.cause;
        const failure = failureOf(error);
        const late = nowMs() + waitMs > untilMs;
        if (failure === 'permanent' || late) {
          throw new DriverError(failure, `cannot ${doing}: the ${this.place} ${meaningOf(error)}`, { cause: error });
        }
        if (!this.#troubled) report({ kind: `the ${this.place} fails; tried again`, why: meaningOf(error) });
        this.#troubled = true;
        await this.#pause(waitMs * (0.5 + Math.random() / 2), signal);
      }
    }
  }

  /** The same in a transaction. */
  async transaction<T>(doing: string, task: (connection: Connection) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return await this.run(
      doing,
      async (connection) => {
        await connection.query('BEGIN');
        const result = await task(connection);
        await connection.query('COMMIT');
        return result;
      },
      signal,
    );
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }

  async #once<T>(task: (connection: Connection) => Promise<T>): Promise<T> {
    const client = await faulty(this.#pool.connect());
    let good = false;
    try {
      const result = await task(connectionOf(client));
      good = true;
      return result;
    } finally {
      // With an open transaction, or one whose fate is unknown, it is of no use to anybody: closing it rolls back.
      client.release(!good);
    }
  }

  async #pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        cancel();
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const cancel = this.#options.timers.after(ms, done);
      signal?.addEventListener('abort', done, { once: true });
    });
  }
}

function connectionOf(client: PoolClient): Connection {
  return {
    async query<Row extends QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
      return (await faulty(client.query<Row>(sql, [...values]))).rows;
    },
  };
}

async function faulty<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw new DatabaseFault('the database failed', { cause: error });
  }
}

function placeOf(url: string): string {
  const place = postgresPlace(url);
  const expected = 'postgres://user:password@host:port/database';
  if (place === undefined) throw new DriverError('permanent', `coordination.url is no URL of a PostgreSQL database: expected ${expected}`);
  return place;
}

function failureOf(error: unknown): DriverFailure {
  const code = codeOf(error);
  if (code === undefined || SYSTEM.has(code)) return 'retryable'; // pg's own have no code: a connection that broke, or a deadline
  return AGAIN.has(code) || code.startsWith('08') || code.startsWith('53') ? 'retryable' : 'permanent';
}

function meaningOf(error: unknown): string {
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  switch (code) {
    case '28P01':
    case '28000':
      return `refuses the user or the password (${message})`;
    case '3D000':
      return `does not exist: create it, or correct coordination.url (${message})`;
    case '42501':
      return `does not permit it (${message})`;
    case '25006':
      return 'is read-only: coordination.url must lead to the primary';
    default:
      return SYSTEM.has(code ?? '') ? `cannot be reached (${code})` : `failed (${message}${code === undefined ? '' : `, ${code}`})`;
  }
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error; // of several addresses
  return typeof first === 'object' && first !== null && 'code' in first && typeof first.code === 'string' ? first.code : undefined;
}
