/** What an S3 store says of an object, in the words of the contract. */
import type { Stat } from '../driver.ts';

/**
 * The time is to the second, as headers have it; listings of some stores have more, which would make another stat of the
 * same object. The ETag is the stamp: that of other bytes differs.
 */
export function s3Stat(size: number | undefined, modified: Date | undefined, etag: string | undefined): Stat {
  return { size: size ?? 0, modifiedMs: Math.floor((modified?.getTime() ?? 0) / 1000) * 1000, stamp: unquoted(etag) };
}

/** ETags stand in quotes, or not, as the store and the call have it. */
export function unquoted(etag: string | undefined): string {
  return (etag ?? '').replaceAll('"', '');
}
