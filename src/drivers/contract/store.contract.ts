/** What the contract suites need of a store, and the small things they share. */
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, expect } from 'vitest';
import { isDriverError, type Appender, type ByteRange, type Driver, type DriverFailure, type Source } from '../driver.ts';

export interface ContractStore {
  /** A driver over the store; each further one is as another process would have it (memory: the same). */
  open(): Promise<Driver>;
  close(): Promise<void>;
  /** Default: `fresh`. */
  readonly listings?: Listings;
}

/**
 * Of which time listings are. `lag`: each of now or of a time shortly before, without what was written since and perhaps
 * with what was deleted since. A driver cannot mend that; nothing else that it does may depend on it.
 */
export type Listings = 'fresh' | 'lag';

export interface ContractSubject {
  readonly driver: Driver;
  /** Over the same store. */
  readonly other: Driver;
  readonly listings: Listings;
}

/** A fresh store for each test of the suite that calls this. */
export function eachWithStore(makeStore: () => Promise<ContractStore>): ContractSubject {
  let store: ContractStore;
  const drivers: Driver[] = [];
  beforeEach(async () => {
    store = await makeStore();
    drivers.push(await store.open(), await store.open());
  });
  afterEach(async () => {
    for (const driver of drivers.splice(0)) await driver.close();
    await store.close();
  });
  const at = (index: number): Driver => {
    const driver = drivers[index];
    if (driver === undefined) throw new Error('the store is open only while a test runs');
    return driver;
  };
  return {
    get driver() {
      return at(0);
    },
    get other() {
      return at(1);
    },
    get listings() {
      return store.listings ?? 'fresh';
    },
  };
}

/**
 * What a listing says: what stands there now. One that lags: nothing but what stood there at some time, in the same
 * order, nothing twice.
 * @param ever where something was deleted: all that a listing could ever have said
 */
export function expectListed<T>({ listings = 'fresh' }: Pick<ContractStore, 'listings'>, found: readonly T[], now: readonly T[], ever: readonly T[] = now): void {
  const possible = listings === 'fresh' ? now : ever.filter((item) => found.some((one) => isDeepStrictEqual(one, item)));
  expect(found).toEqual(possible);
}

/** How often to try what may come out in different ways: a store behind a network takes milliseconds for what others do in microseconds. */
export function rounds(driver: Driver, count: number): number {
  return driver.stampNow === undefined ? Math.ceil(count / 10) : count;
}

/** Bytes that differ everywhere, so that a wrong offset shows. */
export function patterned(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0, x = seed; index < length; index++) {
    x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
    bytes[index] = x >>> 16;
  }
  return bytes;
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

export async function openedAt(driver: Driver, key: string): Promise<Source> {
  const source = await driver.open(key);
  if (source === undefined) throw new Error(`nothing stands at ${key}`);
  return source;
}

/** The whole object, read through `open`; undefined where there is none. */
export async function wholeOf(opened: Promise<Source | undefined>): Promise<Buffer | undefined> {
  const source = await opened;
  if (source === undefined) return undefined;
  try {
    return Buffer.concat(await all(source.stream({ start: 0, end: source.stat.size - 1 })));
  } finally {
    await source.close();
  }
}

export async function rangeOf(source: Source, range: ByteRange): Promise<Buffer> {
  return Buffer.concat(await all(source.stream(range)));
}

export async function writeAll(appender: Appender, ...chunks: readonly Uint8Array[]): Promise<void> {
  for (const chunk of chunks) await appender.write(chunk);
}

export async function expectFailure(promise: Promise<unknown>, ...failures: DriverFailure[]): Promise<void> {
  const error = await promise.then(
    (value) => expect.fail(`expected ${failures.join(' or ')}, got ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  if (!isDriverError(error, ...failures)) throw error;
}

export function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8');
}
