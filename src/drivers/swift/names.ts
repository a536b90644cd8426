/**
 * Where in a container things are. Keys of the contract stand as they are behind the configured prefix, `root`; what the
 * driver keeps for itself stands under names that no such key can have, since `!` is not in their grammar, and sorts
 * before all of them:
 *
 *   <root><key>                                               an object, plain or an SLO
 *   <root>!segments/<assembly prefix>/<attempt>/<n>           bytes, see assemblies.ts
 *   <root>!segments/<assembly prefix>/<attempt>/m<n>          a manifest of up to 1000 of them, where there are more
 *   <root>!segments/<assembly prefix>/!to                     completed, or about to be: to the key that stands in it
 *   <root>!segments/<assembly prefix>/!to-<hash of key>-<n>   the same, one for each key, which is made of n objects here
 *   <root>!segments/<assembly prefix>/!discarded              given up
 *   <root>!probe/<random>                                     tries whether the container can be written, gone at once
 */
import { createHash } from 'node:crypto';
import { DriverError } from '../driver.ts';
import { MAX_KEY_LENGTH } from '../key.ts';

/** Sorts behind every internal name and before every other. */
export const BEHIND_INTERNAL = '#';
export const SEGMENTS = '!segments/';
export const PROBES = '!probe/';
/** Swift's own bound on an object's name. */
const MAX_NAME_BYTES = 1024;
/** What a root may take of it. */
export const MAX_ROOT_BYTES: number = MAX_NAME_BYTES - MAX_KEY_LENGTH;
/** What an assembly's prefix may have, so that names below it fit. */
const MAX_PREFIX_BYTES = 880;

/** @throws DriverError permanent */
export function checkRoot(root: string): void {
  if (Buffer.byteLength(root) > MAX_ROOT_BYTES) throw new DriverError('permanent', `storage.prefix is ${Buffer.byteLength(root)} bytes long: at most ${MAX_ROOT_BYTES}`);
}

/** @throws DriverError permanent */
export function checkAssemblyPrefix(prefix: string): void {
  if (prefix.length > MAX_PREFIX_BYTES) throw new DriverError('permanent', `the prefix of an assembly has ${prefix.length} bytes: at most ${MAX_PREFIX_BYTES}`);
}

/** Of everything that the driver keeps for an assembly, with the root; ends in `/`. */
export function segmentsOf(root: string, prefix: string): string {
  return `${root}${SEGMENTS}${prefix}/`;
}

/** The flag of a completion, below `segmentsOf`; `-<n>` follows. */
export function completionFlag(key: string): string {
  return `${COMPLETION}${createHash('sha256').update(key).digest('hex').slice(0, 32)}`;
}

/** Of how many objects below `segmentsOf` the completed object is made; undefined: no such flag. */
export function countOfFlag(flag: string): number | undefined {
  const [, count] = /^!to-[0-9a-f]{32}-(\d+)$/.exec(flag) ?? [];
  return count === undefined ? undefined : Number(count);
}

/** The assembly that an internal name belongs to. */
export function assemblyOf(root: string, name: string): string | undefined {
  const lead = root + SEGMENTS;
  if (!name.startsWith(lead)) return undefined;
  const parts = name.slice(lead.length).split('/');
  const below = parts.at(-1)?.startsWith('!') === true ? 1 : 2;
  return parts.length > below ? parts.slice(0, -below).join('/') : undefined;
}

/** Of any completion. */
export const POINTER = '!to';
export const COMPLETION = '!to-';
export const DISCARDED = '!discarded';
