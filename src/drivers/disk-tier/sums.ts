/**
 * Sums of the blocks of a blob, by which every byte that the disk gives is checked before it is given. They are GMACs
 * with a key that anybody may know: what is wanted is not a secret but a sum over 64 bits that costs next to nothing,
 * and this is the fastest that Node has (decision 0008 has the figures).
 */
import { createCipheriv, type CipherGCM } from 'node:crypto';

/** What the smallest usual buffer of a body takes: bodies are read in whole blocks, so that they are checked where they lie. */
export const BLOCK_BYTES: number = 64 * 1024;
export const SUM_BYTES = 8;
const KEY = Buffer.from('umbra disk tier.');
const NONCE = Buffer.alloc(12);

export function blocksOf(size: number): number {
  return Math.ceil(size / BLOCK_BYTES);
}

/** The sum of what the parts are together. */
export function sumOf(...parts: readonly Uint8Array[]): Buffer {
  const running = newSum();
  for (const part of parts) running.setAAD(part);
  return finishSum(running);
}

/** Are these the bytes of the block? `table` holds the sums of all blocks, in order. */
export function isBlock(table: Buffer, block: number, bytes: Uint8Array): boolean {
  return sumOf(bytes).equals(table.subarray(block * SUM_BYTES, (block + 1) * SUM_BYTES));
}

/** The sums of a blob whose bytes come in pieces, from its beginning to its end. */
export class BlockSums {
  /** Zeros where a block is not complete. */
  readonly table: Buffer;
  readonly #size: number;
  #position = 0;
  #running: CipherGCM | undefined;

  constructor(size: number) {
    this.#size = size;
    this.table = Buffer.alloc(blocksOf(size) * SUM_BYTES);
  }

  /** @param bytes no more than the blob has */
  add(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const inBlock = this.#position % BLOCK_BYTES;
      const part = bytes.subarray(at, at + BLOCK_BYTES - inBlock);
      this.#running ??= newSum();
      this.#running.setAAD(part);
      at += part.length;
      this.#position += part.length;
      if (inBlock + part.length < BLOCK_BYTES && this.#position < this.#size) continue;
      finishSum(this.#running).copy(this.table, (blocksOf(this.#position) - 1) * SUM_BYTES);
      this.#running = undefined;
    }
  }
}

function newSum(): CipherGCM {
  return createCipheriv('aes-128-gcm', KEY, NONCE, { authTagLength: SUM_BYTES });
}

function finishSum(running: CipherGCM): Buffer {
  running.final();
  return running.getAuthTag();
}
