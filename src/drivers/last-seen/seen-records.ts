/**
 * What stood at keys of records, or that nothing did, on a node's own disk: one SQLite file for all processes over it,
 * bounded, safe to lose. Nothing that it does fails anything: a file that is broken is made anew, and what cannot be
 * written is not kept.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Timers } from '../../workers/timers.ts';

export interface SeenRecordsOptions {
  /** Its folder is made where it is missing. */
  readonly file: string;
  /** Names the store that the records are of: those of another one are forgotten. Not a secret. */
  readonly store: string;
  /** Of all records, about; what was noted longest ago goes. Default 64 MiB, which is 100,000 records or more. */
  readonly maxBytes?: number;
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly report: (event: { readonly kind: string; readonly [field: string]: unknown }) => void;
}

/** What stood there; `bytes` undefined: nothing did. */
export interface SeenRecord {
  readonly bytes: Buffer | undefined;
}

const MAX_BYTES = 64 * 1024 * 1024;
const MAX_RECORD_BYTES = 64 * 1024;
/** Together, so that a pull costs one transaction. */
const WRITE_AFTER_MS = 1_000;
const MAX_WAITING = 200;
const MAX_WAITING_BYTES = 4 * 1024 * 1024;
/** What stays of the bound where it is too much. */
const KEPT = 0.98;
/** That a record takes beside its bytes and its key, which stands in an index, too. */
const ROW_BYTES = 100;
const PAGE_BYTES = 4096;
/** A record in use is not the oldest for so long after it was written. */
const REFRESH_MS = 24 * 3600_000;
/** Nobody waits longer for another process. */
const BUSY_MS = 50;
/** But at the start, when several make the tables. */
const START_MS = 5_000;
const FACTS = 'facts';
/** Of all records together; kept since counting them takes long. */
const TOTAL = 'total';
/** The same is not written again, nor over what was seen later; a time to come is a clock's that was wrong. */
const PUT = `insert into records (key, bytes, sum, seen_ms, size) values (?1, ?2, ?3, ?4, ?7)
  on conflict (key) do update set bytes = excluded.bytes, sum = excluded.sum, seen_ms = excluded.seen_ms, size = excluded.size
  where (excluded.seen_ms >= seen_ms or seen_ms > ?5) and (bytes is not excluded.bytes or sum <> excluded.sum or seen_ms < ?5 - ?6)`;
/** https://www.sqlite.org/rescode.html: corrupt, not a database */
const BROKEN: readonly unknown[] = [11, 26];

export class SeenRecords {
  readonly #options: SeenRecordsOptions;
  readonly #waiting = new Map<string, SeenRecord & { readonly atMs: number }>();
  #database: DatabaseSync | undefined;
  #find: StatementSync | undefined;
  #cancel = (): void => undefined;
  #waitingBytes = 0;
  #writing = false;
  #complained = false;

  constructor(options: SeenRecordsOptions) {
    this.#options = options;
    this.#database = this.#open();
  }

  /** What was written down of the store itself, by `putFacts`. */
  facts(): unknown {
    return this.#safely('read', () => {
      const text = this.#database === undefined ? undefined : metaOf(this.#database, FACTS);
      return text === undefined ? undefined : (JSON.parse(text) as unknown);
    });
  }

  putFacts(facts: object): void {
    this.#safely('write', () => this.#database === undefined ? undefined : putMeta(this.#database, FACTS, JSON.stringify(facts)));
  }

  /** @param atMs when the store said so, at the earliest: what it said later, to whichever process, is kept */
  note(key: string, bytes: Buffer | undefined, atMs: number): void {
    if (this.#database === undefined || (bytes?.length ?? 0) > MAX_RECORD_BYTES) return;
    if ((this.#waiting.get(key)?.atMs ?? 0) > atMs) return;
    this.#waiting.set(key, { bytes, atMs });
    this.#waitingBytes += bytes?.length ?? 0;
    if (this.#waiting.size >= MAX_WAITING || this.#waitingBytes >= MAX_WAITING_BYTES) return this.write();
    if (this.#writing) return;
    this.#writing = true;
    this.#cancel = this.#options.timers.after(WRITE_AFTER_MS, () => this.write());
  }

  find(key: string): SeenRecord | undefined {
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) return { bytes: waiting.bytes };
    return this.#safely('read', () => {
      this.#find ??= this.#database?.prepare('select bytes, sum from records where key = ?');
      const row = this.#find?.get(key);
      if (row === undefined) return undefined;
      const stored = row['bytes'];
      const bytes = stored instanceof Uint8Array ? Buffer.from(stored) : undefined;
      // A loss of power may leave anything: nothing here is synced.
      return row['sum'] === this.#sumOf(key, bytes) ? { bytes } : undefined;
    });
  }

  /** Writes what waits. What another process holds up is not kept: the next pull notes it again. */
  write(): void {
    this.#cancel();
    this.#writing = false;
    const database = this.#database;
    if (database === undefined || this.#waiting.size === 0) return;
    this.#safely('write', () => {
      database.exec('begin immediate');
      try {
        this.#writeAll(database);
        database.exec('commit');
      } catch (error) {
        if (database.isTransaction) database.exec('rollback');
        throw error;
      }
    });
    this.#waiting.clear();
    this.#waitingBytes = 0;
  }

  close(): void {
    this.write();
    this.#safely('write', () => this.#database?.close());
    this.#database = undefined;
  }

  #open(): DatabaseSync | undefined {
    const { file, report } = this.#options;
    try {
      return this.#tables();
    } catch (problem) {
      try {
        if (!isBroken(problem)) throw problem;
        for (const suffix of ['', '-wal', '-shm']) rmSync(`${file}${suffix}`, { force: true });
        return this.#tables();
      } catch (error) {
        report({ kind: 'what was seen last cannot be kept on the disk; this node serves nothing while the store is away', file, error });
        return undefined;
      }
    }
  }

  #tables(): DatabaseSync {
    const { file, store } = this.#options;
    mkdirSync(dirname(file), { recursive: true });
    const database = new DatabaseSync(file, { timeout: START_MS });
    try {
      // Nothing is synced: what a loss of power spoils is known by its sum, and the store has it.
      for (const pragma of ['journal_mode = wal', 'synchronous = off', 'cache_size = -2000']) database.exec(`pragma ${pragma}`);
      database.exec('create table if not exists meta (name text primary key, value text not null)');
      database.exec('create table if not exists records (key text primary key, bytes blob, sum text not null, seen_ms integer not null, size integer not null)');
      database.exec('create index if not exists records_by_age on records (seen_ms)');
      if (metaOf(database, 'store') !== store) {
        database.exec('begin immediate; delete from records; delete from meta; commit');
        putMeta(database, 'store', store);
      }
      database.exec(`pragma busy_timeout = ${BUSY_MS}`);
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  }

  #writeAll(database: DatabaseSync): void {
    const { maxBytes = MAX_BYTES, nowMs } = this.#options;
    const now = nowMs();
    let total = Number(metaOf(database, TOTAL) ?? 0);
    const before = database.prepare('select size from records where key = ?');
    const put = database.prepare(PUT);
    for (const [key, { bytes, atMs }] of this.#waiting) {
      const size = sizeOf(key, bytes);
      const replaced = Number(before.get(key)?.['size'] ?? 0);
      if (put.run(key, bytes ?? null, this.#sumOf(key, bytes), atMs, now, REFRESH_MS, size).changes > 0) total += size - replaced;
    }
    if (total > maxBytes) {
      const oldest: string[] = [];
      for (const row of database.prepare('select key, size from records order by seen_ms').iterate()) {
        if (total <= maxBytes * KEPT) break;
        total -= Number(row['size']);
        oldest.push(String(row['key']));
      }
      const remove = database.prepare('delete from records where key = ?');
      for (const key of oldest) remove.run(key);
    }
    putMeta(database, TOTAL, String(total));
  }

  /** Rows of another store, and what a disk or a loss of power made of one, do not have it. */
  #sumOf(key: string, bytes: Buffer | undefined): string {
    const hash = createHash('sha256').update(JSON.stringify([this.#options.store, key, bytes === undefined]));
    return hash.update(bytes ?? '').digest('base64url').slice(0, 22);
  }

  #safely<T>(doing: 'read' | 'write', work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      if (!this.#complained) this.#options.report({ kind: `what was seen last cannot be ${doing === 'read' ? 'read from' : 'kept on'} the disk`, file: this.#options.file, error });
      this.#complained = true;
      return undefined;
    }
  }
}

function isBroken(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && BROKEN.includes(Number(error.errcode) & 0xff);
}

function metaOf(database: DatabaseSync, name: string): string | undefined {
  return database.prepare('select value from meta where name = ?').get(name)?.['value'] as string | undefined; // by the table
}

function putMeta(database: DatabaseSync, name: string, value: string): void {
  database.prepare('insert into meta (name, value) values (?1, ?2) on conflict (name) do update set value = ?2 where value <> ?2').run(name, value);
}

/** About, as SQLite lays it out: what is larger than a page gets pages of its own. */
function sizeOf(key: string, bytes: Buffer | undefined): number {
  const plain = 2 * key.length + (bytes?.length ?? 0) + ROW_BYTES;
  return plain < PAGE_BYTES / 2 ? plain : plain + PAGE_BYTES;
}
