/** The fills of this process: which blobs are worth one, who follows it, and how many there are at once. */
import { randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Timers } from '../../workers/timers.ts';
import { DiskTrouble, type DiskEvents } from './events.ts';
import { DiskFill, type FillOutcome } from './fill.ts';
import { roomOfBlob, type DiskEntry, type DiskPaths } from './files.ts';
import { otherFill } from './follow.ts';
import type { Growth } from './growth.ts';
import { DiskRoom } from './room.ts';
import type { FindGrowth } from './source.ts';
import type { ByteRange, Source, Stat } from '../driver.ts';
import { failedWith } from '../filesystem/calls.ts';
import { Limiter } from '../limiter.ts';

export interface DiskFillsOptions {
  readonly paths: DiskPaths;
  readonly maxBytes: number;
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly events: DiskEvents;
  /** Told of each blob that stands on the disk now. */
  readonly stored: (entry: DiskEntry) => void;
}

/** At once, in this process; what comes beside them passes by the disk. About 1 MiB of memory each. */
const MAX_FILLS = 16;
/** A read that begins no farther ahead of a fill follows it. */
const NEAR_BYTES = 4 * 1024 * 1024;
/** Fetched whole, whichever range is asked for. */
const SMALL_BYTES = 1024 * 1024;
/** Of blobs that only ranges were read of. */
const MAX_RANGES = 1_000;

export class DiskFills {
  readonly #options: DiskFillsOptions;
  readonly #trouble: DiskTrouble;
  readonly #room: DiskRoom;
  readonly #running = new Map<string, DiskFill>();
  /** One thread of the pool at most waits for the disk's cache. */
  readonly #syncs = new Limiter(1);
  /** Bytes read by ranges, by blob. */
  readonly #ranges = new LRUCache<string, number>({ max: MAX_RANGES });
  readonly #started: Promise<void>;
  #closed = false;

  constructor(options: DiskFillsOptions) {
    const { paths, maxBytes, nowMs, events } = options;
    this.#options = options;
    this.#trouble = new DiskTrouble(paths.root, 'writing', events, nowMs);
    this.#room = new DiskRoom(paths, maxBytes, nowMs, events);
    this.#started = this.#start();
  }

  /** What the store says of a blob that is being filled here. */
  running(entry: DiskEntry): Stat | undefined {
    return this.#running.get(entry.name)?.stat;
  }

  /** Is a blob of that size one to keep, now? One that takes more than half of the room would drive out all others. */
  worthwhile(size: number): boolean {
    if (this.#closed || this.#trouble.resting || this.#running.size >= MAX_FILLS) return false;
    return size > 0 && 2 * roomOfBlob(size) <= this.#options.maxBytes;
  }

  /** As `FindGrowth`, for a blob of that size. */
  async growth(entry: DiskEntry, size: number, ...[range, take]: Parameters<FindGrowth>): Promise<Growth | undefined> {
    const running = this.#running.get(entry.name);
    if (running !== undefined) return followed(running, range, size);
    if (!this.#pays(entry, size, range) || !this.worthwhile(size)) return undefined;
    const other = await this.#otherFill(entry);
    if (other !== undefined) {
      if (near(other, range, size)) return other;
      other.leave();
      return undefined;
    }
    return followed(this.begin(entry, await take()), range, size);
  }

  /** Begins a fill, or gives the one that runs. Closes the source. */
  begin(entry: DiskEntry, source: Source): DiskFill {
    const running = this.#running.get(entry.name);
    if (running !== undefined) {
      source.close().catch(() => undefined);
      return running;
    }
    const { paths, timers, nowMs } = this.#options;
    const fill: DiskFill = new DiskFill({
      entry, source, paths, timers, nowMs,
      unique: randomBytes(9).toString('base64url'),
      syncs: this.#syncs,
      prepare: () => this.#room.prepare(),
      makeRoom: (file, size) => this.#room.make(file, size),
      ended: (outcome, fault) => this.#ended(entry, outcome, fault),
    });
    this.#running.set(entry.name, fill);
    return fill;
  }

  /** Ends the fill of a blob, where there is one. */
  async abort(entry: DiskEntry): Promise<void> {
    const running = this.#running.get(entry.name);
    running?.abort();
    await running?.done;
  }

  async idle(): Promise<void> {
    await this.#started;
    while (this.#running.size > 0) await Promise.all([...this.#running.values()].map(({ done }) => done));
    await this.#room.idle();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#started;
    for (const fill of this.#running.values()) fill.abort();
    await Promise.all([...this.#running.values()].map(({ done }) => done));
    await this.#room.close();
  }

  /** Says early what is wrong with the disk, and evicts where its bound was lowered. */
  async #start(): Promise<void> {
    try {
      await this.#room.prepare();
      await this.#room.settle();
    } catch (error) {
      this.#trouble.failed(error);
    }
  }

  async #otherFill(entry: DiskEntry): Promise<Growth | undefined> {
    try {
      return await otherFill(this.#options.paths, entry, this.#options.timers);
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

  #ended(entry: DiskEntry, outcome: FillOutcome, fault: unknown): void {
    const { events, stored } = this.#options;
    this.#running.delete(entry.name);
    events.count(outcome);
    if (outcome === 'stored') {
      this.#trouble.worked();
      stored(entry);
    } else if (fault !== undefined && !failedWith(fault, 'ENOENT')) this.#trouble.failed(fault); // ENOENT: removed under us, made anew next time
    if (outcome === 'mismatch') events.report({ kind: 'the store gave bytes that do not have their digest', key: entry.key });
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
