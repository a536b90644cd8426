/** A map from strings that can be walked in order from any place while it changes. */
export class SortedMap<V> {
  readonly #values = new Map<string, V>();
  readonly #keys: string[] = [];

  get(key: string): V | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: V): void {
    if (!this.#values.has(key)) this.#keys.splice(this.#position(key), 0, key);
    this.#values.set(key, value);
  }

  delete(key: string): boolean {
    if (!this.#values.delete(key)) return false;
    this.#keys.splice(this.#position(key), 1);
    return true;
  }

  /** The first entry at or behind `key`. */
  from(key: string): readonly [key: string, value: V] | undefined {
    return this.#at(this.#position(key));
  }

  /** The first entry behind `key`. */
  after(key: string): readonly [key: string, value: V] | undefined {
    const position = this.#position(key);
    return this.#at(this.#keys[position] === key ? position + 1 : position);
  }

  #at(position: number): readonly [string, V] | undefined {
    const key = this.#keys[position];
    // The cast holds because #keys and #values have the same keys; V itself may include undefined.
    return key === undefined ? undefined : [key, this.#values.get(key) as V];
  }

  /** Of the first key that is not before `key`. Keys are ASCII, so the order of UTF-16 units is byte order. */
  #position(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
