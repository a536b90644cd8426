/**
 * The memory that bytes on their way to an object store may take in this process, shared by all who write. Whoever
 * begins a segment reserves enough for the smallest one that is good to have, so that nobody who holds some waits for
 * more; those who come later wait in turn. A writer that holds memory and goes idle while others wait is told to send
 * what it has: a client that stalls costs only itself.
 */
import type { Timers } from '../../workers/timers.ts';
import { DriverError } from '../driver.ts';

export interface Holder {
  /** Milliseconds since the epoch when bytes last came. */
  readonly touchedMs: number;
  /** Sends what it holds, however little; does nothing where nothing is held back. */
  flush(): void;
}

export interface SegmentMemoryOptions {
  readonly totalBytes: number;
  readonly nowMs: () => number;
  readonly timers: Timers;
}

/** How long a holder may wait for more bytes while others wait for memory. */
const IDLE_MS = 500;
/** How long anybody waits for a turn: those who hold memory have deadlines of their own, and end before. */
const MAX_WAIT_MS = 120_000;

export class SegmentMemory {
  readonly #options: SegmentMemoryOptions;
  readonly #waiting: { readonly bytes: number; readonly resolve: () => void }[] = [];
  readonly #holders = new Set<Holder>();
  #free: number;
  #cancel: (() => void) | undefined;

  constructor(options: SegmentMemoryOptions) {
    this.#options = options;
    this.#free = options.totalBytes;
  }

  /** What one caller may ask for at most. */
  get totalBytes(): number {
    return this.#options.totalBytes;
  }

  get freeBytes(): number {
    return this.#free;
  }

  /**
   * Waits for its turn, but not for ever. Who holds a reservation must not wait for another.
   * @throws DriverError retryable, where it did not come; the signal's reason
   */
  async reserve(bytes: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const wanted = Math.min(bytes, this.totalBytes);
    if (this.#waiting.length === 0 && this.#free >= wanted) {
      this.#free -= wanted;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const place = { bytes: wanted, resolve };
    this.#waiting.push(place);
    this.#watch();
    const leave = (reason: unknown): void => {
      const at = this.#waiting.indexOf(place);
      if (at < 0) return;
      this.#waiting.splice(at, 1);
      this.#serve();
      reject(reason as Error); // as whoever waits is told
    };
    const onAbort = (): void => leave(signal?.reason);
    const late = new DriverError('retryable', `waited ${MAX_WAIT_MS / 1000} s for memory: too many uploads at once for limits.memory`, { answered: true });
    const cancel = this.#options.timers.after(MAX_WAIT_MS, () => leave(late));
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** More, where it is there and nobody waits for it. */
  tryExtend(bytes: number): boolean {
    if (this.#waiting.length > 0 || this.#free < bytes) return false;
    this.#free -= bytes;
    return true;
  }

  release(bytes: number): void {
    this.#free += Math.min(bytes, this.totalBytes);
    this.#serve();
  }

  /** From now on the holder may be told to flush. */
  hold(holder: Holder): void {
    this.#holders.add(holder);
  }

  letGo(holder: Holder): void {
    this.#holders.delete(holder);
  }

  close(): void {
    this.#cancel?.();
  }

  #serve(): void {
    for (let first = this.#waiting[0]; first !== undefined && this.#free >= first.bytes; first = this.#waiting[0]) {
      this.#waiting.shift();
      this.#free -= first.bytes;
      first.resolve();
    }
    if (this.#waiting.length > 0) return;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #watch(): void {
    this.#cancel ??= this.#options.timers.after(IDLE_MS, () => {
      this.#cancel = undefined;
      const idleSinceMs = this.#options.nowMs() - IDLE_MS;
      for (const holder of this.#holders) if (holder.touchedMs <= idleSinceMs) holder.flush();
      if (this.#waiting.length > 0) this.#watch();
    });
  }
}
