/** A hash that goes on over several requests of one upload. */
import { type Algorithm, type Digest, finishHash, newHash } from '../oci/digest.ts';

export interface RunningHash {
  readonly algorithm: Algorithm;
  /** Bytes hashed so far. */
  readonly length: number;
  update(chunk: Uint8Array): void;
  /** Of all so far; the hash may go on. */
  digest(): Digest;
}

/**
 * On the event loop: a thread for large bodies was tried and was no faster on two cores, where the client, the writes
 * and the loop keep both busy already.
 */
export function runningHash(algorithm: Algorithm): RunningHash {
  const hash = newHash(algorithm);
  let length = 0;
  return {
    algorithm,
    get length() {
      return length;
    },
    update(chunk) {
      hash.update(chunk);
      length += chunk.length;
    },
    digest: () => finishHash(algorithm, hash.copy()),
  };
}
