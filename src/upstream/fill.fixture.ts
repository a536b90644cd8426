/** The far sides of a fill, scripted by tests: an upstream that sends when it is told to, a store that fills up, time that passes on demand. */
import { randomBytes } from 'node:crypto';
import { DriverError, type Appender, type Assemblies, type Driver } from '../drivers/driver.ts';
import { digestOf, hexOf, type Digest } from '../oci/digest.ts';
import type { Timers } from '../workers/timers.ts';
import type { FillJob, FillReader } from './fill.ts';
import type { RemoteBlob } from './upstream.ts';

/** One download, as upstream sees it: nothing goes out that the test did not give. */
export class Download implements RemoteBlob {
  readonly start: number;
  readonly size: number | undefined;
  readonly signal: AbortSignal;
  /** The reader left or finished. */
  readonly left: Promise<void>;
  /** Bytes that the reader took. */
  taken = 0;
  readonly #bytes: Buffer;
  readonly #queue: (Buffer | Error | 'end')[] = [];
  readonly #leave = Promise.withResolvers<void>();
  #position: number;
  #wake = (): void => undefined;

  constructor(bytes: Buffer, start: number, size: number | undefined, signal: AbortSignal) {
    this.#bytes = bytes;
    this.start = start;
    this.size = size;
    this.signal = signal;
    this.#position = start;
    this.left = this.#leave.promise;
    signal.addEventListener('abort', () => this.#put(signal.reason as Error), { once: true });
  }

  /** Sends the next bytes. */
  give(count: number): this {
    const chunk = this.#bytes.subarray(this.#position, this.#position + count);
    this.#position += chunk.length;
    return this.send(chunk);
  }

  /** Sends these, whatever the blob has there. */
  send(chunk: Buffer): this {
    return this.#put(chunk);
  }

  break(error: Error = new Error('connection reset')): this {
    return this.#put(error);
  }

  /** Sends what is left, and ends. */
  finish(): this {
    return this.give(Infinity).end();
  }

  end(): this {
    return this.#put('end');
  }

  get body(): AsyncIterable<Buffer> {
    return this.#body();
  }

  #put(item: Buffer | Error | 'end'): this {
    this.#queue.push(item);
    this.#wake();
    return this;
  }

  async *#body(): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const item = this.#queue.shift();
        if (item === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
        else if (item === 'end') return;
        else if (item instanceof Error) throw item;
        else {
          this.taken += item.length;
          yield item;
        }
      }
    } finally {
      this.#leave.resolve();
    }
  }
}

/** What an upstream answers the n-th question with (from 0); default: the blob, sent when the test says so. */
export type Answer = (start: number, signal: AbortSignal, n: number) => Promise<RemoteBlob | undefined>;

export class Far {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly downloads: Download[] = [];
  answer: Answer = async (start, signal) => this.download(start, signal);
  asked = 0;
  readonly #waiting: { readonly n: number; readonly resolve: (download: Download) => void }[] = [];

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.digest = digestOf(bytes);
  }

  /** One more download under way: of the blob and with its size, where nothing else is said. */
  download(start: number, signal: AbortSignal, other: { readonly bytes?: Buffer; readonly size?: number | undefined } = {}): Download {
    const bytes = other.bytes ?? this.bytes;
    const download = new Download(bytes, start, 'size' in other ? other.size : bytes.length, signal);
    this.downloads.push(download);
    for (const { n, resolve } of this.#waiting) if (n === this.downloads.length - 1) resolve(download);
    return download;
  }

  /** The n-th download, once it is asked for. */
  async nth(n: number): Promise<Download> {
    const download = this.downloads[n];
    return download ?? new Promise((resolve) => this.#waiting.push({ n, resolve }));
  }
}

/** A place that blobs are published to, as the registry's is. */
export class Shelf {
  readonly driver: Driver;
  readonly published: string[] = [];
  /** Awaited before publishing. */
  gate: Promise<void> = Promise.resolve();

  constructor(driver: Driver) {
    this.driver = driver;
  }

  job(far: Far, options: { readonly size?: number; readonly origin?: string; readonly withoutStored?: boolean } = {}): FillJob {
    const key = `blobs/${hexOf(far.digest)}`;
    return {
      digest: far.digest,
      size: options.size,
      ...(options.origin === undefined ? {} : { origin: options.origin }),
      ...(options.withoutStored === true ? {} : { stored: async () => this.driver.open(key) }),
      published: async () => this.driver.open(key),
      download: async (start, signal) => far.answer(start, signal, far.asked++),
      publish: async (id, state, size) => {
        await this.gate;
        await this.driver.assemblies.complete(state, key);
        if ((await this.driver.head(key))?.size !== size) throw new Error('published with another size');
        this.published.push(id);
      },
    };
  }

  /** Every key of the store. */
  async keys(): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of this.driver.list('')) keys.push(key);
    return keys;
  }

  async bytes(far: Far): Promise<Buffer | undefined> {
    const source = await this.driver.open(`blobs/${hexOf(far.digest)}`);
    if (source === undefined) return undefined;
    const chunks: Buffer[] = [];
    for await (const chunk of source.stream({ start: 0, end: source.stat.size - 1 })) chunks.push(chunk);
    await source.close();
    return Buffer.concat(chunks);
  }
}

/** A driver whose assemblies take so many bytes and then are full. */
export function fullAfter(driver: Driver, bytes: number, fails: 'append' | 'write' | 'finish' = 'write'): Driver {
  const full = (): DriverError => new DriverError('full', 'no space left on device');
  let left = bytes;
  const assemblies: Assemblies = {
    exclusive: driver.assemblies.exclusive,
    growing: driver.assemblies.growing,
    create: (prefix) => driver.assemblies.create(prefix),
    open: async (state, options) => driver.assemblies.open(state, options),
    complete: async (state, key, options) => driver.assemblies.complete(state, key, options),
    discard: async (state, options) => driver.assemblies.discard(state, options),
    append: async (state, options): Promise<Appender> => {
      if (fails === 'append') throw full();
      const appender = await driver.assemblies.append(state, options);
      return {
        write: async (chunk) => {
          if (fails === 'write' && chunk.length > left) throw full();
          left -= chunk.length;
          await appender.write(chunk);
        },
        finish: async () => {
          if (fails === 'finish') throw full();
          return appender.finish();
        },
        abandon: async () => appender.abandon(),
        ...(appender.landed === undefined ? {} : { landed: appender.landed.bind(appender) }),
      };
    },
  };
  return new Proxy(driver, {
    get(target, key) {
      if (key === 'assemblies') return assemblies;
      const value: unknown = Reflect.get(target, key);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** Timers that go off when the test says so. */
export class ManualTimers implements Timers {
  readonly pending: { readonly ms: number; readonly task: () => void }[] = [];
  readonly #waiting: (() => void)[] = [];

  after(ms: number, task: () => void): () => void {
    const timer = { ms, task };
    this.pending.push(timer);
    for (const wake of this.#waiting.splice(0)) wake();
    return () => {
      const index = this.pending.indexOf(timer);
      if (index >= 0) this.pending.splice(index, 1);
    };
  }

  /** Lets the next timer go off, waiting until there is one; its milliseconds. */
  async pass(): Promise<number> {
    while (this.pending.length === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const [timer] = this.pending.splice(0, 1);
    timer?.task();
    return timer?.ms ?? 0;
  }
}

/** Enough for some MiB to go through a store. */
const TURNS = 150;

/** A clock that the test moves. */
export class Clock implements Timers {
  #now = 0;
  #pending: { readonly atMs: number; readonly task: () => void }[] = [];

  readonly nowMs = (): number => this.#now;

  after(ms: number, task: () => void): () => void {
    const timer = { atMs: this.#now + ms, task };
    this.#pending.push(timer);
    return () => (this.#pending = this.#pending.filter((other) => other !== timer));
  }

  /** Lets so much time pass; whatever can happen at each moment has happened before the next. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await quiet(TURNS);
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#now = next.atMs;
      next.task();
      await quiet(TURNS);
    }
    this.#now = end;
  }

  /** Lets so much time pass at once. */
  tick(ms: number): void {
    const end = this.#now + ms;
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) next.task();
    this.#now = end;
  }

  #next(until: number): { readonly atMs: number; readonly task: () => void } | undefined {
    const [next] = this.#pending.filter(({ atMs }) => atMs <= until).toSorted((a, b) => a.atMs - b.atMs);
    this.#pending = this.#pending.filter((other) => other !== next);
    return next;
  }
}

/** Reads a stream as it comes. */
export class Client {
  readonly reader: FillReader;
  readonly abort: AbortController = new AbortController();
  readonly #chunks: Buffer[] = [];
  /** Everything, or why not. */
  readonly end: Promise<Buffer>;
  #wake = (): void => undefined;

  constructor(reader: FillReader, range?: { readonly start: number; readonly end: number }) {
    this.reader = reader;
    this.end = this.#read(range);
    this.end.catch(() => this.#wake());
  }

  /** Bytes that have come. */
  get count(): number {
    return this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  /** Waits until so many bytes have come. */
  async has(count: number): Promise<void> {
    while (this.count < count) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  async #read(range: { readonly start: number; readonly end: number } | undefined): Promise<Buffer> {
    try {
      for await (const chunk of this.reader.stream(range, this.abort.signal)) {
        this.#chunks.push(chunk);
        this.#wake();
      }
      return Buffer.concat(this.#chunks);
    } finally {
      this.reader.close();
    }
  }
}

/** Bytes that differ everywhere. */
export function someBytes(count: number): Buffer {
  return randomBytes(count);
}

/** Turns of the event loop: whatever can happen without anything new has happened. */
export async function quiet(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
}
