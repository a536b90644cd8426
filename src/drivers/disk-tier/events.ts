/**
 * What the disk tier tells: counts for metrics, and troubles for the log, each once. While a disk is in trouble it is
 * let rest; then it is tried again.
 */

/**
 * Reads: `hit` from the disk, `miss` from the store, `joined` a fill under way, `passed` by the disk (too large, or it
 * rests). Fills: `stored`, `failed`, `mismatch` (the store gave other bytes), `abandoned` (nobody wanted them any
 * more, or there were too many at once). Blobs that went: `evicted`, `corrupt`.
 */
export type DiskCount = 'hit' | 'miss' | 'joined' | 'passed' | 'stored' | 'failed' | 'mismatch' | 'abandoned' | 'evicted' | 'corrupt';

export interface DiskEvents {
  count(what: DiskCount): void;
  /** What the cache takes of the disk now, in bytes. */
  used(bytes: number): void;
  report(event: { readonly kind: string; readonly [field: string]: unknown }): void;
}

const REST_MS = 30_000;
const MAX_REST_MS = 5 * 60_000;

/** One way in which a disk can fail: being read or being written. */
export class DiskTrouble {
  readonly #root: string;
  readonly #doing: 'reading' | 'writing';
  readonly #events: DiskEvents;
  readonly #nowMs: () => number;
  #restMs = REST_MS;
  #restUntilMs: number | undefined;

  constructor(root: string, doing: 'reading' | 'writing', events: DiskEvents, nowMs: () => number) {
    this.#root = root;
    this.#doing = doing;
    this.#events = events;
    this.#nowMs = nowMs;
  }

  /** Not to be asked now. */
  get resting(): boolean {
    return this.#restUntilMs !== undefined && this.#nowMs() < this.#restUntilMs;
  }

  /** Reported at the beginning of a trouble only; each further time, the disk rests for longer. */
  failed(error: unknown): void {
    if (this.resting) return; // begun before: the same trouble
    if (this.#restUntilMs === undefined) {
      this.#events.report({ kind: `the disk cache fails at ${this.#doing}; blobs come from the store`, root: this.#root, error });
    }
    this.#restUntilMs = this.#nowMs() + this.#restMs;
    this.#restMs = Math.min(2 * this.#restMs, MAX_REST_MS);
  }

  worked(): void {
    if (this.#restUntilMs === undefined || this.resting) return;
    this.#restUntilMs = undefined;
    this.#restMs = REST_MS;
    this.#events.report({ kind: `the disk cache is good again at ${this.#doing}`, root: this.#root });
  }
}
