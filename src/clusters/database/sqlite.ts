/**
 * SQLite inside this process (`node:sqlite`) as a kysely dialect. Several processes share the file: a transaction takes
 * the write lock when it begins, and whoever finds it taken waits without holding up the process's other work.
 */
import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import {
  CompiledQuery, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler,
  type DatabaseConnection, type Dialect, type Driver, type QueryResult,
} from 'kysely';
import { LRUCache } from 'lru-cache';
import { pause, type Timers } from '../../workers/timers.ts';

export interface SqliteOptions {
  /** Path of the file, made where it is missing, for its owner only; `:memory:` for none. */
  readonly file: string;
  readonly timers: Timers;
  readonly nowMs: () => number;
}

/** Longer than any transaction here takes; a process that stands still in one must not stop the others for good. */
const LOCK_MS = 10_000;
const FIRST_WAIT_MS = 1;
const MAX_WAIT_MS = 50;
const STATEMENTS = 200;
/** https://www.sqlite.org/rescode.html#busy */
const SQLITE_BUSY = 5;

export function sqliteDialect(options: SqliteOptions): Dialect {
  return {
    createAdapter: () => new TransactionalSqliteAdapter(),
    createDriver: () => new NodeSqliteDriver(options),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

/** SQLite's tables are made in a transaction like anything else, and since ours takes the lock at once, by one process only. */
class TransactionalSqliteAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

/** One connection, which kysely lends to one task at a time. */
class NodeSqliteDriver implements Driver {
  readonly #options: SqliteOptions;
  #connection: Connection | undefined;

  constructor(options: SqliteOptions) {
    this.#options = options;
  }

  async init(): Promise<void> {
    this.#connection = new Connection(this.#options);
    // A writer leaves readers alone, and what was committed outlives a loss of power.
    await this.#connection.executeQuery(CompiledQuery.raw('pragma journal_mode = wal'));
    await this.#connection.executeQuery(CompiledQuery.raw('pragma synchronous = full'));
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    if (this.#connection === undefined) throw new Error('the database is not open');
    return this.#connection;
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'));
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('rollback'));
  }

  async releaseConnection(): Promise<void> {
    // There is one, and it stays.
  }

  async destroy(): Promise<void> {
    this.#connection?.close();
    this.#connection = undefined;
  }
}

class Connection implements DatabaseConnection {
  readonly #options: SqliteOptions;
  readonly #database: DatabaseSync;
  readonly #statements = new LRUCache<string, StatementSync>({ max: STATEMENTS });

  constructor(options: SqliteOptions) {
    this.#options = options;
    // SQLite would make it for everybody to read; its other files are made like it.
    if (options.file !== ':memory:') closeSync(openSync(options.file, 'a', 0o600));
    this.#database = new DatabaseSync(options.file, { timeout: 0 });
  }

  async executeQuery<Row>({ sql, parameters }: CompiledQuery): Promise<QueryResult<Row>> {
    const { nowMs, timers } = this.#options;
    const untilMs = nowMs() + LOCK_MS;
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, MAX_WAIT_MS)) {
      try {
        return this.#execute<Row>(sql, parameters as readonly SQLInputValue[]); // the schema's columns are text and numbers
      } catch (error) {
        if (!isBusy(error) || nowMs() >= untilMs) throw error;
        await pause(waitMs, timers, undefined);
      }
    }
  }

  // eslint-disable-next-line require-yield -- the interface wants it; nothing here streams
  async *streamQuery(): AsyncIterableIterator<never> {
    throw new Error('rows are read page by page here, not streamed');
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }

  #execute<Row>(sql: string, parameters: readonly SQLInputValue[]): QueryResult<Row> {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, (statement = this.#database.prepare(sql)));
    if (statement.columns().length > 0) return { rows: statement.all(...parameters) as Row[] };
    const { changes, lastInsertRowid } = statement.run(...parameters);
    return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
  }
}

/** @param error what `node:sqlite` threw */
function isBusy(error: unknown): boolean {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : undefined;
  return typeof code === 'number' && (code & 0xff) === SQLITE_BUSY;
}
