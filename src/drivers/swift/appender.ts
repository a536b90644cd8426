/**
 * One attempt at adding bytes to a Swift assembly: they are gathered in memory of a bounded size and become segments,
 * objects of their own, as they arrive. A segment is kept until Swift has said that it stands, so that it can be sent
 * again; its MD5 goes along and Swift refuses other bytes. It stands under a name that nothing was ever written to, so
 * what landed is never wrong and never changes.
 */
import { createHash, type Hash } from 'node:crypto';
import { DriverError, type Appender, type AssemblyState } from '../driver.ts';
import type { Holder, SegmentMemory } from '../object-store/segment-memory.ts';
import { segmentName, sizeOf, type Segment } from '../object-store/segments.ts';
import { INLINE_BYTES, stateOf, type Gathered } from './state.ts';
import { MIB, MIN_SEGMENT_BYTES, SEGMENTS_AT_ONCE } from './segments.ts';

export interface SwiftAppenderOptions {
  readonly memory: SegmentMemory;
  readonly blocks: Blocks;
  readonly prefix: string;
  /** Never used before. */
  readonly attempt: string;
  /** What it goes on from. */
  readonly from: Gathered;
  /** How large a segment that begins at `offset` should be. */
  readonly sizeAt: (offset: number) => number;
  /** Writes a segment, however often that takes. */
  readonly put: (segment: Segment, bytes: readonly Buffer[], signal: AbortSignal) => Promise<void>;
  /** Reads one again: a last one that is too small becomes the beginning of the next. */
  readonly read: (segment: Segment, signal: AbortSignal) => Promise<Buffer>;
  /** Removes segments that the attempt wrote; must not fail. */
  readonly remove: (names: readonly string[]) => Promise<void>;
  readonly nowMs: () => number;
  readonly onLanded?: (() => void) | undefined;
  readonly onEnd: () => void;
}

/** Memory that is used again: what the garbage collector takes its time to give back would not be bounded. */
export interface Blocks {
  take(): Buffer;
  give(block: Buffer): void;
}

export const BLOCK_BYTES: number = 256 * 1024;
/** A body that holds memory for so long while others wait for some sends what it has. */
const LONG_MS = 10_000;

/** A segment that fills. */
interface Filling {
  readonly blocks: Buffer[];
  readonly md5: Hash;
  readonly reserved: number;
  readonly sinceMs: number;
  size: number;
}

export class SwiftAppender implements Appender, Holder {
  readonly #options: SwiftAppenderOptions;
  readonly #aborting = new AbortController();
  /** Those of this attempt, by number; one that was carried over into the next is never landed. */
  readonly #segments: { readonly segment: Segment; landed: boolean; carried: boolean }[] = [];
  /** What comes before them; a beginning of `from`. */
  #base: readonly Segment[];
  #inline: Buffer;
  #writes: Promise<void> = Promise.resolve();
  #filling: Filling | undefined;
  #offset: number;
  #lastMs: number;
  #underWay = 0;
  /** So many have landed and none is missing before them. */
  #landed = 0;
  readonly #waiting: (() => void)[] = [];
  #failure: { readonly error: unknown } | undefined;
  #stage: 'open' | 'finishing' | 'ended' = 'open';

  constructor(options: SwiftAppenderOptions) {
    this.#options = options;
    this.#base = options.from.segments;
    this.#inline = options.from.inline;
    this.#offset = sizeOf(options.from.segments);
    this.#lastMs = options.nowMs();
  }

  get touchedMs(): number {
    const filling = this.#filling;
    return filling !== undefined && this.#options.nowMs() - filling.sinceMs > LONG_MS ? 0 : this.#lastMs;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#checkOpen();
    const written = this.#writes.then(() => this.#take(chunk));
    // Some of the chunk may have been taken: nothing can be told of what comes behind it.
    this.#writes = written.catch((error: unknown) => void (this.#failure ??= { error }));
    await written;
  }

  landed(): AssemblyState {
    const { prefix, from } = this.#options;
    const landed = this.#landedSegments();
    return stateOf(prefix, landed.length === 0 ? from : { segments: [...this.#base, ...landed], inline: NOTHING });
  }

  async finish(): Promise<AssemblyState> {
    this.#checkOpen();
    this.#stage = 'finishing';
    try {
      await this.#writes;
      this.#checkWhole();
      const few = this.#few();
      if (few !== undefined) return stateOf(this.#options.prefix, { segments: [], inline: few });
      this.flush();
      while (this.#underWay > 0) await this.#change();
      this.#checkWhole();
      return this.landed();
    } catch (error) {
      await this.#clear();
      throw error;
    } finally {
      this.#end();
    }
  }

  async abandon(): Promise<void> {
    if (this.#stage !== 'open') return;
    this.#stage = 'ended';
    this.#failure ??= { error: ended(this.#options.prefix) };
    this.#aborting.abort(this.#failure.error);
    await this.#clear();
    this.#end();
  }

  /** Sends what fills, however little: others wait for memory, or there is no more to come. */
  flush(): void {
    const filling = this.#filling;
    if (filling === undefined || filling.size === 0) return;
    this.#filling = undefined;
    this.#options.memory.letGo(this);
    const { blocks, md5, size, reserved } = filling;
    const held = Math.min(reserved, Math.ceil(size / MIB) * MIB);
    if (held < reserved) this.#options.memory.release(reserved - held);
    const segment = { name: segmentName(this.#options.attempt, this.#segments.length), size, etag: md5.digest('hex') };
    const entry = { segment, landed: false, carried: false };
    this.#segments.push(entry);
    this.#underWay++;
    const pieces = blocks.map((block, index) => block.subarray(0, Math.min(BLOCK_BYTES, size - index * BLOCK_BYTES)));
    void this.#options
      .put(segment, pieces, this.#aborting.signal)
      .then(
        () => void (entry.landed = true),
        (error: unknown) => void (this.#failure ??= { error }),
      )
      .finally(() => {
        for (const block of blocks) this.#options.blocks.give(block);
        this.#options.memory.release(held);
        this.#underWay--;
        for (const wake of this.#waiting.splice(0)) wake();
        const landed = this.#segments.findIndex((other) => !other.landed);
        const before = this.#landed;
        this.#landed = landed < 0 ? this.#segments.length : landed;
        if (this.#landed > before && this.#stage !== 'ended') this.#options.onLanded?.();
      });
  }

  async #take(chunk: Uint8Array): Promise<void> {
    this.#checkWhole();
    this.#lastMs = this.#options.nowMs();
    for (let offset = 0; offset < chunk.length; ) {
      // Others may have it flushed whenever this waits.
      const filling = this.#filling ?? (await this.#begin());
      offset += this.#copy(filling, chunk, offset);
      if (filling.size === filling.reserved) this.flush();
    }
  }

  /** As much as fits; returns how much. */
  #copy(filling: Filling, chunk: Uint8Array, offset: number): number {
    let at = offset;
    while (at < chunk.length && filling.size < filling.reserved) {
      const inBlock = filling.size % BLOCK_BYTES;
      if (inBlock === 0) filling.blocks.push(this.#options.blocks.take());
      const piece = chunk.subarray(at, at + Math.min(BLOCK_BYTES - inBlock, filling.reserved - filling.size));
      filling.blocks.at(-1)?.set(piece, inBlock);
      filling.md5.update(piece);
      filling.size += piece.length;
      this.#offset += piece.length;
      at += piece.length;
    }
    return at - offset;
  }

  async #begin(): Promise<Filling> {
    const { memory, sizeAt, nowMs } = this.#options;
    while (this.#underWay >= SEGMENTS_AT_ONCE - 1) await this.#change();
    const carried = await this.#carryOver();
    this.#checkWhole();
    const reserved = Math.max(sizeAt(this.#offset), MIN_SEGMENT_BYTES);
    await memory.reserve(reserved, this.#aborting.signal);
    if (this.#failure !== undefined) {
      memory.release(reserved);
      throw this.#failure.error;
    }
    const filling: Filling = { blocks: [], md5: createHash('md5'), reserved, sinceMs: nowMs(), size: 0 };
    this.#filling = filling;
    memory.hold(this);
    this.#copy(filling, carried, 0);
    return filling;
  }

  /** The bytes before the next segment that are too few for one of their own; less than the smallest segment has. */
  async #carryOver(): Promise<Buffer> {
    const inline = this.#inline;
    this.#inline = NOTHING;
    if (inline.length > 0) return inline;
    const own = this.#segments.findLast(({ carried }) => !carried);
    const last = own?.segment ?? this.#base.at(-1);
    if (last === undefined || last.size >= MIN_SEGMENT_BYTES) return NOTHING;
    while (own?.landed === false) {
      this.#checkWhole();
      await this.#change();
    }
    const bytes = await this.#options.read(last, this.#aborting.signal);
    if (own === undefined) this.#base = this.#base.slice(0, -1);
    else own.carried = true;
    this.#offset -= last.size;
    return bytes;
  }

  /** All there is, where that is few and none of it a segment. */
  #few(): Buffer | undefined {
    if (this.#segments.length > 0 || this.#base.length > 0) return undefined;
    const filling = this.#filling;
    if (filling === undefined) return this.#inline;
    if (filling.size > INLINE_BYTES) return undefined;
    const few = Buffer.from(filling.blocks[0]?.subarray(0, filling.size) ?? NOTHING);
    this.#drop();
    return few;
  }

  /** In order, up to the first that has not landed; while one is carried over into the next, from before it. */
  #landedSegments(): Segment[] {
    const landed: Segment[] = [];
    for (const [index, entry] of this.#segments.entries()) {
      if (!entry.landed) break;
      // Its bytes are in the one behind it, once that has landed.
      if (!entry.carried || this.#segments[index + 1]?.landed !== true) landed.push(entry.segment);
    }
    return landed;
  }

  async #clear(): Promise<void> {
    this.#drop();
    while (this.#underWay > 0) await this.#change();
    await this.#options.remove(this.#segments.map(({ segment }) => segment.name));
  }

  #drop(): void {
    const filling = this.#filling;
    if (filling === undefined) return;
    this.#filling = undefined;
    this.#options.memory.letGo(this);
    this.#options.memory.release(filling.reserved);
    for (const block of filling.blocks) this.#options.blocks.give(block);
  }

  #end(): void {
    this.#stage = 'ended';
    this.#options.onEnd();
  }

  async #change(): Promise<void> {
    await new Promise<void>((resolve) => void this.#waiting.push(resolve));
  }

  #checkOpen(): void {
    if (this.#stage !== 'open') throw ended(this.#options.prefix);
  }

  #checkWhole(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

const NOTHING = Buffer.alloc(0);

/** @param most kept for later use */
export function blockPool(most: number): Blocks {
  const free: Buffer[] = [];
  return {
    take: () => free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES),
    give: (block) => {
      if (free.length < most) free.push(block);
    },
  };
}

function ended(prefix: string): DriverError {
  return new DriverError('permanent', `the attempt on ${prefix} has ended`);
}
