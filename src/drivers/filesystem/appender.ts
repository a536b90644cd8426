/**
 * One attempt writing to a file of its own, in order and one call at a time: whoever reads along in another process
 * goes by the length of the file and must never see a hole. What waits is written together by the next call.
 */
import { existsSync } from 'node:fs';
import { superseded } from '../assembly-file.ts';
import { DriverError, type Appender, type AssemblyState } from '../driver.ts';
import { close, driverError, ftruncate, writev } from './calls.ts';
import type { FilesystemSync } from './sync.ts';

/** The kernel takes 1024 pieces at once; this bounds how long one call keeps a thread. */
const MAX_PIECES = 64;
/** Begun to be written out as they come, so that the sync at the end finds little left to do. */
const EARLY_SYNC_BYTES = 16 * 1024 * 1024;

export interface AppenderPlace {
  /** The assembly's prefix, for messages. */
  readonly prefix: string;
  /** Bears this attempt's id: it is gone once another attempt took over. */
  readonly path: string;
  readonly fd: number;
  /** Where the attempt begins. */
  readonly offset: number;
  /** Renames the file as a finished one of that many bytes. @throws DriverError superseded */
  finished(size: number): Promise<AssemblyState>;
  /** Gives the file, cut to `offset`, back to the state that the attempt began from. */
  abandoned(): Promise<void>;
}

interface Waiting {
  readonly chunk: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

export class FilesystemAppender implements Appender {
  readonly #place: AppenderPlace;
  readonly #sync: FilesystemSync;
  readonly #queue: Waiting[] = [];
  #position: number;
  #running = false;
  #pumping: Promise<void> | undefined;
  #unsynced = 0;
  #syncing: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #ended = false;

  constructor(place: AppenderPlace, sync: FilesystemSync) {
    this.#place = place;
    this.#sync = sync;
    this.#position = place.offset;
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#ended) throw this.#alreadyEnded();
    await new Promise<void>((resolve, reject) => {
      this.#queue.push({ chunk, resolve, reject });
      if (!this.#running) this.#pumping = this.#pump();
    });
  }

  async finish(): Promise<AssemblyState> {
    if (this.#ended) throw this.#alreadyEnded();
    this.#ended = true;
    await this.#settle();
    if (this.#failure !== undefined) {
      // Why it failed matters more than whether it could be undone: whoever goes on finds what is left.
      await this.#giveUp().catch(() => undefined);
      throw this.#failure.error;
    }
    try {
      await close(this.#place.fd);
      return await this.#place.finished(this.#position);
    } catch (error) {
      throw driverError(error, `finish writing to ${this.#place.prefix}`);
    }
  }

  async abandon(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#settle();
    try {
      await this.#giveUp();
    } catch (error) {
      throw driverError(error, `give up the bytes of ${this.#place.prefix}`);
    }
  }

  async #giveUp(): Promise<void> {
    try {
      // Nobody else has this inode: whoever takes a running attempt over copies, and lets the name go.
      await ftruncate(this.#place.fd, this.#place.offset);
    } finally {
      await close(this.#place.fd);
    }
    await this.#place.abandoned();
  }

  /** `#running` falls in the same turn in which the queue was seen empty, so no chunk is left lying. */
  async #pump(): Promise<void> {
    this.#running = true;
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, MAX_PIECES);
      try {
        if (!existsSync(this.#place.path)) throw superseded(this.#place.prefix);
        await this.#writeAll(batch.map(({ chunk }) => chunk));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        const failure = (this.#failure ??= { error: driverError(error, `write to ${this.#place.prefix}`) });
        for (const { reject } of [...batch, ...this.#queue.splice(0)]) reject(failure.error);
      }
    }
    this.#running = false;
  }

  async #writeAll(chunks: Uint8Array[]): Promise<void> {
    let pieces = chunks.filter(({ length }) => length > 0);
    while (pieces.length > 0) {
      const { bytesWritten } = await writev(this.#place.fd, pieces, this.#position);
      this.#position += bytesWritten;
      this.#unsynced += bytesWritten;
      pieces = withoutFirst(pieces, bytesWritten);
    }
    if (this.#unsynced >= EARLY_SYNC_BYTES && this.#syncing === undefined) this.#syncEarly();
  }

  #syncEarly(): void {
    this.#syncing = this.#sync.early(this.#place.fd)?.then(
      () => {
        this.#syncing = undefined;
      },
      (error: unknown) => {
        // The kernel reports a failed write-out once: it must fail the attempt, for the sync at the end may not hear of it.
        this.#failure ??= { error: driverError(error, `write to ${this.#place.prefix}`) };
      },
    );
    if (this.#syncing !== undefined) this.#unsynced = 0;
  }

  async #settle(): Promise<void> {
    await this.#pumping;
    await this.#syncing;
  }

  #alreadyEnded(): DriverError {
    return new DriverError('permanent', `the attempt on ${this.#place.prefix} has ended`);
  }
}

function withoutFirst(pieces: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const left: Uint8Array[] = [];
  let skip = bytes;
  for (const piece of pieces) {
    if (skip < piece.length) left.push(piece.subarray(skip));
    skip = Math.max(0, skip - piece.length);
  }
  return left;
}
