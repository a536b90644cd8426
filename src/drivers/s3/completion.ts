/**
 * Segments of an S3 assembly become one object, within the store: one by a copy, several by a multipart upload whose
 * parts are copies, which becomes visible in one step. Every part's ETag is compared.
 */
import {
  CopyObjectCommand, CreateMultipartUploadCommand, UploadPartCommand, UploadPartCopyCommand,
  type CompletedPart, type S3Client,
} from '@aws-sdk/client-s3';
import { createHash } from 'node:crypto';
import type { Timers } from '../../workers/timers.ts';
import { DriverError, isDriverError, type CallOptions, type Stat } from '../driver.ts';
import { Limiter } from '../limiter.ts';
import { s3Body, s3Whole } from './body.ts';
import type { Http, S3Calls } from './client.ts';
import { isConditionFailure, isUploadGone } from './errors.ts';
import { copySource } from './keys.ts';
import { abortUpload, completeUpload, type Upload } from './multipart.ts';
import type { S3Objects } from './objects.ts';
import { planParts, type Part } from './parts.ts';
import type { Piece } from './source.ts';
import { s3Stat, unquoted } from './stat.ts';
import { sizeOf } from '../object-store/segments.ts';
import type { SegmentMemory } from '../object-store/segment-memory.ts';

export interface S3CompletionOptions {
  readonly calls: S3Calls;
  readonly objects: S3Objects;
  readonly memory: SegmentMemory;
  readonly timers: Timers;
  /** Before every key. */
  readonly root: string;
  /** Whether this store's ETags of plain objects and of parts are their MD5. */
  readonly etagIsMd5: boolean;
  /** Not AWS itself: Ceph copies a whole object without touching its bytes, but not parts. */
  readonly lookAlike: boolean;
  readonly report: (event: { readonly kind: string; readonly [field: string]: unknown }) => void;
}

/** Parts of one completion that are copied at once. */
const COPIES_AT_ONCE = 8;
/** Completing may begin again where the store lost the upload or a part. */
const MAX_COMPLETIONS = 3;
const COPY_MS = 600_000;
/** Segments up to this are read whole, so that they can be compared with their MD5. */
const SMALL_BYTES = 16 * 1024 * 1024;
/** AWS copies what is larger faster in parts beside each other. */
const COPIED_WHOLE_BYTES = 256 * 1024 * 1024;
/** The ETag of what was uploaded in parts has another form, and is not that of its copy. */
const MD5 = /^[0-9a-f]{32}$/;

export class S3Completion {
  readonly #options: S3CompletionOptions;

  constructor(options: S3CompletionOptions) {
    this.#options = options;
  }

  /**
   * @param prefix of the assembly, in messages
   * @throws DriverError superseded, where a piece is gone
   */
  async join(prefix: string, pieces: readonly Piece[], key: string, options: CallOptions): Promise<Stat> {
    const { lookAlike } = this.#options;
    const [first] = pieces;
    if (first === undefined) return this.#options.objects.put(key, new Uint8Array(0), options);
    try {
      return await (pieces.length === 1 && (lookAlike || first.size <= COPIED_WHOLE_BYTES) ? this.#copyWhole(prefix, first, key, options) : this.#joinMany(prefix, pieces, key, options));
    } catch (error) {
      // Whoever completed these very pieces before, and removed them, may not have lived to tell.
      const done = isDriverError(error, 'superseded') ? await this.#options.objects.standing(key, options) : undefined;
      if (done?.nonce === nonceOf(pieces) && done.stat.size === sizeOf(pieces)) return done.stat;
      throw error;
    }
  }

  async #joinMany(prefix: string, pieces: readonly Piece[], key: string, options: CallOptions): Promise<Stat> {
    for (let completion = 1; ; completion++) {
      try {
        return await this.#joinOnce(prefix, pieces, key, options);
      } catch (error) {
        if (completion >= MAX_COMPLETIONS || !(isDriverError(error) && isUploadGone(error.cause))) throw error;
        this.#options.report({ kind: 's3-complete-again', key, error: error.message });
      }
    }
  }

  async #copyWhole(prefix: string, piece: Piece, key: string, { signal }: CallOptions): Promise<Stat> {
    const { calls, root } = this.#options;
    const what = `complete ${key}`;
    const source = copying(calls.bucket, piece);
    const target = { Bucket: calls.bucket, Key: root + key, MetadataDirective: 'REPLACE', Metadata: { nonce: nonceOf([piece]) } } as const;
    const send = async (client: S3Client, http: Http): Promise<Stat> => {
      const { CopyObjectResult: result } = await client.send(new CopyObjectCommand({ ...target, ...source }), http).catch(supersededBy(prefix));
      this.#compare(what, piece.etag, result?.ETag);
      return s3Stat(piece.size, result?.LastModified, result?.ETag);
    };
    const stat = await calls.find(what, send, { signal, timeoutMs: COPY_MS });
    if (stat === undefined) throw superseded(prefix);
    return MD5.test(piece.etag) ? stat : this.#found(key, piece.size, signal);
  }

  async #joinOnce(prefix: string, pieces: readonly Piece[], key: string, { signal }: CallOptions): Promise<Stat> {
    const { calls, objects, root } = this.#options;
    const nonce = nonceOf(pieces);
    const target = { Bucket: calls.bucket, Key: root + key };
    const { UploadId } = await calls.run(`begin ${key}`, (client, http) => client.send(new CreateMultipartUploadCommand({ ...target, Metadata: { nonce } }), http), { signal });
    const upload = { ...target, UploadId };
    try {
      await completeUpload({ calls, objects, upload, key, nonce, parts: await this.#makeParts(upload, prefix, pieces, signal), signal });
    } catch (error) {
      await abortUpload(calls, upload);
      throw error;
    }
    return this.#found(key, sizeOf(pieces), signal);
  }

  async #found(key: string, size: number, signal: AbortSignal | undefined): Promise<Stat> {
    const stat = await this.#options.objects.head(key, { signal });
    if (stat?.size !== size) throw new DriverError('retryable', `complete ${key}: ${this.#options.calls.store} has ${stat?.size ?? 'no'} bytes of ${size}`);
    return stat;
  }

  async #makeParts(upload: Upload, prefix: string, pieces: readonly Piece[], signal: AbortSignal | undefined): Promise<CompletedPart[]> {
    const limiter = new Limiter(COPIES_AT_ONCE);
    const stop = new AbortController();
    const all = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    const made = planParts(pieces.map(({ size }) => size)).map((part, index) =>
      limiter.run(async () => {
        all.throwIfAborted();
        const PartNumber = index + 1;
        const target = { ...upload, PartNumber };
        return { PartNumber, ETag: await (part.copied ? this.#copyPart(target, prefix, pieces, part, all) : this.#gatherPart(target, prefix, pieces, part, all)) };
      }),
    );
    try {
      return await Promise.all(made);
    } catch (error) {
      stop.abort(error);
      await Promise.allSettled(made);
      throw error;
    }
  }

  async #copyPart(upload: PartUpload, prefix: string, pieces: readonly Piece[], part: Part, signal: AbortSignal): Promise<string> {
    const { calls } = this.#options;
    const [slice] = part.slices;
    const piece = pieces[slice?.segment ?? -1];
    if (slice === undefined || piece === undefined) throw new Error('a part that is copied is of one segment');
    const { start, end } = slice.range;
    const whole = part.size === piece.size;
    const what = `copy part ${upload.PartNumber} of ${prefix}`;
    const input = { ...upload, ...copying(calls.bucket, piece), ...(whole ? {} : { CopySourceRange: `bytes=${start}-${end}` }) };
    const send = async (client: S3Client, http: Http): Promise<string> => {
      const { CopyPartResult: result } = await client.send(new UploadPartCopyCommand(input), http).catch(supersededBy(prefix));
      if (whole) this.#compare(what, piece.etag, result?.ETag);
      return `"${unquoted(result?.ETag)}"`;
    };
    const etag = await calls.find(what, send, { signal, timeoutMs: COPY_MS });
    if (etag === undefined) throw superseded(prefix);
    return etag;
  }

  /** Segments that are too small to be copied are read and written again, within the bound on memory. */
  async #gatherPart(upload: PartUpload, prefix: string, pieces: readonly Piece[], part: Part, signal: AbortSignal): Promise<string> {
    const { calls, memory, timers, etagIsMd5 } = this.#options;
    const what = `write part ${upload.PartNumber} of ${prefix}`;
    const slices = part.slices.map(({ segment, range }) => {
      const piece = pieces[segment];
      if (piece === undefined) throw new Error('a part is of segments that are there');
      return { piece, range, whole: MD5.test(piece.etag) && piece.size <= SMALL_BYTES };
    });
    // The part itself, and of a piece that is read whole its chunks and what they become.
    const reserved = part.size + 2 * Math.max(0, ...slices.map(({ piece, whole }) => (whole ? piece.size : 0)));
    await memory.reserve(reserved, signal);
    try {
      const Body = Buffer.allocUnsafeSlow(part.size);
      let filled = 0;
      for (const { piece, range, whole } of slices) {
        const source = { calls, timers, name: prefix, ...piece, signal };
        if (whole) filled += (await s3Whole({ ...source, etagIsMd5 })).copy(Body, filled, range.start, range.end + 1);
        else for await (const chunk of s3Body({ ...source, range })) filled += chunk.copy(Body, filled);
      }
      const md5 = createHash('md5').update(Body).digest();
      const send = async (client: S3Client, http: Http): Promise<string> => {
        const { ETag } = await client.send(new UploadPartCommand({ ...upload, Body, ContentMD5: md5.toString('base64') }), http);
        this.#compare(what, md5.toString('hex'), ETag);
        return `"${unquoted(ETag)}"`;
      };
      return await calls.run(what, send, { signal, timeoutMs: COPY_MS });
    } finally {
      memory.release(reserved);
    }
  }

  #compare(what: string, expected: string, got: string | undefined): void {
    if (!this.#options.etagIsMd5 || !MD5.test(expected) || unquoted(got) === expected) return;
    throw new DriverError('retryable', `${what}: ${this.#options.calls.store} has other bytes (MD5 ${unquoted(got)} instead of ${expected})`, { answered: true });
  }
}

interface PartUpload extends Upload {
  readonly PartNumber: number;
}

/**
 * Swift's s3api knows an object that was uploaded in parts by another ETag when it copies it; nothing but its absence
 * could differ anyway, since keys of segments are never written twice.
 */
function copying(bucket: string, { key, etag }: Piece): { readonly CopySource: string; readonly CopySourceIfMatch?: string } {
  const CopySource = copySource(bucket, key);
  return MD5.test(etag) ? { CopySource, CopySourceIfMatch: `"${etag}"` } : { CopySource };
}

/** By which the object that these pieces become is known again: their keys were never written before. */
function nonceOf(pieces: readonly Piece[]): string {
  return createHash('sha256').update(JSON.stringify(pieces)).digest('hex').slice(0, 32);
}

/** The one condition of a copy is that its source is still the same. */
function supersededBy(prefix: string): (error: unknown) => never {
  return (error) => {
    if (isConditionFailure(error)) throw superseded(prefix, error);
    throw error;
  };
}

function superseded(prefix: string, cause?: unknown): DriverError {
  return new DriverError('superseded', `the bytes of ${prefix} were completed or discarded`, { cause });
}
