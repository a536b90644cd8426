/**
 * An open source that several readers use at once: opened once, and read once for all who are at about the same place,
 * as those are who follow a fill.
 */
import type { Source } from '../drivers/driver.ts';

/** There is nothing to read where the bytes were announced. */
export class SourceMoved extends Error {
  override readonly name = 'SourceMoved';
}

type Read = NonNullable<Source['read']>;

interface Piece {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  readonly bytes: Promise<Buffer>;
}

const PIECE_BYTES = 256 * 1024;
/** Kept for whoever comes next, besides one being sent and one being read for each holder. */
const SPARE_PIECES = 4;

export class SharedSource {
  #opened: Promise<Source | undefined>;
  /** Those that were renewed: streams of them may be under way. */
  #before: Promise<Source | undefined>[] = [];
  #holders = 1;
  /** Those used last stand last. */
  #pieces: Piece[] = [];

  constructor(opened: Promise<Source | undefined>) {
    this.#opened = opened;
    // Whoever reads hears of a failure to open; nobody has to.
    opened.catch(() => undefined);
  }

  /** Undefined where there is nothing to open. */
  get opened(): Promise<Source | undefined> {
    return this.#opened;
  }

  /** The same bytes, and more of them, as a store that knows only whole pieces shows them by now. */
  renew(opened: Promise<Source | undefined>): void {
    opened.catch(() => undefined);
    this.#before.push(this.#opened);
    this.#opened = opened;
    if (this.#holders <= 0) this.#close();
  }

  /** Whoever holds it releases it; the last one closes. */
  hold(): void {
    this.#holders += 1;
  }

  release(): void {
    this.#holders -= 1;
    this.#trim();
    if (this.#holders > 0) return;
    this.#close();
  }

  #close(): void {
    // Reading is over: that closing failed changes nothing for anybody.
    for (const opened of [...this.#before.splice(0), this.#opened]) opened.then(async (source) => source?.close()).catch(() => undefined);
  }

  /**
   * The bytes from `start` to `end` (exclusive), which must have landed. They are shared: nobody may change them.
   * @throws SourceMoved where there was nothing to open; what reading failed with
   */
  async *stream(start: number, end: number, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
    if (start >= end) return;
    const source = await this.opened;
    if (source === undefined) throw new SourceMoved('the bytes went elsewhere before they were opened');
    if (source.read === undefined) return yield* source.stream({ start, end: end - 1 }, { signal });
    const read = source.read.bind(source);
    for (let position = start; position < end; ) {
      signal.throwIfAborted();
      const piece = this.#piece(read, position, end);
      const bytes = await piece.bytes;
      // The next one is under way while this one is sent.
      if (piece.end < end) this.#piece(read, piece.end, end);
      const wanted = bytes.subarray(position - piece.start, end - piece.start);
      position += wanted.length;
      yield wanted;
    }
  }

  #piece(read: Read, position: number, end: number): Piece {
    const index = this.#pieces.findLastIndex((piece) => position >= piece.start && position < piece.end);
    const [known] = index < 0 ? [] : this.#pieces.splice(index, 1);
    const piece = known ?? this.#begin(read, position, Math.min(end, position + PIECE_BYTES));
    this.#pieces.push(piece);
    this.#trim();
    return piece;
  }

  #begin(read: Read, start: number, end: number): Piece {
    const piece: Piece = { start, end, bytes: readAll(read, start, end) };
    // Whoever waits for it hears of it; the next one reads again.
    piece.bytes.catch(() => (this.#pieces = this.#pieces.filter((other) => other !== piece)));
    return piece;
  }

  #trim(): void {
    const most = this.#holders === 0 ? 0 : SPARE_PIECES + 2 * this.#holders;
    if (this.#pieces.length > most) this.#pieces.splice(0, this.#pieces.length - most);
  }
}

async function readAll(read: Read, start: number, end: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(end - start);
  let filled = 0;
  while (filled < bytes.length) {
    const count = await read(bytes.subarray(filled), start + filled);
    if (count === 0) throw new Error(`the store has ${start + filled} bytes where ${end} had landed`);
    filled += count;
  }
  return bytes;
}
