/** Reads a body that must fit in memory (a manifest, a form), bounded in size and time. */
import type { RegistryError } from '../oci/errors.ts';
import { ClientLeft, type Exchange } from './exchange.ts';

/** @throws what `tooLarge` makes where the body has more than `maxBytes`; ClientLeft where it did not arrive whole */
export async function readSmallBody(x: Exchange, maxBytes: number, tooLarge: (limit: number) => RegistryError): Promise<Buffer> {
  const announced = Number(x.header('content-length') ?? 0);
  if (announced > maxBytes) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let length = 0;
  const giveUp = setTimeout(() => x.req.destroy(new Error(`the body took more than ${x.patienceMs} ms`)), x.patienceMs);
  try {
    x.allowBody();
    for await (const chunk of x.req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > maxBytes) throw tooLarge(maxBytes);
      chunks.push(chunk);
    }
  } catch (error) {
    if (x.req.errored !== null && x.req.errored === error) throw new ClientLeft('the client left before its body was whole', { cause: error });
    throw error;
  } finally {
    clearTimeout(giveUp);
  }
  x.report.bytesIn += length;
  return Buffer.concat(chunks, length);
}
