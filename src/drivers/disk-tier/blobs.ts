/** The blobs that stand on the disk whole: opened, looked at again, dropped where they are not what they should be. */
import { LRUCache } from 'lru-cache';
import { algorithmOf, digestOf } from '../../oci/digest.ts';
import type { Timers } from '../../workers/timers.ts';
import { DiskTrouble, type DiskEvents } from './events.ts';
import { openEntry, type DiskEntry, type DiskPaths } from './files.ts';
import { DiskScrub } from './scrub.ts';
import { CachedSource } from './source.ts';
import type { Source, Stat, Value } from '../driver.ts';
import { failedWith, futimes, statNow, unlink } from '../filesystem/calls.ts';
import { checkValueSize } from '../value-size.ts';

export interface DiskBlobsOptions {
  readonly paths: DiskPaths;
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly events: DiskEvents;
  readonly random: () => number;
  /** Opens a blob in the store, for when the disk fails while it is read. */
  readonly openInner: (key: string) => Promise<Source | undefined>;
}

/** One of so many hits has its bytes hashed again. */
const LOOK_AGAIN = 64;
/** When a blob was used is written down this often. */
const TOUCH_MS = 60_000;
/** Of blobs that could not be removed. */
const MAX_DAMAGED = 1_000;
/** Of blobs whose trailer need not be read again: some 400 bytes each. */
const MAX_KNOWN = 10_000;

export class DiskBlobs {
  readonly #options: DiskBlobsOptions;
  readonly #trouble: DiskTrouble;
  readonly #scrub: DiskScrub;
  /** Files that could not be removed and must not be served. */
  readonly #damaged = new LRUCache<string, true>({ max: MAX_DAMAGED });
  readonly #known = new LRUCache<string, { readonly inode: number; readonly stat: Stat }>({ max: MAX_KNOWN });

  constructor(options: DiskBlobsOptions) {
    const { paths, timers, nowMs, events } = options;
    this.#options = options;
    this.#trouble = new DiskTrouble(paths.root, 'reading', events, nowMs);
    this.#scrub = new DiskScrub({ paths, timers, bad: (entry, why) => this.#drop(entry, why) });
  }

  /** Opens what the disk has; undefined where it has not, or not now. */
  async open(entry: DiskEntry): Promise<CachedSource | undefined> {
    const { paths, nowMs, random, openInner } = this.#options;
    if (this.#trouble.resting || this.#damaged.has(entry.name)) return undefined;
    let opened;
    try {
      opened = await openEntry(paths.blob(entry.name), entry.digest, this.#known);
    } catch (error) {
      if (!failedWith(error, 'EMFILE', 'ENFILE')) this.#trouble.failed(error);
      return undefined;
    }
    if (opened === undefined) return undefined;
    if (opened === 'damaged') {
      await this.#drop(entry, 'it is cut, or not a blob');
      return undefined;
    }
    this.#trouble.worked();
    const { fd, stat, usedMs } = opened;
    const source = new CachedSource(entry.key, fd, stat, () => openInner(entry.key), (error) => void this.#drop(entry, error));
    const now = nowMs();
    if (now - usedMs > TOUCH_MS) await futimes(fd, now / 1000, now / 1000).catch(() => undefined); // read-only
    if (random() * LOOK_AGAIN < 1) this.#scrub.look(entry);
    return source;
  }

  /** A small blob, whole; hashed each time, since that costs little. */
  async read(entry: DiskEntry, maxBytes: number | undefined): Promise<Value | undefined> {
    const source = await this.open(entry);
    if (source === undefined) return undefined;
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

  /** Does it look as if the blob were there? */
  has(entry: DiskEntry): boolean {
    if (this.#trouble.resting || this.#damaged.has(entry.name)) return false;
    try {
      return statNow(this.#options.paths.blob(entry.name)) !== undefined;
    } catch {
      return false;
    }
  }

  /** It was filled anew. */
  stored(entry: DiskEntry): void {
    this.#damaged.delete(entry.name);
  }

  /** True: nothing stands there any more. */
  async remove(entry: DiskEntry): Promise<boolean> {
    try {
      await unlink(this.#options.paths.blob(entry.name));
      return true;
    } catch (error) {
      return failedWith(error, 'ENOENT', 'ENOTDIR');
    }
  }

  async idle(): Promise<void> {
    await this.#scrub.idle();
  }

  async close(): Promise<void> {
    await this.#scrub.close();
  }

  async #drop(entry: DiskEntry, why: unknown): Promise<void> {
    const { paths, events } = this.#options;
    this.#damaged.set(entry.name, true);
    events.count('corrupt');
    const file = paths.blob(entry.name);
    events.report({ kind: 'a blob on the disk was bad and is dropped', file, why: why instanceof Error ? why.message : why });
    if (await this.remove(entry)) this.#damaged.delete(entry.name);
  }
}
