/**
 * The way of a pushed body into the store: gathered in pooled buffers, each hashed and then written while the next one
 * fills. Nothing is held whole in memory or written twice (DESIGN section 6, "Push"). Knows nothing of requests.
 */
import type { Appender } from '../drivers/driver.ts';
import { RegistryError } from '../oci/errors.ts';
import type { RunningHash } from './running-hash.ts';

/** A buffer on loan. */
export interface Slab {
  readonly bytes: Buffer;
  /** Gives it back; once is enough, twice does no harm. */
  release(): void;
}

/** Where an intake has its buffers from. */
export interface SlabSupply {
  /** Somebody waits for a buffer: let go of what is not needed. */
  readonly contended: boolean;
  /** A buffer for up to `atMost` bytes if there is one and nobody waits; it may be smaller than that. */
  tryTake(atMost: number): Slab | undefined;
  /** The same, waiting in turn. Rejects with the signal's reason. Who holds a buffer must not wait for another. */
  take(atMost: number, signal?: AbortSignal): Slab | Promise<Slab>;
}

export interface IntakeOptions {
  readonly appender: Appender;
  /** Covers the appender's bytes, and those before them. */
  readonly hash: RunningHash;
  readonly slabs: SlabSupply;
  /** What the body may have at most; more is BLOB_TOO_LARGE. */
  readonly maxBytes: number;
  /** What it was announced to have; more is SIZE_INVALID. */
  readonly expectedBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Buffers of one body at once: one that fills, one being written, and some between, for a disk that takes its time now and then. */
export const SLABS_PER_BODY = 4;

export class Intake {
  readonly #options: IntakeOptions;
  #slab: Slab | undefined;
  #filled = 0;
  #bytes = 0;
  #inFlight = 0;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** Bytes taken so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes a piece of the body. Nothing returned: give more. A promise: wait for it, and leave the chunk as it is until
   * then. Throws or rejects with RegistryError BLOB_TOO_LARGE or SIZE_INVALID, or with what the store failed with.
   */
  take(chunk: Uint8Array): undefined | Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#count(chunk.length);
    const taken = this.#copy(chunk, 0);
    if (taken < chunk.length) return this.#takeSlowly(chunk, taken);
    if (this.#options.slabs.contended) this.flush();
    return this.#inFlight < SLABS_PER_BODY - 1 ? undefined : this.#below(SLABS_PER_BODY - 1);
  }

  /** Hands on what is gathered, however little. */
  flush(): void {
    const slab = this.#slab;
    if (slab === undefined || this.#failure !== undefined) return;
    const length = this.#filled;
    this.#slab = undefined;
    this.#filled = 0;
    this.#inFlight++;
    this.#write(slab.bytes.subarray(0, length)).then(
      () => this.#done(slab),
      (error: unknown) => this.#done(slab, { error }),
    );
  }

  /** Resolves when everything taken is hashed and written; on failure, when the buffers are back. */
  async finish(): Promise<void> {
    this.flush();
    await this.#below(1);
    this.#slab?.release();
    this.#slab = undefined;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #count(length: number): void {
    const { maxBytes, expectedBytes } = this.#options;
    if (this.#bytes + length > maxBytes) {
      throw new RegistryError('BLOB_TOO_LARGE', `the blob is too large: expected at most ${Math.max(0, maxBytes)} more bytes`);
    }
    if (expectedBytes !== undefined && this.#bytes + length > expectedBytes) {
      throw new RegistryError('SIZE_INVALID', `the body has more bytes than announced: expected ${expectedBytes}`);
    }
    this.#bytes += length;
  }

  /** Copies from `offset` on for as long as buffers are to be had at once; returns where it stopped. */
  #copy(chunk: Uint8Array, offset: number): number {
    while (offset < chunk.length) {
      this.#slab ??= this.#inFlight < SLABS_PER_BODY ? this.#options.slabs.tryTake(this.#atMost(chunk.length - offset)) : undefined;
      if (this.#slab === undefined) return offset;
      const { bytes } = this.#slab;
      const count = Math.min(chunk.length - offset, bytes.length - this.#filled);
      bytes.set(count === chunk.length ? chunk : chunk.subarray(offset, offset + count), this.#filled);
      this.#filled += count;
      offset += count;
      if (this.#filled === bytes.length) this.flush();
    }
    return offset;
  }

  /** What is still to come, as far as that is known: small bodies take small buffers. */
  #atMost(inHand: number): number {
    const { expectedBytes } = this.#options;
    return expectedBytes === undefined ? Infinity : expectedBytes - this.#bytes + inHand;
  }

  async #takeSlowly(chunk: Uint8Array, offset: number): Promise<void> {
    while (offset < chunk.length) {
      await this.#below(SLABS_PER_BODY - 1);
      if (this.#failure !== undefined) throw this.#failure.error;
      this.#slab ??= await this.#options.slabs.take(this.#atMost(chunk.length - offset), this.#options.signal);
      offset = this.#copy(chunk, offset);
    }
    if (this.#options.slabs.contended) this.flush();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    const written = this.#options.appender.write(bytes);
    this.#options.hash.update(bytes); // while the write is under way in another thread
    await written;
  }

  #done(slab: Slab, failure?: { readonly error: unknown }): void {
    slab.release();
    this.#failure ??= failure;
    this.#inFlight--;
    this.#wake?.();
  }

  async #below(count: number): Promise<void> {
    while (this.#inFlight >= count) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}
