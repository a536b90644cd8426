/**
 * How large segments are, and how they become manifests. Swift takes 1000 segments a manifest, which may be manifests
 * themselves, and serves those under 1 MiB slowly (`rate_limit_under_size`): only the last may be smaller.
 */
export const MIB: number = 1024 * 1024;
export const MIN_SEGMENT_BYTES: number = MIB;
/** Large enough that a request for each costs a few percent, small enough that several are under way in bounded memory. */
const GOOD_SEGMENT_BYTES = 16 * MIB;
/** Segments of one attempt in memory at once: one that fills, the others on their way. */
export const SEGMENTS_AT_ONCE = 4;

export interface SizeOptions {
  /** Where the segment begins in the blob. */
  readonly offset: number;
  /** What the operator allows one segment. */
  readonly segmentBytes: number;
  /** Of this process, for all segments on their way. */
  readonly memoryBytes: number;
  /** Attempts that share it. */
  readonly attempts: number;
}

/**
 * The size that the next segment should have: more the further a blob goes, since Swift looks at each before it takes the
 * manifest and few blobs should need nested ones, and as much as the memory gives each attempt. Where many share it one segment fills while another is on its way.
 */
export function segmentSize({ offset, segmentBytes, memoryBytes, attempts }: SizeOptions): number {
  const wanted = Math.max(GOOD_SEGMENT_BYTES, Math.ceil(offset / 8 / MIB) * MIB);
  const share = memoryBytes / attempts;
  const fitting = Math.floor(share / (share >= SEGMENTS_AT_ONCE * GOOD_SEGMENT_BYTES ? SEGMENTS_AT_ONCE : 2) / MIB) * MIB;
  return Math.max(MIN_SEGMENT_BYTES, Math.min(wanted, fitting, segmentBytes));
}

/** A manifest of these: indexes into a list, the end exclusive. */
export interface Group {
  readonly start: number;
  readonly end: number;
}

/**
 * The levels of manifests over `count` segments, from the lowest; each groups what is below it. None where one manifest
 * can have them all.
 */
export function manifestLevels(count: number, most: number): readonly (readonly Group[])[] {
  const levels: Group[][] = [];
  for (let below = count; below > most; ) {
    const groups = Array.from({ length: Math.ceil(below / most) }, (_, index) => ({ start: index * most, end: Math.min(below, (index + 1) * most) }));
    levels.push(groups);
    below = groups.length;
  }
  return levels;
}
