/**
 * Which blobs on the disk this process has seen to have their digest. A blob is hashed when it is first sent, and again
 * after an hour: a disk that flips a bit fails no more than that, and hashing costs no more than once.
 */
import type { Stats } from 'node:fs';
import { LRUCache } from 'lru-cache';
import { algorithmOf, finishHash, newHash, type Algorithm, type Digest } from '../../oci/digest.ts';
import { read } from '../filesystem/calls.ts';

/** The file that was hashed, by what changes when somebody writes to it. */
interface Proof {
  readonly inode: number;
  readonly size: number;
  readonly changedMs: number;
  readonly provenMs: number;
}

/** Some 200 bytes each. */
const MAX_PROOFS = 10_000;
const GOOD_MS = 60 * 60_000;
const PIECE_BYTES = 256 * 1024;

export class Proofs {
  readonly #nowMs: () => number;
  readonly #proofs = new LRUCache<string, Proof>({ max: MAX_PROOFS });

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** @param stats of the file now */
  hold(name: string, stats: Stats): boolean {
    const proof = this.#proofs.get(name);
    if (proof === undefined || this.#nowMs() - proof.provenMs > GOOD_MS) return false;
    return proof.inode === stats.ino && proof.size === stats.size && proof.changedMs === stats.ctimeMs;
  }

  /** Its bytes were hashed. */
  add(name: string, stats: Stats, provenMs: number = this.#nowMs()): void {
    this.#proofs.set(name, { inode: stats.ino, size: stats.size, changedMs: stats.ctimeMs, provenMs });
  }

  /** Our own doing changed its times: what was proven holds on. */
  touched(name: string, before: Stats, after: Stats): void {
    if (this.hold(name, before)) this.add(name, after, this.#proofs.get(name)?.provenMs);
  }
}

/** A blob that is hashed while it is read, provided that it is read from its beginning to its end. */
export class Proving {
  readonly #digest: Digest;
  readonly #size: number;
  readonly #hash: ReturnType<typeof newHash>;
  #next = 0;

  constructor(digest: Digest, size: number) {
    this.#digest = digest;
    this.#size = size;
    this.#hash = newHash(algorithmOf(digest));
  }

  /** Bytes that are about to be given. What they end, if anything: a whole that has the digest, or one that has not and must not be given. */
  pass(bytes: Uint8Array, position: number): 'right' | 'wrong' | undefined {
    if (position !== this.#next || bytes.length === 0) return undefined;
    this.#hash.update(bytes);
    this.#next += bytes.length;
    if (this.#next < this.#size) return undefined;
    this.#next = -1;
    return finishHash(algorithmOf(this.#digest), this.#hash) === this.#digest ? 'right' : 'wrong';
  }
}

/** The digest of the first `size` bytes; undefined where the file ends before. @param pace awaited after each piece; ends it by throwing */
export async function digestOfFile(fd: number, size: number, algorithm: Algorithm, pace?: () => Promise<void>): Promise<Digest | undefined> {
  const hash = newHash(algorithm);
  const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, size));
  for (let position = 0; position < size; ) {
    const { bytesRead } = await read(fd, piece, 0, Math.min(piece.length, size - position), position);
    if (bytesRead === 0) return undefined;
    hash.update(piece.subarray(0, bytesRead));
    position += bytesRead;
    await pace?.();
  }
  return finishHash(algorithm, hash);
}
