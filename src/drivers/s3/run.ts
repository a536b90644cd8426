/**
 * One object of an attempt that nobody reads before it is finished: its bytes are the parts of a multipart upload, so
 * that a store which copies whole objects without touching their bytes has one to copy.
 */
import { CreateMultipartUploadCommand, UploadPartCommand, type CompletedPart, type S3Client } from '@aws-sdk/client-s3';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { DriverError } from '../driver.ts';
import type { Http, S3Calls } from './client.ts';
import { abortUpload, completeUpload } from './multipart.ts';
import type { S3Objects } from './objects.ts';
import { unquoted } from './stat.ts';

export interface S3RunOptions {
  readonly calls: S3Calls;
  readonly objects: S3Objects;
  readonly root: string;
  /** Without the root; never written before. */
  readonly key: string;
  /** Whether this store's ETags of parts are their MD5. */
  readonly etagIsMd5: boolean;
  readonly signal: AbortSignal;
}

const PUT_MS = 120_000;

export class S3Run {
  size = 0;
  readonly #options: S3RunOptions;
  readonly #nonce: string;
  readonly #target: { readonly Bucket: string; readonly Key: string };
  readonly #begun: Promise<string | undefined>;
  readonly #parts: Promise<CompletedPart>[] = [];

  constructor(options: S3RunOptions) {
    this.#options = options;
    const { calls, key, root, signal } = options;
    this.#nonce = createHash('sha256').update(key).digest('hex').slice(0, 32);
    this.#target = { Bucket: calls.bucket, Key: root + key };
    const input = { ...this.#target, Metadata: { nonce: this.#nonce } };
    const begin = async (client: S3Client, http: Http): Promise<string | undefined> => (await client.send(new CreateMultipartUploadCommand(input), http)).UploadId;
    this.#begun = calls.run(`begin ${key}`, begin, { signal });
    this.#begun.catch(() => undefined); // whoever waits for a part learns of it
  }

  /** Resolves when the store has the part. */
  async put(pieces: readonly Buffer[], size: number, md5: Buffer): Promise<void> {
    this.size += size;
    const part = this.#put(this.#parts.length + 1, pieces, size, md5);
    this.#parts.push(part);
    await part;
  }

  /** @returns the ETag */
  async complete(): Promise<string> {
    const { calls, objects, key, signal } = this.#options;
    const parts = await Promise.all(this.#parts);
    await completeUpload({ calls, objects, key, upload: { ...this.#target, UploadId: await this.#begun }, nonce: this.#nonce, parts, signal });
    const stat = await objects.head(key, { signal });
    if (stat?.size !== this.size) throw new DriverError('retryable', `complete ${key}: ${calls.store} has ${stat?.size ?? 'no'} bytes of ${this.size}`);
    return stat.stamp;
  }

  /** Must not fail. */
  async abandon(): Promise<void> {
    await Promise.allSettled(this.#parts);
    const UploadId = await this.#begun.catch(() => undefined);
    if (UploadId !== undefined) await abortUpload(this.#options.calls, { ...this.#target, UploadId });
  }

  async #put(PartNumber: number, pieces: readonly Buffer[], ContentLength: number, md5: Buffer): Promise<CompletedPart> {
    const { calls, key, etagIsMd5, signal } = this.#options;
    const what = `put part ${PartNumber} of ${key}`;
    const input = { ...this.#target, UploadId: await this.#begun, PartNumber, ContentLength, ContentMD5: md5.toString('base64') };
    const send = async (client: S3Client, http: Http): Promise<CompletedPart> => {
      const { ETag } = await client.send(new UploadPartCommand({ ...input, Body: Readable.from(pieces, { objectMode: false }) }), http);
      if (etagIsMd5 && unquoted(ETag) !== md5.toString('hex')) {
        throw new DriverError('retryable', `${what}: ${calls.store} has MD5 ${unquoted(ETag)} of it, not ${md5.toString('hex')}: damaged on the way`, { answered: true });
      }
      return { PartNumber, ETag: `"${unquoted(ETag)}"` };
    };
    return calls.run(what, send, { signal, timeoutMs: PUT_MS });
  }
}
