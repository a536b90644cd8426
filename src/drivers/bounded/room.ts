/** What a value takes of a disk: files go in blocks, and an empty one is counted as one for its name. */
export const MIN_ROOM_BYTES = 4096;

export function roomOf(size: number): number {
  return Math.max(1, Math.ceil(size / MIN_ROOM_BYTES)) * MIN_ROOM_BYTES;
}
