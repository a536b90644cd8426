/**
 * A whole blob that comes over a network from the store: the end of it is given only when all of it has the digest that
 * was asked for, so that no client takes bytes for whole that changed on the way (DESIGN section 12, 2).
 */
import type { Source } from '../drivers/driver.ts';
import { algorithmOf, finishHash, newHash, type Digest } from '../oci/digest.ts';

/** The source for one stream of all its bytes. Those with random access are local, and stay as they are: the disk tier looks at its own. */
export function verified(source: Source, digest: Digest): Source {
  if (source.read !== undefined) return source;
  return { stat: source.stat, stream: (range, options) => heldBack(source.stream(range, options), digest), close: () => source.close() };
}

/** One chunk late, so that the last one waits for the digest. */
async function* heldBack(chunks: AsyncIterable<Buffer>, digest: Digest): AsyncGenerator<Buffer> {
  const algorithm = algorithmOf(digest);
  const hash = newHash(algorithm);
  let held: Buffer | undefined;
  for await (const chunk of chunks) {
    if (chunk.length === 0) continue;
    if (held !== undefined) yield held;
    hash.update(chunk);
    held = chunk;
  }
  const found = finishHash(algorithm, hash);
  if (found !== digest) throw new Error(`the store gave bytes of ${found} for ${digest}`);
  if (held !== undefined) yield held;
}
