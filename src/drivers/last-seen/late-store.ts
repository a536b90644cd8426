/**
 * A driver whose store could not be opened when the process began: it is opened as soon as it can be, and until then
 * every call fails as one to a store that is away. For a node that has something to serve meanwhile.
 */
import { isDeepStrictEqual } from 'node:util';
import { pause, type Timers } from '../../workers/timers.ts';
import {
  DriverError, isDriverError, type Appender, type Assemblies, type AssemblyState, type CallOptions, type Claimed, type Driver, type Entry, type ForeignObject, type PutOptions, type Source, type Stat, type SweepOptions, type Value,
} from '../driver.ts';

/** What must be known of a driver before it is there: as it was when it last was. */
export interface StoreFacts {
  readonly kind: string;
  readonly claims: Driver['claims'];
  readonly listingLagSeconds: number;
}

export interface LateStoreOptions {
  readonly facts: StoreFacts;
  /** May be called again after it rejected. */
  readonly open: () => Promise<Driver>;
  /** An attempt that is under way. */
  readonly opening?: Promise<Driver>;
  readonly timers: Timers;
  /** For a store without a clock of its own. */
  readonly nowMs: () => number;
  readonly opened: (driver: Driver) => void;
}

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;

export function factsOf({ kind, claims, listingLagSeconds }: Driver): StoreFacts {
  return { kind, claims, listingLagSeconds };
}

/** @param value as it was written down, by whichever version */
export function readFacts(value: unknown): StoreFacts | undefined {
  const { kind, claims, listingLagSeconds } = (value ?? {}) as Readonly<Record<string, unknown>>; // looked at below
  if (typeof kind !== 'string' || (claims !== 'strict' && claims !== 'settle') || typeof listingLagSeconds !== 'number') return undefined;
  return { kind, claims, listingLagSeconds };
}

export function lateStore(options: LateStoreOptions): Driver {
  return new LateStore(options);
}

class LateStore implements Driver {
  readonly kind: string;
  readonly claims: Driver['claims'];
  readonly listingLagSeconds: number;
  readonly assemblies: Assemblies;
  readonly #nowMs: () => number;
  readonly #closing = new AbortController();
  readonly #opening: Promise<void>;
  #inner: Driver | undefined;
  #error: unknown;

  constructor(options: LateStoreOptions) {
    ({ kind: this.kind, claims: this.claims, listingLagSeconds: this.listingLagSeconds } = options.facts);
    this.#nowMs = options.nowMs;
    this.assemblies = lateAssemblies(() => this.#store().assemblies);
    this.#opening = this.#open(options);
  }

  async head(key: string, options?: CallOptions): Promise<Stat | undefined> {
    return await this.#store().head(key, options);
  }

  async get(key: string, options?: CallOptions & { readonly maxBytes?: number }): Promise<Value | undefined> {
    return await this.#store().get(key, options);
  }

  async open(key: string, options?: CallOptions): Promise<Source | undefined> {
    return await this.#store().open(key, options);
  }

  async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<Stat> {
    return await this.#store().put(key, bytes, options);
  }

  async *list(prefix: string, options?: CallOptions & { readonly startAfter?: string }): AsyncIterable<Entry> {
    yield* this.#store().list(prefix, options);
  }

  async *children(prefix: string, options?: CallOptions & { readonly startAfter?: string }): AsyncIterable<{ readonly name: string; readonly leaf: boolean }> {
    yield* this.#store().children(prefix, options);
  }

  async delete(keys: readonly string[], options?: CallOptions): Promise<void> {
    await this.#store().delete(keys, options);
  }

  async sync(keys: readonly string[], options?: CallOptions): Promise<void> {
    await this.#store().sync(keys, options);
  }

  async claim(key: string, value: Uint8Array, options?: CallOptions): Promise<Claimed> {
    return await this.#store().claim(key, value, options);
  }

  async clock(options?: CallOptions): Promise<number> {
    const store = this.#store();
    return store.clock === undefined ? this.#nowMs() : await store.clock(options);
  }

  async redirect(key: string, options?: CallOptions): Promise<string | undefined> {
    return await this.#store().redirect?.(key, options);
  }

  async check(options?: CallOptions): Promise<void> {
    await this.#store().check(options);
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the store is closed'));
    // An attempt under way may take a minute: nobody waits for that.
    if (this.#inner !== undefined) await this.#opening;
    await this.#inner?.close();
  }

  async #open({ facts, open, opening, opened, timers }: LateStoreOptions): Promise<void> {
    let attempt = opening;
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
      try {
        const inner = await (attempt ?? open());
        if (this.#closing.signal.aborted) return await inner.close();
        opened(inner);
        if (isDeepStrictEqual(factsOf(inner), facts)) {
          this.#inner = inner;
          return;
        }
        // Whatever was built over this driver goes by what it said first.
        await inner.close();
        this.#error = new Error('it decides claims, or lists, otherwise than it did when this node saw it last: restart Umbra');
        return;
      } catch (error) {
        this.#error = error;
      }
      attempt = undefined;
      await pause(waitMs, timers, this.#closing.signal).catch(() => undefined);
      if (this.#closing.signal.aborted) return;
    }
  }

  #store(): Driver {
    if (this.#inner !== undefined) return this.#inner;
    const said = this.#error instanceof Error ? `: ${this.#error.message}` : '';
    throw new DriverError('retryable', `the store could not be opened yet${said}`, { cause: this.#error, answered: true, retryAfterMs: isDriverError(this.#error) ? this.#error.retryAfterMs : undefined });
  }
}

/** As those of every object store: not exclusive, and not growing. */
function lateAssemblies(inner: () => Assemblies): Assemblies {
  return {
    exclusive: false,
    growing: false,
    create: (prefix) => inner().create(prefix),
    append: async (state, options): Promise<Appender> => await inner().append(state, options),
    copy: async (state: AssemblyState, from: ForeignObject, options?: CallOptions) => await inner().copy?.(state, from, options),
    open: async (state, options) => await inner().open(state, options),
    complete: async (state, key, options) => await inner().complete(state, key, options),
    discard: async (state, options) => await inner().discard(state, options),
    sweep: async (options: SweepOptions) => (await inner().sweep?.(options)) ?? { removed: 0 },
  };
}
