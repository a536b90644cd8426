/**
 * Before a driver whose store may only grow so far: counts what is written, has room made when it is needed, and says
 * `full` where there is none. What may go, and how much there is, others know. Each process counts what it wrote itself, and
 * looks anew after a twentieth of the bound: so much may each of several be beyond it.
 */
import { DriverAround } from '../around.ts';
import { DriverError, type Appender, type AppendOptions, type Assemblies, type AssemblyState, type Driver, type PutOptions, type Stat } from '../driver.ts';
import { Limiter } from '../limiter.ts';
import { roomOf } from './room.ts';

export interface BoundedOptions {
  readonly maxBytes: number;
  /** How much there is, and how much of it is still being written, which cannot be evicted. */
  readonly held: () => Promise<{ readonly bytes: number; readonly gathering: number }>;
  /** Removes about so many bytes, of what was used least recently. */
  readonly evict: (bytes: number) => Promise<void>;
  /** Told whenever it was looked at. */
  readonly used: (bytes: number) => void;
}

/** Evicting goes on down to this part of the bound. */
const LOW_WATER = 0.95;
/** After this part of the bound was written, how much there is is looked at again, for what other processes wrote. */
const LOOK_AFTER = 1 / 20;
/** What is being written may take this part of the bound: it must not drive everything out that is there. */
const GATHERING = 0.5;

export function boundedDriver(inner: Driver, options: BoundedOptions): Driver {
  return new BoundedDriver(inner, options);
}

class BoundedDriver extends DriverAround {
  override readonly assemblies: Assemblies;
  readonly #options: BoundedOptions;
  readonly #turn = new Limiter(1);
  /** Undefined: not looked at yet. */
  #held: { readonly bytes: number; readonly gathering: number } | undefined;
  /** Written since that look began. */
  #grown = 0;
  #looking = false;

  constructor(inner: Driver, options: BoundedOptions) {
    super(inner);
    this.#options = options;
    this.assemblies = this.#bounded(inner.assemblies);
  }

  override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<Stat> {
    await this.#room(roomOf(bytes.length));
    return await this.inner.put(key, bytes, options);
  }

  override async close(): Promise<void> {
    await this.#turn.run(async () => undefined);
    await this.inner.close();
  }

  /** Of a store whose bytes grow in place. */
  #bounded(inner: Assemblies): Assemblies {
    return {
      exclusive: inner.exclusive,
      growing: inner.growing,
      create: (prefix) => inner.create(prefix),
      append: async (state, options) => await this.#append(inner, state, options),
      open: async (state, options) => await inner.open(state, options),
      complete: async (state, key, options) => await inner.complete(state, key, options),
      discard: async (state, options) => await inner.discard(state, options),
    };
  }

  async #append(inner: Assemblies, state: AssemblyState, options: AppendOptions = {}): Promise<Appender> {
    const { expectBytes = 0 } = options;
    if (expectBytes > this.#options.maxBytes * GATHERING) throw this.#full(expectBytes);
    await this.#room(0);
    const appender = await inner.append(state, options);
    // In order, and at once where there is room: writes need not be awaited one by one.
    let waiting: Promise<void> | undefined;
    return {
      write: (chunk) => {
        if (waiting === undefined && this.#fits(chunk.length)) {
          this.#grown += chunk.length;
          return appender.write(chunk);
        }
        const writing = (waiting ?? Promise.resolve()).then(async () => {
          await this.#room(chunk.length);
          await appender.write(chunk);
        });
        waiting = writing;
        void writing.then(
          () => {
            if (waiting === writing) waiting = undefined;
          },
          () => undefined, // `finish` tells
        );
        return writing;
      },
      finish: async () => {
        await waiting;
        return await appender.finish();
      },
      abandon: async () => {
        await waiting?.catch(() => undefined);
        await appender.abandon();
      },
    };
  }

  /** Counts `bytes` as written. @throws DriverError full */
  async #room(bytes: number): Promise<void> {
    const { maxBytes } = this.#options;
    if (!this.#fits(bytes)) {
      await this.#turn.run(async () => {
        if (!this.#fits(bytes)) await this.#look(bytes);
      });
      const { bytes: held = 0, gathering = 0 } = this.#held ?? {};
      if (held + this.#grown + bytes > maxBytes || gathering > maxBytes * GATHERING) throw this.#full(bytes);
    }
    this.#grown += bytes;
  }

  #fits(bytes: number): boolean {
    const { maxBytes } = this.#options;
    if (this.#held === undefined || this.#held.bytes + this.#grown + bytes > maxBytes) return false;
    // Nobody waits for that.
    if (this.#grown > maxBytes * LOOK_AFTER && !this.#looking) void this.#lookAgain();
    return true;
  }

  async #lookAgain(): Promise<void> {
    this.#looking = true;
    await this.#turn.run(() => this.#look(0)).catch(() => undefined); // whoever finds no room tries again, and tells
    this.#looking = false;
  }

  async #look(bytes: number): Promise<void> {
    const { maxBytes, evict } = this.#options;
    const held = await this.#measure();
    const excess = held.bytes + this.#grown + bytes - maxBytes;
    if (excess <= 0 || held.gathering > maxBytes * GATHERING) return;
    await evict(excess + maxBytes * (1 - LOW_WATER));
    await this.#measure();
  }

  /** What is written meanwhile may be counted twice, until the next time. */
  async #measure(): Promise<{ readonly bytes: number; readonly gathering: number }> {
    const before = this.#grown;
    const held = await this.#options.held();
    this.#grown -= before;
    this.#held = held;
    this.#options.used(held.bytes);
    return held;
  }

  #full(bytes: number): DriverError {
    return new DriverError('full', `no room for ${bytes} more bytes: the store is bounded to ${this.#options.maxBytes}`);
  }
}
