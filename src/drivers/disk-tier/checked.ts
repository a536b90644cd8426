/** Gives bytes of a blob only as they were when their sums were made, from wherever they are read. */
import { blocksOf, BLOCK_BYTES, isBlock } from './sums.ts';
import { DriverError, type CallOptions, type Source } from '../driver.ts';

/** Reads from a file as `Source.read` does: 0 at its end. */
export type ReadFile = (into: Uint8Array, position: number) => Promise<number>;

/** A blob whose blocks have known sums. */
export interface Checked {
  readonly key: string;
  readonly size: number;
  /** The sums of its blocks; those of blocks that are read are there. */
  readonly table: Buffer;
}

/**
 * As `Source.read`: whole blocks where they fit, checked in the caller's own memory; else what there is of one block.
 * What stands in `into` when this rejects is not the blob's.
 * @throws DriverError permanent where the file ends early or holds other bytes; what `read` fails with
 */
export async function readChecked(blob: Checked, read: ReadFile, into: Uint8Array, position: number): Promise<number> {
  const wanted = Math.min(into.length, blob.size - position);
  if (wanted <= 0) return 0;
  const inBlock = position % BLOCK_BYTES;
  const whole = position + wanted === blob.size ? wanted : wanted - (wanted % BLOCK_BYTES);
  if (inBlock === 0 && whole > 0) return await readBlocks(blob, read, into.subarray(0, whole), position);
  const start = position - inBlock;
  const block = Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, blob.size - start));
  await readBlocks(blob, read, block, start);
  return block.copy(into, 0, inBlock, Math.min(block.length, inBlock + wanted));
}

/** How many bytes of the blocks are right, at least those of the first. */
async function readBlocks({ key, table }: Checked, read: ReadFile, into: Uint8Array, position: number): Promise<number> {
  for (let done = 0; done < into.length; ) {
    const count = await read(done === 0 ? into : into.subarray(done), position + done);
    if (count === 0) throw new DriverError('permanent', `the file of ${key} ends at byte ${position + done}`);
    done += count;
  }
  const first = position / BLOCK_BYTES;
  for (let block = 0; block < blocksOf(into.length); block++) {
    const bytes = into.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
    if (isBlock(table, first + block, bytes)) continue;
    if (block > 0) return block * BLOCK_BYTES;
    throw new DriverError('permanent', `the bytes from ${position} are not those that were written`);
  }
  return into.length;
}

/**
 * The bytes from `position` to `end` (exclusive) as another source has them, in pieces of a block at most.
 * @throws DriverError retryable where it gives others than the disk was filled with
 */
export async function* streamChecked({ key, size, table }: Checked, source: Source, position: number, end: number, options: CallOptions = {}): AsyncGenerator<Buffer> {
  let block = Math.floor(position / BLOCK_BYTES);
  let start = block * BLOCK_BYTES;
  let gathered = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  let length = 0;
  const last = Math.min(size, blocksOf(end) * BLOCK_BYTES);
  for await (const chunk of source.stream({ start, end: last - 1 }, options)) {
    for (let at = 0; at < chunk.length; ) {
      const count = chunk.copy(gathered, length, at);
      at += count;
      length += count;
      if (length < Math.min(BLOCK_BYTES, last - start)) continue;
      const bytes = gathered.subarray(0, length);
      if (!isBlock(table, block, bytes)) throw new DriverError('retryable', `the store gave bytes for ${key} that are not those of its digest`);
      yield bytes.subarray(Math.max(0, position - start), end - start);
      block++;
      start += length;
      length = 0;
      gathered = Buffer.allocUnsafeSlow(BLOCK_BYTES); // what was given is the consumer's
    }
  }
  if (start < last) throw new DriverError('retryable', `${key} ends at byte ${start + length} of ${size}`);
}
