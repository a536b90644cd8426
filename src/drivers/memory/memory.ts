/**
 * The driver that keeps everything in this process: for tests and for `storage: {driver: memory}`. Strict, ordered,
 * and gone when the process ends, so that durability means nothing here.
 */
import { DriverError, type Assemblies, type CallOptions, type Claimed, type Driver, type Entry, type PutOptions, type Source, type Stat, type Value } from '../driver.ts';
import { checkKey, checkLevel, checkPrefix } from '../key.ts';
import { MemoryAssemblies } from './assemblies.ts';
import { MemoryBytes } from './bytes.ts';
import { MemorySource } from './source.ts';
import { MemoryTree, statOf, type MemoryObject } from './tree.ts';
import { checkValueSize } from '../value-size.ts';

export interface MemoryOptions {
  /** The store's clock: milliseconds since the epoch. */
  readonly clock?: () => number;
}

export function memoryDriver(options: MemoryOptions = {}): MemoryDriver {
  return new MemoryDriver(options.clock ?? Date.now);
}

export class MemoryDriver implements Driver {
  readonly kind = 'memory';
  readonly claims = 'strict';
  readonly listingLagSeconds = 0;
  readonly assemblies: Assemblies;
  readonly #tree: MemoryTree;

  constructor(clock: () => number) {
    this.#tree = new MemoryTree(clock);
    this.assemblies = new MemoryAssemblies(this.#tree);
  }

  async head(key: string, options: CallOptions = {}): Promise<Stat | undefined> {
    begin(key, options);
    const object = this.#tree.get(key);
    return object === undefined ? undefined : statOf(object);
  }

  async get(key: string, options: CallOptions & { readonly maxBytes?: number } = {}): Promise<Value | undefined> {
    begin(key, options);
    const object = this.#tree.get(key);
    if (object === undefined) return undefined;
    checkValueSize(key, object.bytes.size, options.maxBytes);
    return { ...statOf(object), bytes: wholeOf(object) };
  }

  async open(key: string, options: CallOptions = {}): Promise<Source | undefined> {
    begin(key, options);
    const object = this.#tree.get(key);
    return object === undefined ? undefined : new MemorySource(statOf(object), object.bytes);
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<Stat> {
    begin(key, options);
    if (options.when === 'absent' && this.#tree.get(key) !== undefined) throw new DriverError('exists', `${key} exists`);
    return this.#put(key, bytes);
  }

  async *list(prefix: string, options: CallOptions & { readonly startAfter?: string } = {}): AsyncGenerator<Entry> {
    checkPrefix(prefix);
    const { startAfter = '', signal } = options;
    let entry = startAfter < prefix ? this.#tree.from(prefix) : this.#tree.after(startAfter);
    for (; entry?.[0].startsWith(prefix); entry = this.#tree.after(entry[0])) {
      signal?.throwIfAborted();
      yield { key: entry[0], ...statOf(entry[1]) };
    }
    signal?.throwIfAborted();
  }

  async *children(prefix: string, options: CallOptions & { readonly startAfter?: string } = {}): AsyncGenerator<{ readonly name: string; readonly leaf: boolean }> {
    checkLevel(prefix);
    const { startAfter = '', signal } = options;
    const leaves = new Map<string, boolean>();
    for (let entry = this.#tree.from(prefix); entry?.[0].startsWith(prefix); ) {
      const rest = entry[0].slice(prefix.length);
      const cut = rest.indexOf('/');
      const name = cut < 0 ? rest : rest.slice(0, cut);
      if (name > startAfter) leaves.set(name, cut < 0);
      // '0' is the character behind '/': on to the first key that is not below this component.
      entry = cut < 0 ? this.#tree.after(entry[0]) : this.#tree.from(`${prefix}${name}0`);
    }
    // Keys are ordered with the '/' behind a component, names without: `a-b/` stands before `a/`, but `a` before `a-b`.
    for (const name of [...leaves.keys()].toSorted()) {
      signal?.throwIfAborted();
      yield { name, leaf: leaves.get(name) === true };
    }
    signal?.throwIfAborted();
  }

  async delete(keys: readonly string[], options: CallOptions = {}): Promise<void> {
    for (const key of keys) begin(key, options);
    for (const key of keys) this.#tree.delete(key);
  }

  async sync(keys: readonly string[], options: CallOptions = {}): Promise<void> {
    for (const key of keys) begin(key, options);
  }

  async claim(key: string, value: Uint8Array, options: CallOptions = {}): Promise<Claimed> {
    begin(key, options);
    // No await between the look and the put: that is what makes it one step.
    const winner = this.#tree.get(key);
    if (winner === undefined) this.#put(key, value);
    return { won: winner === undefined, value: winner === undefined ? Buffer.from(value) : wholeOf(winner) };
  }

  stampNow(key: string): string {
    checkKey(key);
    return this.#tree.get(key)?.stamp ?? '';
  }

  async check(options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
  }

  async close(): Promise<void> {}

  #put(key: string, bytes: Uint8Array): Stat {
    const held = new MemoryBytes();
    held.append(bytes);
    return this.#tree.set(key, held);
  }
}

function begin(key: string, options: CallOptions): void {
  checkKey(key);
  options.signal?.throwIfAborted();
}

function wholeOf(object: MemoryObject): Buffer {
  const bytes = Buffer.allocUnsafeSlow(object.bytes.size);
  object.bytes.read(bytes, 0);
  return bytes;
}
