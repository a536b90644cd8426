/** An object of the memory driver opened for reading: it holds the bytes themselves, so deleting the key does not matter. */
import type { ByteRange, CallOptions, Source, Stat } from '../driver.ts';
import type { MemoryBytes } from './bytes.ts';

export class MemorySource implements Source {
  readonly stat: Stat;
  readonly #bytes: MemoryBytes;
  #closed = false;

  constructor(stat: Stat, bytes: MemoryBytes) {
    this.stat = stat;
    this.#bytes = bytes;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    this.#checkOpen();
    return this.#bytes.read(into, position);
  }

  async *stream(range: ByteRange, options: CallOptions = {}): AsyncGenerator<Buffer> {
    for (const slice of this.#bytes.slices(range.start, range.end + 1)) {
      options.signal?.throwIfAborted();
      this.#checkOpen();
      yield slice;
    }
    options.signal?.throwIfAborted();
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #checkOpen(): void {
    if (this.#closed) throw new Error('the source was closed');
  }
}
