/**
 * One attempt at adding bytes to an S3 assembly: they are gathered in memory of a bounded size and leave it as they
 * arrive. Where somebody follows, each gathering becomes a segment, an object that can be read at once; else they become
 * parts of one object. Keys are never written twice, and the MD5 of all that is sent is checked by the store and by us:
 * what landed is never wrong and never changes.
 */
import { createHash, type Hash } from 'node:crypto';
import { Readable } from 'node:stream';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { DriverError, type Appender, type AssemblyState } from '../driver.ts';
import type { S3Calls } from './client.ts';
import { partsOf } from './keys.ts';
import type { S3Objects } from './objects.ts';
import { MIB, MIN_PART_BYTES, segmentBytesAt } from './parts.ts';
import { S3Run } from './run.ts';
import { unquoted } from './stat.ts';
import { segmentName, sizeOf, type Segment } from '../object-store/segments.ts';
import { s3State } from './state.ts';
import type { Holder, SegmentMemory } from '../object-store/segment-memory.ts';

export interface S3AppenderOptions {
  readonly calls: S3Calls;
  readonly objects: S3Objects;
  readonly memory: SegmentMemory;
  readonly root: string;
  readonly prefix: string;
  /** Never used before. */
  readonly attempt: string;
  /** What it goes on from. */
  readonly from: readonly Segment[];
  /** Reads segments again: a last one that is too small becomes the beginning of the next. */
  readonly read: (segments: readonly Segment[]) => Promise<Buffer>;
  /** Whether this store's ETags of plain objects are their MD5. */
  readonly etagIsMd5: boolean;
  /** Removes what the attempt wrote; must not fail. */
  readonly remove: (keys: readonly string[]) => Promise<void>;
  readonly nowMs: () => number;
  /** Somebody follows: bytes are to be readable soon. */
  readonly onLanded?: (() => void) | undefined;
}

/** A last segment below this is carried over, so that many small requests do not make a long state. */
const CARRIED_BYTES = MIB;
/** Segments of one attempt under way at once. */
const MAX_UNDER_WAY = 3;
const PUT_MS = 120_000;
/** An object is ended at this, so that it can be copied in one call (5 GiB) and Swift's s3api has parts enough (1000). */
const RUN_BYTES = 4096 * MIB;

/** A segment that fills. */
interface Filling {
  readonly blocks: Buffer[];
  readonly md5: Hash;
  readonly targetBytes: number;
  size: number;
  reserved: number;
}

export class S3Appender implements Appender, Holder {
  touchedMs: number;
  readonly #options: S3AppenderOptions;
  readonly #aborting = new AbortController();
  /** By number. */
  readonly #segments: (Segment | undefined)[] = [];
  /** What comes before the first segment of this attempt. */
  #base: readonly Segment[];
  #writes: Promise<void> = Promise.resolve();
  /** Where nobody follows: the object that the next bytes belong to, and its number. */
  #run: { readonly run: S3Run; readonly number: number } | undefined;
  #filling: Filling | undefined;
  #filled: number;
  #underWay = 0;
  readonly #waiting: (() => void)[] = [];
  #failure: { readonly error: unknown } | undefined;
  #stage: 'open' | 'finishing' | 'ended' = 'open';

  constructor(options: S3AppenderOptions) {
    this.#options = options;
    this.#base = options.from;
    this.#filled = sizeOf(options.from);
    this.touchedMs = options.nowMs();
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
    return s3State(prefix, landed.length === 0 ? from : [...this.#base, ...landed]);
  }

  async finish(): Promise<AssemblyState> {
    this.#checkOpen();
    this.#stage = 'finishing';
    try {
      await this.#writes;
      this.#send(true);
      this.#endRun();
      while (this.#underWay > 0) await this.#change();
      this.#checkWhole();
      return this.landed();
    } catch (error) {
      await this.#clear();
      throw error;
    } finally {
      this.#stage = 'ended';
    }
  }

  async abandon(): Promise<void> {
    if (this.#stage !== 'open') return;
    this.#stage = 'ended';
    this.#failure ??= { error: ended(this.#options.prefix) };
    await this.#clear();
  }

  flush(): void {
    this.#send(false);
  }

  #send(last: boolean): void {
    const filling = this.#filling;
    if (filling === undefined || filling.size === 0) return;
    this.#filling = undefined;
    this.#options.memory.letGo(this);
    const held = Math.min(Math.ceil(filling.size / MIB) * MIB, filling.reserved);
    if (held < filling.reserved) this.#options.memory.release(filling.reserved - held);
    const sending = this.#sendTo(last, filling);
    this.#count(sending.finally(() => this.#options.memory.release(held)));
  }

  #sendTo(last: boolean, filling: Filling): Promise<void> {
    const { blocks, size, md5 } = filling;
    const pieces = blocks.map((block, index) => block.subarray(0, Math.min(block.length, size - index * MIB)));
    if (this.#run === undefined && (this.#options.onLanded !== undefined || last || size < MIN_PART_BYTES)) {
      return this.#put(this.#segments.push(undefined) - 1, pieces, size, md5.digest());
    }
    const { run } = (this.#run ??= this.#beginRun());
    const sent = run.put(pieces, size, md5.digest());
    // Only the last part may be small.
    if (size < MIN_PART_BYTES || run.size >= RUN_BYTES) this.#endRun();
    return sent;
  }

  #beginRun(): { readonly run: S3Run; readonly number: number } {
    const { calls, objects, root, prefix, attempt, etagIsMd5 } = this.#options;
    const number = this.#segments.push(undefined) - 1;
    const key = partsOf(prefix) + segmentName(attempt, number);
    return { number, run: new S3Run({ calls, objects, root, key, etagIsMd5, signal: this.#aborting.signal }) };
  }

  #endRun(): void {
    const ending = this.#run;
    if (ending === undefined) return;
    this.#run = undefined;
    const { run, number } = ending;
    const name = segmentName(this.#options.attempt, number);
    const complete = async (): Promise<void> => {
      try {
        this.#segments[number] = { name, etag: await run.complete(), size: run.size };
      } catch (error) {
        await run.abandon();
        throw error;
      }
    };
    this.#count(complete());
  }

  /** Keeps count of what is under way, and of its failure. */
  #count(sending: Promise<void>): void {
    this.#underWay++;
    void sending
      .catch((error: unknown) => void (this.#failure ??= { error }))
      .finally(() => {
        this.#underWay--;
        for (const wake of this.#waiting.splice(0)) wake();
      });
  }

  async #take(chunk: Uint8Array): Promise<void> {
    this.#checkWhole();
    if (chunk.length === 0) return;
    if (this.#segments.length === 0 && this.#filling === undefined) await this.#carryOver();
    await this.#copy(chunk);
  }

  async #carryOver(): Promise<void> {
    const last = this.#base.at(-1);
    if (last === undefined || last.size >= CARRIED_BYTES) return;
    const bytes = await this.#options.read([last]);
    this.#base = this.#base.slice(0, -1);
    this.#filled -= last.size;
    await this.#copy(bytes);
  }

  async #copy(chunk: Uint8Array): Promise<void> {
    this.touchedMs = this.#options.nowMs();
    for (let offset = 0; offset < chunk.length; ) {
      // Others may have it flushed whenever this waits.
      const filling = this.#filling ?? (await this.#begin());
      const inBlock = filling.size % MIB;
      if (filling.size >= filling.targetBytes || (filling.size === filling.reserved && !this.#extend(filling))) {
        this.flush();
        continue;
      }
      if (inBlock === 0) filling.blocks.push(Buffer.allocUnsafeSlow(Math.min(MIB, filling.reserved - filling.size)));
      const block = filling.blocks.at(-1);
      if (block === undefined) throw new Error('a segment that has bytes has a block');
      const piece = chunk.subarray(offset, Math.min(chunk.length, offset + block.length - inBlock));
      block.set(piece, inBlock);
      filling.md5.update(piece);
      filling.size += piece.length;
      this.#filled += piece.length;
      offset += piece.length;
    }
    if (this.#filling !== undefined && this.#filling.size >= this.#filling.targetBytes) this.flush();
  }

  async #begin(): Promise<Filling> {
    const { memory } = this.#options;
    while (this.#underWay >= MAX_UNDER_WAY) await this.#change();
    this.#checkWhole();
    const reserved = Math.min(MIN_PART_BYTES, memory.totalBytes);
    await memory.reserve(reserved, this.#aborting.signal);
    const filling = { blocks: [], md5: createHash('md5'), targetBytes: segmentBytesAt(this.#filled, memory.totalBytes), size: 0, reserved };
    this.#filling = filling;
    memory.hold(this);
    if (this.#failure === undefined) return filling;
    this.#drop();
    throw this.#failure.error;
  }

  #extend(filling: Filling): boolean {
    const extended = this.#options.memory.tryExtend(MIB);
    if (extended) filling.reserved += MIB;
    return extended;
  }

  async #put(number: number, pieces: readonly Buffer[], size: number, digest: Buffer): Promise<void> {
    const { calls, root, prefix, attempt, etagIsMd5, onLanded } = this.#options;
    const name = segmentName(attempt, number);
    const input = { Bucket: calls.bucket, Key: root + partsOf(prefix) + name, ContentLength: size, ContentMD5: digest.toString('base64') };
    const etag = await calls.run(
      `put ${partsOf(prefix)}${name}`,
      async (client, http) => {
        const body = Readable.from(pieces, { objectMode: false });
        const { ETag } = await client.send(new PutObjectCommand({ ...input, Body: body }), http);
        const got = unquoted(ETag);
        if (etagIsMd5 && got !== digest.toString('hex')) {
          throw new DriverError('retryable', `put ${name}: ${calls.store} has MD5 ${got} of it, not ${digest.toString('hex')}: damaged on the way`, { answered: true });
        }
        return got;
      },
      { signal: this.#aborting.signal, timeoutMs: PUT_MS },
    );
    const before = this.#landedSegments().length;
    this.#segments[number] = { name, size, etag };
    if (this.#landedSegments().length > before) onLanded?.();
  }

  #landedSegments(): Segment[] {
    const landed: Segment[] = [];
    for (const segment of this.#segments) {
      if (segment === undefined) break;
      landed.push(segment);
    }
    return landed;
  }

  /** Gives up what is under way and removes what has landed. */
  async #clear(): Promise<void> {
    const { root, prefix, attempt, remove } = this.#options;
    this.#aborting.abort(ended(prefix));
    this.#drop();
    const run = this.#run?.run;
    this.#run = undefined;
    while (this.#underWay > 0) await this.#change();
    await run?.abandon();
    await remove(this.#segments.map((_, number) => root + partsOf(prefix) + segmentName(attempt, number)));
  }

  #drop(): void {
    const filling = this.#filling;
    if (filling === undefined) return;
    this.#filling = undefined;
    this.#options.memory.letGo(this);
    this.#options.memory.release(filling.reserved);
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

function ended(prefix: string): DriverError {
  return new DriverError('permanent', `the attempt on ${prefix} has ended`);
}
