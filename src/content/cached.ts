/**
 * Small JSON records read through memory. Where the driver can look in microseconds, each use is validated by the
 * object's stamp, so that every worker of the machine sees a change at once; elsewhere an entry is believed for
 * `staleMs` (DESIGN section 5, `tagStaleness`).
 */
import { LRUCache } from 'lru-cache';
import type { Driver } from '../drivers/driver.ts';

interface Held<T> {
  readonly value: T | undefined;
  /** '' where nothing stood. */
  readonly stamp: string;
  readonly readAtMs: number;
}

export interface CachedDeps {
  readonly driver: Driver;
  readonly nowMs: () => number;
  readonly staleMs: number;
  /** Entries kept. */
  readonly max?: number;
}

/** Records of one kind. `T` must be treated as immutable: it is shared. */
export class CachedRecords<T extends object> {
  readonly #deps: CachedDeps;
  readonly #parse: (text: string) => T;
  readonly #held: LRUCache<string, Held<T>>;

  /** @param parse turns the stored text into the record; throws where it is not one */
  constructor(deps: CachedDeps, parse: (text: string) => T = (text) => JSON.parse(text) as T /* written by this registry only */) {
    this.#deps = deps;
    this.#parse = parse;
    this.#held = new LRUCache({ max: deps.max ?? 20_000 });
  }

  /** The record at the key, or `undefined`. */
  async read(key: string, options: { readonly fresh?: boolean } = {}): Promise<T | undefined> {
    const { driver } = this.#deps;
    const held = this.#held.get(key);
    if (held !== undefined && options.fresh !== true) {
      if (driver.stampNow === undefined ? this.#deps.nowMs() - held.readAtMs < this.#deps.staleMs : driver.stampNow(key) === held.stamp) return held.value;
    } else if (driver.stampNow?.(key) === '') {
      return undefined; // nothing there: cheaper to look again than to remember
    }
    const readAtMs = this.#deps.nowMs();
    const stored = await driver.get(key);
    if (stored === undefined) {
      if (driver.stampNow === undefined) this.#held.set(key, { value: undefined, stamp: '', readAtMs });
      else this.#held.delete(key);
      return undefined;
    }
    const value = this.#parse(stored.bytes.toString('utf8'));
    this.#held.set(key, { value, stamp: stored.stamp, readAtMs });
    return value;
  }

  /** Writes the record; other readers of this process see it at once. Durability as `Driver.put`. */
  async write(key: string, value: T, durable: 'now' | 'later'): Promise<void> {
    this.#held.delete(key);
    const stat = await this.#deps.driver.put(key, Buffer.from(JSON.stringify(value)), { durable });
    this.#held.set(key, { value, stamp: stat.stamp, readAtMs: this.#deps.nowMs() });
  }

  forget(key: string): void {
    this.#held.delete(key);
  }
}
