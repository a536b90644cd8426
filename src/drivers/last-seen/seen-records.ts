/**
 * What stood at keys of records, or that nothing did, on a node's own disk: one SQLite file for all processes over it,
 * bounded, safe to lose. Nothing that it does fails anything: a file that is broken is made anew, and what cannot be
 * written is not kept.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { LRUCache } from 'lru-cache';
import type { Timers } from '../../workers/timers.ts';

export interface SeenRecordsOptions {
  /** Its folder is made where it is missing. */
  readonly file: string;
  /** Names the store that the records are of: those of another one are forgotten. Not a secret. */
  readonly store: string;
  readonly maxRecords?: number;
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly report: (event: { readonly kind: string; readonly [field: string]: unknown }) => void;
}

/** What stood there; `bytes` undefined: nothing did. */
export interface SeenRecord {
  readonly bytes: Buffer | undefined;
}

const MAX_RECORDS = 50_000;
const MAX_RECORD_BYTES = 64 * 1024;
/** Of what was written lately, so that the same is not written again. */
const MAX_KNOWN = 5_000;
/** Together, so that a pull costs one transaction. */
const WRITE_AFTER_MS = 1_000;
const MAX_WAITING = 5_000;
/** A record in use is not the oldest for so long after it was written. */
const REFRESH_MS = 24 * 3600_000;
/** Nobody waits longer for another process. */
const BUSY_MS = 50;
/** But at the start, when several make the tables. */
const START_MS = 5_000;
const FACTS = 'facts';
/** https://www.sqlite.org/rescode.html: corrupt, not a database */
const BROKEN: readonly unknown[] = [11, 26];

export class SeenRecords {
  readonly #options: SeenRecordsOptions;
  readonly #known = new LRUCache<string, { readonly sum: string; readonly atMs: number }>({ max: MAX_KNOWN });
  readonly #waiting = new Map<string, SeenRecord>();
  #database: DatabaseSync | undefined;
  #find: StatementSync | undefined;
  #cancel = (): void => undefined;
  #writing = false;
  #complained = false;

  constructor(options: SeenRecordsOptions) {
    this.#options = options;
    this.#database = this.#open();
  }

  /** What was written down of the store itself, by `putFacts`. */
  facts(): unknown {
    return this.#safely('read', () => {
      const row = this.#database?.prepare('select value from meta where name = ?').get(FACTS);
      return row === undefined ? undefined : (JSON.parse(String(row['value'])) as unknown);
    });
  }

  putFacts(facts: object): void {
    this.#safely('write', () => this.#database?.prepare('insert or replace into meta (name, value) values (?, ?)').run(FACTS, JSON.stringify(facts)));
  }

  note(key: string, bytes: Buffer | undefined): void {
    if (this.#database === undefined || (bytes?.length ?? 0) > MAX_RECORD_BYTES) return;
    const sum = sumOf(key, bytes);
    const known = this.#known.get(key);
    const now = this.#options.nowMs();
    if (known?.sum === sum && now - known.atMs < REFRESH_MS) return;
    if (this.#waiting.size >= MAX_WAITING) return;
    this.#known.set(key, { sum, atMs: now });
    this.#waiting.set(key, { bytes });
    if (this.#writing) return;
    this.#writing = true;
    this.#cancel = this.#options.timers.after(WRITE_AFTER_MS, () => this.write());
  }

  find(key: string): SeenRecord | undefined {
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) return waiting;
    return this.#safely('read', () => {
      this.#find ??= this.#database?.prepare('select bytes, sum from records where key = ?');
      const row = this.#find?.get(key);
      if (row === undefined) return undefined;
      const stored = row['bytes'];
      const bytes = stored instanceof Uint8Array ? Buffer.from(stored) : undefined;
      // A loss of power may leave anything: nothing here is synced.
      return row['sum'] === sumOf(key, bytes) ? { bytes } : undefined;
    });
  }

  /** Writes what waits. */
  write(): void {
    this.#cancel();
    this.#writing = false;
    const database = this.#database;
    if (database === undefined || this.#waiting.size === 0) return;
    const { maxRecords = MAX_RECORDS, nowMs } = this.#options;
    const written = this.#safely('write', () => {
      database.exec('begin immediate');
      try {
        const put = database.prepare('insert or replace into records (key, bytes, sum, seen_ms) values (?, ?, ?, ?)');
        for (const [key, { bytes }] of this.#waiting) put.run(key, bytes ?? null, sumOf(key, bytes), nowMs());
        const over = Number(database.prepare('select count(*) as n from records').get()?.['n']) - maxRecords;
        if (over > 0) database.prepare('delete from records where key in (select key from records order by seen_ms limit ?)').run(over + Math.ceil(maxRecords / 20));
        database.exec('commit');
        return true;
      } catch (error) {
        if (database.isTransaction) database.exec('rollback');
        throw error;
      }
    });
    if (written !== true) for (const key of this.#waiting.keys()) this.#known.delete(key);
    this.#waiting.clear();
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
      for (const pragma of ['journal_mode = wal', 'synchronous = off', 'cache_size = -512']) database.exec(`pragma ${pragma}`);
      database.exec('create table if not exists meta (name text primary key, value text not null)');
      database.exec('create table if not exists records (key text primary key, bytes blob, sum text not null, seen_ms integer not null) without rowid');
      database.exec('create index if not exists records_by_age on records (seen_ms)');
      const known = database.prepare("select value from meta where name = 'store'").get()?.['value'];
      if (known !== store) {
        database.exec('begin immediate; delete from records; delete from meta; commit');
        database.prepare("insert or replace into meta (name, value) values ('store', ?)").run(store);
      }
      database.exec(`pragma busy_timeout = ${BUSY_MS}`);
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
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

function sumOf(key: string, bytes: Buffer | undefined): string {
  const hash = createHash('sha256').update(key).update(bytes === undefined ? '\0absent' : '\0').update(bytes ?? '');
  return hash.digest('base64url').slice(0, 22);
}
