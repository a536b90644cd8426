/**
 * Keeps the tier within its size, and within what the disk has. Room is made before a blob is written, and every process
 * sees what the others announced: what stands on the disk stays below the bound, but for blobs that are evicted while
 * they are read, and for what other processes announced in the last two seconds where there was plenty of room.
 */
import { statSync } from 'node:fs';
import fs from 'node:fs/promises';
import { roomOfBlob, type DiskPaths } from './files.ts';
import type { DiskEvents } from './events.ts';
import { DiskUsage } from './usage.ts';
import { failedWith, ifThere, mkdir, orAbsent, stat, unlink } from '../filesystem/calls.ts';
import { Limiter } from '../limiter.ts';

/** Evicting goes on down to this part of the bound, so that it need not be done for every blob. */
const LOW_WATER = 0.95;
/** Below this part of the bound, what was measured is believed for a while. */
const PLENTY = 0.9;
const BELIEVED_MS = 2_000;
/** Left free on a disk that is smaller than the bound. */
const SLACK_BYTES = 256 * 1024;
/** All fills at once may announce this part of the bound: they must not drive everything out that is there. */
const FILLING = 0.5;
/** Each time, blobs that were used meanwhile are left: look again. */
const MAX_ROUNDS = 3;

export class DiskRoom {
  readonly #paths: DiskPaths;
  readonly #maxBytes: number;
  readonly #nowMs: () => number;
  readonly #events: DiskEvents;
  readonly #usage: DiskUsage;
  /** Measures and evicts for one fill after the other. */
  readonly #turn = new Limiter(1);
  #device: number | undefined;
  #believed: { readonly untilMs: number; readonly limit: number; bytes: number } | undefined;

  constructor(paths: DiskPaths, maxBytes: number, nowMs: () => number, events: DiskEvents) {
    this.#paths = paths;
    this.#maxBytes = maxBytes;
    this.#nowMs = nowMs;
    this.#events = events;
    this.#usage = new DiskUsage(paths, nowMs);
  }

  /**
   * Makes the folders where they are missing.
   * @throws Error where the root is on another disk than before and not ours: then ours was unmounted
   */
  async prepare(): Promise<void> {
    const { root, own, filling } = this.#paths;
    let found = await orAbsent(stat(root));
    if (found === undefined) {
      await mkdir(root, { recursive: true });
      found = await stat(root);
    }
    if (found.dev !== (this.#device ??= found.dev)) {
      const ours = (await orAbsent(stat(own))) !== undefined;
      if (!ours) throw new Error(`${root} is on another disk than before: is its disk no longer mounted?`);
      this.#device = found.dev;
    }
    if ((await orAbsent(stat(filling))) === undefined) await mkdir(filling, { recursive: true, mode: 0o700 });
  }

  /**
   * Makes room for a fill that is announced by `file`. False: there is none beside the other fills, and the file is
   * removed. Rejects where the disk has none.
   */
  async make(file: string, size: number): Promise<boolean> {
    const needed = roomOfBlob(size);
    const believed = this.#believed;
    if (believed !== undefined && this.#nowMs() < believed.untilMs && believed.bytes + needed <= PLENTY * believed.limit) {
      believed.bytes += needed;
      this.#events.used(believed.bytes);
      return true;
    }
    return await this.#turn.run(async () => {
      if (await this.#measure()) return true;
      await removed(file); // before the next one measures, and is refused for nothing
      return false;
    });
  }

  /** Evicts what is beyond the bound. */
  async settle(): Promise<void> {
    await this.#turn.run(() => this.#measure());
  }

  async idle(): Promise<void> {
    await this.#turn.run(async () => undefined);
  }

  async close(): Promise<void> {
    await this.#turn.run(() => this.#usage.save());
  }

  async #measure(): Promise<boolean> {
    for (let round = 0; ; round++) {
      const { blobs, filling, unwritten } = await this.#usage.measure();
      const bytes = blobs + filling;
      const { bavail, bsize } = await fs.statfs(this.#paths.root);
      const limit = Math.min(this.#maxBytes, Math.max(0, bytes - unwritten + bavail * bsize - SLACK_BYTES));
      this.#believed = { untilMs: this.#nowMs() + BELIEVED_MS, limit, bytes };
      this.#events.used(bytes);
      if (bytes <= limit) return true;
      this.#believed = undefined;
      const crowded = filling > FILLING * limit;
      const evicted = crowded || round >= MAX_ROUNDS ? 0 : await this.#evict(bytes - LOW_WATER * limit);
      if (evicted > 0) continue;
      if (limit === this.#maxBytes) return false;
      throw Object.assign(new Error(`no room on the disk of ${this.#paths.root} for another blob`), { code: 'ENOSPC' });
    }
  }

  /** How many blobs went, by us or by others that evict as well. */
  async #evict(bytes: number): Promise<number> {
    let evicted = 0;
    for (const { name, usedMs } of await this.#usage.oldest(bytes)) {
      const path = this.#paths.blob(name);
      const now = statSync(path, { throwIfNoEntry: false });
      if (now !== undefined && now.mtimeMs !== usedMs) continue; // used since
      if (await removed(path)) this.#events.count('evicted');
      evicted++;
    }
    return evicted;
  }
}

async function removed(path: string): Promise<boolean> {
  try {
    return await ifThere(unlink(path));
  } catch (error) {
    if (failedWith(error, 'EISDIR', 'EPERM')) return false;
    throw error;
  }
}
