/** What endpoints need to give and take bodies: the pool, the bounds, and the exchange's own account of bytes. */
import { randomBytes } from 'node:crypto';
import type { RunningHash } from '../content/running-hash.ts';
import type { Appender, ByteRange, Source } from '../drivers/driver.ts';
import type { Timers } from '../workers/timers.ts';
import type { BufferPool } from './buffers.ts';
import type { Exchange } from './exchange.ts';
import { multipart, type Multipart, type Section } from './multipart.ts';
import { receiveBody, type Received } from './receive-body.ts';
import { sendChunks, sendSource } from './send-body.ts';

export interface BodiesOptions {
  readonly pool: BufferPool;
  readonly timers: Timers;
  /** A client that takes or gives no byte for so long is cut off. */
  readonly stallMs: number;
  /** What one blob may have. */
  readonly maxBlobBytes: number;
  /** Counts the bodies being received. */
  readonly running: { value: number };
}

export interface Bodies {
  /**
   * A request's body into an upload that has `offset` bytes.
   * @param expectedBytes what a Content-Range announced
   */
  receive(x: Exchange, appender: Appender, hash: RunningHash, offset: number, expectedBytes: number | undefined): Promise<Received>;
  /** Sections of a source, after the head. */
  sendSource(x: Exchange, source: Source, sections: readonly Section[]): Promise<void>;
  /** A stream, after the head. `length` is what was promised. */
  sendChunks(x: Exchange, open: (signal: AbortSignal) => AsyncIterable<Uint8Array>, length: number | undefined): Promise<void>;
  /** Several ranges in one body (RFC 9110 section 14.6). */
  multipart(parts: readonly ByteRange[], size: number, contentType: string): Multipart;
}

export function bodies({ pool, timers, stallMs, maxBlobBytes, running }: BodiesOptions): Bodies {
  const sending = (x: Exchange): Parameters<typeof sendSource>[3] => ({ pool, stallMs, sent: (bytes) => (x.report.bytesOut += bytes) });
  return {
    async receive(x, appender, hash, offset, expectedBytes) {
      x.allowBody();
      running.value++;
      try {
        return await receiveBody(x.req, appender, hash, {
          pool, timers, stallMs, expectedBytes,
          maxBytes: maxBlobBytes - offset,
          received: (bytes) => (x.report.bytesIn += bytes),
        });
      } finally {
        running.value--;
      }
    },
    sendSource: (x, source, sections) => sendSource(x.res, source, sections, sending(x)),
    sendChunks: (x, open, length) => sendChunks(x.res, open, length, sending(x)),
    multipart: (parts, size, contentType) => multipart(parts, size, contentType, randomBytes(18).toString('hex')),
  };
}
