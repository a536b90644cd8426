/**
 * Where in a bucket things are. Keys of the contract stand as they are behind the configured prefix, `root`; what the
 * driver keeps for itself stands under names that no such key can have, since `!` is not in their grammar:
 *
 *   <root><key>                                     an object
 *   <root>!parts/<assembly prefix>/<attempt>/<n>    bytes of an upload in progress, see assemblies.ts
 *   <root>!probe/<random>                           tries whether the store can be written, gone at once
 */

/** Sorts behind every internal key and before every other. */
export const BEHIND_INTERNAL = '#';
export const PARTS = '!parts/';
export const PROBES = '!probe/';

/** Of an assembly, relative to the root; ends in `/`. */
export function partsOf(prefix: string): string {
  return `${PARTS}${prefix}/`;
}

/** As the header x-amz-copy-source has it. */
export function copySource(bucket: string, key: string): string {
  return `${bucket}/${key.split('/').map(encodeURIComponent).join('/')}`;
}
