/** Bounds on waiting: a deadline joined with the caller's own signal, and leaving work that others still wait for. */

export interface Deadline {
  /** Aborts when the time is up or the caller gives up, whichever is first. */
  readonly signal: AbortSignal;
  /** Takes the time limit away; the caller may still abort. */
  clear(): void;
  /** Ends whatever still runs under `signal`. */
  abort(reason: Error): void;
}

/** @param late makes the reason that `signal` carries when the time is up */
export function deadline(ms: number, caller: AbortSignal | undefined, late: () => Error): Deadline {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(late()), ms);
  return {
    signal: caller === undefined ? limit.signal : AbortSignal.any([caller, limit.signal]),
    clear: () => clearTimeout(timer),
    abort: (reason) => limit.abort(reason),
  };
}

/** Waits for shared work as long as the signal allows; the work itself goes on. Rejects with the signal's reason. */
export async function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const leave = (): void => reject(signal.reason as Error); // every signal made here aborts with an Error
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
