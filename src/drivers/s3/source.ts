/**
 * Objects opened for reading: one of the bucket, or the segments of an upload in progress one after the other. S3 does
 * not keep for its readers what was deleted; what they ask for is then read where it went, or fails.
 */
import type { Timers } from '../../workers/timers.ts';
import { DriverError, isDriverError, type ByteRange, type CallOptions, type Source, type Stat } from '../driver.ts';
import { s3Body } from './body.ts';
import type { S3Calls } from './client.ts';

/** Some bytes that stand at one key. */
export interface Piece {
  /** With the root. */
  readonly key: string;
  readonly size: number;
  readonly etag: string;
}

export interface S3SourceOptions {
  readonly calls: S3Calls;
  readonly timers: Timers;
  /** In messages. */
  readonly name: string;
  readonly stat: Stat;
  /** Their sizes add up to that of the stat. */
  readonly pieces: readonly Piece[];
  /** The first bytes, where opening brought them. */
  readonly head?: Buffer | undefined;
  /** An object that begins with the same bytes, into which the pieces were joined since. */
  readonly joined?: (() => Piece | undefined) | undefined;
}

export class S3Source implements Source {
  readonly stat: Stat;
  readonly #options: S3SourceOptions;
  readonly #closing = new AbortController();

  constructor(options: S3SourceOptions) {
    this.stat = options.stat;
    this.#options = options;
  }

  async *stream(range: ByteRange, options: CallOptions = {}): AsyncGenerator<Buffer> {
    const signal = options.signal === undefined ? this.#closing.signal : AbortSignal.any([this.#closing.signal, options.signal]);
    signal.throwIfAborted();
    const end = Math.min(range.end, this.stat.size - 1);
    let position = range.start;
    const { head, name } = this.#options;
    try {
      if (head !== undefined && position < head.length && position <= end) {
        // Chunks are the consumer's to keep, and these bytes are given to every reader.
        const chunk = Buffer.from(head.subarray(position, end + 1));
        position += chunk.length;
        yield chunk;
      }
      for await (const chunk of this.#read(this.#options.pieces, { start: position, end }, signal)) {
        position += chunk.length;
        yield chunk;
      }
    } catch (error) {
      if (!isDriverError(error, 'superseded')) throw error;
      const joined = this.#options.joined?.();
      if (joined === undefined) throw new DriverError('permanent', `${name} was deleted or replaced while it was read`, { cause: error });
      yield* this.#read([joined], { start: position, end }, signal);
    }
    signal.throwIfAborted();
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error(`the source of ${this.#options.name} was closed`));
  }

  async *#read(pieces: readonly Piece[], { start, end }: ByteRange, signal: AbortSignal): AsyncGenerator<Buffer> {
    const { calls, timers, name } = this.#options;
    let from = 0;
    for (const { key, size, etag } of pieces) {
      const range = { start: Math.max(0, start - from), end: Math.min(end - from, size - 1) };
      if (range.start <= range.end) yield* s3Body({ calls, timers, key, name, etag, range, signal });
      from += size;
    }
  }
}
