/**
 * Files that have no key yet, in `<root>/%tmp`: written here, then renamed or linked to where they belong. What a
 * crash leaves behind is removed by age.
 */
import { closeSync, fstatSync, type Stats } from 'node:fs';
import fs from 'node:fs/promises';
import { failedWith, futimes, ifThere, mkdir, open, orAbsent, stat, unlink, write } from './calls.ts';
import type { FilesystemPaths } from './paths.ts';
import type { FilesystemSync } from './sync.ts';

export interface TemporaryFile {
  readonly path: string;
  readonly stats: Stats;
}

export class FilesystemTemporary {
  readonly #paths: FilesystemPaths;
  readonly #sync: FilesystemSync;
  readonly #clock: () => number;
  /** Sets this instance's names apart from those of all others over the store. */
  readonly #instance: string;
  #names = 0;
  #times = 0;

  constructor(paths: FilesystemPaths, sync: FilesystemSync, clock: () => number, instance: string) {
    this.#paths = paths;
    this.#sync = sync;
    this.#clock = clock;
    this.#instance = instance;
  }

  /** Opens a new file for writing. */
  async create(): Promise<{ readonly path: string; readonly fd: number }> {
    const path = `${this.#paths.temporary}/${this.#instance}.${this.#names++}`;
    for (;;) {
      const fd = await orAbsent(open(path, 'wx'));
      if (fd !== undefined) return { path, fd };
      await mkdir(this.#paths.temporary).catch((error: unknown) => {
        if (!failedWith(error, 'EEXIST')) throw error;
      });
    }
  }

  /** Writes a whole file, ready to be put in its place. @param durable synced, too */
  async write(bytes: Uint8Array, durable: boolean): Promise<TemporaryFile> {
    const { path, fd } = await this.create();
    try {
      for (let done = 0; done < bytes.length; ) done += (await write(fd, bytes, done, bytes.length - done, done)).bytesWritten;
      const time = this.uniqueTime();
      await futimes(fd, time, time);
      if (durable) await this.#sync.open(fd);
      return { path, stats: fstatSync(fd) };
    } catch (error) {
      await this.remove(path);
      throw error;
    } finally {
      closeSync(fd);
    }
  }

  /**
   * In seconds; the microseconds set apart what is written within one tick of the clock, see `stampOf`. In their
   * middle, so that cutting the fraction off keeps them.
   */
  uniqueTime(): number {
    this.#times = (this.#times + 1) % 1000;
    return Math.floor(this.#clock()) / 1e3 + (this.#times + 0.5) / 1e6;
  }

  /** Gives a file up. Failing at it is no reason to fail: what stays is removed by age. */
  async remove(path: string): Promise<void> {
    await unlink(path).catch(() => undefined);
  }

  /** Removes files that nobody wrote to since `beforeMs`. */
  async removeOlder(beforeMs: number): Promise<number> {
    let removed = 0;
    for (const name of (await orAbsent(fs.readdir(this.#paths.temporary))) ?? []) {
      const path = `${this.#paths.temporary}/${name}`;
      const stats = await orAbsent(stat(path));
      if (stats !== undefined && stats.mtimeMs < beforeMs && (await ifThere(unlink(path)))) removed++;
    }
    return removed;
  }
}
