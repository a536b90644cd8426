/**
 * One blob on its way from the store to the disk. It goes at the pace of the store and the disk, not of a reader;
 * readers follow the growing file. The file gets its name only when its bytes were hashed, compared and synced, so
 * that no crash leaves anything that counts as a blob.
 */
import { closeSync } from 'node:fs';
import { algorithmOf, finishHash, newHash } from '../../oci/digest.ts';
import type { Timers } from '../../workers/timers.ts';
import type { DiskEntry, DiskPaths } from './files.ts';
import { SharedFile, Steps, type Growth } from './growth.ts';
import { describable, encodeTrailer, textPosition } from './trailer.ts';
import { DiskWriter } from './writer.ts';
import { DriverError, type Source, type Stat } from '../driver.ts';
import { failedWith, fsync, futimes, mkdir, open, rename, unlink, write } from '../filesystem/calls.ts';
import type { Limiter } from '../limiter.ts';

/** Readers that see no byte for so long go to the store themselves. */
const PATIENCE_MS = 5_000;
/** Kept in memory for those who read where the fill is: they need not wait for the disk. */
const RECENT_BYTES = 1024 * 1024;
/** A fill that nobody follows any more goes on where no more than this is missing, or no more than came already. */
const SMALL_REST_BYTES = 16 * 1024 * 1024;

const NOTHING = Buffer.alloc(0);

/** The disk failed, not the store. */
export class DiskFault extends Error {
  override readonly name = 'DiskFault';
}

export type FillOutcome = 'stored' | 'failed' | 'mismatch' | 'abandoned';

export interface FillOptions {
  readonly entry: DiskEntry;
  /** The fill closes it. */
  readonly source: Source;
  readonly paths: DiskPaths;
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly unique: string;
  readonly syncs: Limiter;
  /** Makes the folders, where they are missing. */
  readonly prepare: () => Promise<void>;
  /** Makes room on the disk for what is announced by the name of this file. False: there is none now, and the file is gone. */
  readonly makeRoom: (file: string, size: number) => Promise<boolean>;
  /** Told how it ended; `fault` where the disk is why. Before that, its blob can be opened. */
  readonly ended: (outcome: FillOutcome, fault: unknown) => void;
}

export class DiskFill implements Growth {
  readonly stat: Stat;
  /** Resolves when it has ended, however it did. */
  readonly done: Promise<void>;
  readonly #options: FillOptions;
  readonly #steps: Steps;
  readonly #aborting = new AbortController();
  #landed = 0;
  /** Bytes that can be read from the file, and checked. */
  #written = 0;
  /** Their sums. */
  #table: Buffer = NOTHING;
  /** The chunks that came last, those that are not written yet among them. */
  readonly #recent: { readonly start: number; readonly bytes: Buffer }[] = [];
  #file: SharedFile | undefined;
  #followers = 0;
  #over: FillOutcome | undefined;

  constructor(options: FillOptions) {
    this.#options = options;
    this.stat = options.source.stat;
    this.#steps = new Steps(options.timers);
    this.done = this.#run();
  }

  get landed(): number {
    return this.#landed;
  }

  async reach(position: number, signal: AbortSignal | undefined): Promise<number | undefined> {
    while (this.#landed <= position) {
      if (this.#over === 'mismatch') throw this.#mismatch();
      if (this.#over !== undefined || !(await this.#steps.next(PATIENCE_MS, signal))) return undefined;
    }
    return this.#landed;
  }

  async chunk(position: number, end: number): Promise<Buffer> {
    const last = Math.min(end, this.#landed);
    const recent = this.#recent.find(({ start, bytes }) => position >= start && position < start + bytes.length);
    if (recent !== undefined) return recent.bytes.subarray(position - recent.start, last - recent.start);
    // Whoever follows holds the file.
    const blob = { key: this.#options.entry.key, size: this.stat.size, table: this.#table };
    return this.#file === undefined ? NOTHING : await this.#file.chunk(blob, position, Math.min(last, this.#written));
  }

  follow(): void {
    this.#followers++;
    this.#file?.hold();
  }

  leave(): void {
    this.#followers--;
    if (this.#followers === 0) {
      const missing = this.stat.size - this.#landed;
      if (missing > Math.max(SMALL_REST_BYTES, this.#landed)) this.abort();
    }
    this.#file?.release();
  }

  /** Gives it up. */
  abort(): void {
    this.#aborting.abort(new Error(`the fill of ${this.#options.entry.key} is given up`));
  }

  async #run(): Promise<void> {
    const { source, ended } = this.#options;
    let outcome: FillOutcome = 'failed';
    let fault: unknown;
    try {
      outcome = await this.#fill();
    } catch (error) {
      if (error instanceof DiskFault) fault = error.cause;
      else if (this.#aborting.signal.aborted) outcome = 'abandoned';
      // Else the store failed: whoever follows goes there and hears of it.
    }
    ended(outcome, fault);
    this.#over = outcome;
    if (outcome === 'stored') this.#recent.length = 0; // all of it is in the file
    this.#steps.step();
    this.#file?.release();
    await source.close().catch(() => undefined);
  }

  async #fill(): Promise<FillOutcome> {
    const { entry, paths, unique } = this.#options;
    if (!describable(entry.digest, this.stat)) return 'failed';
    const path = paths.fill(entry.name, this.stat.size, unique);
    const fd = await this.#create(path);
    this.#file = new SharedFile(fd);
    for (let count = 0; count < this.#followers; count++) this.#file.hold();
    let placed = false;
    try {
      if (!(await onDisk(this.#options.makeRoom(path, this.stat.size)))) return 'abandoned';
      if (!(await this.#copy(fd))) return 'mismatch';
      await onDisk(this.#place(fd, path));
      placed = true;
      return 'stored';
    } finally {
      if (!placed) await unlink(path).catch(() => undefined); // else it goes when it is stale
    }
  }

  async #create(path: string): Promise<number> {
    const { signal } = this.#aborting;
    await onDisk(this.#options.prepare());
    const fd = await onDisk(open(path, 'wx+', 0o600));
    if (!signal.aborted) return fd;
    closeSync(fd);
    await unlink(path).catch(() => undefined);
    throw signal.reason;
  }

  /** Copies the bytes from the store; false where they do not have the digest. */
  async #copy(fd: number): Promise<boolean> {
    const { entry, source } = this.#options;
    const { size } = this.stat;
    const algorithm = algorithmOf(entry.digest);
    const hash = newHash(algorithm);
    let received = 0;
    const writer = new DiskWriter(fd, size, (bytes) => (this.#written = bytes));
    this.#table = writer.table;
    try {
      for await (const chunk of source.stream({ start: 0, end: size - 1 }, { signal: this.#aborting.signal })) {
        received += chunk.length;
        if (received > size) return false;
        hash.update(chunk);
        const writing = onDisk(writer.write(chunk));
        this.#arrived(chunk, received);
        await writing;
      }
    } finally {
      await onDisk(writer.end());
    }
    if (received < size) throw new DriverError('retryable', `${entry.key} ends at byte ${received} of ${size}`);
    return finishHash(algorithm, hash) === entry.digest;
  }

  #arrived(bytes: Buffer, received: number): void {
    this.#recent.push({ start: received - bytes.length, bytes });
    let kept = received - (this.#recent[0]?.start ?? received);
    for (let first = this.#recent[0]; first !== undefined && kept > RECENT_BYTES; first = this.#recent[0]) {
      if (first.start + first.bytes.length > this.#written) break;
      this.#recent.shift();
      kept -= first.bytes.length;
    }
    this.#landed = Math.min(received, this.stat.size - 1);
    this.#steps.step();
  }

  async #place(fd: number, path: string): Promise<void> {
    const { entry, paths, syncs, nowMs } = this.#options;
    const { size } = this.stat;
    const trailer = encodeTrailer(entry.digest, { stat: this.stat, table: this.#table });
    for (let done = 0; done < trailer.length; ) done += (await write(fd, trailer, done, trailer.length - done, textPosition(size) + done)).bytesWritten;
    // The bytes are right, whether or not they can be kept.
    this.#landed = size;
    this.#steps.step();
    await syncs.run(() => fsync(fd));
    const time = nowMs() / 1000;
    await futimes(fd, time, time);
    const to = paths.blob(entry.name);
    try {
      await rename(path, to);
    } catch (error) {
      if (!failedWith(error, 'ENOENT')) throw error;
      await mkdir(paths.shardOf(entry.name), { recursive: true, mode: 0o700 });
      await rename(path, to);
    }
  }

  #mismatch(): DriverError {
    return new DriverError('retryable', `the store gave bytes for ${this.#options.entry.key} that do not have its digest`);
  }
}

async function onDisk<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw new DiskFault('the disk failed', { cause: error });
  }
}
