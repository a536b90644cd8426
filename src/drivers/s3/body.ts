/**
 * The bytes of a range of one object in order, whatever becomes of the connections: one that breaks, stalls or ends
 * early is gone on from where it was, under the same ETag, so that the bytes of two objects are never spliced.
 */
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { Timers } from '../../workers/timers.ts';
import { DriverError, type ByteRange } from '../driver.ts';
import type { S3Calls } from './client.ts';
import { codeOf, isConditionFailure } from './errors.ts';

export interface BodyOptions {
  readonly calls: S3Calls;
  readonly timers: Timers;
  /** With the root. */
  readonly key: string;
  /** In messages. */
  readonly name: string;
  readonly etag: string;
  readonly range: ByteRange;
  readonly signal?: AbortSignal | undefined;
}

/** A body of which no byte comes for so long, while they are wanted, is given up. */
const STALL_MS = 30_000;
/** Connections in a row that brought no byte. */
const MAX_FRUITLESS = 4;

/** A body read whole that is not what its ETag says is asked for again. */
const MAX_DAMAGED = 3;

/**
 * A whole object, compared with its MD5 where its ETag is that: what is written again must be what was read.
 * @throws DriverError `superseded` where another object, or none, stands at the key by now
 */
export async function s3Whole(options: Omit<BodyOptions, 'range'> & { readonly size: number; readonly etagIsMd5: boolean }): Promise<Buffer> {
  const { size, etag, etagIsMd5, name } = options;
  for (let attempt = 1; ; attempt++) {
    const chunks: Buffer[] = [];
    for await (const chunk of s3Body({ ...options, range: { start: 0, end: size - 1 } })) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    if (!etagIsMd5 || createHash('md5').update(bytes).digest('hex') === etag) return bytes;
    if (attempt === MAX_DAMAGED) throw new DriverError('retryable', `read ${name}: ${options.calls.store} gives other bytes than were written (MD5 ${etag})`);
  }
}

/** @throws DriverError `superseded` where another object, or none, stands at the key by now */
export async function* s3Body({ calls, timers, key, name, etag, range, signal }: BodyOptions): AsyncGenerator<Buffer> {
  let position = range.start;
  for (let fruitless = 0; position <= range.end; ) {
    signal?.throwIfAborted();
    const from = position;
    const body = await request(calls, key, name, etag, { start: position, end: range.end }, signal);
    let failure: unknown;
    try {
      for await (const chunk of chunksOf(body, timers, signal)) {
        const wanted = chunk.subarray(0, range.end + 1 - position);
        position += wanted.length;
        yield wanted;
      }
    } catch (error) {
      failure = error;
    } finally {
      body.destroy();
    }
    signal?.throwIfAborted();
    if (position > range.end) return;
    fruitless = position === from ? fruitless + 1 : 0;
    if (fruitless >= MAX_FRUITLESS) {
      throw new DriverError('retryable', `read ${name}: ${calls.store} ended the body at byte ${position} of ${range.end + 1} (${codeOf(failure) || 'too short'})`, { cause: failure });
    }
  }
}

async function request(calls: S3Calls, key: string, name: string, etag: string, { start, end }: ByteRange, signal: AbortSignal | undefined): Promise<Readable> {
  const command = new GetObjectCommand({ Bucket: calls.bucket, Key: key, Range: `bytes=${start}-${end}`, IfMatch: `"${etag}"` });
  const got = await calls.findBody(
    `read ${name}`,
    async (client, http) => {
      try {
        return await client.send(command, http);
      } catch (error) {
        if (isConditionFailure(error)) return undefined;
        throw error;
      }
    },
    { signal },
  );
  if (got === undefined) throw new DriverError('superseded', `${name} was deleted or replaced while it was read`);
  const body = got.Body as Readable | undefined; // of the SDK's union, what Node's handler gives
  if (body === undefined) throw new DriverError('retryable', `read ${name}: ${calls.store} gave no body`);
  // Whoever ignored the range would give other bytes than those asked for.
  if (got.ContentRange !== undefined && !got.ContentRange.startsWith(`bytes ${start}-`)) {
    body.destroy();
    throw new DriverError('permanent', `read ${name}: ${calls.store} answered ${got.ContentRange} when asked for bytes ${start}-${end}`);
  }
  if (got.ContentRange === undefined && start > 0) {
    body.destroy();
    throw new DriverError('permanent', `read ${name}: ${calls.store} knows no ranges`);
  }
  return body;
}

/** The chunks of a body; the time counts only while one is waited for. */
async function* chunksOf(body: Readable, timers: Timers, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  const leave = (): void => void body.destroy(signal?.reason instanceof Error ? signal.reason : undefined);
  signal?.addEventListener('abort', leave, { once: true });
  const chunks = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>; // without an encoding, chunks are buffers
  try {
    for (;;) {
      const cancel = timers.after(STALL_MS, () => body.destroy(new Error(`no byte for ${STALL_MS / 1000} s`)));
      const next = await chunks.next().finally(cancel);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    signal?.removeEventListener('abort', leave);
  }
}
