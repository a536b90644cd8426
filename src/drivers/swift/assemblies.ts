/**
 * Assemblies in Swift: attempts stand side by side, each writes segments of its own, and one manifest (an SLO) makes an
 * object of those that a state names. Segments live in the same container as keys, since a user of few rights may have
 * no other, under names that listings of keys do not show (names.ts). They stay where they are when the object is
 * completed and go when it is deleted.
 */
import type { Timers } from '../../workers/timers.ts';
import { DriverError, type Appender, type AppendOptions, type Assemblies, type AssemblyState, type CallOptions, type ForeignObject, type Source, type Stat, type SweepOptions } from '../driver.ts';
import { checkKey } from '../key.ts';
import { SegmentMemory } from '../object-store/segment-memory.ts';
import { blockPool, BLOCK_BYTES, SwiftAppender, type Blocks } from './appender.ts';
import type { SwiftClient } from './client.ts';
import type { Completions } from './completions.ts';
import { copyForeign } from './copy.ts';
import { listObjects } from './listing.ts';
import { assemblyOf, checkAssemblyPrefix, countOfFlag, POINTER, SEGMENTS, segmentsOf } from './names.ts';
import { verifyWhole, type SwiftObjects } from './objects.ts';
import { MIN_SEGMENT_BYTES, segmentSize } from './segments.ts';
import { SwiftSource } from './source.ts';
import { contentType } from './stat.ts';
import type { Segment } from '../object-store/segments.ts';
import { gatheredOf, stateOf } from './state.ts';

export interface SwiftAssembliesOptions {
  readonly client: SwiftClient;
  readonly objects: SwiftObjects;
  readonly completions: Completions;
  readonly root: string;
  /** The most that one segment holds. */
  readonly segmentBytes: number;
  /** Of all segments that this process has in memory. */
  readonly memoryBytes: number;
  readonly newId: () => string;
  readonly nowMs: () => number;
  readonly timers: Timers;
}

export class SwiftAssemblies implements Assemblies {
  readonly exclusive = false;
  readonly growing = false;
  readonly #options: SwiftAssembliesOptions;
  readonly #memory: SegmentMemory;
  readonly #blocks: Blocks;
  #attempts = 0;

  constructor(options: SwiftAssembliesOptions) {
    this.#options = options;
    this.#memory = new SegmentMemory({ totalBytes: Math.max(options.memoryBytes, MIN_SEGMENT_BYTES), nowMs: options.nowMs, timers: options.timers });
    this.#blocks = blockPool(Math.ceil(options.memoryBytes / BLOCK_BYTES));
  }

  create(prefix: string): AssemblyState {
    checkKey(prefix);
    checkAssemblyPrefix(prefix);
    return stateOf(prefix, { segments: [], inline: Buffer.alloc(0) });
  }

  async append(state: AssemblyState, options: AppendOptions = {}): Promise<Appender> {
    options.signal?.throwIfAborted();
    const { root, segmentBytes, memoryBytes, newId, nowMs } = this.#options;
    const from = gatheredOf(state);
    const lead = segmentsOf(root, state.prefix);
    this.#attempts++;
    return new SwiftAppender({
      memory: this.#memory,
      blocks: this.#blocks,
      prefix: state.prefix,
      attempt: newId(),
      from,
      sizeAt: (offset) => segmentSize({ offset, segmentBytes, memoryBytes, attempts: this.#attempts }),
      put: async (segment, bytes, signal) => await this.#put(lead, segment, bytes, signal),
      read: async (segment, signal) => await this.#read(lead, segment, signal),
      remove: async (names) => await this.#options.completions.remove(names.map((name) => lead + name), {}).catch(() => undefined /* the sweep takes what stays */),
      nowMs,
      onLanded: options.onLanded,
      onEnd: () => void this.#attempts--,
    });
  }

  async open(state: AssemblyState, options: CallOptions = {}): Promise<Source | undefined> {
    options.signal?.throwIfAborted();
    const { client, objects, root, timers, nowMs } = this.#options;
    const { segments, inline } = gatheredOf(state);
    const lead = segmentsOf(root, state.prefix);
    const what = `upload ${state.prefix}`;
    const last = segments.at(-1);
    if (last === undefined && inline.length === 0) return undefined;
    const standing = last === undefined ? { modifiedMs: client.storeNowMs(Infinity) ?? nowMs() } : await objects.head({ name: lead + last.name, what, ...options });
    if (standing === undefined) return undefined;
    const stat = { size: state.offset, modifiedMs: standing.modifiedMs, stamp: `${state.offset}@${last?.name ?? ''}` };
    const pieces = last === undefined ? [{ bytes: inline, size: inline.length }] : segments.map(({ name, size, etag }) => ({ name: lead + name, size, etag }));
    return new SwiftSource({ client, timers, what, stat, pieces });
  }

  async copy(state: AssemblyState, from: ForeignObject, options: CallOptions = {}): Promise<AssemblyState | undefined> {
    options.signal?.throwIfAborted();
    const { client, root, newId } = this.#options;
    const gathered = gatheredOf(state);
    if (state.offset > 0) return undefined; // what is there may be too little for a segment of its own
    const segments = await copyForeign({ client, from, lead: segmentsOf(root, state.prefix), attempt: newId(), newId, ...options });
    return segments === undefined ? undefined : stateOf(state.prefix, { ...gathered, segments });
  }

  async complete(state: AssemblyState, key: string, options: CallOptions = {}): Promise<Stat> {
    options.signal?.throwIfAborted();
    checkKey(key);
    return await this.#options.completions.complete(state, gatheredOf(state), key, options);
  }

  async discard(state: AssemblyState, options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    checkKey(state.prefix);
    await this.#options.completions.discard(state.prefix, options);
  }

  /**
   * One listing of all segments, in which a completed upload that left nothing else is told by its flag; the others are
   * looked at one by one. Removed are those that nobody touched since, that no session names, and that no object is made of.
   */
  async sweep({ beforeMs, inUse, signal }: SweepOptions): Promise<{ readonly removed: number }> {
    const { completions } = this.#options;
    let removed = 0;
    for await (const { prefix, settled, newestMs } of this.#assemblies(signal)) {
      signal?.throwIfAborted();
      if (settled || newestMs > beforeMs || (await inUse(prefix))) continue;
      if ((await completions.clear(prefix, beforeMs, { signal })) > 0) removed++;
    }
    return { removed };
  }

  close(): void {
    this.#memory.close();
  }

  async *#assemblies(signal: AbortSignal | undefined): AsyncGenerator<Listed> {
    const { client, root } = this.#options;
    let at: { prefix: string; segments: number; counts: number[]; pointed: boolean; others: number; newestMs: number } | undefined;
    const listed = ({ prefix, segments, counts, pointed, others, newestMs }: NonNullable<typeof at>): Listed => ({
      prefix, newestMs, settled: counts.length === 1 && counts[0] === segments && pointed && others === 0,
    });
    for await (const { name, last_modified: modified } of listObjects(client, { prefix: root + SEGMENTS, signal })) {
      const prefix = assemblyOf(root, name);
      if (prefix === undefined) continue;
      if (at?.prefix !== prefix) {
        if (at !== undefined) yield listed(at);
        at = { prefix, segments: 0, counts: [], pointed: false, others: 0, newestMs: 0 };
      }
      const flag = name.slice(segmentsOf(root, prefix).length);
      const count = countOfFlag(flag);
      at.newestMs = Math.max(at.newestMs, Date.parse(`${modified.replace(/Z$/, '')}Z`));
      if (count !== undefined) at.counts.push(count);
      else if (flag === POINTER) at.pointed = true;
      else if (flag.startsWith('!')) at.others++;
      else at.segments++;
    }
    if (at !== undefined) yield listed(at);
  }

  async #put(lead: string, { name, size, etag }: Segment, bytes: readonly Buffer[], signal: AbortSignal): Promise<void> {
    await this.#options.client.call({
      method: 'PUT', name: lead + name, body: bytes, what: `put ${size} bytes of ${lead}${name}`, signal, expect: [201],
      headers: { 'content-type': contentType(this.#options.newId()), etag },
      verify: ({ header }) => {
        if (header('etag')?.replaceAll('"', '') !== etag) throw new DriverError('retryable', `Swift stored other bytes at ${lead}${name} than were sent`, { answered: true });
      },
    });
  }

  async #read(lead: string, { name, size, etag }: Segment, signal: AbortSignal): Promise<Buffer> {
    const what = `read ${lead}${name}`;
    const { status, header, body } = await this.#options.client.call({
      method: 'GET', name: lead + name, what, signal, headers: { 'x-newest': 'true' }, expect: [200, 404], verify: verifyWhole(what),
    });
    if (status === 404 || body.length !== size || header('etag')?.replaceAll('"', '') !== etag) throw new DriverError('superseded', `${what}: it is gone; the upload was discarded`);
    return body;
  }
}

interface Listed {
  readonly prefix: string;
  /** Completed once, and nothing stands there but what the object is made of. */
  readonly settled: boolean;
  readonly newestMs: number;
}
