/**
 * What stands behind the bytes of a blob in its file: the sums of its blocks, then 512 bytes of text that begin with a sum
 * of all this and say the digest, the size, and what the store said of the object. A file without them is not a blob.
 */
import type { Digest } from '../../oci/digest.ts';
import { blocksOf, BLOCK_BYTES, SUM_BYTES, sumOf } from './sums.ts';
import type { Stat } from '../driver.ts';
import { read } from '../filesystem/calls.ts';

const TRAILER_BYTES = 512;
const MAGIC = 'umbra-disk-2 ';
const SUM_END = MAGIC.length + 2 * SUM_BYTES;
/** Bytes of the object's `stamp`, digest and numbers that there is room for. */
const TEXT_BYTES = TRAILER_BYTES - SUM_END - 1;

/** What a file says of the blob in it. */
export interface Trailer {
  /** As the store said when it was filled. */
  readonly stat: Stat;
  /** The sums of its blocks. */
  readonly table: Buffer;
}

/** Bytes of the file of a blob of `size` bytes. */
export function fileBytesOf(size: number): number {
  return size + blocksOf(size) * SUM_BYTES + TRAILER_BYTES;
}

/** Bytes of the blob in a file of `fileBytes`; undefined where there is no such blob. */
export function blobBytesOf(fileBytes: number): number | undefined {
  const rest = fileBytes - TRAILER_BYTES;
  const size = rest - Math.ceil(rest / (BLOCK_BYTES + SUM_BYTES)) * SUM_BYTES;
  return size > 0 && fileBytesOf(size) === fileBytes ? size : undefined;
}

/** Where the sum of a block stands in the file of a blob of `size` bytes. */
export function sumPosition(size: number, block: number): number {
  return size + block * SUM_BYTES;
}

/** Where the text stands. */
export function textPosition(size: number): number {
  return sumPosition(size, blocksOf(size));
}

/** Has the trailer room for what the store says of the object? */
export function describable(digest: Digest, stat: Stat): boolean {
  return Buffer.byteLength(describe(digest, stat)) <= TEXT_BYTES;
}

/** The text behind the sums. */
export function encodeTrailer(digest: Digest, { stat, table }: Trailer): Buffer {
  const trailer = Buffer.alloc(TRAILER_BYTES, '\n');
  trailer.write(` ${describe(digest, stat)}`, SUM_END);
  trailer.write(MAGIC + sumOf(table, trailer.subarray(SUM_END)).toString('hex'));
  return trailer;
}

/** What the file says, or undefined where it says nothing that is whole and of this blob and size. */
export async function readTrailer(fd: number, digest: Digest, size: number): Promise<Trailer | undefined> {
  const sumBytes = blocksOf(size) * SUM_BYTES;
  const bytes = Buffer.allocUnsafe(sumBytes + TRAILER_BYTES);
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await read(fd, bytes, done, bytes.length - done, size + done);
    if (bytesRead === 0) return undefined;
    done += bytesRead;
  }
  const trailer = bytes.subarray(sumBytes);
  const sum = sumOf(bytes.subarray(0, sumBytes), trailer.subarray(SUM_END)).toString('hex');
  if (trailer.toString('latin1', 0, SUM_END) !== MAGIC + sum) return undefined;
  const stat = parse(trailer.toString('utf8', SUM_END), digest, size);
  if (stat === undefined) return undefined;
  const table = Buffer.allocUnsafeSlow(sumBytes); // of its own: it is kept
  bytes.copy(table);
  return { stat, table };
}

function describe(digest: Digest, { size, modifiedMs, stamp }: Stat): string {
  return JSON.stringify({ digest, size, modifiedMs, stamp });
}

function parse(text: string, digest: Digest, size: number): Stat | undefined {
  try {
    const said = JSON.parse(text) as Partial<Record<'digest' | 'size' | 'modifiedMs' | 'stamp', unknown>>;
    if (said.digest !== digest || said.size !== size) return undefined;
    if (typeof said.modifiedMs !== 'number' || typeof said.stamp !== 'string') return undefined;
    return { size, modifiedMs: said.modifiedMs, stamp: said.stamp };
  } catch {
    return undefined;
  }
}
