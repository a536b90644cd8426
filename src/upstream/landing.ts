/**
 * The leader's bytes between network and store: gathered into batches, written while the next ones arrive, hashed once
 * they have landed, and kept a while for readers at the head, who are so spared a read. Bounded: `add` waits for the
 * store, never for a reader.
 */
import type { Hash } from 'node:crypto';
import type { Appender } from '../drivers/driver.ts';
import type { Memory } from './growing.ts';

export interface LandingOptions {
  readonly appender: Appender;
  readonly hash: Hash;
  /** Bytes of the whole blob, where known: small blobs take small batches. */
  readonly size: number | undefined;
  /** Bytes that the next batch may take of memory; at most `BATCHES` of them are held. */
  readonly batchBytes: () => number;
  /** More has come or landed; at most once per turn of the event loop and once per write. */
  readonly moved: () => void;
  /** The store refused bytes: no more need come. */
  readonly refused: (error: LandingError) => void;
}

/** The store's refusal of bytes, as `cause`. */
export class LandingError extends Error {
  override readonly name = 'LandingError';
}

interface Batch {
  readonly start: number;
  readonly bytes: Buffer;
  filled: number;
}

/** Held at once: what has landed is kept, for readers a little behind the head, until its room is needed. */
export const BATCHES = 4;
/** Smaller pieces wait for more to come: a write costs a trip to another thread. */
const WRITE_BYTES = 256 * 1024;
/** The first batch where the size is not known. */
const FIRST_BYTES = 64 * 1024;

export class Landing implements Memory {
  /** Of exactly the first `landed` bytes. */
  readonly hash: Hash;
  head = 0;
  landed = 0;
  readonly #options: LandingOptions;
  readonly #batches: Batch[] = [];
  #writing = false;
  #failure: LandingError | undefined;
  #ended = false;
  #ticking = false;
  /** The head at the last tick: a tick that finds no more bytes writes what there is. */
  #seen = 0;
  #wake = (): void => undefined;

  constructor(options: LandingOptions) {
    this.hash = options.hash;
    this.#options = options;
  }

  at(position: number): Buffer | undefined {
    const batch = this.#batches.find(({ start, filled }) => position >= start && position < start + filled);
    return batch?.bytes.subarray(position - batch.start, batch.filled);
  }

  /** Copies the chunk, which must not go beyond the size. @throws LandingError */
  async add(chunk: Buffer): Promise<void> {
    let rest = chunk;
    while (rest.length > 0) {
      const batch = await this.#room();
      const taken = rest.copy(batch.bytes, batch.filled);
      batch.filled += taken;
      this.head += taken;
      rest = rest.subarray(taken);
      this.#write();
    }
    this.#tick();
  }

  /** The hash of all that came, landed or not. */
  hashOfAll(): Hash {
    const hash = this.hash.copy();
    for (let position = this.landed; ; ) {
      const piece = this.at(position);
      if (piece === undefined) return hash;
      hash.update(piece);
      position += piece.length;
    }
  }

  /** Resolves when everything has landed and is hashed. @throws LandingError */
  async end(): Promise<void> {
    this.#ended = true;
    this.#write();
    while (this.landed < this.head) await this.#nextWrite();
  }

  async #room(): Promise<Batch> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const last = this.#batches.at(-1);
      if (last !== undefined && last.filled < last.bytes.length) return last;
      const [oldest] = this.#batches;
      if (oldest === undefined || this.#batches.length < BATCHES) break;
      if (oldest.start + oldest.filled <= this.landed) {
        this.#batches.shift();
        break;
      }
      await this.#nextWrite();
    }
    const { size, batchBytes } = this.#options;
    const wanted = size === undefined ? Math.max(FIRST_BYTES, this.head) : size - this.head;
    const batch: Batch = { start: this.head, bytes: Buffer.allocUnsafeSlow(Math.min(batchBytes(), wanted)), filled: 0 };
    this.#batches.push(batch);
    return batch;
  }

  /** Starts the next write, where it is worth one. */
  #write(idle = this.#ended): void {
    if (this.#writing || this.#failure !== undefined || this.landed === this.head) return;
    const batch = this.#batches.find(({ start, filled }) => this.landed < start + filled);
    const piece = this.at(this.landed);
    if (batch === undefined || piece === undefined) return;
    if (!idle && piece.length < WRITE_BYTES && batch.filled < batch.bytes.length) return;
    this.#writing = true;
    this.#options.appender.write(piece).then(
      () => {
        this.#writing = false;
        this.landed += piece.length;
        // The store works on the next piece while this one is hashed.
        this.#write();
        this.hash.update(piece);
        this.#options.moved();
        this.#wake();
        if (this.landed < this.head) this.#tick();
      },
      (error: unknown) => {
        this.#failure = new LandingError('the store refused bytes', { cause: error });
        this.#options.refused(this.#failure);
        this.#wake();
      },
    );
  }

  async #nextWrite(): Promise<void> {
    if (this.#failure === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Readers are woken once for all that a turn of the event loop brought. */
  #tick(): void {
    if (this.#ticking || this.#failure !== undefined) return;
    this.#ticking = true;
    setImmediate(() => {
      this.#ticking = false;
      const idle = this.head === this.#seen;
      this.#seen = this.head;
      if (idle) this.#write(true);
      else this.#options.moved();
      if (this.landed < this.head && !this.#writing) this.#tick();
    });
  }
}
