/**
 * Uploads in progress on S3 (docs/decisions/0010-s3-uploads.md has why they are kept in this way): each attempt's bytes stand as segments,
 * objects of its own that everybody can read at once; completing joins them within the store into one object. Attempts
 * stand side by side; a state names the segments that count.
 */
import { CopyObjectCommand } from '@aws-sdk/client-s3';
import { LRUCache } from 'lru-cache';
import type { Timers } from '../../workers/timers.ts';
import type { AppendOptions, Appender, Assemblies, AssemblyState, CallOptions, ForeignObject, Source, Stat, SweepOptions } from '../driver.ts';
import { checkKey } from '../key.ts';
import { S3Appender } from './appender.ts';
import { s3Whole } from './body.ts';
import type { S3Calls } from './client.ts';
import { S3Completion } from './completion.ts';
import { statusOf } from './errors.ts';
import { copySource, partsOf } from './keys.ts';
import { listKeys } from './listing.ts';
import type { S3Objects } from './objects.ts';
import { S3Source, type Piece } from './source.ts';
import { unquoted } from './stat.ts';
import { segmentName, type Segment } from '../object-store/segments.ts';
import { piecesOf, s3State, segmentsOf } from './state.ts';
import { sweepS3 } from './sweep.ts';
import type { SegmentMemory } from '../object-store/segment-memory.ts';

export interface S3AssembliesOptions {
  readonly calls: S3Calls;
  readonly objects: S3Objects;
  readonly memory: SegmentMemory;
  readonly timers: Timers;
  /** Before every key. */
  readonly root: string;
  /** Whether this store's ETags of plain objects are their MD5. */
  readonly etagIsMd5: boolean;
  /** Not AWS itself. */
  readonly lookAlike: boolean;
  readonly nowMs: () => number;
  /** Never the same twice. */
  readonly newId: () => string;
  readonly report: (event: { readonly kind: string; readonly [field: string]: unknown }) => void;
}

/** Completed assemblies whose readers of before find the bytes where they went. */
const MAX_JOINED = 1_000;
/** Keys that are gathered before they are deleted together. */
const DELETED_TOGETHER = 1_000;

/** What one call copies (AWS, `CopyObject`). */
const MAX_COPY_BYTES = 5 * 1024 ** 3;
const COPY_MS = 30_000;
const SLOWEST_BYTES_PER_MS = 1024;

export class S3Assemblies implements Assemblies {
  readonly exclusive = false;
  readonly growing = false;
  readonly #options: S3AssembliesOptions;
  readonly #completion: S3Completion;
  /** By prefix. */
  readonly #joined = new LRUCache<string, { readonly of: readonly Piece[]; readonly into: Piece }>({ max: MAX_JOINED });

  constructor(options: S3AssembliesOptions) {
    this.#options = options;
    this.#completion = new S3Completion(options);
  }

  create(prefix: string): AssemblyState {
    checkKey(prefix);
    return s3State(prefix, []);
  }

  async append(state: AssemblyState, options: AppendOptions = {}): Promise<Appender> {
    const { calls, objects, memory, root, etagIsMd5, nowMs, newId } = this.#options;
    const from = segmentsOf(state);
    options.signal?.throwIfAborted();
    const { prefix } = state;
    const read = (segments: readonly Segment[]): Promise<Buffer> => this.#read(prefix, segments);
    const remove = (keys: readonly string[]): Promise<void> => this.#remove(keys);
    return new S3Appender({ calls, objects, memory, root, prefix, attempt: newId(), from, read, remove, etagIsMd5, nowMs, onLanded: options.onLanded });
  }

  async open(state: AssemblyState, options: CallOptions = {}): Promise<Source | undefined> {
    const { calls, objects, root, timers } = this.#options;
    const segments = segmentsOf(state);
    options.signal?.throwIfAborted();
    const last = segments.at(-1);
    if (last === undefined) return undefined;
    const found = await objects.head(partsOf(state.prefix) + last.name, options);
    if (found === undefined) return undefined;
    const stat: Stat = { size: state.offset, modifiedMs: found.modifiedMs, stamp: `${last.name}.${found.stamp}` };
    const pieces = piecesOf(root, state.prefix, segments);
    const joined = (): Piece | undefined => {
      const completed = this.#joined.get(state.prefix);
      return completed !== undefined && pieces.every(({ key }, index) => completed.of[index]?.key === key) ? completed.into : undefined;
    };
    return new S3Source({ calls, timers, name: state.prefix, stat, pieces, joined });
  }

  async copy(state: AssemblyState, from: ForeignObject, options: CallOptions = {}): Promise<AssemblyState | undefined> {
    const { calls, root, newId } = this.#options;
    const { prefix, offset } = state;
    segmentsOf(state);
    if (offset > 0 || from.store !== calls.store || from.size === 0 || from.size > MAX_COPY_BYTES) return undefined;
    const name = segmentName(newId(), 0);
    const input = { Bucket: calls.bucket, Key: root + partsOf(prefix) + name, CopySource: copySource(from.container, from.name) };
    // Whoever may read there need not be allowed to here, and not every look-alike copies between buckets.
    const copied = await calls.run(
      `copy ${from.container}/${from.name}`,
      (client, http) => client.send(new CopyObjectCommand(input), http).catch((error: unknown) => ([400, 403, 404, 501].includes(statusOf(error) ?? 0) ? undefined : Promise.reject(error as Error))),
      { ...options, timeoutMs: COPY_MS + Math.ceil(from.size / SLOWEST_BYTES_PER_MS) },
    );
    const etag = copied?.CopyObjectResult?.ETag;
    return etag === undefined ? undefined : s3State(prefix, [{ name, size: from.size, etag: unquoted(etag) }]);
  }

  async complete(state: AssemblyState, key: string, options: CallOptions = {}): Promise<Stat> {
    const { root } = this.#options;
    const pieces = piecesOf(root, state.prefix, segmentsOf(state));
    checkKey(key);
    options.signal?.throwIfAborted();
    const stat = await this.#completion.join(state.prefix, pieces, key, options);
    this.#joined.set(state.prefix, { of: pieces, into: { key: root + key, size: stat.size, etag: stat.stamp } });
    // The state's own first, then what other attempts left.
    await this.#remove(pieces.map((piece) => piece.key));
    await this.#discard(state.prefix).catch((error: unknown) => this.#leave(state.prefix, error));
    return stat;
  }

  async discard(state: AssemblyState, options: CallOptions = {}): Promise<void> {
    const { objects, root } = this.#options;
    const pieces = piecesOf(root, state.prefix, segmentsOf(state));
    options.signal?.throwIfAborted();
    // The state's own first, whatever a listing says: that of s3api lags behind what was just written.
    await objects.deleteFull(pieces.map(({ key }) => key), options.signal);
    await this.#discard(state.prefix, options.signal);
  }

  async sweep(options: SweepOptions): Promise<{ readonly removed: number }> {
    const { calls, objects, root } = this.#options;
    return { removed: await sweepS3({ calls, objects, root, ...options }) };
  }

  async #read(prefix: string, segments: readonly Segment[]): Promise<Buffer> {
    const { calls, root, timers, etagIsMd5 } = this.#options;
    const chunks: Buffer[] = [];
    for (const piece of piecesOf(root, prefix, segments)) chunks.push(await s3Whole({ calls, timers, name: prefix, ...piece, etagIsMd5 }));
    return Buffer.concat(chunks);
  }

  async #discard(prefix: string, signal?: AbortSignal): Promise<void> {
    const { calls, objects, root } = this.#options;
    let keys: string[] = [];
    for await (const { key } of listKeys(calls, root, partsOf(prefix), { signal })) {
      keys.push(root + key);
      if (keys.length < DELETED_TOGETHER) continue;
      await objects.deleteFull(keys, signal);
      keys = [];
    }
    await objects.deleteFull(keys, signal);
  }

  /** What cannot be removed now stays for the sweep. */
  async #remove(keys: readonly string[]): Promise<void> {
    await this.#options.objects.deleteFull(keys).catch((error: unknown) => this.#leave(keys[0] ?? '', error));
  }

  #leave(where: string, error: unknown): void {
    this.#options.report({ kind: 's3-left-over', where, error: error instanceof Error ? error.message : String(error) });
  }
}
