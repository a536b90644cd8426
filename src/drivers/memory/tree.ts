/** What the memory driver stores: objects by key, in order, each with the stamp of its last change. */
import { DriverError, type Stat } from '../driver.ts';
import type { MemoryBytes } from './bytes.ts';
import { SortedMap } from './sorted-map.ts';

export interface MemoryObject {
  readonly bytes: MemoryBytes;
  readonly modifiedMs: number;
  readonly stamp: string;
}

export class MemoryTree {
  readonly #objects = new SortedMap<MemoryObject>();
  readonly #clock: () => number;
  #changes = 0;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  get(key: string): MemoryObject | undefined {
    return this.#objects.get(key);
  }

  after(key: string): readonly [key: string, object: MemoryObject] | undefined {
    return this.#objects.after(key);
  }

  /** The first at or behind `key`. */
  from(key: string): readonly [key: string, object: MemoryObject] | undefined {
    return this.#objects.from(key);
  }

  /**
   * Puts the bytes at the key, or notes that they have grown there.
   * @throws DriverError permanent, where the key lies under or over another: no other driver could store both
   */
  set(key: string, bytes: MemoryBytes): Stat {
    this.#checkPlace(key);
    const object: MemoryObject = { bytes, modifiedMs: this.#clock(), stamp: String(++this.#changes) };
    this.#objects.set(key, object);
    return statOf(object);
  }

  delete(key: string): boolean {
    return this.#objects.delete(key);
  }

  #checkPlace(key: string): void {
    if (this.#objects.get(key) !== undefined) return;
    const below = this.#objects.from(`${key}/`)?.[0];
    if (below?.startsWith(`${key}/`) === true) throw new DriverError('permanent', `cannot put ${key}: ${below} lies below it`);
    for (let cut = key.indexOf('/'); cut >= 0; cut = key.indexOf('/', cut + 1)) {
      const above = key.slice(0, cut);
      if (this.#objects.get(above) !== undefined) throw new DriverError('permanent', `cannot put ${key}: ${above} is an object`);
    }
  }
}

export function statOf(object: MemoryObject): Stat {
  return { size: object.bytes.size, modifiedMs: object.modifiedMs, stamp: object.stamp };
}
