/**
 * Where the disk tier keeps what it has, and how a file says what it is. A blob is one file: its bytes, then a trailer
 * of 512 bytes with its digest, size and what the store said of it. Names are made here only:
 *
 *   <root>/v1/blobs/<2 hex>/<alg>-<hex>.<16 hex of the key's own hash>   whole, verified, synced
 *   <root>/v1/filling/<that name>~<size>~<unique>                        being filled; counts with its whole size
 *   <root>/v1/usage                                                      sums by folder, so that a start need not look
 *
 * The modification time of a blob is when it was used last.
 */
import { hash } from 'node:crypto';
import { closeSync, fstatSync, type Stats } from 'node:fs';
import { algorithmOf, hexOf, type Digest } from '../../oci/digest.ts';
import type { Stat } from '../driver.ts';
import { open, orAbsent, read } from '../filesystem/calls.ts';

export const TRAILER_BYTES = 512;
/** What a file takes at least, and is rounded up to. */
const BLOCK_BYTES = 4096;
const MAGIC = 'umbra-disk-1 ';
const BLOB_NAME = /^sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{128})\.[0-9a-f]{16}$/;
const FILLING_NAME = /^(sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{128})\.[0-9a-f]{16})~([0-9]{1,15})~[0-9A-Za-z_-]+$/;

/** A key of the store that is worth keeping, with the digest that its bytes must have. */
export interface DiskEntry {
  readonly key: string;
  readonly digest: Digest;
  readonly name: string;
}

/** A whole blob, open for reading; the caller closes the descriptor. */
export interface OpenEntry {
  readonly fd: number;
  /** As the store said when it was filled. */
  readonly stat: Stat;
  readonly stats: Stats;
}

export function diskEntry(key: string, digest: Digest): DiskEntry {
  return { key, digest, name: `${algorithmOf(digest)}-${hexOf(digest)}.${hash('sha256', key, 'hex').slice(0, 16)}` };
}

export function isBlobName(name: string): boolean {
  return BLOB_NAME.test(name);
}

/** Of a file in `filling/`: the blob that it will be, and its size. */
export function parseFillingName(name: string): { readonly name: string; readonly size: number } | undefined {
  const [, blob, size] = FILLING_NAME.exec(name) ?? [];
  return blob === undefined ? undefined : { name: blob, size: Number(size) };
}

/** The room that a file of so many bytes takes. */
export function roomOf(fileBytes: number): number {
  return Math.ceil(fileBytes / BLOCK_BYTES) * BLOCK_BYTES;
}

export class DiskPaths {
  readonly root: string;
  /** All that is ours lies in it: a root that holds something else is left in peace. */
  readonly own: string;
  readonly filling: string;
  readonly usage: string;

  /** @param root absolute */
  constructor(root: string) {
    this.root = root;
    this.own = `${root}/v1`;
    this.filling = `${this.own}/filling`;
    this.usage = `${this.own}/usage`;
  }

  /** @param shard two hexadecimal digits */
  shard(shard: string): string {
    return `${this.own}/blobs/${shard}`;
  }

  shardOf(name: string): string {
    return this.shard(name.slice(7, 9));
  }

  blob(name: string): string {
    return `${this.shardOf(name)}/${name}`;
  }

  fill(name: string, size: number, unique: string): string {
    return `${this.filling}/${name}~${size}~${unique}`;
  }
}

/** Undefined: the store says more of the object than the trailer has room for. */
export function encodeTrailer(digest: Digest, { size, modifiedMs, stamp }: Stat): Buffer | undefined {
  const text = MAGIC + JSON.stringify({ digest, size, modifiedMs, stamp });
  if (Buffer.byteLength(text) > TRAILER_BYTES) return undefined;
  const trailer = Buffer.alloc(TRAILER_BYTES, '\n');
  trailer.write(text);
  return trailer;
}

/** What the trailer says, or undefined where it is none, or one of another blob or size. */
export function parseTrailer(trailer: Buffer, digest: Digest, size: number): Stat | undefined {
  const text = trailer.toString('utf8');
  if (!text.startsWith(MAGIC)) return undefined;
  try {
    const said = JSON.parse(text.slice(MAGIC.length)) as Partial<Record<'digest' | 'size' | 'modifiedMs' | 'stamp', unknown>>;
    if (said.digest !== digest || said.size !== size) return undefined;
    if (typeof said.modifiedMs !== 'number' || typeof said.stamp !== 'string') return undefined;
    return { size, modifiedMs: said.modifiedMs, stamp: said.stamp };
  } catch {
    return undefined;
  }
}

/** What trailers said that were read before, by path: reading them again costs a turn in the thread pool. */
export interface KnownTrailers {
  get(path: string): { readonly inode: number; readonly stat: Stat } | undefined;
  set(path: string, known: { readonly inode: number; readonly stat: Stat }): unknown;
}

/**
 * Opens a blob that is there whole. Undefined: there is none. `damaged`: there is something else in its place.
 * Rejects with the error of the system call where the disk does not give it.
 */
export async function openEntry(path: string, digest: Digest, known?: KnownTrailers): Promise<OpenEntry | 'damaged' | undefined> {
  const fd = await orAbsent(open(path, 'r'));
  if (fd === undefined) return undefined;
  let keep = false;
  try {
    const stats = fstatSync(fd); // in memory once it is open
    const size = stats.size - TRAILER_BYTES;
    if (!stats.isFile() || size < 0) return 'damaged';
    const before = known?.get(path);
    const stat = before?.inode === stats.ino && before.stat.size === size ? before.stat : await readTrailer(fd, digest, size);
    if (stat === undefined) return 'damaged';
    known?.set(path, { inode: stats.ino, stat });
    keep = true;
    return { fd, stat, stats };
  } finally {
    if (!keep) closeSync(fd);
  }
}

async function readTrailer(fd: number, digest: Digest, size: number): Promise<Stat | undefined> {
  const trailer = Buffer.allocUnsafe(TRAILER_BYTES);
  const { bytesRead } = await read(fd, trailer, 0, TRAILER_BYTES, size);
  return bytesRead === TRAILER_BYTES ? parseTrailer(trailer, digest, size) : undefined;
}
