/** Reads a blob out of an upstream's answer, from the offset that was asked for, whatever upstream made of the Range. */
import { RegistryError } from '../oci/errors.ts';
import { headerOf, type Answer } from '../drivers/exchange.ts';
import { lengthOf } from './remote-manifest.ts';
import type { RemoteBlob } from './upstream.ts';

/**
 * @param start the offset that `answer` was asked for
 * @param what names the blob and its upstream in messages
 * @param explain turns an error of the connection into one for the reader
 * @throws RegistryError UPSTREAM_FAILED where the answer holds other bytes than those asked for
 */
export function readRemoteBlob(answer: Answer, start: number, what: string, explain: (error: unknown) => Error): RemoteBlob {
  const { from, size } = extent(answer, start, what);
  if (from > start || (size !== undefined && start > size)) fail(answer, `${what} is answered from byte ${from} of ${size ?? '?'}: expected byte ${start}`);
  return { size, body: bytesFrom(answer, start - from, size === undefined ? undefined : size - start, what, explain) };
}

/** Which byte of the blob the body begins with, and how many the whole blob has. */
function extent(answer: Answer, start: number, what: string): { readonly from: number; readonly size: number | undefined } {
  if (answer.status === 200) return { from: 0, size: lengthOf(answer.headers) };
  const text = headerOf(answer.headers, 'content-range') ?? '';
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(?:(\d{1,15})|\*)$/.exec(text);
  if (match === null || Number(match[1]) !== start) return fail(answer, `${what} is answered with Content-Range ${JSON.stringify(text.slice(0, 100))}: expected one from byte ${start}`);
  return { from: start, size: match[3] === undefined ? undefined : Number(match[3]) };
}

/** `expected` counts from after the `skip` bytes that were not asked for. */
async function* bytesFrom(answer: Answer, skip: number, expected: number | undefined, what: string, explain: (error: unknown) => Error): AsyncGenerator<Buffer, void, undefined> {
  let skipping = skip;
  let got = 0;
  try {
    for await (const chunk of answer.body) {
      const wanted = skipping === 0 ? chunk : chunk.subarray(Math.min(skipping, chunk.length));
      skipping -= chunk.length - wanted.length;
      if (wanted.length === 0) continue;
      got += wanted.length;
      if (expected !== undefined && got > expected) throw new RegistryError('UPSTREAM_FAILED', `${what} has more bytes than promised`);
      yield wanted;
    }
    if (skipping > 0) throw new RegistryError('UPSTREAM_FAILED', `${what} ended before the byte asked for`);
    if (expected !== undefined && got < expected) throw new RegistryError('UPSTREAM_FAILED', `${what} ended ${expected - got} bytes early`);
  } catch (error) {
    throw explain(error);
  }
}

function fail(answer: Answer, message: string): never {
  answer.body.discard();
  throw new RegistryError('UPSTREAM_FAILED', message);
}
