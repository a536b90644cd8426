/**
 * The driver for S3 and what speaks it: AWS, Ceph, MinIO, and Swift's s3api. Keys stand in the bucket as they are, each
 * one object that anything else can read too. `openS3` finds out what the store can do; the files beside this one do it.
 */
import { randomBytes } from 'node:crypto';
import { GetObjectCommand, HeadBucketCommand } from '@aws-sdk/client-s3';
import type { Timers } from '../../workers/timers.ts';
import { attempts } from '../object-store/attempts.ts';
import { DriverError, isDriverError, type Assemblies, type CallOptions, type Claimed, type Driver, type Entry, type PutOptions, type Source, type Stat, type Value } from '../driver.ts';
import { checkKey, checkLevel, checkPrefix } from '../key.ts';
import { S3Assemblies } from './assemblies.ts';
import { s3Name, S3Calls, type S3Access } from './client.ts';
import { listKeys, listLevel } from './listing.ts';
import { S3Objects } from './objects.ts';
import { findOut, makeBucket, probe } from './opening.ts';
import { MIN_PART_BYTES } from './parts.ts';
import { S3Source } from './source.ts';
import { SegmentMemory } from '../object-store/segment-memory.ts';

/** What the configuration says of it. */
export interface S3Options extends S3Access {
  /** Before every key; '' or ending in `/`. */
  readonly prefix: string;
  /** Undefined: found out. */
  readonly claims: 'strict' | 'settle' | undefined;
  /** `never`: no URLs are signed. */
  readonly redirect: 'never' | 'always' | readonly string[];
}

export interface S3Deps {
  readonly nowMs: () => number;
  readonly timers: Timers;
  /** Bytes of segments on their way to the store, in this process. */
  readonly memoryBytes: number;
  /** Never a secret. */
  readonly report: (event: { readonly kind: string; readonly [field: string]: unknown }) => void;
}

/** How long a signed URL may be used; a download that began goes on. */
const REDIRECT_SECONDS = 20 * 60;

/** @throws DriverError with what to do about it, where the bucket cannot be used */
export async function openS3(storage: S3Options, deps: S3Deps): Promise<Driver> {
  const { bucket, endpoint, region, prefix: root } = storage;
  const { nowMs, timers, report } = deps;
  const store = s3Name({ endpoint, region });
  const newId = (): string => randomBytes(16).toString('hex');
  const calls = new S3Calls({
    attempts: attempts({ nowMs, timers, store, report, random: Math.random }),
    bucket, store, endpoint, region,
    credentials: storage.credentials, pathStyle: storage.pathStyle, ca: storage.ca, insecure: storage.insecure,
  });
  try {
    const opening = { calls, root, region, lookAlike: endpoint !== undefined, newId };
    await makeBucket(opening);
    const found = await findOut(opening, storage.claims).catch((error: unknown) => {
      // A node may be one that only reads: whether that will do is for whoever asks for a check.
      if (!isDriverError(error) || !error.mayNotWrite) throw error;
      return { conditions: storage.claims === 'strict', because: 'these credentials may not write', etagIsMd5: true };
    });
    const claims = storage.claims ?? (found.conditions ? 'strict' : 'settle');
    if (claims === 'strict' && !found.conditions) {
      throw new DriverError('permanent', `claims: strict cannot be had from ${store}: ${found.because}; leave claims out or set it to settle, or set coordination`);
    }
    if (storage.claims === undefined && claims === 'settle') report({ kind: 's3-claims-settle', store, bucket, because: found.because });
    const objects = new S3Objects({ calls, root, newId, conditions: found.conditions, etagIsMd5: found.etagIsMd5 });
    const memory = new SegmentMemory({ totalBytes: Math.max(deps.memoryBytes, 2 * MIN_PART_BYTES), nowMs, timers });
    const assemblies = new S3Assemblies({ calls, objects, memory, timers, root, etagIsMd5: found.etagIsMd5, lookAlike: opening.lookAlike, nowMs, newId, report });
    return new S3Driver({ calls, objects, memory, assemblies, timers, root, newId, claims, redirects: storage.redirect !== 'never' });
  } catch (error) {
    calls.close();
    throw error;
  }
}

interface S3Parts {
  readonly calls: S3Calls;
  readonly objects: S3Objects;
  readonly memory: SegmentMemory;
  readonly assemblies: Assemblies;
  readonly timers: Timers;
  readonly root: string;
  readonly newId: () => string;
  readonly claims: 'strict' | 'settle';
  readonly redirects: boolean;
}

class S3Driver implements Driver {
  readonly kind = 's3';
  readonly claims: 'strict' | 'settle';
  readonly listingLagSeconds = 0;
  readonly assemblies: Assemblies;
  readonly redirect?: NonNullable<Driver['redirect']>;
  readonly #parts: S3Parts;

  constructor(parts: S3Parts) {
    this.#parts = parts;
    this.claims = parts.claims;
    this.assemblies = parts.assemblies;
    if (parts.redirects) this.redirect = (key, options = {}) => this.#redirect(key, options);
  }

  async head(key: string, options: CallOptions = {}): Promise<Stat | undefined> {
    begin(key, options);
    return this.#parts.objects.head(key, options);
  }

  async get(key: string, options: CallOptions & { readonly maxBytes?: number } = {}): Promise<Value | undefined> {
    begin(key, options);
    return this.#parts.objects.get(key, options);
  }

  async open(key: string, options: CallOptions = {}): Promise<Source | undefined> {
    begin(key, options);
    const { calls, objects, timers, root } = this.#parts;
    const opened = await objects.open(key, options);
    if (opened === undefined) return undefined;
    const { stat, head } = opened;
    return new S3Source({ calls, timers, name: key, stat, head, pieces: [{ key: root + key, size: stat.size, etag: stat.stamp }] });
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<Stat> {
    begin(key, options);
    return this.#parts.objects.put(key, bytes, options);
  }

  async *list(prefix: string, options: CallOptions & { readonly startAfter?: string } = {}): AsyncGenerator<Entry> {
    checkPrefix(prefix);
    yield* listKeys(this.#parts.calls, this.#parts.root, prefix, options);
  }

  async *children(prefix: string, options: CallOptions & { readonly startAfter?: string } = {}): AsyncGenerator<{ readonly name: string; readonly leaf: boolean }> {
    checkLevel(prefix);
    yield* listLevel(this.#parts.calls, this.#parts.root, prefix, options);
  }

  async delete(keys: readonly string[], options: CallOptions = {}): Promise<void> {
    for (const key of keys) begin(key, options);
    await this.#parts.objects.delete(keys, options);
  }

  /** What the store took is durable. */
  async sync(keys: readonly string[], options: CallOptions = {}): Promise<void> {
    for (const key of keys) begin(key, options);
  }

  async claim(key: string, value: Uint8Array, options: CallOptions = {}): Promise<Claimed> {
    begin(key, options);
    return this.#parts.objects.claim(key, value, options);
  }

  async clock({ signal }: CallOptions = {}): Promise<number> {
    const { calls } = this.#parts;
    const answer = await calls.run('ask for the time', (client, http) => client.send(new HeadBucketCommand({ Bucket: calls.bucket }), http), { signal });
    const { date } = calls.headersOf(answer);
    const ms = Date.parse(date ?? '');
    if (Number.isNaN(ms)) throw new DriverError('permanent', `${calls.store} does not tell the time: its answers have no Date header`);
    return ms;
  }

  async check(options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    await probe(this.#parts, options);
  }

  async close(): Promise<void> {
    this.#parts.memory.close();
    this.#parts.calls.close();
  }

  async #redirect(key: string, { signal }: CallOptions): Promise<string | undefined> {
    begin(key, { signal });
    const { calls, root } = this.#parts;
    const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner');
    return getSignedUrl(calls.signer, new GetObjectCommand({ Bucket: calls.bucket, Key: root + key }), { expiresIn: REDIRECT_SECONDS });
  }
}

function begin(key: string, options: CallOptions): void {
  checkKey(key);
  options.signal?.throwIfAborted();
}
