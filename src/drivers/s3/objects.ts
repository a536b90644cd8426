/**
 * Single objects of an S3 bucket: looks, small reads, puts with and without a condition, deletes, claims. A put that
 * failed may have happened: what is written under a condition carries a nonce, by which its writer knows it again.
 */
import {
  DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, PutObjectCommand, type GetObjectCommandOutput, type PutObjectCommandInput, type S3Client,
} from '@aws-sdk/client-s3';
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { DriverError, type CallOptions, type Claimed, type PutOptions, type Stat, type Value } from '../driver.ts';
import type { RunOptions } from '../object-store/attempts.ts';
import type { Http, S3Calls } from './client.ts';
import { isAbsence, isConditionFailure, statusOf } from './errors.ts';
import { s3Stat, unquoted } from './stat.ts';
import { CLAIM_MS, SETTLE_MS } from '../settling.ts';
import { checkValueSize } from '../value-size.ts';

export interface S3ObjectsOptions {
  readonly calls: S3Calls;
  /** Before every key. */
  readonly root: string;
  readonly newId: () => string;
  /** Whether a conditional put is decided by the store: of many at once, one succeeds. */
  readonly conditions: boolean;
  readonly etagIsMd5: boolean;
}

/** The most that one request may delete. */
const MAX_DELETED = 1_000;

/** What opening an object brings of it: a small blob needs no second request. */
const HEAD_BYTES = 128 * 1024;

/** The ETag of what was uploaded in parts has another form. */
const MD5 = /^[0-9a-f]{32}$/;

export interface Standing {
  readonly stat: Stat;
  readonly nonce: string | undefined;
}

export class S3Objects {
  readonly #options: S3ObjectsOptions;

  constructor(options: S3ObjectsOptions) {
    this.#options = options;
  }

  async head(key: string, { signal }: CallOptions = {}): Promise<Stat | undefined> {
    const found = await this.#options.calls.find(`look for ${key}`, (client, http) => client.send(new HeadObjectCommand(this.#at(key)), http), { signal });
    return found === undefined ? undefined : s3Stat(found.ContentLength, found.LastModified, found.ETag);
  }

  async get(key: string, { signal, maxBytes }: CallOptions & { readonly maxBytes?: number } = {}): Promise<Value | undefined> {
    return (await this.#read(key, maxBytes, signal))?.value;
  }

  async put(key: string, bytes: Uint8Array, { signal, when }: PutOptions = {}): Promise<Stat> {
    if (when === undefined) return this.#options.calls.run(`put ${key}`, (client, http) => this.#write(client, http, key, bytes), { signal });
    const nonce = this.#options.newId();
    const stat = await this.#putAbsent(key, bytes, nonce, { signal });
    if (stat === undefined) throw new DriverError('exists', `${key} exists`);
    return stat;
  }

  /** The value that is read decides, not the status. */
  async claim(key: string, value: Uint8Array, { signal }: CallOptions = {}): Promise<Claimed> {
    const nonce = this.#options.newId();
    const own = Buffer.from(value);
    const { conditions } = this.#options;
    if ((await this.#putAbsent(key, own, nonce, { signal, timeoutMs: CLAIM_MS })) !== undefined && conditions) return { won: true, value: own };
    const stored = await this.#read(key, undefined, signal);
    if (stored === undefined) throw new DriverError('retryable', `claim ${key}: it was deleted meanwhile`);
    return { won: stored.nonce === nonce, value: stored.value.bytes, ...(conditions ? {} : { settledAtMs: stored.value.modifiedMs + SETTLE_MS }) };
  }

  async delete(keys: readonly string[], { signal }: CallOptions = {}): Promise<void> {
    await this.deleteFull(keys.map((key) => this.#options.root + key), signal);
  }

  /** @param keys with the root */
  async deleteFull(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    const { calls } = this.#options;
    for (let at = 0; at < keys.length; at += MAX_DELETED) {
      const batch = keys.slice(at, at + MAX_DELETED);
      const input = { Bucket: calls.bucket, Delete: { Quiet: true, Objects: batch.map((Key) => ({ Key })) } };
      await calls.run(
        `delete ${batch.length} of ${batch[0]}`,
        async (client, http) => {
          // It is 200 even where nothing was deleted.
          const { Errors = [] } = await client.send(new DeleteObjectsCommand(input), http);
          const failed = Errors.filter(({ Code }) => Code !== 'NoSuchKey');
          if (failed[0] !== undefined) throw deleteError(failed[0], failed.length, calls.store);
        },
        { signal },
      );
    }
  }

  /** What stands at the key, and whose it is, of those written under a condition or completed. */
  async standing(key: string, { signal }: CallOptions = {}): Promise<Standing | undefined> {
    return this.#options.calls.find(`look for ${key}`, (client, http) => this.#standing(client, http, key), { signal });
  }

  /** An object opened for reading: one that is small comes at once, of any other the first bytes. */
  async open(key: string, { signal }: CallOptions = {}): Promise<{ readonly stat: Stat; readonly head: Buffer } | undefined> {
    const { calls } = this.#options;
    return calls.find(
      `open ${key}`,
      async (client, http) => {
        const got = await client.send(new GetObjectCommand({ ...this.#at(key), Range: `bytes=0-${HEAD_BYTES - 1}` }), http).catch(unlessEmpty);
        if (got === undefined) {
          const stat = (await this.#standing(client, http, key))?.stat;
          return stat === undefined ? undefined : { stat, head: Buffer.alloc(0) };
        }
        const size = Number(/\/(\d+)$/.exec(got.ContentRange ?? '')?.[1] ?? got.ContentLength);
        const head = await wholeBody(key, got, got.ContentLength ?? 0, HEAD_BYTES, http.abortSignal);
        if (head.length !== Math.min(size, HEAD_BYTES)) throw new DriverError('retryable', `open ${key}: ${calls.store} ended the body at byte ${head.length}`);
        return { stat: s3Stat(size, got.LastModified, got.ETag), head };
      },
      { signal },
    );
  }

  /** Undefined: something stands there, and it is not this very write. */
  async #putAbsent(key: string, bytes: Uint8Array, nonce: string, options: RunOptions): Promise<Stat | undefined> {
    const { calls, conditions } = this.#options;
    return calls.run(
      `put ${key}`,
      async (client, http) => {
        // Without conditions a look must do: whoever coordinates by it believes no claim before it has settled.
        const standing = conditions ? undefined : await this.#standing(client, http, key);
        if (standing !== undefined) return standing.nonce === nonce ? standing.stat : undefined;
        try {
          return await this.#write(client, http, key, bytes, { Metadata: { nonce }, ...(conditions ? { IfNoneMatch: '*' } : {}) });
        } catch (error) {
          if (!isConditionFailure(error)) throw error;
          // An earlier attempt may have succeeded, its answer lost.
          const found = await this.#standing(client, http, key);
          return found?.nonce === nonce ? found.stat : undefined;
        }
      },
      options,
    );
  }

  async #standing(client: S3Client, http: Http, key: string): Promise<Standing | undefined> {
    const found = await client.send(new HeadObjectCommand(this.#at(key)), http).catch(absentAsUndefined);
    return found === undefined ? undefined : { nonce: found.Metadata?.['nonce'], stat: s3Stat(found.ContentLength, found.LastModified, found.ETag) };
  }

  async #write(client: S3Client, http: Http, key: string, bytes: Uint8Array, more: Partial<PutObjectCommandInput> = {}): Promise<Stat> {
    const { calls, etagIsMd5 } = this.#options;
    const md5 = createHash('md5').update(bytes).digest();
    const put = await client.send(new PutObjectCommand({ ...this.#at(key), Body: bytes, ContentLength: bytes.length, ContentMD5: md5.toString('base64'), ...more }), http);
    if (etagIsMd5 && unquoted(put.ETag) !== md5.toString('hex')) {
      throw new DriverError('retryable', `put ${key}: ${calls.store} has other bytes (MD5 ${unquoted(put.ETag)})`, { answered: true });
    }
    const { 'last-modified': modified, date } = calls.headersOf(put);
    return s3Stat(bytes.length, new Date(modified ?? date ?? 0), put.ETag);
  }

  async #read(key: string, maxBytes: number | undefined, signal: AbortSignal | undefined): Promise<{ readonly value: Value; readonly nonce: string | undefined } | undefined> {
    const { calls, etagIsMd5 } = this.#options;
    return calls.find(
      `read ${key}`,
      async (client, http) => {
        const got = await client.send(new GetObjectCommand(this.#at(key)), http);
        const stat = s3Stat(got.ContentLength, got.LastModified, got.ETag);
        const bytes = await wholeBody(key, got, stat.size, maxBytes, http.abortSignal);
        if (bytes.length !== stat.size) throw new DriverError('retryable', `read ${key}: ${calls.store} ended the body at byte ${bytes.length} of ${stat.size}`);
        // Small objects are records: what was damaged on the way must not be believed.
        if (etagIsMd5 && MD5.test(stat.stamp) && createHash('md5').update(bytes).digest('hex') !== stat.stamp) {
          throw new DriverError('retryable', `read ${key}: damaged on the way from ${calls.store} (its MD5 is not ${stat.stamp})`, { answered: true });
        }
        return { value: { ...stat, bytes }, nonce: got.Metadata?.['nonce'] };
      },
      { signal },
    );
  }

  #at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#options.calls.bucket, Key: this.#options.root + key };
  }
}

async function wholeBody(key: string, got: GetObjectCommandOutput, size: number, maxBytes: number | undefined, signal: AbortSignal): Promise<Buffer> {
  const body = got.Body as Readable | undefined; // of the SDK's union, what Node's handler gives
  if (body === undefined) return Buffer.alloc(0);
  const leave = (): void => void body.destroy(new Error('aborted'));
  signal.addEventListener('abort', leave, { once: true });
  try {
    checkValueSize(key, size, maxBytes);
    const chunks: Buffer[] = [];
    let sum = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) { // without an encoding, chunks are buffers
      // What it was said to have may be less, or nothing at all.
      checkValueSize(key, (sum += chunk.length), maxBytes);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } finally {
    signal.removeEventListener('abort', leave);
    body.destroy();
  }
}

/** No range can be had of an empty object. */
function unlessEmpty(error: unknown): undefined {
  if (statusOf(error) !== 416) throw error;
}

function absentAsUndefined(error: unknown): undefined {
  if (!isAbsence(error)) throw error;
}

function deleteError({ Key, Code, Message }: { readonly Key?: string | undefined; readonly Code?: string | undefined; readonly Message?: string | undefined }, count: number, store: string): DriverError {
  const denied = Code === 'AccessDenied';
  return new DriverError(denied ? 'permanent' : 'retryable', `delete ${Key}: ${store} answered ${Code} ${Message ?? ''}${denied ? ': these credentials need s3:DeleteObject' : ''} (${count} of the request)`, { mayNotWrite: denied });
}
