/** Interim. */
import type { Appender, ByteRange, Source } from '../drivers/driver.ts';
import type { RunningHash } from '../content/running-hash.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Outcome } from './handler.ts';
import { ClientLeft, type Exchange } from './exchange.ts';
export function matchesNone(header: string, etag: string): boolean {
  return !(header.trim() === '*' || header.split(',').some((t) => t.trim().replace(/^W\//, '') === etag));
}
export function parseContentRange(header: string): ByteRange | undefined {
  const m = /^(?:bytes )?([0-9]{1,15})-([0-9]{1,15})$/.exec(header);
  return m === null || Number(m[2]) < Number(m[1]) ? undefined : { start: Number(m[1]), end: Number(m[2]) };
}
export interface Intake {
  receive(x: Exchange, appender: Appender, hash: RunningHash, offset: number): Promise<{ failure?: unknown }>;
}
export interface Bodies extends Intake {
  sendSource(x: Exchange, source: Source, range: ByteRange): Promise<void>;
  sendChunks(x: Exchange, chunks: AsyncIterable<Buffer>): Promise<void>;
}
export function bodies(maxBlobBytes: number): Bodies {
  const sendChunks = async (x: Exchange, chunks: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of chunks) {
      if (x.res.destroyed) throw new ClientLeft('left');
      x.report.bytesOut += chunk.length;
      if (!x.res.write(chunk)) await new Promise<void>((resolve) => { x.res.once('drain', resolve); x.res.once('close', resolve); });
    }
    x.res.end();
  };
  return {
    async receive(x, appender, hash, offset) {
      try {
        x.allowBody();
        for await (const chunk of x.req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
          if (offset + x.report.bytesIn + chunk.length > maxBlobBytes) return { failure: new RegistryError('BLOB_TOO_LARGE', `a blob may have at most ${maxBlobBytes} bytes`) };
          hash.update(chunk);
          await appender.write(chunk);
          x.report.bytesIn += chunk.length;
        }
        return {};
      } catch (error) {
        if (x.req.errored === error) return { failure: new ClientLeft('left', { cause: error }) };
        throw error;
      }
    },
    sendSource: (x, source, range) => sendChunks(x, source.stream(range, { signal: x.signal })),
    sendChunks,
  };
}

export function interimLog() {
  return {
    warn: (fields: object, message: string): void => console.error(message, fields),
    error: (fields: object, message: string): void => console.error(message, fields),
    request: (x: Exchange, o: Outcome): void => { console.log(x.method, x.req.url, o.status, o.ms, x.report.source ?? ''); if (o.error !== undefined) console.error(o.error); },
  };
}
