/** The blobs that stand on the disk whole: opened, looked at again, dropped where they are not what they should be. */
import { closeSync, fstatSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import { algorithmOf, digestOf } from '../../oci/digest.ts';
import type { Timers } from '../../workers/timers.ts';
import { DiskTrouble, type DiskEvents } from './events.ts';
import { openEntry, type DiskEntry, type DiskPaths, type OpenEntry } from './files.ts';
import { DiskScrub } from './scrub.ts';
import { digestOfFile, Proofs, Proving } from './proofs.ts';
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
  /** A blob up to this is hashed before the first byte of it is given, a larger one while it is read. */
  readonly aheadBytes?: number | undefined;
  /** Opens a blob in the store, for when the disk fails while it is read. */
  readonly openInner: (key: string) => Promise<Source | undefined>;
}

/** One of so many hits has its bytes hashed again. */
const LOOK_AGAIN = 64;
/** Some 30 ms of a processor, once. */
const AHEAD_BYTES = 32 * 1024 * 1024;
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
  readonly #proofs: Proofs;
  /** Being hashed ahead, by name. */
  readonly #proving = new Map<string, Promise<boolean>>();
  readonly #known = new LRUCache<string, { readonly inode: number; readonly stat: Stat }>({ max: MAX_KNOWN });

  constructor(options: DiskBlobsOptions) {
    const { paths, timers, nowMs, events } = options;
    this.#options = options;
    this.#proofs = new Proofs(nowMs);
    this.#trouble = new DiskTrouble(paths.root, 'reading', events, nowMs);
    this.#scrub = new DiskScrub({ paths, timers, bad: (entry, why) => this.#drop(entry, why) });
  }

  /** Opens what the disk has; undefined where it has not, or not now. */
  async open(entry: DiskEntry): Promise<CachedSource | undefined> {
    const { paths, random } = this.#options;
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
    const right = await this.#provenAhead(entry, opened);
    if (!right) {
      closeSync(opened.fd);
      return undefined;
    }
    await this.#touch(entry, opened);
    if (random() * LOOK_AGAIN < 1) this.#scrub.look(entry);
    return this.#source(entry, opened);
  }

  #source(entry: DiskEntry, { fd, stat }: OpenEntry): CachedSource {
    const { openInner } = this.#options;
    const proof = this.#proofs.hold(entry.name, fstatSync(fd)) ? undefined : {
      begin: () => new Proving(entry.digest, stat.size),
      done: () => this.#proofs.add(entry.name, fstatSync(fd)),
    };
    return new CachedSource(entry.key, fd, stat, () => openInner(entry.key), (error) => void this.#drop(entry, error), proof);
  }

  async #touch(entry: DiskEntry, { fd, stats }: OpenEntry): Promise<void> {
    const now = this.#options.nowMs();
    if (now - stats.mtimeMs <= TOUCH_MS) return;
    const touched = await futimes(fd, now / 1000, now / 1000).then(() => true, () => false); // read-only
    if (touched) this.#proofs.touched(entry.name, stats, fstatSync(fd));
  }

  /** False: its bytes are wrong, or cannot be read. */
  async #provenAhead(entry: DiskEntry, opened: OpenEntry): Promise<boolean> {
    const { aheadBytes = AHEAD_BYTES } = this.#options;
    if (opened.stat.size > aheadBytes || this.#proofs.hold(entry.name, opened.stats)) return true;
    const running = this.#proving.get(entry.name);
    if (running !== undefined) return await running;
    const proving = this.#prove(entry, opened).finally(() => this.#proving.delete(entry.name));
    this.#proving.set(entry.name, proving);
    return await proving;
  }

  async #prove(entry: DiskEntry, { fd, stat, stats }: OpenEntry): Promise<boolean> {
    let found;
    try {
      found = await digestOfFile(fd, stat.size, algorithmOf(entry.digest));
    } catch (error) {
      this.#trouble.failed(error);
      return false;
    }
    if (found === entry.digest) this.#proofs.add(entry.name, stats);
    else await this.#drop(entry, found === undefined ? 'it ends early' : 'its bytes do not have its digest');
    return found === entry.digest;
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

  /** It was filled anew, here, with bytes that were hashed. */
  stored(entry: DiskEntry): void {
    this.#damaged.delete(entry.name);
    try {
      const stats = statNow(this.#options.paths.blob(entry.name));
      if (stats !== undefined) this.#proofs.add(entry.name, stats);
    } catch {
      // The disk fails: the next open says so.
    }
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
