/**
 * How much of the disk the tier takes, and what was used least recently, without an index in memory: a sum for each of
 * the 256 folders, good for as long as the folder's modification time stays, whichever process changes it. The sums are
 * written down now and then, so that a start reads folders only where something changed since.
 */
import fs from 'node:fs/promises';
import { statSync } from 'node:fs';
import { failedWith, ifThere, orAbsent, rename, stat, statNow, unlink } from '../filesystem/calls.ts';
import { Oldest, type Old } from '../oldest.ts';
import { isBlobName, parseFillingName, roomOf, roomOfBlob, type DiskPaths } from './files.ts';

const SHARDS: readonly string[] = Array.from({ length: 256 }, (_, index) => index.toString(16).padStart(2, '0'));
/** Two changes within so long may leave one modification time: clocks of filesystems stand still for milliseconds. */
const RACY_MS = 100;
/** Looked at between two turns of the event loop: less than a millisecond of work. */
const SLICE = 100;
const SAVE_EVERY_MS = 60_000;
/** A fill that wrote nothing for so long is dead, or soon will be: whoever comes removes it. */
export const STALE_FILL_MS = 60_000;

interface Sum {
  readonly mtimeMs: number;
  readonly bytes: number;
  /** Read too soon after the last change to be sure that there was no further one. */
  readonly racy: boolean;
}

export interface Used {
  readonly blobs: number;
  /** Announced by fills under way, of all processes: their whole size. */
  readonly filling: number;
  /** Of that: not written yet. */
  readonly unwritten: number;
}

export class DiskUsage {
  readonly #paths: DiskPaths;
  readonly #nowMs: () => number;
  #sums: Map<string, Sum> | undefined;
  #savedMs = 0;
  #changed = false;

  constructor(paths: DiskPaths, nowMs: () => number) {
    this.#paths = paths;
    this.#nowMs = nowMs;
  }

  /** Looks at the folders, and reads those that changed. Removes what dead fills left. */
  async measure(): Promise<Used> {
    const sums = (this.#sums ??= await this.#load());
    let blobs = 0;
    for (const shard of SHARDS) {
      const path = this.#paths.shard(shard);
      const mtimeMs = statNow(path)?.mtimeMs;
      let sum = sums.get(shard);
      if (mtimeMs === undefined) {
        sums.delete(shard);
        continue;
      }
      if (sum === undefined || sum.racy || sum.mtimeMs !== mtimeMs) {
        const readMs = Date.now(); // what the kernel stamps folders with, whatever clock we are given
        let shardBytes = 0;
        await this.#each(shard, (blob) => (shardBytes += blob.bytes));
        sum = { mtimeMs, bytes: shardBytes, racy: mtimeMs > readMs - RACY_MS };
        sums.set(shard, sum);
        this.#changed = true;
      }
      blobs += sum.bytes;
    }
    const announced = await this.#filling();
    if (this.#nowMs() - this.#savedMs >= SAVE_EVERY_MS) await this.save();
    return { blobs, ...announced };
  }

  /** The blobs used least recently that together take at least `bytes`, oldest first; all there are, or as many as `Oldest` keeps, where these take less. */
  async oldest(bytes: number): Promise<Old[]> {
    const found = new Oldest(bytes);
    for (const shard of SHARDS) await this.#each(shard, (blob) => found.add(blob));
    return found.sorted();
  }

  /** Writes the sums down. Failing at it costs the next start some time, nothing else. */
  async save(): Promise<void> {
    if (this.#sums === undefined || !this.#changed) return;
    this.#savedMs = this.#nowMs();
    this.#changed = false;
    const sums = [...this.#sums].flatMap(([shard, { mtimeMs, bytes, racy }]) => (racy ? [] : [[shard, mtimeMs, bytes]]));
    const temporary = `${this.#paths.filling}/usage~${process.pid}`;
    try {
      await fs.writeFile(temporary, JSON.stringify(sums), { mode: 0o600 });
      await rename(temporary, this.#paths.usage);
    } catch {
      await unlink(temporary).catch(() => undefined);
    }
  }

  async #load(): Promise<Map<string, Sum>> {
    const sums = new Map<string, Sum>();
    try {
      const saved: unknown = JSON.parse(await fs.readFile(this.#paths.usage, 'utf8'));
      for (const [shard, mtimeMs, bytes] of Array.isArray(saved) ? (saved as unknown[][]) : []) {
        if (typeof shard !== 'string' || typeof mtimeMs !== 'number' || typeof bytes !== 'number') continue;
        sums.set(shard, { mtimeMs, bytes, racy: false });
      }
    } catch {
      // None, or not ours: every folder is read.
    }
    return sums;
  }

  async #each(shard: string, visit: (blob: Old) => void): Promise<void> {
    const folder = this.#paths.shard(shard);
    let seen = 0;
    for (const name of (await orAbsent(fs.readdir(folder))) ?? []) {
      if (!isBlobName(name)) continue;
      // Without leaving the thread: a third of the time that the pool takes for it.
      const stats = statSync(`${folder}/${name}`, { throwIfNoEntry: false });
      if (stats !== undefined) visit({ name, usedMs: stats.mtimeMs, bytes: roomOf(stats.size) });
      if (++seen % SLICE === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #filling(): Promise<Omit<Used, 'blobs'>> {
    let filling = 0;
    let unwritten = 0;
    for (const file of (await orAbsent(fs.readdir(this.#paths.filling))) ?? []) {
      const path = `${this.#paths.filling}/${file}`;
      const stats = await orAbsent(stat(path));
      if (stats === undefined) continue;
      if (Date.now() - stats.mtimeMs > STALE_FILL_MS) {
        await removeQuietly(path);
        continue;
      }
      const fill = parseFillingName(file);
      if (fill === undefined) continue;
      filling += roomOfBlob(fill.size);
      unwritten += Math.max(0, fill.size - 512 * stats.blocks); // it has holes: its last sums may stand already, and bytes before them not
    }
    return { filling, unwritten };
  }
}

async function removeQuietly(path: string): Promise<void> {
  try {
    await ifThere(unlink(path));
  } catch (error) {
    if (!failedWith(error, 'EROFS', 'EACCES', 'EPERM')) throw error;
  }
}
