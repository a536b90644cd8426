/**
 * The memory that bodies in flight flow through: a bounded pool of buffers for one process. Few bodies get large
 * buffers, many get small ones, and where the bound is reached they wait in turn. Knows nothing of requests.
 */
import type { Slab, SlabSupply } from '../content/intake.ts';
import type { Timers } from '../workers/timers.ts';

const KIB = 1024;
/**
 * 512 KiB is where reads and writes of the page cache stop gaining (two of them fit a core's second-level cache); below
 * 64 KiB calls cost more than copies. 16 KiB is for bodies known to be small.
 */
const SIZES = [512 * KIB, 256 * KIB, 64 * KIB, 16 * KIB] as const;
const SMALLEST_SHARE = 64 * KIB;

/** Two buffers of 256 KiB for each of 64 bodies. */

export interface BufferPoolOptions {
  /** Bound on all buffers together, handed out or kept. At least one large buffer. */
  readonly maxBytes: number;
  /** Buffers are given back to the system when there was no body for so long. */
  readonly idleMs: number;
  readonly timers: Timers;
}

/** One body's access to the pool. */
export interface PoolMember extends SlabSupply {
  readonly onContention: (() => void) | undefined;
  /** Ends the membership; buffers still out are released by whoever holds them. */
  leave(): void;
}

interface Waiter {
  readonly size: number;
  readonly resolve: (slab: Slab) => void;
}

export class BufferPool {
  readonly #options: BufferPoolOptions;
  /** Kept buffers by size; the one used last is on top, still in the processor's cache. */
  readonly #free = new Map<number, Buffer[]>(SIZES.map((size) => [size, []]));
  readonly #members = new Set<PoolMember>();
  readonly #waiting = new Set<Waiter>();
  #allocatedBytes = 0;
  #wanted = 0;
  #callOffTrim: (() => void) | undefined;

  constructor(options: BufferPoolOptions) {
    if (options.maxBytes < SIZES[0]) throw new RangeError(`a pool of ${options.maxBytes} bytes: expected at least ${SIZES[0]}`);
    this.#options = options;
  }

  /** Memory held, in bytes: handed out and kept. */
  get allocatedBytes(): number {
    return this.#allocatedBytes;
  }

  /** Whether somebody waits for a buffer. */
  get contended(): boolean {
    return this.#waiting.size > 0;
  }

  /**
   * One body begins to flow; `leave` when it ended.
   * @param wanted how many buffers it would use at once: what its share is reckoned by
   * @param onContention called when somebody begins to wait for a buffer: one only half filled should be let go
   */
  join(wanted: number, onContention?: () => void): PoolMember {
    this.#callOffTrim?.();
    this.#callOffTrim = undefined;
    this.#wanted += wanted;
    const pool = this;
    const member: PoolMember = {
      onContention,
      get contended() {
        return pool.contended;
      },
      tryTake: (atMost) => (this.contended ? undefined : this.#acquire(this.#sizeFor(atMost))),
      take: (atMost, signal) => this.#take(this.#sizeFor(atMost), signal),
      leave: () => this.#leave(member, wanted),
    };
    this.#members.add(member);
    return member;
  }

  /** Calls the timer off and gives back what is kept; buffers still out are given back as they come. */
  close(): void {
    this.#callOffTrim?.();
    this.#trim();
  }

  #leave(member: PoolMember, wanted: number): void {
    if (!this.#members.delete(member)) return;
    this.#wanted -= wanted;
    if (this.#members.size === 0) this.#callOffTrim = this.#options.timers.after(this.#options.idleMs, () => this.#trim());
  }

  /** The smallest buffer that holds `atMost` bytes, but no larger than what everybody here can have at once. */
  #sizeFor(atMost: number): number {
    const share = Math.max(this.#options.maxBytes / Math.max(1, this.#wanted), SMALLEST_SHARE);
    const affordable = SIZES.findIndex((size) => size <= share);
    let index = affordable;
    while (index + 1 < SIZES.length && (SIZES[index + 1] ?? 0) >= atMost) index++;
    return SIZES[index] ?? SMALLEST_SHARE;
  }

  #take(size: number, signal: AbortSignal | undefined): Slab | Promise<Slab> {
    signal?.throwIfAborted();
    const slab = this.contended ? undefined : this.#acquire(size);
    if (slab !== undefined) return slab;
    return new Promise((resolve, reject) => {
      const first = this.#waiting.size === 0;
      const giveUp = (): void => {
        this.#waiting.delete(waiter);
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        size,
        resolve: (given) => {
          signal?.removeEventListener('abort', giveUp);
          resolve(given);
        },
      };
      signal?.addEventListener('abort', giveUp, { once: true });
      this.#waiting.add(waiter);
      if (first) for (const member of this.#members) member.onContention?.();
    });
  }

  /** A buffer of this size, or of the next smaller one to be had within the bound. */
  #acquire(wanted: number): PooledSlab | undefined {
    for (const size of SIZES) {
      if (size > wanted) continue;
      const bytes = this.#free.get(size)?.pop() ?? this.#allocate(size);
      if (bytes !== undefined) return new PooledSlab(bytes, (slab) => this.#release(slab));
    }
    return undefined;
  }

  #allocate(size: number): Buffer | undefined {
    for (const [other, kept] of this.#free) {
      while (this.#allocatedBytes + size > this.#options.maxBytes && kept.length > 0) this.#discard(kept.pop(), other);
    }
    if (this.#allocatedBytes + size > this.#options.maxBytes) return undefined;
    this.#allocatedBytes += size;
    return Buffer.allocUnsafeSlow(size);
  }

  #release(slab: PooledSlab): void {
    this.#free.get(slab.bytes.length)?.push(slab.bytes);
    for (const waiter of this.#waiting) {
      const next = this.#acquire(waiter.size);
      if (next === undefined) return;
      this.#waiting.delete(waiter);
      waiter.resolve(next);
    }
  }

  #trim(): void {
    for (const [size, kept] of this.#free) for (const bytes of kept.splice(0)) this.#discard(bytes, size);
  }

  /** Frees the memory now: left to the garbage collector, an idle process would keep it. */
  #discard(bytes: Buffer | undefined, size: number): void {
    this.#allocatedBytes -= size;
    if (bytes?.buffer instanceof ArrayBuffer) bytes.buffer.transfer(0);
  }
}

class PooledSlab implements Slab {
  readonly bytes: Buffer;
  readonly #giveBack: (slab: PooledSlab) => void;
  #released = false;

  constructor(bytes: Buffer, giveBack: (slab: PooledSlab) => void) {
    this.bytes = bytes;
    this.#giveBack = giveBack;
  }

  release(): void {
    if (this.#released) return; // twice would give one buffer to two bodies
    this.#released = true;
    this.#giveBack(this);
  }
}
