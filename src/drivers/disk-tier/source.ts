/**
 * Blobs opened through the disk tier: one that is there whole, and one that is on its way. Whatever happens to the disk
 * while they are read, the rest comes from the store.
 */
import type { Growth } from './growth.ts';
import { DriverError, type ByteRange, type CallOptions, type Source, type Stat } from '../driver.ts';
import { FilesystemSource } from '../filesystem/source.ts';
import type { Proving } from './proofs.ts';

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

/** Whoever wants to know whether the bytes had their digest when all of them went by, from the beginning to the end. */
export interface Proof {
  /** One for each way of reading. */
  readonly begin: () => Proving;
  readonly done: () => void;
}

/**
 * On the disk. `read` makes it as fast to send as a file of the filesystem driver. Where a proof is wanted, the end of
 * bytes that do not have their digest is never given.
 */
export class CachedSource implements Source {
  readonly stat: Stat;
  readonly #file: FilesystemSource;
  readonly #inner: LateSource;
  readonly #told: (error: unknown) => void;
  /** The disk failed: the store is read instead. */
  #broken = false;
  #rest: RestReader | undefined;
  readonly #key: string;
  readonly #proof: Proof | undefined;
  readonly #proving: Proving | undefined;

  /** @param failed told once, when the disk did not give what it had promised */
  constructor(key: string, fd: number, stat: Stat, open: OpenInner, failed: (error: unknown) => void, proof?: Proof) {
    this.#key = key;
    this.stat = stat;
    this.#proof = proof;
    this.#proving = proof?.begin();
    this.#file = new FilesystemSource(key, fd, stat, false);
    this.#inner = new LateSource(key, open);
    this.#told = failed;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    const count = await this.#read(into, position);
    this.#pass(this.#proving, into.subarray(0, count), position);
    return count;
  }

  async #read(into: Uint8Array, position: number): Promise<number> {
    const wanted = into.subarray(0, Math.max(0, this.stat.size - position));
    if (!this.#broken) {
      const count = await this.#fromDisk(wanted, position);
      if (count !== undefined) return count;
    }
    this.#rest ??= new RestReader(this.#inner, this.stat.size);
    return this.#rest.read(wanted, position);
  }

  async *stream(range: ByteRange, options: CallOptions = {}): AsyncGenerator<Buffer> {
    const proving = this.#proof?.begin();
    let position = range.start;
    for await (const chunk of this.#stream(range, options)) {
      this.#pass(proving, chunk, position);
      position += chunk.length;
      yield chunk;
    }
  }

  async *#stream(range: ByteRange, options: CallOptions): AsyncGenerator<Buffer> {
    let position = range.start;
    if (!this.#broken) {
      try {
        for await (const chunk of this.#file.stream(range, options)) {
          position += chunk.length;
          yield chunk;
        }
        return;
      } catch (error) {
        if (!(error instanceof DriverError)) throw error; // aborted, or closed
        this.#failed(error);
      }
    }
    if (position <= range.end) yield* (await this.#inner.get()).stream({ start: position, end: range.end }, options);
  }

  async close(): Promise<void> {
    await this.#file.close();
    await this.#rest?.close();
    await this.#inner.close();
  }

  /** @throws DriverError retryable instead of giving the last bytes of a whole that is not right */
  #pass(proving: Proving | undefined, bytes: Uint8Array, position: number): void {
    const outcome = proving?.pass(bytes, position);
    if (outcome === 'right' && !this.#broken) this.#proof?.done();
    if (outcome !== 'wrong') return;
    const error = new DriverError('retryable', `the disk gave bytes for ${this.#key} that do not have its digest`);
    this.#failed(error);
    throw error;
  }

  #failed(error: unknown): void {
    if (this.#broken) return;
    this.#broken = true;
    this.#told(error);
  }

  /** Undefined: the disk does not give it. */
  async #fromDisk(into: Uint8Array, position: number): Promise<number | undefined> {
    try {
      const count = await this.#file.read(into, position);
      if (count > 0 || into.length === 0) return count;
      this.#failed(new DriverError('permanent', `the file ends at byte ${position} of ${this.stat.size}`));
    } catch (error) {
      if (!(error instanceof DriverError)) throw error; // closed
      this.#failed(error);
    }
    return undefined;
  }
}

/** Random access over a source that may only have streams: good for reading on from somewhere, as bodies do. */
class RestReader {
  readonly #inner: LateSource;
  readonly #size: number;
  #position = -1;
  #chunks: AsyncIterator<Buffer> | undefined;
  #left: Buffer = Buffer.alloc(0);
  #turn: Promise<unknown> = Promise.resolve();

  constructor(inner: LateSource, size: number) {
    this.#inner = inner;
    this.#size = size;
  }

  read(into: Uint8Array, position: number): Promise<number> {
    const reading = this.#turn.then(() => this.#read(into, position));
    this.#turn = reading.catch(() => undefined);
    return reading;
  }

  async close(): Promise<void> {
    await this.#turn;
    await this.#chunks?.return?.();
  }

  async #read(into: Uint8Array, position: number): Promise<number> {
    if (into.length === 0) return 0;
    const source = await this.#inner.get();
    if (source.read !== undefined) return source.read(into, position);
    if (position !== this.#position) {
      await this.#chunks?.return?.();
      this.#chunks = source.stream({ start: position, end: this.#size - 1 })[Symbol.asyncIterator]();
      this.#left = Buffer.alloc(0);
      this.#position = position;
    }
    while (this.#left.length === 0) {
      const next = await this.#chunks?.next();
      if (next === undefined || next.done === true) return 0;
      this.#left = next.value;
    }
    const count = Math.min(into.length, this.#left.length);
    into.set(this.#left.subarray(0, count));
    this.#left = this.#left.subarray(count);
    this.#position += count;
    return count;
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
