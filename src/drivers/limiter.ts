/** Bounds how many tasks of one kind run at once; the rest wait in order. */
export class Limiter {
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    // Whoever ends hands its place to the first that waits, so #running does not change then.
    if (this.#running < this.#limit) this.#running++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  /** Runs the task only if a place is free now; undefined: it was not begun. */
  runIfFree<T>(task: () => Promise<T>): Promise<T> | undefined {
    return this.#running < this.#limit ? this.run(task) : undefined;
  }
}
