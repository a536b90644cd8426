/**
 * A blob opened through the disk tier that is on its way to the disk. Whatever happens to the disk while it is read, the
 * rest comes from the store.
 */
import type { Growth } from './growth.ts';
import { DriverError, type ByteRange, type CallOptions, type Source, type Stat } from '../driver.ts';

/** Opens the blob in the store; undefined where it is gone. */
export type OpenInner = () => Promise<Source | undefined>;

/** A blob of the store, opened when it is first needed, for whoever uses this together. */
export class LateSource {
  readonly #key: string;
  readonly #open: OpenInner;
  /** Opened already, and not used yet. */
  #spare: Source | undefined;
  #used: Promise<Source> | undefined;

  constructor(key: string, open: OpenInner, spare?: Source) {
    this.#key = key;
    this.#open = open;
    this.#spare = spare;
  }

  get(): Promise<Source> {
    return (this.#used ??= this.take());
  }

  /** One for the caller alone, who closes it. */
  async take(): Promise<Source> {
    const spare = this.#spare;
    this.#spare = undefined;
    const source = spare ?? (await this.#open());
    if (source === undefined) throw new DriverError('retryable', `${this.#key} is no longer in the store`);
    return source;
  }

  async close(): Promise<void> {
    const spare = this.#spare;
    this.#spare = undefined;
    await spare?.close();
    await (await this.#used?.catch(() => undefined))?.close();
  }
}

/**
 * A fill to follow for this range, that already counts the follower; undefined: better the store. `take` opens the blob
 * for a fill to be begun.
 */
export type FindGrowth = (range: ByteRange, take: () => Promise<Source>) => Promise<Growth | undefined>;

/** Not on the disk yet. Follows a fill where there is one, or one is worth while; else it is the store's. */
export class ArrivingSource implements Source {
  readonly stat: Stat;
  readonly #key: string;
  readonly #inner: LateSource;
  readonly #growth: FindGrowth;
  #closed = false;

  constructor(key: string, stat: Stat, inner: LateSource, growth: FindGrowth) {
    this.#key = key;
    this.stat = stat;
    this.#inner = inner;
    this.#growth = growth;
  }

  async *stream(range: ByteRange, options: CallOptions = {}): AsyncGenerator<Buffer> {
    const { signal } = options;
    const end = Math.min(range.end, this.stat.size - 1);
    let position = range.start;
    this.#checkOpen();
    signal?.throwIfAborted();
    const growth = position > end ? undefined : await this.#growth({ start: position, end }, () => this.#inner.take());
    try {
      while (growth !== undefined && position <= end) {
        const chunk = await nextChunk(growth, position, end, signal);
        if (chunk === undefined) break;
        signal?.throwIfAborted();
        this.#checkOpen();
        position += chunk.length;
        yield chunk;
      }
    } finally {
      growth?.leave();
    }
    this.#checkOpen();
    if (position <= end) yield* (await this.#inner.get()).stream({ start: position, end }, options);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#inner.close();
  }

  #checkOpen(): void {
    if (this.#closed) throw new Error(`the source of ${this.#key} was closed`);
  }
}

/** Undefined: the fill or the disk does not give it. */
async function nextChunk(growth: Growth, position: number, end: number, signal: AbortSignal | undefined): Promise<Buffer | undefined> {
  const landed = await growth.reach(position, signal);
  if (landed === undefined) return undefined;
  try {
    const chunk = await growth.chunk(position, Math.min(landed, end + 1));
    return chunk.length === 0 ? undefined : chunk;
  } catch {
    return undefined; // the disk: the store has it as well
  }
}
