/** The blobs that stand on the disk whole: opened, looked at again, dropped where they are not what they should be. */
import { LRUCache } from 'lru-cache';
import { algorithmOf, digestOf } from '../../oci/digest.ts';
import type { Timers } from '../../workers/timers.ts';
import { DiskTrouble, type DiskEvents } from './events.ts';
import { openEntry, type DiskEntry, type DiskPaths, type KnownTrailer, type OpenEntry } from './files.ts';
import { DiskScrub } from './scrub.ts';
import { CachedSource } from './cached.ts';
import type { Source, Value } from '../driver.ts';
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
/** Of blobs whose trailer need not be read again: what they take together, and how much that is beside the sums. */
const MAX_KNOWN_BYTES = 16 * 1024 * 1024;
const KNOWN_BYTES = 800;

export class DiskBlobs {
  readonly #options: DiskBlobsOptions;
  readonly #trouble: DiskTrouble;
  readonly #scrub: DiskScrub;
  /** Files that could not be removed and must not be served. */
  readonly #damaged = new LRUCache<string, true>({ max: MAX_DAMAGED });
  readonly #known = new LRUCache<string, KnownTrailer>({ maxSize: MAX_KNOWN_BYTES, sizeCalculation: ({ table }) => KNOWN_BYTES + table.length });

  constructor(options: DiskBlobsOptions) {
    const { paths, timers, nowMs, events } = options;
    this.#options = options;
    this.#trouble = new DiskTrouble(paths.root, 'reading', events, nowMs);
    this.#scrub = new DiskScrub({ paths, timers, bad: (entry, why) => this.#drop(entry, why) });
  }

  /** Opens what the disk has; undefined where it has not, or not now. */
  async open(entry: DiskEntry): Promise<CachedSource | undefined> {
    const { paths, random, openInner } = this.#options;
    if (this.#trouble.resting || this.#damaged.has(entry.name)) return undefined;
    let opened: OpenEntry | 'damaged' | undefined;
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
    await this.#touch(opened);
    if (random() * LOOK_AGAIN < 1) this.#scrub.look(entry);
    return new CachedSource(entry.key, opened, () => openInner(entry.key), (error) => this.#drop(entry, error, opened.stats.ino));
  }

  async #touch({ fd, stats }: OpenEntry): Promise<void> {
    const now = this.#options.nowMs();
    if (now - stats.mtimeMs > TOUCH_MS) await futimes(fd, now / 1000, now / 1000).catch(() => undefined); // read-only
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

  /** It was filled anew, here. */
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

  /** @param inode of the file that was bad: another one in its place is none of this */
  async #drop(entry: DiskEntry, why: unknown, inode?: number): Promise<void> {
    const { paths, events } = this.#options;
    const file = paths.blob(entry.name);
    if (this.#damaged.has(entry.name) || (inode !== undefined && inodeOf(file) !== inode)) return;
    this.#damaged.set(entry.name, true);
    events.count('corrupt');
    events.report({ kind: 'a blob on the disk was bad and is dropped', file, why: why instanceof Error ? why.message : why });
    if (await this.remove(entry)) this.#damaged.delete(entry.name);
  }
}

function inodeOf(file: string): number | undefined {
  try {
    return statNow(file)?.ino;
  } catch {
    return undefined; // it cannot be removed either; whoever opens it hears of it
  }
}
