/**
 * A lane that carries states of one thing: while one is on its way, newer ones replace each other instead of queueing,
 * so that a slow receiver costs one message of memory and still learns the latest.
 */
import type { Send } from './wire.ts';

export class LatestOnly<M> {
  readonly #send: Send<M>;
  #busy = false;
  #waiting: { readonly message: M } | undefined;

  constructor(send: Send<M>) {
    this.#send = send;
  }

  offer(message: M): void {
    if (this.#busy) this.#waiting = { message };
    else this.#start(message);
  }

  /** Drops what waits; what is on its way arrives. */
  clear(): void {
    this.#waiting = undefined;
  }

  #start(message: M): void {
    this.#busy = true;
    this.#send(message, () => {
      this.#busy = false;
      const next = this.#waiting;
      this.#waiting = undefined;
      if (next !== undefined) this.#start(next.message);
    });
  }
}
