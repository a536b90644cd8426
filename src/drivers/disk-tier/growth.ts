/** What readers follow while a blob comes to the disk, be it this process that fills or another one. */
import { closeSync } from 'node:fs';
import type { Timers } from '../../workers/timers.ts';
import { readChecked, type Checked, type ReadFile } from './checked.ts';
import { BLOCK_BYTES } from './sums.ts';
import { read } from '../filesystem/calls.ts';

const CHUNK_BYTES = 4 * BLOCK_BYTES;

export interface Growth {
  /** How many bytes, from the beginning, may be read. The last one only when the digest was right. */
  readonly landed: number;
  /**
   * Waits until bytes behind `position` have landed; how many have, from the beginning. Undefined: none will, or none
   * came for a while: whoever reads goes to the store.
   * @throws DriverError retryable where the store gave bytes that do not have the digest: they must not be completed
   */
  reach(position: number, signal: AbortSignal | undefined): Promise<number | undefined>;
  /**
   * Bytes that landed, from `position` to `end` (exclusive) or fewer, at least one. They are shared: nobody may change
   * them. Rejects, or is empty, where the disk does not give them, or gives others.
   */
  chunk(position: number, end: number): Promise<Buffer>;
  /** Whoever follows says so, and leaves. */
  follow(): void;
  leave(): void;
}

/** An open file with several users; the last one closes it. */
export class SharedFile {
  readonly fd: number;
  #holders = 1;

  constructor(fd: number) {
    this.fd = fd;
  }

  hold(): void {
    this.#holders++;
  }

  /** Only when one's own reads and writes have ended. */
  release(): void {
    this.#holders--;
    if (this.#holders === 0) closeSync(this.fd);
  }

  readonly read: ReadFile = async (into, position) => (await read(this.fd, into, 0, into.length, position)).bytesRead;

  /** As `Growth.chunk`; of bytes whose blocks stand in the file, and have their sums. */
  async chunk(blob: Checked, position: number, end: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafeSlow(Math.max(0, Math.min(CHUNK_BYTES - (position % BLOCK_BYTES), end - position)));
    return bytes.subarray(0, await readChecked(blob, this.read, bytes, position));
  }
}

/** Those who wait for the next step of something. */
export class Steps {
  readonly #timers: Timers;
  #waiting = new Set<(stepped: boolean) => void>();

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Something happened: everybody looks again. */
  step(): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const wake of waiting) wake(true);
  }

  /** Waits for the next step; false where none came within `patienceMs`. Rejects where the signal aborts. */
  async next(patienceMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    signal?.throwIfAborted();
    let wake: (stepped: boolean) => void = () => undefined;
    const waited = new Promise<boolean>((resolve) => (wake = resolve));
    this.#waiting.add(wake);
    const cancel = this.#timers.after(patienceMs, () => wake(false));
    const left = (): void => wake(false);
    signal?.addEventListener('abort', left, { once: true });
    try {
      const stepped = await waited;
      signal?.throwIfAborted();
      return stepped;
    } finally {
      cancel();
      signal?.removeEventListener('abort', left);
      this.#waiting.delete(wake);
    }
  }
}
