/**
 * Keys that this process wrote lately, by the listing that they belong in. A store's listings may lag behind its point
 * reads (Swift: until an updater ran); whoever pushed through this node sees them in its lists all the same (DESIGN
 * section 5). What stands at a key, and whether it still does, is for the reader to find out.
 */
import { LRUCache } from 'lru-cache';
import type { Entry } from '../drivers/driver.ts';

/** What a listing says of a key; an empty stamp is nobody's. */
export type Listed = Pick<Entry, 'key' | 'stamp'>;

const MAX_LISTINGS = 1_000;
/** Of one listing; the oldest are forgotten first. */
const MAX_KEYS = 1_000;

export class RecentKeys {
  readonly #held: LRUCache<string, Set<string>> | undefined;

  /** @param lagSeconds how long a listing may miss a key; 0: never */
  constructor(lagSeconds: number) {
    this.#held = lagSeconds === 0 ? undefined : new LRUCache({ max: MAX_LISTINGS, ttl: lagSeconds * 1000 });
  }

  wrote(prefix: string, key: string): void {
    if (this.#held === undefined) return;
    const keys = this.#held.get(prefix) ?? new Set<string>();
    keys.delete(key);
    keys.add(key);
    const [oldest] = keys;
    if (keys.size > MAX_KEYS && oldest !== undefined) keys.delete(oldest);
    this.#held.set(prefix, keys);
  }

  /** The listing with what it misses, in byte order. */
  async merge(prefix: string, listing: AsyncIterable<Entry>): Promise<readonly Listed[]> {
    const listed: Listed[] = [];
    for await (const { key, stamp } of listing) listed.push({ key, stamp });
    const recent = this.#held?.get(prefix);
    if (recent === undefined) return listed;
    const missing = new Set(recent);
    for (const { key } of listed) missing.delete(key);
    if (missing.size === 0) return listed;
    return [...listed, ...Array.from(missing, (key) => ({ key, stamp: '' }))].toSorted((a, b) => (a.key < b.key ? -1 : 1));
  }
}
