/**
 * A cache of whole blobs on a local disk, before any other driver (DESIGN section 6, "Disk tier"). Blobs come to it as
 * they are read; everything else, and every write, goes straight through. It is shared by all processes over one root,
 * which tell each other nothing but what stands on the disk: a blob is there whole or not at all, and what was opened
 * stays readable. Nothing that the disk does fails a read: the store has everything. docs/disk-tier.md says the rules.
 */
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { LRUCache } from 'lru-cache';
import { algorithmOf, digestOf, type Digest } from '../oci/digest.ts';
import type { Timers } from '../workers/timers.ts';
import { DiskTrouble, type DiskEvents } from './disk-tier-events.ts';
import { DiskFill, type FillOutcome } from './disk-tier-fill.ts';
import { DiskPaths, diskEntry, openEntry, TRAILER_BYTES, type DiskEntry } from './disk-tier-files.ts';
import { otherFill } from './disk-tier-follow.ts';
import type { Growth } from './disk-tier-growth.ts';
import { DiskRoom } from './disk-tier-room.ts';
import { DiskScrub } from './disk-tier-scrub.ts';
import { ArrivingSource, CachedSource, LateSource, type FindGrowth } from './disk-tier-source.ts';
import type { Assemblies, ByteRange, CallOptions, Claimed, Driver, Entry, PutOptions, Source, Stat, Value } from './driver.ts';
import { failedWith, futimes, statNow, unlink } from './filesystem-calls.ts';
import { Limiter } from './limiter.ts';
import { checkValueSize } from './value-size.ts';

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

/** One of so many hits has its bytes hashed again. */
const LOOK_AGAIN = 64;
/** When a blob was used is written down this often. */
const TOUCH_MS = 60_000;
/** Fills at once, in this process; what comes beside them passes by the disk. */
const MAX_FILLS = 16;
/** A read that begins no farther ahead of a fill follows it. */
const NEAR_BYTES = 4 * 1024 * 1024;
/** Blobs that ranges were read of, or that a read-only disk holds damaged: how many are remembered. */
const MAX_REMEMBERED = 1_000;
/** Blobs whose trailer need not be read again: some 400 bytes each. */
const MAX_KNOWN = 10_000;
const SMALL_BYTES = 1024 * 1024;

export function diskTier(inner: Driver, options: DiskTierOptions): DiskTier {
  return new DiskTierDriver(inner, options);
}

class DiskTierDriver implements DiskTier {
  readonly kind: string;
  readonly claims: Driver['claims'];
  readonly listingLagSeconds: number;
  readonly assemblies: Assemblies;
  readonly clock?: (options?: CallOptions) => Promise<number>;
  readonly redirect?: (key: string, options?: CallOptions) => Promise<string | undefined>;
  readonly #inner: Driver;
  readonly #options: DiskTierOptions;
  readonly #paths: DiskPaths;
  readonly #room: DiskRoom;
  readonly #scrub: DiskScrub;
  readonly #reading: DiskTrouble;
  readonly #writing: DiskTrouble;
  readonly #random: () => number;
  readonly #fills = new Map<string, DiskFill>();
  /** One thread of the pool at most waits for the disk's cache. */
  readonly #syncs = new Limiter(1);
  /** Bytes read of blobs by ranges only. */
  readonly #ranges = new LRUCache<string, number>({ max: MAX_REMEMBERED });
  /** Files that could not be removed and must not be served. */
  readonly #damaged = new LRUCache<string, true>({ max: MAX_REMEMBERED });
  readonly #known = new LRUCache<string, { readonly inode: number; readonly stat: Stat }>({ max: MAX_KNOWN });
  readonly #started: Promise<void>;
  #closed = false;

  constructor(inner: Driver, options: DiskTierOptions) {
    const { timers, nowMs, events } = options;
    this.#inner = inner;
    this.#options = options;
    this.kind = inner.kind;
    this.claims = inner.claims;
    this.listingLagSeconds = inner.listingLagSeconds;
    this.assemblies = inner.assemblies;
    this.#paths = new DiskPaths(resolve(options.root));
    this.#reading = new DiskTrouble(this.#paths.root, 'reading', events, nowMs);
    this.#writing = new DiskTrouble(this.#paths.root, 'writing', events, nowMs);
    this.#room = new DiskRoom(this.#paths, options.maxBytes, nowMs, events);
    this.#scrub = new DiskScrub({ paths: this.#paths, timers, bad: (entry, why) => this.#drop(entry, why) });
    this.#random = options.random ?? Math.random;
    if (inner.clock !== undefined) this.clock = inner.clock.bind(inner);
    if (inner.redirect !== undefined) this.redirect = this.#redirect.bind(this, inner.redirect.bind(inner));
    this.#started = this.#start();
  }

  head(key: string, options?: CallOptions): Promise<Stat | undefined> {
    return this.#inner.head(key, options);
  }

  async get(key: string, options: CallOptions & { readonly maxBytes?: number } = {}): Promise<Value | undefined> {
    const entry = this.#entry(key);
    if (entry === undefined) return this.#inner.get(key, options);
    options.signal?.throwIfAborted();
    const held = await this.#hit(entry);
    if (held !== undefined) {
      const value = await this.#whole(entry, held, options.maxBytes);
      if (value !== undefined) {
        this.#options.events.count('hit');
        return value;
      }
    }
    const value = await this.#inner.get(key, options);
    if (value === undefined) return undefined;
    const keep = this.#worthwhile(value.size);
    this.#options.events.count(keep ? 'miss' : 'passed');
    if (keep) this.#fill(entry, bytesSource(value));
    return value;
  }

  async open(key: string, options: CallOptions = {}): Promise<Source | undefined> {
    const { events } = this.#options;
    const entry = this.#entry(key);
    if (entry === undefined) return this.#inner.open(key, options);
    options.signal?.throwIfAborted();
    const openInner = (): Promise<Source | undefined> => this.#inner.open(key);
    const running = this.#fills.get(entry.name);
    if (running !== undefined) {
      events.count('joined');
      return this.#arriving(entry, running.stat, new LateSource(key, openInner));
    }
    const held = await this.#hit(entry);
    if (held !== undefined) {
      events.count('hit');
      return held;
    }
    const source = await this.#inner.open(key, options);
    if (source === undefined || !this.#worthwhile(source.stat.size)) {
      if (source !== undefined) events.count('passed');
      return source;
    }
    events.count('miss');
    return this.#arriving(entry, source.stat, new LateSource(key, openInner, source));
  }

  async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<Stat> {
    const stat = await this.#inner.put(key, bytes, options);
    await this.#forget(key);
    return stat;
  }

  list(prefix: string, options?: CallOptions & { readonly startAfter?: string }): AsyncIterable<Entry> {
    return this.#inner.list(prefix, options);
  }

  children(prefix: string, options?: CallOptions & { readonly startAfter?: string }): AsyncIterable<{ readonly name: string; readonly leaf: boolean }> {
    return this.#inner.children(prefix, options);
  }

  async delete(keys: readonly string[], options?: CallOptions): Promise<void> {
    await this.#inner.delete(keys, options);
    for (const key of keys) await this.#forget(key);
  }

  sync(keys: readonly string[], options?: CallOptions): Promise<void> {
    return this.#inner.sync(keys, options);
  }

  claim(key: string, value: Uint8Array, options?: CallOptions): Promise<Claimed> {
    return this.#inner.claim(key, value, options);
  }

  /** The store's only: a node without its disk serves all the same. */
  check(options?: CallOptions): Promise<void> {
    return this.#inner.check(options);
  }

  async idle(): Promise<void> {
    await this.#started;
    while (this.#fills.size > 0) await Promise.all([...this.#fills.values()].map(({ done }) => done));
    await this.#room.idle();
    await this.#scrub.idle();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#started;
    const fills = [...this.#fills.values()];
    for (const fill of fills) fill.abort();
    await Promise.all(fills.map(({ done }) => done));
    await this.#scrub.close();
    await this.#room.close();
    await this.#inner.close();
  }

  /** Says early what is wrong with the disk, and evicts where its bound was lowered. */
  async #start(): Promise<void> {
    try {
      await this.#room.prepare();
      await this.#room.settle();
    } catch (error) {
      this.#writing.failed(error);
    }
  }

  #entry(key: string): DiskEntry | undefined {
    const digest = this.#options.digestOf(key);
    return digest === undefined ? undefined : diskEntry(key, digest);
  }

  /** What the disk has of it, whole. */
  async #hit(entry: DiskEntry): Promise<CachedSource | undefined> {
    if (this.#reading.resting || this.#damaged.has(entry.name)) return undefined;
    let opened;
    try {
      opened = await openEntry(this.#paths.blob(entry.name), entry.digest, this.#known);
    } catch (error) {
      if (!failedWith(error, 'EMFILE', 'ENFILE')) this.#reading.failed(error);
      return undefined;
    }
    if (opened === undefined) return undefined;
    if (opened === 'damaged') {
      await this.#drop(entry, 'it is cut, or not a blob');
      return undefined;
    }
    this.#reading.worked();
    const { fd, stat, usedMs } = opened;
    const source = new CachedSource(entry.key, fd, stat, () => this.#inner.open(entry.key), (error) => void this.#drop(entry, error));
    const nowMs = this.#options.nowMs();
    if (nowMs - usedMs > TOUCH_MS) await futimes(fd, nowMs / 1000, nowMs / 1000).catch(() => undefined); // read-only
    if (this.#random() * LOOK_AGAIN < 1) this.#scrub.look(entry);
    return source;
  }

  /** A small blob of the disk; hashed each time, since that costs little. */
  async #whole(entry: DiskEntry, source: CachedSource, maxBytes: number | undefined): Promise<Value | undefined> {
    try {
      checkValueSize(entry.key, source.stat.size, maxBytes);
      const bytes = Buffer.allocUnsafeSlow(source.stat.size);
      for (let done = 0; done < bytes.length; ) {
        const count = await source.read(bytes.subarray(done), done);
        if (count === 0) return undefined;
        done += count;
      }
      if (digestOf(bytes, algorithmOf(entry.digest)) === entry.digest) return { ...source.stat, bytes };
      await this.#drop(entry, 'its bytes do not have its digest');
      return undefined;
    } finally {
      await source.close();
    }
  }

  /** Is a blob of that size one to keep, now? One that takes more than half of the room would drive out all others. */
  #worthwhile(size: number): boolean {
    return size > 0 && 2 * (size + TRAILER_BYTES) <= this.#options.maxBytes && !this.#writing.resting && !this.#closed && this.#fills.size < MAX_FILLS;
  }

  #arriving(entry: DiskEntry, stat: Stat, inner: LateSource): ArrivingSource {
    return new ArrivingSource(entry.key, stat, inner, (range, take) => this.#growth(entry, stat.size, range, take));
  }

  async #growth(entry: DiskEntry, size: number, ...[range, take]: Parameters<FindGrowth>): Promise<Growth | undefined> {
    const running = this.#fills.get(entry.name);
    if (running !== undefined) return followed(running, range, size);
    if (!this.#pays(entry, size, range) || !this.#worthwhile(size)) return undefined;
    const other = await this.#otherFill(entry);
    if (other !== undefined) {
      if (near(other, range, size)) return other;
      other.leave();
      return undefined;
    }
    return followed(this.#fill(entry, await take()), range, size);
  }

  async #otherFill(entry: DiskEntry): Promise<Growth | undefined> {
    try {
      return await otherFill(this.#paths, entry, this.#options.timers);
    } catch {
      return undefined; // what is wrong with the disk shows when the fill begins
    }
  }

  /** A fill costs the store one reading of the whole: is that worth it for what was asked for, up to now? */
  #pays(entry: DiskEntry, size: number, { start, end }: ByteRange): boolean {
    const asked = (this.#ranges.get(entry.name) ?? 0) + end + 1 - start;
    if (size <= SMALL_BYTES || 4 * asked >= size) {
      this.#ranges.delete(entry.name);
      return true;
    }
    this.#ranges.set(entry.name, asked);
    return false;
  }

  /** Begins a fill, or gives the one that runs. */
  #fill(entry: DiskEntry, source: Source): DiskFill {
    const running = this.#fills.get(entry.name);
    if (running !== undefined) {
      source.close().catch(() => undefined);
      return running;
    }
    const fill: DiskFill = new DiskFill({
      entry, source,
      paths: this.#paths,
      timers: this.#options.timers,
      nowMs: this.#options.nowMs,
      unique: randomBytes(9).toString('base64url'),
      syncs: this.#syncs,
      prepare: () => this.#room.prepare(),
      makeRoom: (file, size) => this.#room.make(file, size),
      ended: (outcome, fault) => this.#ended(entry, outcome, fault),
    });
    this.#fills.set(entry.name, fill);
    return fill;
  }

  #ended(entry: DiskEntry, outcome: FillOutcome, fault: unknown): void {
    this.#fills.delete(entry.name);
    this.#options.events.count(outcome);
    if (outcome === 'stored') {
      this.#writing.worked();
      this.#damaged.delete(entry.name);
    } else if (fault !== undefined && !failedWith(fault, 'ENOENT')) this.#writing.failed(fault); // ENOENT: removed under us, made anew next time
    if (outcome === 'mismatch') this.#options.events.report({ kind: 'the store gave bytes that do not have their digest', key: entry.key });
  }

  /** Removes a blob that is not what it should be. */
  async #drop(entry: DiskEntry, why: unknown): Promise<void> {
    this.#damaged.set(entry.name, true);
    this.#options.events.count('corrupt');
    this.#options.events.report({ kind: 'a blob on the disk was bad and is dropped', file: this.#paths.blob(entry.name), why: why instanceof Error ? why.message : why });
    if (await this.#remove(entry)) this.#damaged.delete(entry.name);
  }

  async #forget(key: string): Promise<void> {
    const entry = this.#entry(key);
    if (entry === undefined) return;
    const running = this.#fills.get(entry.name);
    running?.abort();
    await running?.done;
    await this.#remove(entry);
  }

  /** True: nothing stands there any more. */
  async #remove(entry: DiskEntry): Promise<boolean> {
    try {
      await unlink(this.#paths.blob(entry.name));
      return true;
    } catch (error) {
      return failedWith(error, 'ENOENT', 'ENOTDIR');
    }
  }

  async #redirect(inner: NonNullable<Driver['redirect']>, key: string, options?: CallOptions): Promise<string | undefined> {
    const entry = this.#entry(key);
    if (entry !== undefined && !this.#reading.resting && isThere(this.#paths.blob(entry.name))) return undefined;
    return inner(key, options);
  }
}

function followed(fill: DiskFill, range: ByteRange, size: number): Growth | undefined {
  if (!near(fill, range, size)) return undefined;
  fill.follow();
  return fill;
}

function near(growth: Growth, range: ByteRange, size: number): boolean {
  return range.start <= growth.landed + NEAR_BYTES || size <= NEAR_BYTES;
}

function isThere(path: string): boolean {
  try {
    return statNow(path) !== undefined;
  } catch {
    return false;
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
