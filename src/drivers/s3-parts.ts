/**
 * How segments become the parts of a multipart upload. A part must have 5 MiB, all but the last, and there are 10 000 of
 * them at most: a segment that is large enough is copied as it stands, what is too small is gathered with what follows.
 */
import type { ByteRange } from './driver.ts';

export const MIB: number = 1024 * 1024;
/** AWS, "Amazon S3 multipart upload limits". */
export const MIN_PART_BYTES: number = 5 * MIB;
export const MAX_PARTS = 10_000;

/** Of a segment: which, and which of its bytes. */
export interface Slice {
  readonly segment: number;
  readonly range: ByteRange;
}

/** One slice that is a whole segment is copied by the store; any other part is read and written again. */
export interface Part {
  readonly size: number;
  readonly slices: readonly Slice[];
  readonly copied: boolean;
}

/** The size that the next segment should have: what `maxBytes` of memory allow, and more the further it goes, so that parts suffice. */
export function segmentBytesAt(offset: number, maxBytes: number): number {
  const grown = Math.ceil(offset / 4_000 / MIB) * MIB;
  return Math.max(MIN_PART_BYTES, Math.min(Math.max(8 * MIB, grown), Math.floor(maxBytes / 2 / MIB) * MIB));
}

/** @param sizes of the segments, each more than 0 */
export function planParts(sizes: readonly number[]): Part[] {
  const parts = planOf(sizes, MIN_PART_BYTES);
  if (parts.length <= MAX_PARTS) return parts;
  const total = sizes.reduce((sum, size) => sum + size, 0);
  return planOf(sizes, Math.ceil(total / (MAX_PARTS - 1)));
}

/** @param least what a part must have; one that is a whole segment may have any more, another less than twice as much */
function planOf(sizes: readonly number[], least: number): Part[] {
  const parts: Part[] = [];
  let slices: Slice[] = [];
  let gathered = 0;
  const end = (): void => {
    if (slices.length > 0) parts.push({ size: gathered, slices, copied: false });
    slices = [];
    gathered = 0;
  };
  const take = (segment: number, start: number, size: number): void => {
    slices.push({ segment, range: { start, end: start + size - 1 } });
    gathered += size;
    if (gathered >= least) end();
  };
  for (const [segment, size] of sizes.entries()) {
    const last = segment === sizes.length - 1;
    if (gathered === 0 && (size >= least || last)) {
      parts.push({ size, slices: [{ segment, range: { start: 0, end: size - 1 } }], copied: true });
      continue;
    }
    const missing = least - gathered;
    // What is left of a large segment is gathered on: only what stands for itself can be copied and its ETag compared.
    if (gathered + size < 2 * least) take(segment, 0, size);
    else {
      take(segment, 0, missing);
      for (let start = missing; start < size; start += least) take(segment, start, Math.min(least, size - start));
    }
  }
  end();
  return parts;
}
