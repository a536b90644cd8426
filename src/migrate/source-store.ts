/**
 * Another registry's store, to read only: the reading half of a driver. What fails here is told apart from what fails in
 * our own store: a file that cannot be read is one image less, a target that fails ends the run.
 */
import type { CallOptions, Driver, ForeignObject, Source, Stat } from '../drivers/driver.ts';

export interface ReadableStore extends Pick<Driver, 'head' | 'get' | 'open' | 'children' | 'close'> {
  /** Where an object stands for a store that can copy it by itself. */
  foreign?(key: string, size: number, options?: CallOptions): Promise<ForeignObject>;
}

/** The source could not be read; not that something is absent there. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
  /** What was being read. */
  readonly key: string;

  constructor(key: string, cause: unknown) {
    super(`${key} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.key = key;
  }
}

/** Whose failures are SourceErrors. A run that was given up (`signal`) rejects with the signal's reason. */
export class SourceStore {
  readonly #store: ReadableStore;
  readonly #signal: AbortSignal;

  constructor(store: ReadableStore, signal: AbortSignal) {
    this.#store = store;
    this.#signal = signal;
  }

  head(key: string): Promise<Stat | undefined> {
    return this.#read(key, (options) => this.#store.head(key, options));
  }

  /** A small object whole. @throws SourceError where it is larger */
  async get(key: string, maxBytes: number): Promise<Buffer | undefined> {
    return (await this.#read(key, (options) => this.#store.get(key, { ...options, maxBytes })))?.bytes;
  }

  /** The caller closes it. */
  async open(key: string): Promise<Source | undefined> {
    const source = await this.#read(key, (options) => this.#store.open(key, options));
    if (source === undefined) return undefined;
    return { stat: source.stat, stream: (range) => this.#guard(key, source.stream(range, { signal: this.#signal })), close: () => source.close() };
  }

  async foreign(key: string, size: number): Promise<ForeignObject | undefined> {
    return this.#store.foreign === undefined ? undefined : await this.#read(key, (options) => this.#store.foreign?.(key, size, options));
  }

  /** The components that follow a prefix, which ends in `/`. */
  children(prefix: string): AsyncIterable<{ readonly name: string; readonly leaf: boolean }> {
    return this.#guard(prefix, this.#store.children(prefix, { signal: this.#signal }));
  }

  async #read<T>(key: string, read: (options: CallOptions) => T | Promise<T>): Promise<T> {
    try {
      return await read({ signal: this.#signal });
    } catch (error) {
      throw this.#explain(key, error);
    }
  }

  async *#guard<T>(key: string, items: AsyncIterable<T>): AsyncGenerator<T> {
    const iterator = items[Symbol.asyncIterator]();
    try {
      for (;;) {
        // Only what reading throws is the source's: what the consumer throws never comes by here.
        const { done, value } = await iterator.next().catch((error: unknown) => {
          throw this.#explain(key, error);
        });
        if (done === true) return;
        yield value;
      }
    } finally {
      await iterator.return?.();
    }
  }

  #explain(key: string, error: unknown): unknown {
    return this.#signal.aborted ? this.#signal.reason : new SourceError(key, error);
  }
}
