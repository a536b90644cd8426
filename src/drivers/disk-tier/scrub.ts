/** Looks a second time at what is on the disk: hashes one blob after the other, slowly, in the background. */
import { closeSync } from 'node:fs';
import { algorithmOf, finishHash, newHash, type Algorithm, type Digest } from '../../oci/digest.ts';
import type { Timers } from '../../workers/timers.ts';
import { openEntry, type DiskEntry, type DiskPaths } from './files.ts';
import { read } from '../filesystem/calls.ts';

const PIECE_BYTES = 256 * 1024;
/** Between two pieces: 32 MiB a second at most. */
const PAUSE_MS = 8;

export interface ScrubOptions {
  readonly paths: DiskPaths;
  readonly timers: Timers;
  /** The bytes of the blob are not those of its digest. */
  readonly bad: (entry: DiskEntry, why: string) => Promise<void>;
}

export class DiskScrub {
  readonly #options: ScrubOptions;
  #running: Promise<void> | undefined;
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(options: ScrubOptions) {
    this.#options = options;
  }

  /** Begins to look at the blob, unless another is being looked at. */
  look(entry: DiskEntry): void {
    if (this.#running !== undefined || this.#closed) return;
    this.#running = this.#look(entry)
      .catch(() => undefined) // a disk that cannot be read shows at the next open
      .finally(() => (this.#running = undefined));
  }

  async idle(): Promise<void> {
    await this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake?.();
    await this.#running;
  }

  async #look(entry: DiskEntry): Promise<void> {
    const { paths, bad } = this.#options;
    const opened = await openEntry(paths.blob(entry.name), entry.digest);
    if (opened === undefined || opened === 'damaged') return; // the next open says so
    const { fd, stat } = opened;
    try {
      const found = await digestOfFile(fd, stat.size, algorithmOf(entry.digest), () => this.#pause());
      if (found !== entry.digest) await bad(entry, found === undefined ? 'it ends early' : 'its bytes do not have its digest');
    } finally {
      closeSync(fd);
    }
  }

  async #pause(): Promise<void> {
    await new Promise<void>((resolve) => {
      if (this.#closed) return resolve();
      const cancel = this.#options.timers.after(PAUSE_MS, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
    this.#wake = undefined;
    if (this.#closed) throw new Error('the disk tier is closed');
  }
}

/** The digest of the first `size` bytes; undefined where the file ends before. @param pace awaited after each piece; ends it by throwing */
async function digestOfFile(fd: number, size: number, algorithm: Algorithm, pace: () => Promise<void>): Promise<Digest | undefined> {
  const hash = newHash(algorithm);
  const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, size));
  for (let position = 0; position < size; ) {
    const { bytesRead } = await read(fd, piece, 0, Math.min(piece.length, size - position), position);
    if (bytesRead === 0) return undefined;
    hash.update(piece.subarray(0, bytesRead));
    position += bytesRead;
    await pace();
  }
  return finishHash(algorithm, hash);
}
