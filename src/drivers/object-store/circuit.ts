/**
 * Whether a store is worth asking. A store that only failed for a while is left alone, so that requests fail at once
 * instead of holding clients and memory until their deadlines; then one call tries whether it is back. Knows no HTTP.
 */

export interface CircuitOptions {
  readonly nowMs: () => number;
  /** Told when it opens, and when it closes after that. */
  readonly onOpen: (outage: Outage) => void;
  readonly onClose: (outage: Outage) => void;
  /** The store failed so often in a row, … */
  readonly failures?: number;
  /** … over at least so long: a burst of failures while a store restarts is what retries are for. */
  readonly overMs?: number;
  /** How long it stays open before the first call tries; doubled with each that fails, up to `longestMs`. */
  readonly openMs?: number;
  readonly longestMs?: number;
}

export interface Outage {
  /** The first failure in a row. */
  readonly sinceMs: number;
  /** Nobody asks before. */
  readonly untilMs: number;
  readonly failures: number;
  readonly last: unknown;
}

/** What a call that may be made tells when it ends. */
export interface Pass {
  /** The store answered, whatever it said. */
  answered(): void;
  failed(error: unknown): void;
  /** The caller left before anything could be learned. */
  gaveUp(): void;
}

const FAILURES = 8;
const OVER_MS = 5_000;
const OPEN_MS = 5_000;
const LONGEST_MS = 30_000;

export class Circuit {
  readonly #options: CircuitOptions;
  /** Failures in a row, the first and the last of them. */
  #failures = 0;
  #sinceMs = 0;
  #last: unknown;
  /** While open: how long this time, and until when. */
  #open: { readonly forMs: number; readonly untilMs: number } | undefined;
  #probing = false;

  constructor(options: CircuitOptions) {
    this.#options = options;
  }

  /** The leave to make one call, or the outage that forbids it. */
  enter(): Pass | Outage {
    if (this.#open === undefined) return this.#pass(false);
    if (this.#probing || this.#options.nowMs() < this.#open.untilMs) return this.#outage();
    this.#probing = true;
    return this.#pass(true);
  }

  #pass(probe: boolean): Pass {
    return {
      answered: () => {
        if (probe) this.#probing = false;
        this.#failures = 0;
        // Also by a call that began before it opened: the store answered just now.
        if (this.#open === undefined) return;
        const outage = this.#outage();
        this.#open = undefined;
        this.#options.onClose(outage);
      },
      failed: (error) => {
        if (probe) this.#probing = false;
        // A call that began before it opened has nothing new to say.
        else if (this.#open !== undefined) return;
        this.#fail(error);
      },
      gaveUp: () => {
        if (probe) this.#probing = false;
      },
    };
  }

  #fail(error: unknown): void {
    const { nowMs, onOpen, failures = FAILURES, overMs = OVER_MS, openMs = OPEN_MS, longestMs = LONGEST_MS } = this.#options;
    const now = nowMs();
    if (this.#failures === 0) this.#sinceMs = now;
    this.#failures++;
    this.#last = error;
    if (this.#open !== undefined) {
      const forMs = Math.min(longestMs, this.#open.forMs * 2);
      this.#open = { forMs, untilMs: now + forMs };
    } else if (this.#failures >= failures && now - this.#sinceMs >= overMs) {
      this.#open = { forMs: openMs, untilMs: now + openMs };
      onOpen(this.#outage());
    }
  }

  #outage(): Outage {
    return { sinceMs: this.#sinceMs, untilMs: this.#open?.untilMs ?? 0, failures: this.#failures, last: this.#last };
  }
}
