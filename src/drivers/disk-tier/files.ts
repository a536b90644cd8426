/**
 * Where the disk tier keeps what it has. A blob is one file: its bytes, then the sums of its blocks and what else it must
 * say of itself (trailer.ts). Names are made here only:
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
import { blobBytesOf, fileBytesOf, readTrailer, type Trailer } from './trailer.ts';
import { open, orAbsent } from '../filesystem/calls.ts';

/** What a file takes at least, and is rounded up to. */
const DISK_BLOCK_BYTES = 4096;
const BLOB_NAME = /^sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{128})\.[0-9a-f]{16}$/;
const FILLING_NAME = /^(sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{128})\.[0-9a-f]{16})~([0-9]{1,15})~[0-9A-Za-z_-]+$/;

/** A key of the store that is worth keeping, with the digest that its bytes must have. */
export interface DiskEntry {
  readonly key: string;
  readonly digest: Digest;
  readonly name: string;
}

/** A whole blob, open for reading; the caller closes the descriptor. */
export interface OpenEntry extends Trailer {
  readonly fd: number;
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
  return Math.ceil(fileBytes / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES;
}

/** The room that a blob of so many bytes takes. */
export function roomOfBlob(size: number): number {
  return roomOf(fileBytesOf(size));
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

/** What trailers said that were read before, by path: reading them again costs a turn in the thread pool. */
export interface KnownTrailers {
  get(path: string): KnownTrailer | undefined;
  set(path: string, known: KnownTrailer): unknown;
}

export interface KnownTrailer extends Trailer {
  readonly inode: number;
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
    const size = blobBytesOf(stats.size);
    if (!stats.isFile() || size === undefined) return 'damaged';
    const before = known?.get(path);
    const same = before?.inode === stats.ino && before.stat.size === size;
    const trailer = same ? before : await readTrailer(fd, digest, size);
    if (trailer === undefined) return 'damaged';
    const { stat, table } = trailer;
    if (!same) known?.set(path, { inode: stats.ino, stat, table });
    keep = true;
    return { fd, stats, stat, table };
  } finally {
    if (!keep) closeSync(fd);
  }
}
