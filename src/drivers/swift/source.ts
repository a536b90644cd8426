/**
 * Bytes read from Swift in order, whatever breaks: a broken body goes on by Range, on the condition that the same object
 * stands there, so that bytes of two are never joined.
 */
import { pause, type Timers } from '../../workers/timers.ts';
import { DriverError, type ByteRange, type CallOptions, type Source, type Stat } from '../driver.ts';
import { truncated, type SwiftClient, type SwiftStream } from './client.ts';
import { quoted } from './stat.ts';

/** Some bytes that stand in the container, or are at hand. */
export type Piece = { readonly name: string; readonly size: number; readonly etag: string } | { readonly bytes: Buffer; readonly size: number };

export interface SwiftSourceOptions {
  readonly client: SwiftClient;
  readonly timers: Timers;
  /** In messages. */
  readonly what: string;
  readonly stat: Stat;
  /** Their sizes add up to that of the stat. */
  readonly pieces: readonly Piece[];
  /** The beginning, where it is at hand. */
  readonly head?: Buffer;
}

/** So often in a row may a body break before it gave anything. */
const FRUITLESS = 4;
const PAUSE_MS = 250;

export class SwiftSource implements Source {
  readonly stat: Stat;
  readonly #options: SwiftSourceOptions;
  readonly #closing = new AbortController();

  constructor(options: SwiftSourceOptions) {
    this.stat = options.stat;
    this.#options = options;
  }

  async *stream({ start, end }: ByteRange, options: CallOptions = {}): AsyncGenerator<Buffer> {
    const { head, pieces } = this.#options;
    const signal = options.signal === undefined ? this.#closing.signal : AbortSignal.any([this.#closing.signal, options.signal]);
    signal.throwIfAborted();
    const atHand = head?.subarray(start, end + 1);
    if (atHand !== undefined && atHand.length > 0) {
      yield atHand;
      signal.throwIfAborted();
    }
    const position = start + (atHand?.length ?? 0);
    let from = 0;
    for (const piece of pieces) {
      const range = { start: Math.max(0, position - from), end: Math.min(end - from, piece.size - 1) };
      if (range.start <= range.end) yield* 'bytes' in piece ? [piece.bytes.subarray(range.start, range.end + 1)] : this.#body(piece, range, signal);
      from += piece.size;
    }
    signal.throwIfAborted();
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error(`the source of ${this.#options.what} was closed`));
  }

  async *#body(piece: Exclude<Piece, { bytes: Buffer }>, { start, end }: ByteRange, signal: AbortSignal): AsyncGenerator<Buffer> {
    const { client, what, timers } = this.#options;
    let position = start;
    for (let fruitless = 0; position <= end; ) {
      const before = position;
      let failure = truncated(what);
      const { body } = await this.#open(piece, { start: position, end }, signal);
      try {
        for await (const chunk of body) {
          const wanted = chunk.length > end + 1 - position ? chunk.subarray(0, end + 1 - position) : chunk;
          position += wanted.length;
          yield wanted;
          signal.throwIfAborted();
          if (position > end && wanted.length < chunk.length) break;
        }
      } catch (error) {
        signal.throwIfAborted();
        failure = client.brokenBody(what, error);
      }
      fruitless = position > before ? 0 : fruitless + 1;
      if (position > end) return;
      if (fruitless === FRUITLESS) throw failure;
      if (fruitless > 0) await pause(PAUSE_MS * 2 ** fruitless, timers, signal);
    }
  }

  async #open({ name, etag, size }: Exclude<Piece, { bytes: Buffer }>, { start, end }: ByteRange, signal: AbortSignal): Promise<SwiftStream> {
    const { client, what } = this.#options;
    const partial = start > 0 || end < size - 1;
    const answer = await client.stream({
      method: 'GET', name, what: `read ${what}`, signal, expect: [200, 206, 404, 412, 416],
      headers: { 'if-match': quoted(etag), ...(partial ? { range: `bytes=${start}-${end}` } : {}) },
    });
    const { status, header } = answer;
    const begins = status === 206 ? header('content-range') : undefined;
    if (status === 200 ? !partial : begins?.startsWith(`bytes ${start}-`) === true) {
      if (quoted(header('etag') ?? '') === quoted(etag)) return answer;
    }
    answer.body.discard();
    if (status === 404) throw new DriverError('permanent', `${what} was deleted while it was read`);
    throw new DriverError('permanent', `${what} was replaced while it was read: Swift answered ${status}, ${begins ?? 'no range'}`);
  }
}
