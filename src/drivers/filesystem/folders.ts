/**
 * Directories come with the first key below them and go with the last. Those who need one and those who remove it
 * race: a call that finds its directory gone makes it again.
 */
import { failedWith, mkdir, rmdir } from './calls.ts';
import { parentOf, type FilesystemPaths } from './paths.ts';

/** More often than this in a row nobody loses against pruning; something else is wrong then. */
const MAX_TRIES = 100;

export class FilesystemFolders {
  readonly #paths: FilesystemPaths;

  constructor(paths: FilesystemPaths) {
    this.#paths = paths;
  }

  /** Runs a call that makes something appear at `path`, its directory made where it is missing. */
  async into<T>(path: string, call: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await call();
      } catch (error) {
        if (!failedWith(error, 'ENOENT') || tries === MAX_TRIES) throw error;
      }
      await this.#make(parentOf(path));
    }
  }

  /**
   * Makes a directory and those above it, unless somebody prunes them meanwhile. Not by node's `recursive`, which
   * calls a directory that goes under its hands ENOTDIR (seen in 26.10).
   */
  async #make(directory: string): Promise<void> {
    try {
      await mkdir(directory);
    } catch (error) {
      if (failedWith(error, 'EEXIST')) return;
      if (!failedWith(error, 'ENOENT') || directory.length <= this.#paths.root.length) throw error;
      await this.#make(parentOf(directory));
      await mkdir(directory).catch((again: unknown) => {
        if (!failedWith(again, 'EEXIST', 'ENOENT')) throw again;
      });
    }
  }

  /** Removes the directories that led to these paths and are empty now. */
  async prune(paths: Iterable<string>): Promise<void> {
    const seen = new Set<string>();
    for (const path of paths) {
      const nearest = parentOf(path);
      if (seen.has(nearest)) continue;
      seen.add(nearest);
      for (const directory of this.#paths.above(path)) {
        try {
          await rmdir(directory);
        } catch {
          break; // not empty, or somebody else was faster; a directory that stays harms nobody
        }
      }
    }
  }
}
