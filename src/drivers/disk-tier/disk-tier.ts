/**
 * A cache of whole blobs on a local disk, before any other driver (DESIGN section 6, "Disk tier"). Blobs come to it as
 * they are read; everything else, and every write, goes straight through. It is shared by all processes over one root,
 * which tell each other nothing but what stands on the disk: a blob is there whole or not at all, and what was opened
 * stays readable. Nothing that the disk does fails a read: the store has everything. docs/disk-tier.md says the rules.
 */
import { resolve } from 'node:path';
import type { Digest } from '../../oci/digest.ts';
import type { Timers } from '../../workers/timers.ts';
import { DriverAround } from '../around.ts';
import { DiskBlobs } from './blobs.ts';
import type { DiskEvents } from './events.ts';
import { DiskPaths, diskEntry, type DiskEntry } from './files.ts';
import { DiskFills } from './fills.ts';
import { ArrivingSource, LateSource } from './source.ts';
import type { CallOptions, Driver, PutOptions, Source, Stat, Value } from '../driver.ts';

export interface DiskTierOptions {
  /** Made where it is missing; may hold other things. */
  readonly root: string;
  /** Of blobs, rounded up to blocks, and what is being filled. */
  readonly maxBytes: number;
  /** The digest that the bytes at a key must have, where the key is of a blob whose bytes never change; else undefined. */
  readonly digestOf: (key: string) => Digest | undefined;
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly events: DiskEvents;
  /** In [0, 1): decides which hits are looked at a second time. */
  readonly random?: () => number;
}

export interface DiskTier extends Driver {
  /** Resolves when nothing goes on in the background: no fill, eviction or second look. */
  idle(): Promise<void>;
}

export function diskTier(inner: Driver, options: DiskTierOptions): DiskTier {
  return new DiskTierDriver(inner, options);
}

/** `check` is the store's only: a node without its disk serves all the same. */
class DiskTierDriver extends DriverAround implements DiskTier {
  declare readonly redirect?: (key: string, options?: CallOptions) => Promise<string | undefined>;
  readonly #digestOf: (key: string) => Digest | undefined;
  readonly #events: DiskEvents;
  readonly #blobs: DiskBlobs;
  readonly #fills: DiskFills;

  constructor(inner: Driver, options: DiskTierOptions) {
    super(inner);
    const { maxBytes, timers, nowMs, events, random = Math.random } = options;
    const paths = new DiskPaths(resolve(options.root));
    this.#digestOf = options.digestOf;
    this.#events = events;
    this.#blobs = new DiskBlobs({ paths, timers, nowMs, events, random, openInner: (key) => inner.open(key) });
    this.#fills = new DiskFills({ paths, maxBytes, timers, nowMs, events, stored: (entry) => this.#blobs.stored(entry) });
    if (inner.redirect !== undefined) this.redirect = this.#redirect.bind(this, inner.redirect.bind(inner));
  }

  override readonly isNear = (key: string): boolean => {
    const entry = this.#entry(key);
    return entry !== undefined && this.#blobs.has(entry);
  };

  override async get(key: string, options: CallOptions & { readonly maxBytes?: number } = {}): Promise<Value | undefined> {
    const entry = this.#entry(key);
    if (entry === undefined) return this.inner.get(key, options);
    options.signal?.throwIfAborted();
    const held = await this.#blobs.read(entry, options.maxBytes);
    if (held !== undefined) {
      this.#events.count('hit');
      return held;
    }
    const value = await this.inner.get(key, options);
    if (value === undefined) return undefined;
    const keep = this.#fills.worthwhile(value.size);
    this.#events.count(keep ? 'miss' : 'passed');
    if (keep) this.#fills.begin(entry, bytesSource(value));
    return value;
  }

  override async open(key: string, options: CallOptions = {}): Promise<Source | undefined> {
    const entry = this.#entry(key);
    if (entry === undefined) return this.inner.open(key, options);
    options.signal?.throwIfAborted();
    const running = this.#fills.running(entry);
    if (running !== undefined) {
      this.#events.count('joined');
      return this.#arriving(entry, running);
    }
    const held = await this.#blobs.open(entry);
    if (held !== undefined) {
      this.#events.count('hit');
      return held;
    }
    const source = await this.inner.open(key, options);
    if (source === undefined) return undefined;
    const keep = this.#fills.worthwhile(source.stat.size);
    this.#events.count(keep ? 'miss' : 'passed');
    return keep ? this.#arriving(entry, source.stat, source) : source;
  }

  override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<Stat> {
    const stat = await this.inner.put(key, bytes, options);
    await this.#forget(key);
    return stat;
  }

  override async delete(keys: readonly string[], options?: CallOptions): Promise<void> {
    await this.inner.delete(keys, options);
    for (const key of keys) await this.#forget(key);
  }

  async idle(): Promise<void> {
    await this.#fills.idle();
    await this.#blobs.idle();
  }

  override async close(): Promise<void> {
    await this.#fills.close();
    await this.#blobs.close();
    await this.inner.close();
  }

  #entry(key: string): DiskEntry | undefined {
    const digest = this.#digestOf(key);
    return digest === undefined ? undefined : diskEntry(key, digest);
  }

  /** @param opened in the store already */
  #arriving(entry: DiskEntry, stat: Stat, opened?: Source): Source {
    const inner = new LateSource(entry.key, () => this.inner.open(entry.key), opened);
    return new ArrivingSource(entry.key, stat, inner, (range, take) => this.#fills.growth(entry, stat.size, range, take));
  }

  /** Other bytes than those on the disk may stand at the key, or none. */
  async #forget(key: string): Promise<void> {
    const entry = this.#entry(key);
    if (entry === undefined) return;
    await this.#fills.abort(entry);
    await this.#blobs.remove(entry);
  }

  async #redirect(inner: NonNullable<Driver['redirect']>, key: string, options?: CallOptions): Promise<string | undefined> {
    return this.isNear(key) ? undefined : await inner(key, options);
  }
}

function bytesSource({ bytes, ...stat }: Value): Source {
  return {
    stat,
    async *stream({ start, end }) {
      yield bytes.subarray(start, end + 1);
    },
    close: async () => undefined,
  };
}
