/**
 * Durability against power loss: a file is safe once it was synced, and so was every directory on the way to it in
 * which an entry is new. Whoever wrote it, this process or another, does not matter.
 */
import { closeSync, openSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import { failedWith, statNow } from './calls.ts';
import { parentOf, type FilesystemPaths } from './paths.ts';
import { Limiter } from '../limiter.ts';

const MAX_KNOWN = 20_000;

export class FilesystemSync {
  readonly #paths: FilesystemPaths;
  readonly #limiter: Limiter;
  readonly #fsync: (fd: number) => Promise<void>;
  /**
   * Directories whose own entries are durable, as are those of all above them; by path, with the identity that they
   * had then: one that was removed and made again is another. Syncing a clean directory still flushes the disk's
   * cache, a millisecond each for up to eight on the way to a key.
   */
  readonly #known = new LRUCache<string, string>({ max: MAX_KNOWN });

  /**
   * @param concurrency calls at once: several share one commit of the journal (20 small files: 33 ms one by one, 3 ms
   * by threes), but as many as libuv has threads would keep readers waiting
   */
  constructor(paths: FilesystemPaths, concurrency: number, fsync: (fd: number) => Promise<void>) {
    this.#paths = paths;
    this.#limiter = new Limiter(concurrency);
    this.#fsync = fsync;
  }

  /** Makes files and the ways to them durable. Absent ones are passed over. */
  async files(paths: readonly string[], signal?: AbortSignal): Promise<void> {
    await Promise.all([...paths.map((path) => this.#sync(path, signal)), this.entries(paths, signal)]);
  }

  /** Makes the ways to files durable, not their bytes. */
  async entries(paths: readonly string[], signal?: AbortSignal): Promise<void> {
    const due = new Set<string>();
    const made = new Map<string, string>();
    for (const path of paths) {
      due.add(parentOf(path));
      for (const directory of this.#paths.above(path)) {
        const identity = made.has(directory) ? undefined : identityOf(directory);
        if (identity === undefined || this.#known.get(directory) === identity) break;
        made.set(directory, identity);
        due.add(parentOf(directory));
      }
    }
    const synced = await Promise.all([...due].map((directory) => this.#sync(directory, signal)));
    // Only all together: "known" speaks of the directories above, too.
    if (synced.every(Boolean)) for (const [directory, identity] of made) this.#known.set(directory, identity);
  }

  /** Makes a directory's own entry durable, and those of all that were made above it, up to `top`. */
  async chain(directory: string, top: string): Promise<void> {
    for (let at = directory; at.length > top.length; at = parentOf(at)) await this.#sync(parentOf(at) || '/', undefined);
  }

  /** Makes what was written to an open file durable. */
  async open(fd: number): Promise<void> {
    await this.#limiter.run(() => this.#fsync(fd));
  }

  /** Begins to write out an open file, if that keeps nobody waiting. */
  early(fd: number): Promise<void> | undefined {
    return this.#limiter.runIfFree(() => this.#fsync(fd));
  }

  /** False where nothing is there. */
  async #sync(path: string, signal: AbortSignal | undefined): Promise<boolean> {
    return this.#limiter.run(async () => {
      signal?.throwIfAborted();
      let fd: number;
      try {
        fd = openSync(path, 'r'); // at once: what is to be synced was written just now, so the kernel knows the way
      } catch (error) {
        if (failedWith(error, 'ENOENT', 'ENOTDIR')) return false;
        throw error;
      }
      try {
        await this.#fsync(fd);
      } finally {
        closeSync(fd);
      }
      return true;
    });
  }
}

function identityOf(directory: string): string | undefined {
  const stats = statNow(directory);
  return stats === undefined ? undefined : `${stats.ino}-${stats.birthtimeMs}`;
}
