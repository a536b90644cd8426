/** Bytes kept in the chunks that they came in, so that gathering an object never copies it as a whole. */
export class MemoryBytes {
  readonly #chunks: Buffer[] = [];
  /** Where each chunk ends. */
  readonly #ends: number[] = [];

  get size(): number {
    return this.#ends.at(-1) ?? 0;
  }

  /** Takes a copy: the caller may reuse its chunk. */
  append(chunk: Uint8Array): void {
    if (chunk.length > 0) this.#push(Buffer.from(chunk));
  }

  /** The first bytes, as an object of their own: appending to either leaves the other alone. */
  first(length: number): MemoryBytes {
    const first = new MemoryBytes();
    for (const slice of this.slices(0, length)) first.#push(slice);
    return first;
  }

  /** Fills `into` from `position`; how many bytes there were. */
  read(into: Uint8Array, position: number): number {
    let length = 0;
    for (const slice of this.slices(position, position + into.length)) {
      into.set(slice, length);
      length += slice.length;
    }
    return length;
  }

  /** The bytes from `start` up to `end` (exclusive), as views; later appends are seen. */
  *slices(start: number, end: number): Iterable<Buffer> {
    for (let index = this.#chunkAt(start), position = start; position < end; index++) {
      const chunk = this.#chunks[index];
      const chunkEnd = this.#ends[index];
      if (chunk === undefined || chunkEnd === undefined) return;
      const chunkStart = chunkEnd - chunk.length;
      yield chunk.subarray(position - chunkStart, Math.min(end, chunkEnd) - chunkStart);
      position = chunkEnd;
    }
  }

  #push(chunk: Buffer): void {
    this.#ends.push(this.size + chunk.length);
    this.#chunks.push(chunk);
  }

  /** The first chunk that ends behind `position`. */
  #chunkAt(position: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] ?? 0) <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
