/**
 * How segments become the parts of a multipart upload. A part must have 5 MiB, all but the last, and there are 10 000 of
 * them at most: a segment that is large enough is copied as it stands, what is too small is gathered with what follows.
 */
import type { ByteRange } from '../driver.ts';

export const MIB: number = 1024 * 1024;
/** AWS, "Amazon S3 multipart upload limits". */
export const MIN_PART_BYTES: number = 5 * MIB;
export const MAX_PARTS = 10_000;

/** Of a segment: which, and which of its bytes. */
export interface Slice {
  readonly segment: number;
  readonly range: ByteRange;
}

/** One slice that is large enough is copied by the store; any other part is read and written again. */
export interface Part {
  readonly size: number;
  readonly slices: readonly Slice[];
  readonly copied: boolean;
}

/** The most that is copied as one part: AWS copies parts beside each other faster than one large part, and takes 5 GiB at most. */
const COPIED_BYTES: number = 256 * MIB;

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

/** @param least what a part must have; one that is copied may have more, another less than twice as much */
function planOf(sizes: readonly number[], least: number): Part[] {
  const parts: Part[] = [];
  let slices: Slice[] = [];
  let gathered = 0;
  const end = (): void => {
    if (slices.length > 0) parts.push({ size: gathered, slices, copied: false });
    slices = [];
    gathered = 0;
  };
  const gather = (segment: number, start: number, size: number): void => {
    slices.push({ segment, range: { start, end: start + size - 1 } });
    gathered += size;
    if (gathered >= least) end();
  };
  const copy = (segment: number, start: number, size: number): void => {
    const count = Math.ceil(size / Math.max(COPIED_BYTES, least));
    const each = Math.ceil(size / count);
    for (let from = start; from < start + size; from += each) {
      const to = Math.min(from + each, start + size) - 1;
      parts.push({ size: to + 1 - from, slices: [{ segment, range: { start: from, end: to } }], copied: true });
    }
  };
  for (const [segment, size] of sizes.entries()) {
    // Of a large segment, no more is gathered than what is missing before it.
    const missing = gathered === 0 ? 0 : least - gathered;
    const enough = segment === sizes.length - 1 ? missing + 1 : missing + least;
    if (size < enough) gather(segment, 0, size);
    else {
      if (missing > 0) gather(segment, 0, missing);
      copy(segment, missing, size - missing);
    }
  }
  end();
  return parts;
}
