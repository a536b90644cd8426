/** Waiting as an argument, so that tests decide when time has passed. */

export interface Timers {
  /** Runs the task once, `ms` milliseconds from now, unless the returned function is called before. */
  after(ms: number, task: () => void): () => void;
}

/** Milliseconds since the epoch when the process began, and counted on from there: no change of the machine's clock moves it. */
export function steadyNowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** The process's own. A pending task keeps the process alive: whoever closes cancels. */
export const systemTimers: Timers = {
  after(ms, task) {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
};

/** What the promise gives, if it settles within so long; it goes on all the same. @param late makes what is thrown otherwise */
export async function within<T>(promise: Promise<T>, ms: number, timers: Timers, late: () => Error): Promise<T> {
  const over = Promise.withResolvers<never>();
  const cancel = timers.after(ms, () => over.reject(late()));
  try {
    return await Promise.race([promise, over.promise]);
  } finally {
    cancel();
  }
}

/** Waits so long. @throws the signal's reason */
export async function pause(ms: number, timers: Timers, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  const over = Promise.withResolvers<void>();
  const onAbort = (): void => over.reject(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const cancel = timers.after(ms, over.resolve);
  try {
    await over.promise;
  } finally {
    cancel();
    signal?.removeEventListener('abort', onAbort);
  }
}
