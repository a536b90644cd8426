/**
 * The driver for a local filesystem of one machine, shared by any number of processes there. A key is a file that
 * never changes: what replaces it is written elsewhere and renamed over it, a claim is linked (link(2) has one winner).
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fstatSync } from 'node:fs';
import fs from 'node:fs/promises';
import { resolve } from 'node:path';
import { DriverError, type Assemblies, type CallOptions, type Claimed, type Driver, type Entry, type PutOptions, type Source, type Stat, type Value } from '../driver.ts';
import { FilesystemAssemblies, type FilesystemParts } from './assemblies.ts';
import { driverError, failedWith, fsync, futimes, ifThere, link, open, orAbsent, read, rename, stampOf, stat, statNow, statOf, unlink } from './calls.ts';
import { FilesystemFolders } from './folders.ts';
import { listChildren, listKeys, type ListingOptions } from './listing.ts';
import { FilesystemPaths, parentOf } from './paths.ts';
import { FilesystemSource } from './source.ts';
import { FilesystemSync } from './sync.ts';
import { FilesystemTemporary } from './temporary.ts';
import { checkKey, checkLevel, checkPrefix } from '../key.ts';
import { checkValueSize } from '../value-size.ts';
import { Limiter } from '../limiter.ts';

export interface FilesystemOptions {
  /** Made where it is missing. */
  readonly root: string;
  /** Milliseconds since the epoch: the time that what is written bears. */
  readonly clock?: () => number;
  /** Random ids of 16 characters of base64url. */
  readonly newId?: () => string;
  /** Syncs at once, in this process. Fewer than the threads of libuv's pool, or reads wait for the disk's cache. */
  readonly concurrentSyncs?: number;
  /** fsync(2), unless a test wants to know of it or let it fail. */
  readonly fsync?: (fd: number) => Promise<void>;
  /** Keys whose modification time is to be when they were opened last, to the minute; their stamps change with it. */
  readonly notesUse?: (key: string) => boolean;
}

/** Removals of one `delete` at once. */
const CONCURRENT_REMOVALS = 8;
/** How exactly uses are noted. */
const USE_MS = 60_000;
const LEFTOVER_AGE_MS = 24 * 60 * 60 * 1000;

/**
 * Opens the store, and removes what crashes left in it a day ago or longer.
 * @throws DriverError permanent, where the root is on a filesystem that cannot coordinate
 */
export async function openFilesystem(options: FilesystemOptions): Promise<FilesystemDriver> {
  const { clock = Date.now, newId = () => randomBytes(12).toString('base64url'), concurrentSyncs = 3 } = options;
  const paths = new FilesystemPaths(resolve(options.root));
  const sync = new FilesystemSync(paths, concurrentSyncs, options.fsync ?? fsync);
  const temporary = new FilesystemTemporary(paths, sync, clock, newId());
  try {
    const made = await fs.mkdir(paths.root, { recursive: true });
    checkFilesystem(paths.root, (await fs.statfs(paths.root)).type);
    if (made !== undefined) await sync.chain(paths.root, parentOf(made));
    await temporary.removeOlder(clock() - LEFTOVER_AGE_MS);
  } catch (error) {
    throw driverError(error, `open the store at ${paths.root}`);
  }
  const { notesUse = () => false } = options;
  return new FilesystemDriver({ paths, folders: new FilesystemFolders(paths), sync, temporary, newId }, { notesUse, clock });
}

/**
 * NFS answers a link(2) that succeeded with EEXIST when its first answer was lost, and remembers for seconds that a
 * file was absent: two processes could both win a claim, or neither.
 * @throws DriverError permanent
 */
export function checkFilesystem(root: string, type: number): void {
  if (type !== 0x6969) return;
  throw new DriverError('permanent', `${root} is on NFS, where a claim may have two winners or none: use a local filesystem, or an object store to share between machines`);
}

export class FilesystemDriver implements Driver {
  readonly kind = 'filesystem';
  readonly claims = 'strict';
  readonly listingLagSeconds = 0;
  readonly assemblies: Assemblies;
  readonly #parts: FilesystemParts;
  readonly #uses: Required<Pick<FilesystemOptions, 'notesUse' | 'clock'>>;
  readonly #removals = new Limiter(CONCURRENT_REMOVALS);

  constructor(parts: FilesystemParts, uses: Required<Pick<FilesystemOptions, 'notesUse' | 'clock'>>) {
    this.#parts = parts;
    this.#uses = uses;
    this.assemblies = new FilesystemAssemblies(parts);
  }

  async head(key: string, options: CallOptions = {}): Promise<Stat | undefined> {
    const path = this.#begin(key, options);
    try {
      const stats = await orAbsent(stat(path));
      return stats?.isFile() === true ? statOf(stats) : undefined;
    } catch (error) {
      throw driverError(error, `look for ${key}`);
    }
  }

  async get(key: string, options: CallOptions & { readonly maxBytes?: number } = {}): Promise<Value | undefined> {
    const file = await this.#open(key, options);
    if (file === undefined) return undefined;
    try {
      checkValueSize(key, file.stat.size, options.maxBytes);
      const bytes = Buffer.allocUnsafeSlow(file.stat.size);
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await read(file.fd, bytes, done, bytes.length - done, done);
        if (bytesRead === 0) throw new DriverError('permanent', `${key} ends at byte ${done} of ${bytes.length}`);
        done += bytesRead;
      }
      options.signal?.throwIfAborted();
      return { ...file.stat, bytes };
    } catch (error) {
      throw driverError(error, `read ${key}`);
    } finally {
      closeSync(file.fd);
    }
  }

  async open(key: string, options: CallOptions = {}): Promise<Source | undefined> {
    const file = await this.#open(key, options);
    return file === undefined ? undefined : new FilesystemSource(key, file.fd, file.stat, false);
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<Stat> {
    const path = this.#begin(key, options);
    const durable = options.durable !== 'later';
    try {
      const file = await this.#parts.temporary.write(bytes, durable);
      try {
        options.signal?.throwIfAborted();
        if (options.when !== 'absent') await this.#parts.folders.into(path, () => rename(file.path, path));
        else if (!(await this.#link(file.path, path))) throw new DriverError('exists', `${key} exists`);
      } catch (error) {
        await this.#parts.temporary.remove(file.path);
        throw error;
      }
      if (durable) await this.#parts.sync.entries([path], options.signal);
      return statOf(file.stats);
    } catch (error) {
      throw driverError(error, `write ${key}`);
    }
  }

  async *list(prefix: string, options: ListingOptions = {}): AsyncGenerator<Entry> {
    checkPrefix(prefix);
    try {
      yield* listKeys(this.#parts.paths, prefix, options);
    } catch (error) {
      throw driverError(error, `list ${prefix}`);
    }
  }

  async *children(prefix: string, options: ListingOptions = {}): AsyncGenerator<{ readonly name: string; readonly leaf: boolean }> {
    checkLevel(prefix);
    try {
      yield* listChildren(this.#parts.paths, prefix, options);
    } catch (error) {
      throw driverError(error, `list ${prefix}`);
    }
  }

  async delete(keys: readonly string[], options: CallOptions = {}): Promise<void> {
    const paths = keys.map((key) => this.#begin(key, options));
    try {
      await Promise.all(
        paths.map((path) =>
          this.#removals.run(async () => {
            options.signal?.throwIfAborted();
            await removeFile(path);
          }),
        ),
      );
      await this.#parts.folders.prune(paths);
    } catch (error) {
      throw driverError(error, `delete ${keys.length === 1 ? keys[0] : `${keys.length} keys`}`);
    }
  }

  async sync(keys: readonly string[], options: CallOptions = {}): Promise<void> {
    const paths = keys.map((key) => this.#begin(key, options));
    try {
      await this.#parts.sync.files(paths, options.signal);
    } catch (error) {
      throw driverError(error, `make ${keys.length === 1 ? keys[0] : `${keys.length} keys`} durable`);
    }
  }

  async claim(key: string, value: Uint8Array, options: CallOptions = {}): Promise<Claimed> {
    const path = this.#begin(key, options);
    for (;;) {
      const winner = await this.get(key, options);
      try {
        const won = winner === undefined && (await this.#claimAbsent(path, value));
        if (winner === undefined && !won) continue; // lost just now: read the winner's
        // The loser, too, must not act on what a power failure could still undo.
        await this.#parts.sync.entries([path], options.signal);
        return { won, value: winner?.bytes ?? Buffer.from(value) };
      } catch (error) {
        throw driverError(error, `claim ${key}`);
      }
    }
  }

  stampNow(key: string): string {
    checkKey(key);
    try {
      const stats = statNow(this.#parts.paths.of(key));
      return stats?.isFile() === true ? stampOf(stats) : '';
    } catch (error) {
      throw driverError(error, `look for ${key}`);
    }
  }

  /** Removes what crashes left half-written and nobody touched since `beforeMs`; how many files. */
  async removeLeftovers(beforeMs: number): Promise<number> {
    try {
      return await this.#parts.temporary.removeOlder(beforeMs);
    } catch (error) {
      throw driverError(error, 'remove leftovers');
    }
  }

  async check(options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    const { temporary } = this.#parts;
    const probe = Buffer.from('umbra');
    try {
      const { path } = await temporary.write(probe, true);
      const linked = `${path}.linked`;
      try {
        await link(path, linked);
        const found = await fs.readFile(linked);
        if (!found.equals(probe)) throw new DriverError('permanent', `the store read back ${JSON.stringify(found.toString())} where ${JSON.stringify(probe.toString())} was written`);
      } finally {
        await temporary.remove(linked);
        await temporary.remove(path);
      }
    } catch (error) {
      throw driverError(error, 'write to the store and read back');
    }
    options.signal?.throwIfAborted();
  }

  async close(): Promise<void> {}

  #begin(key: string, options: CallOptions): string {
    checkKey(key);
    options.signal?.throwIfAborted();
    return this.#parts.paths.of(key);
  }

  async #open(key: string, options: CallOptions): Promise<{ readonly fd: number; readonly stat: Stat } | undefined> {
    const path = this.#begin(key, options);
    try {
      const fd = await orAbsent(open(path, 'r'));
      if (fd === undefined) return undefined;
      const stats = fstatSync(fd); // in memory once it is open, and so is closing
      if (stats.isFile()) {
        await this.#noteUse(key, fd, stats.mtimeMs);
        return { fd, stat: statOf(stats) };
      }
      closeSync(fd);
      return undefined;
    } catch (error) {
      throw driverError(error, `open ${key}`);
    }
  }

  async #noteUse(key: string, fd: number, mtimeMs: number): Promise<void> {
    const now = this.#uses.clock();
    if (now - mtimeMs < USE_MS || !this.#uses.notesUse(key)) return;
    await futimes(fd, now / 1000, now / 1000).catch(() => undefined); // a disk that cannot be written is read all the same
  }

  async #claimAbsent(path: string, value: Uint8Array): Promise<boolean> {
    const file = await this.#parts.temporary.write(value, true);
    let won = false;
    try {
      won = await this.#link(file.path, path);
    } finally {
      if (!won) await this.#parts.temporary.remove(file.path);
    }
    return won;
  }

  /** Moves a temporary file to where nothing stands yet; false, and it stays: a key stands there. */
  async #link(from: string, to: string): Promise<boolean> {
    try {
      await this.#parts.folders.into(to, () => link(from, to));
      await this.#parts.temporary.remove(from);
      return true;
    } catch (error) {
      if (!failedWith(error, 'EEXIST') || statNow(to)?.isDirectory() === true) throw error;
      return false;
    }
  }
}

async function removeFile(path: string): Promise<void> {
  try {
    await ifThere(unlink(path));
  } catch (error) {
    // A directory: other keys lie below, so the key itself is absent.
    if (!failedWith(error, 'EISDIR', 'EPERM') || statNow(path)?.isDirectory() !== true) throw error;
  }
}
