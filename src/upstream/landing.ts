/**
 * The leader's bytes between network and store: each chunk goes to the store as it comes, is hashed once it has landed,
 * and is kept a while for readers at the head, who are so spared a read. Nothing is copied. Bounded: `add` waits for
 * the store, never for a reader.
 */
import type { Hash } from 'node:crypto';
import type { Appender, AssemblyState } from '../drivers/driver.ts';
import type { Memory } from './growing.ts';

export interface LandingOptions {
  readonly appender: Appender;
  readonly hash: Hash;
  /** How many bytes may be held in memory now, landed ones included. */
  readonly windowBytes: () => number;
  /** More has come or landed; at most once per turn of the event loop. */
  readonly moved: () => void;
  /** The store refused bytes: no more need come. */
  readonly refused: (error: LandingError) => void;
}

/** The store's refusal of bytes, as `cause`. */
export class LandingError extends Error {
  override readonly name = 'LandingError';
}

interface Piece {
  readonly start: number;
  readonly bytes: Buffer;
  written: boolean;
}

/** Held at once: an upstream that sends byte by byte must not fill memory with what surrounds a byte. */
const MAX_PIECES = 128;

export class Landing implements Memory {
  /** Of exactly the first `landed` bytes. */
  readonly hash: Hash;
  head = 0;
  landed = 0;
  /** What can be opened to read `readable` bytes, where that is not the state that the appender began from. */
  standing: AssemblyState | undefined;
  readonly #options: LandingOptions;
  /** Those that landed first. */
  #pieces: Piece[] = [];
  /** How many of them have landed. */
  #landedPieces = 0;
  #writing = 0;
  #failure: LandingError | undefined;
  #ticking = false;
  #wake = (): void => undefined;

  constructor(options: LandingOptions) {
    this.hash = options.hash;
    this.#options = options;
    // Asked for when it changes only: of many segments it is long.
    this.standing = options.appender.landed?.();
  }

  get from(): number {
    return this.#pieces[0]?.start ?? this.head;
  }

  at(position: number): Buffer | undefined {
    let low = 0;
    let high = this.#pieces.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const piece = this.#pieces[middle];
      if (piece !== undefined && piece.start + piece.bytes.length <= position) low = middle + 1;
      else high = middle;
    }
    const piece = this.#pieces[low];
    return piece === undefined || position < piece.start ? undefined : piece.bytes.subarray(position - piece.start);
  }

  /** The hash of all that came, landed or not. */
  hashOfAll(): Hash {
    const hash = this.hash.copy();
    for (const { bytes } of this.#pieces.slice(this.#landedPieces)) hash.update(bytes);
    return hash;
  }

  /** How many bytes can be read from the store: all that landed, or on an object store those of whole segments. */
  get readable(): number {
    return Math.min(this.landed, this.standing?.offset ?? this.landed);
  }

  /** The store made more of what landed readable. */
  storeMoved(): void {
    this.standing = this.#options.appender.landed?.();
    this.#tick();
  }

  /** Takes the chunk, which must never change. Resolves when more may come. @throws LandingError */
  async add(chunk: Buffer): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const piece: Piece = { start: this.head, bytes: chunk, written: false };
    this.#pieces.push(piece);
    this.head += chunk.length;
    this.#writing += 1;
    this.#options.appender.write(chunk).then(
      () => {
        this.#writing -= 1;
        piece.written = true;
        this.#land();
      },
      (error: unknown) => {
        this.#writing -= 1;
        this.#refuse(error);
      },
    );
    this.#tick();
    while (this.#isBehind()) await this.#progress();
  }

  /** Resolves when everything has landed and is hashed. @throws LandingError */
  async end(): Promise<void> {
    while (this.landed < this.head) await this.#progress();
  }

  /** Resolves when the store is done with what it was given, well or not: from then on `landed` stays as it is. */
  async settled(): Promise<void> {
    while (this.#writing > 0) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  /** Half of what may be held waits for the store at most, so that readers find the other half. */
  #isBehind(): boolean {
    return (this.head - this.landed) * 2 > this.#options.windowBytes() || (this.#pieces.length - this.#landedPieces) * 2 > MAX_PIECES;
  }

  #land(): void {
    for (let next = this.#pieces[this.#landedPieces]; next?.written === true; next = this.#pieces[this.#landedPieces]) {
      this.hash.update(next.bytes);
      this.landed += next.bytes.length;
      this.#landedPieces += 1;
    }
    this.#letGo();
    this.#tick();
    this.#wake();
  }

  #refuse(error: unknown): void {
    if (this.#failure === undefined) {
      this.#failure = new LandingError('the store refused bytes', { cause: error });
      this.#options.refused(this.#failure);
    }
    this.#wake();
  }

  #letGo(): void {
    const windowBytes = this.#options.windowBytes();
    let gone = 0;
    for (const { start } of this.#pieces) {
      if (gone === this.#landedPieces || (this.head - start <= windowBytes && this.#pieces.length - gone <= MAX_PIECES)) break;
      gone += 1;
    }
    this.#pieces = gone === 0 ? this.#pieces : this.#pieces.slice(gone);
    this.#landedPieces -= gone;
  }

  async #progress(): Promise<void> {
    if (this.#failure === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Readers are woken once for all that a turn of the event loop brought. */
  #tick(): void {
    if (this.#ticking) return;
    this.#ticking = true;
    setImmediate(() => {
      this.#ticking = false;
      this.#options.moved();
    });
  }
}
