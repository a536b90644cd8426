/**
 * Following a fill of another process, through its file: a block can be read when its sum stands, and when the trailer
 * stands behind them their digest was right. Nothing is asked of that process, which may die at any time.
 */
import fs from 'node:fs/promises';
import { fstatSync } from 'node:fs';
import type { Timers } from '../../workers/timers.ts';
import { parseFillingName, type DiskEntry, type DiskPaths } from './files.ts';
import type { Checked } from './checked.ts';
import { SharedFile, Steps, type Growth } from './growth.ts';
import { blocksOf, BLOCK_BYTES, SUM_BYTES } from './sums.ts';
import { fileBytesOf, readTrailer, sumPosition } from './trailer.ts';
import { open, orAbsent, stat } from '../filesystem/calls.ts';

const LOOK_EVERY_MS = 20;
/** As many looks without a byte more, and whoever follows goes to the store: its process may be dead. */
const PATIENCE = 100;
/** A fill that wrote nothing for longer is not followed. */
const FRESH_MS = 10_000;
/** Sums that are read at once: of 256 MiB. */
const SUMS_BYTES = 4096 * SUM_BYTES;
const NO_SUM = Buffer.alloc(SUM_BYTES);

/** The fill of this blob that another process has under way; undefined where there is none. Leave it once to end with it. */
export async function otherFill(paths: DiskPaths, entry: DiskEntry, timers: Timers): Promise<FollowedFill | undefined> {
  for (const file of (await orAbsent(fs.readdir(paths.filling))) ?? []) {
    const fill = parseFillingName(file);
    if (fill?.name !== entry.name) continue;
    const path = `${paths.filling}/${file}`;
    const stats = await orAbsent(stat(path));
    if (stats === undefined || Date.now() - stats.mtimeMs > FRESH_MS) continue;
    const fd = await orAbsent(open(path, 'r'));
    if (fd === undefined) continue;
    const found = new FollowedFill(fd, entry, fill.size, timers);
    await found.look();
    return found;
  }
  return undefined;
}

export class FollowedFill implements Growth {
  readonly #entry: DiskEntry;
  readonly #size: number;
  readonly #blob: Checked;
  /** How many sums were read, from the beginning. */
  #sums = 0;
  readonly #file: SharedFile;
  readonly #steps: Steps;
  #landed = 0;

  constructor(fd: number, entry: DiskEntry, size: number, timers: Timers) {
    this.#file = new SharedFile(fd);
    this.#entry = entry;
    this.#size = size;
    this.#blob = { key: entry.key, size, table: Buffer.alloc(blocksOf(size) * SUM_BYTES) };
    this.#steps = new Steps(timers);
  }

  get landed(): number {
    return this.#landed;
  }

  async reach(position: number, signal: AbortSignal | undefined): Promise<number | undefined> {
    let before = await this.look();
    for (let looks = 0; this.#landed <= position; looks++) {
      if (looks >= PATIENCE || fstatSync(this.#file.fd).nlink === 0) return undefined;
      await this.#steps.next(LOOK_EVERY_MS, signal);
      const now = await this.look();
      if (now > before) looks = 0;
      before = now;
    }
    return this.#landed;
  }

  async chunk(position: number, end: number): Promise<Buffer> {
    return await this.#file.chunk(this.#blob, position, Math.min(end, this.#landed));
  }

  follow(): void {
    this.#file.hold();
  }

  leave(): void {
    this.#file.release();
  }

  /** How much has landed by now. */
  async look(): Promise<number> {
    if (this.#landed === this.#size) return this.#landed;
    await this.#readSums();
    this.#landed = Math.min(this.#sums * BLOCK_BYTES, this.#size - 1);
    const whole = fstatSync(this.#file.fd).size === fileBytesOf(this.#size);
    if (whole && (await readTrailer(this.#file.fd, this.#entry.digest, this.#size)) !== undefined) this.#landed = this.#size;
    return this.#landed;
  }

  async #readSums(): Promise<void> {
    const { table } = this.#blob;
    while (this.#sums < blocksOf(this.#size)) {
      const start = this.#sums * SUM_BYTES;
      const length = await this.#file.read(table.subarray(start, start + SUMS_BYTES), sumPosition(this.#size, this.#sums));
      for (let at = start; at + SUM_BYTES <= start + length; at += SUM_BYTES) {
        if (table.subarray(at, at + SUM_BYTES).equals(NO_SUM)) return;
        this.#sums++;
      }
      if (length < SUMS_BYTES) return;
    }
  }
}
