/**
 * A set of digests that costs 16 to 64 bytes each, so that a run can tell which of a million blobs it has met. It keeps
 * the first 128 bits of each, which two digests share only where somebody broke the hash.
 */
import { hexOf, type Digest } from '../oci/digest.ts';

/** 32-bit words of a digest that are kept. */
const WORDS = 4;

export class DigestSet {
  #slots = 64;
  #words = new Uint32Array(this.#slots * WORDS);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** False where it was in already. */
  add(digest: Digest): boolean {
    if (this.#size * 2 >= this.#slots) this.#grow();
    if (!this.#put(wordsOf(digest))) return false;
    this.#size++;
    return true;
  }

  has(digest: Digest): boolean {
    return this.#find(wordsOf(digest)).taken;
  }

  #put(words: Uint32Array): boolean {
    const { at, taken } = this.#find(words);
    if (!taken) this.#words.set(words, at);
    return !taken;
  }

  /** Where the digest stands, or would. Four zero words are an empty slot: no digest begins so. */
  #find(words: Uint32Array): { readonly at: number; readonly taken: boolean } {
    // The digest is as good a hash as any.
    for (let slot = (words[0] as number /* of WORDS */) % this.#slots; ; slot = (slot + 1) % this.#slots) {
      const at = slot * WORDS;
      let [same, empty] = [true, true];
      for (let i = 0; i < WORDS; i++) {
        const word = this.#words[at + i];
        if (word !== words[i]) same = false;
        if (word !== 0) empty = false;
      }
      if (same || empty) return { at, taken: same && !empty };
    }
  }

  #grow(): void {
    const before = this.#words;
    this.#slots *= 2;
    this.#words = new Uint32Array(this.#slots * WORDS);
    for (let at = 0; at < before.length; at += WORDS) {
      const words = before.subarray(at, at + WORDS);
      if (words.some((word) => word !== 0)) this.#put(words);
    }
  }
}

function wordsOf(digest: Digest): Uint32Array {
  const hex = hexOf(digest);
  return Uint32Array.from({ length: WORDS }, (_, i) => Number.parseInt(hex.slice(i * 8, i * 8 + 8), 16));
}
