/** A file opened for reading. It stays readable when its key goes, since the descriptor holds it. */
import { closeSync } from 'node:fs';
import { DriverError, type ByteRange, type CallOptions, type Source, type Stat } from '../driver.ts';
import { driverError, read } from './calls.ts';

const CHUNK_BYTES = 256 * 1024;

export class FilesystemSource implements Source {
  readonly stat: Stat;
  readonly #key: string;
  readonly #fd: number;
  readonly #growing: boolean;
  #reading = 0;
  #closed = false;
  #idle: (() => void) | undefined;

  /** @param growing an attempt may be writing to it: its end is wherever it is when it is reached */
  constructor(key: string, fd: number, stat: Stat, growing: boolean) {
    this.#key = key;
    this.#fd = fd;
    this.stat = stat;
    this.#growing = growing;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    if (this.#closed) throw new Error(`the source of ${this.#key} was closed`);
    this.#reading++;
    try {
      return (await read(this.#fd, into, 0, into.length, position)).bytesRead;
    } catch (error) {
      throw driverError(error, `read ${this.#key}`);
    } finally {
      this.#reading--;
      if (this.#reading === 0) this.#idle?.();
    }
  }

  async *stream(range: ByteRange, options: CallOptions = {}): AsyncGenerator<Buffer> {
    const end = this.#growing ? range.end + 1 : Math.min(range.end + 1, this.stat.size);
    let position = range.start;
    let next = position < end ? this.#chunk(position, end) : undefined;
    while (next !== undefined) {
      options.signal?.throwIfAborted();
      const chunk = await next;
      options.signal?.throwIfAborted();
      position += chunk.length;
      if (chunk.length === 0) {
        if (this.#growing) return;
        throw new DriverError('permanent', `${this.#key} ends at byte ${position} of ${this.stat.size}`);
      }
      next = position < end ? this.#chunk(position, end) : undefined;
      next?.catch(() => undefined); // the consumer may leave before it is looked at
      yield chunk;
    }
  }

  /** Waits for reads under way: the number of a descriptor closed beneath them would soon name another file. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#reading > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    closeSync(this.#fd);
  }

  async #chunk(position: number, end: number): Promise<Buffer> {
    const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, end - position));
    return chunk.subarray(0, await this.read(chunk, position));
  }
}
