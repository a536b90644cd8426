/**
 * Before a driver over a network: notes on the node's disk what the store says of records, so that what a node has it
 * serves on while the store is away or does not let it in. The store's own answers always count first, nothing is ever
 * written here in its stead, and whoever decides by a record asks the store (`content/cached.ts`).
 */
import { LRUCache } from 'lru-cache';
import { DriverAround } from '../around.ts';
import { DriverError, isDriverError, type CallOptions, type Driver, type LastSeen, type PutOptions, type Stat, type Value } from '../driver.ts';
import { within, type Timers } from '../../workers/timers.ts';
import type { SeenRecord, SeenRecords } from './seen-records.ts';

export interface LastSeenOptions {
  readonly seen: SeenRecords;
  /** The keys whose values are noted: small, and read to answer. */
  readonly isRecord: (key: string) => boolean;
  /** The store was seen before this process began. */
  readonly mayServe: boolean;
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly report: (event: { readonly kind: string; readonly [field: string]: unknown }) => void;
}

const MAX_WRITTEN = 10_000;
/** How long a client waits for a store that hangs, once: far longer than one that works takes. */
const PATIENCE_MS = 5_000;

export function lastSeenDriver(inner: Driver, options: LastSeenOptions): Driver {
  return new LastSeenDriver(inner, options);
}

class LastSeenDriver extends DriverAround {
  override readonly lastSeen: LastSeen;
  readonly #options: LastSeenOptions;
  /** How often each key was written here, lately: a read that began before says nothing new. */
  readonly #written = new LRUCache<string, number>({ max: MAX_WRITTEN });
  #away = false;
  #looking: Promise<unknown> | undefined;

  constructor(inner: Driver, options: LastSeenOptions) {
    super(inner);
    this.#options = options;
    const isAway = (): boolean => this.#away;
    this.lastSeen = {
      get away() {
        return isAway();
      },
      mayServe: options.mayServe,
      find: (key) => this.#find(key),
      get: (key) => this.#getSoon(key),
    };
  }

  override async get(key: string, options: CallOptions & { readonly maxBytes?: number } = {}): Promise<Value | undefined> {
    if (!this.#options.isRecord(key)) return await this.inner.get(key, options);
    const [before, atMs] = [this.#written.get(key), this.#options.nowMs()];
    const value = await this.inner.get(key, options).catch((error: unknown) => {
      if (isDriverError(error, 'retryable', 'permanent')) this.#failed(error);
      throw error;
    });
    this.#answered();
    if (this.#written.get(key) === before) this.#options.seen.note(key, value?.bytes, atMs);
    return value;
  }

  override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<Stat> {
    this.#wrote(key);
    const stat = await this.inner.put(key, bytes, options);
    this.#wrote(key);
    if (this.#options.isRecord(key)) this.#options.seen.note(key, Buffer.from(bytes), this.#options.nowMs());
    return stat;
  }

  override async delete(keys: readonly string[], options?: CallOptions): Promise<void> {
    for (const key of keys) this.#wrote(key);
    await this.inner.delete(keys, options);
    for (const key of keys) {
      this.#wrote(key);
      if (this.#options.isRecord(key)) this.#options.seen.note(key, undefined, this.#options.nowMs());
    }
  }

  override async close(): Promise<void> {
    await this.inner.close();
    await this.#looking;
    this.#options.seen.close();
  }

  #find(key: string): SeenRecord | undefined {
    const found = this.#options.seen.find(key);
    // Nobody waits for a store that was away just now; it counts again from its first answer.
    if (found !== undefined && this.#away) this.#looking ??= this.#soon(key, () => undefined).catch(() => undefined).finally(() => (this.#looking = undefined));
    return found;
  }

  async #getSoon(key: string): Promise<Value | undefined> {
    return this.#options.seen.find(key) === undefined ? await this.get(key) : await this.#soon(key, (error) => this.#failed(error));
  }

  async #soon(key: string, failed: (error: DriverError) => void): Promise<Value | undefined> {
    const reading = this.get(key);
    reading.catch(() => undefined); // it may end when nobody waits any more
    return await within(reading, PATIENCE_MS, this.#options.timers, () => {
      const error = new DriverError('retryable', `get ${key}: the store did not answer within ${PATIENCE_MS / 1000} s`);
      failed(error);
      return error;
    });
  }

  #wrote(key: string): void {
    this.#written.set(key, (this.#written.get(key) ?? 0) + 1);
  }

  #failed(error: unknown): void {
    if (!this.#away) this.#options.report({ kind: 'the store does not answer: what this node saw last is served', error: error instanceof Error ? error.message : String(error) });
    this.#away = true;
  }

  #answered(): void {
    if (this.#away) this.#options.report({ kind: 'the store answers again' });
    this.#away = false;
  }
}
