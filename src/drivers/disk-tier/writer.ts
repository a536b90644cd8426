/**
 * Writes the chunks of a blob to its file in order, one call at a time; what waits is written together. A bounded amount
 * waits. The sum of each block is written after it, so that other processes can check what they read meanwhile.
 */
import { BLOCK_BYTES, BlockSums, SUM_BYTES } from './sums.ts';
import { sumPosition } from './trailer.ts';
import { write, writev } from '../filesystem/calls.ts';

const MAX_WAITING_BYTES = 1024 * 1024;
/** The kernel takes 1024 pieces at once; this bounds how long one call keeps a thread. */
const MAX_PIECES = 64;

export class DiskWriter {
  readonly #fd: number;
  readonly #size: number;
  readonly #sums: BlockSums;
  readonly #landed: (bytes: number) => void;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #position = 0;
  #sumsWritten = 0;
  #writing: Promise<void> | undefined;

  /** @param landed told how many bytes stand in the file and can be checked, whenever there are more: whole blocks */
  constructor(fd: number, size: number, landed: (bytes: number) => void) {
    this.#fd = fd;
    this.#size = size;
    this.#sums = new BlockSums(size);
    this.#landed = landed;
  }

  /** The sums of the blocks. */
  get table(): Buffer {
    return this.#sums.table;
  }

  /** Takes a chunk, which is nobody else's to change; resolves when more may be given. Rejects with what writing failed with. */
  async write(chunk: Uint8Array): Promise<void> {
    if (chunk.length === 0) return;
    this.#sums.add(chunk);
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#writing === undefined) {
      this.#writing = this.#writeAll();
      this.#writing.catch(() => undefined); // looked at by the next write, or by `end`
    }
    if (this.#waitingBytes > MAX_WAITING_BYTES) await this.#writing;
  }

  /** Resolves when everything stands in the file. */
  async end(): Promise<void> {
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      let pieces = this.#waiting.splice(0, MAX_PIECES);
      while (pieces.length > 0) {
        const { bytesWritten } = await writev(this.#fd, pieces, this.#position);
        this.#position += bytesWritten;
        this.#waitingBytes -= bytesWritten;
        pieces = withoutFirst(pieces, bytesWritten);
        await this.#writeSums();
      }
    }
    this.#writing = undefined;
  }

  async #writeSums(): Promise<void> {
    const whole = this.#position === this.#size ? this.#size : this.#position - (this.#position % BLOCK_BYTES);
    const end = Math.ceil(whole / BLOCK_BYTES) * SUM_BYTES;
    if (end === this.#sumsWritten) return;
    this.#landed(whole);
    while (this.#sumsWritten < end) {
      const from = this.#sumsWritten;
      const { bytesWritten } = await write(this.#fd, this.table, from, end - from, sumPosition(this.#size, 0) + from);
      this.#sumsWritten += bytesWritten;
    }
  }
}

function withoutFirst(pieces: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const left: Uint8Array[] = [];
  let skip = bytes;
  for (const piece of pieces) {
    if (skip < piece.length) left.push(skip === 0 ? piece : piece.subarray(skip));
    skip = Math.max(0, skip - piece.length);
  }
  return left;
}
