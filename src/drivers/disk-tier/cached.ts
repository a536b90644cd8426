/**
 * A blob that stands on the disk whole, opened. Every block that is read has its sum, or it is not given: then, and where
 * the disk fails, the rest comes from the store without the reader noticing.
 */
import { readChecked, streamChecked, type Checked, type ReadFile } from './checked.ts';
import type { OpenEntry } from './files.ts';
import { LateSource, type OpenInner } from './source.ts';
import { BLOCK_BYTES } from './sums.ts';
import { DriverError, type ByteRange, type CallOptions, type Source, type Stat } from '../driver.ts';
import { FilesystemSource } from '../filesystem/source.ts';

const CHUNK_BYTES = 4 * BLOCK_BYTES;

/** `read` makes it about as fast to send as a file of the filesystem driver. */
export class CachedSource implements Source {
  readonly stat: Stat;
  readonly #blob: Checked;
  readonly #file: FilesystemSource;
  readonly #readFile: ReadFile;
  readonly #inner: LateSource;
  readonly #told: (error: unknown) => Promise<void>;
  #telling: Promise<void> | undefined;
  /** The disk failed: the store is read instead. */
  #broken = false;
  #rest: RestReader | undefined;

  /** @param failed told once, when the disk did not give what it had promised; never rejects */
  constructor(key: string, { fd, stat, table }: OpenEntry, open: OpenInner, failed: (error: unknown) => Promise<void>) {
    this.stat = stat;
    this.#blob = { key, size: stat.size, table };
    this.#file = new FilesystemSource(key, fd, stat, false);
    this.#readFile = this.#file.read.bind(this.#file);
    this.#inner = new LateSource(key, open);
    this.#told = failed;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    const count = this.#broken ? undefined : await this.#fromDisk(into, position);
    if (count !== undefined) return count;
    this.#rest ??= new RestReader(this.#inner, this.#blob);
    return await this.#rest.read(into, position);
  }

  async *stream(range: ByteRange, options: CallOptions = {}): AsyncGenerator<Buffer> {
    const { signal } = options;
    const end = Math.min(range.end + 1, this.stat.size);
    let position = range.start;
    while (position < end && !this.#broken) {
      signal?.throwIfAborted();
      const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES - (position % BLOCK_BYTES), end - position));
      const count = await this.#fromDisk(chunk, position);
      if (count === undefined) break;
      signal?.throwIfAborted();
      position += count;
      yield chunk.subarray(0, count);
    }
    if (position < end) yield* streamChecked(this.#blob, await this.#inner.get(), position, end, options);
  }

  async close(): Promise<void> {
    await this.#file.close();
    await this.#telling;
    await this.#rest?.close();
    await this.#inner.close();
  }

  /** Undefined: the disk does not give it. */
  async #fromDisk(into: Uint8Array, position: number): Promise<number | undefined> {
    try {
      return await readChecked(this.#blob, this.#readFile, into, position);
    } catch (error) {
      if (!(error instanceof DriverError)) throw error; // closed
      this.#broken = true;
      this.#telling ??= this.#told(error);
      return undefined;
    }
  }
}

/** Random access over a source that may only have streams: good for reading on from somewhere, as bodies do. */
class RestReader {
  readonly #inner: LateSource;
  readonly #blob: Checked;
  #position = -1;
  #chunks: AsyncIterator<Buffer> | undefined;
  #left: Buffer = Buffer.alloc(0);
  #turn: Promise<unknown> = Promise.resolve();

  constructor(inner: LateSource, blob: Checked) {
    this.#inner = inner;
    this.#blob = blob;
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
    if (into.length === 0 || position >= this.#blob.size) return 0;
    if (position !== this.#position) {
      await this.#chunks?.return?.();
      this.#chunks = streamChecked(this.#blob, await this.#inner.get(), position, this.#blob.size);
      this.#left = Buffer.alloc(0);
      this.#position = position;
    }
    if (this.#left.length === 0) {
      this.#position = -1; // where this fails, the next read begins anew
      const next = await this.#chunks?.next();
      if (next === undefined || next.done === true) return 0;
      this.#left = next.value;
    }
    const count = this.#left.copy(into);
    this.#left = this.#left.subarray(count);
    this.#position = position + count;
    return count;
  }
}
