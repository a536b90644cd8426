/** Finds what was used least recently of any number of things, in bounded memory. */

export interface Old {
  readonly name: string;
  readonly usedMs: number;
  readonly bytes: number;
}

/** Of what is found at once: about 200 bytes of memory each. */
const MAX_OLDEST = 20_000;

/** Keeps the oldest that are seen, as few as take `bytes`: a heap with the newest of them on top. */
export class Oldest {
  readonly #bytes: number;
  readonly #heap: Old[] = [];
  #sum = 0;

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  add(blob: Old): void {
    const top = this.#heap[0];
    if (top !== undefined && this.#sum >= this.#bytes && blob.usedMs >= top.usedMs) return;
    this.#push(blob);
    this.#sum += blob.bytes;
    for (let newest = this.#heap[0]; newest !== undefined; newest = this.#heap[0]) {
      if (this.#sum - newest.bytes < this.#bytes && this.#heap.length <= MAX_OLDEST) break;
      this.#sum -= newest.bytes;
      this.#pop();
    }
  }

  /** Oldest first. */
  sorted(): Old[] {
    return this.#heap.toSorted((a, b) => a.usedMs - b.usedMs);
  }

  #push(blob: Old): void {
    const heap = this.#heap;
    let at = heap.push(blob) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (usedMs(heap, above) >= usedMs(heap, at)) break;
      swap(heap, above, at);
      at = above;
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    heap[0] = last;
    for (let at = 0; ; ) {
      let newest = at;
      for (const below of [2 * at + 1, 2 * at + 2]) if (below < heap.length && usedMs(heap, below) > usedMs(heap, newest)) newest = below;
      if (newest === at) break;
      swap(heap, newest, at);
      at = newest;
    }
  }
}

function usedMs(heap: readonly Old[], index: number): number {
  return heap[index]?.usedMs ?? 0;
}

function swap(heap: Old[], a: number, b: number): void {
  const [one, other] = [heap[a], heap[b]];
  if (one === undefined || other === undefined) return;
  heap[a] = other;
  heap[b] = one;
}
