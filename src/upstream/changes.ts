/** Waiting for the next change of something, without polling. A change between looking and waiting is never missed: both are one turn. */

export class Changes {
  #waiting = new Set<() => void>();

  notify(): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const wake of waiting) wake();
  }

  /** Resolves at the next change. Rejects with the signal's reason. */
  async next(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const wake = (): void => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = (): void => {
        this.#waiting.delete(wake);
        reject(signal.reason as Error); // every signal made here aborts with an Error
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.add(wake);
    });
  }
}
