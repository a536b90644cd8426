/**
 * Stores that have no socket to spoil, spoiled at the driver's operations: they fail before or after they happened,
 * they come late. And the caller that tries again, as the drivers of object stores do inside.
 */
import { DriverError, isDriverError, type Assemblies, type Claimed, type Driver, type PutOptions, type Source, type Stat } from '../../src/drivers/driver.ts';
import { seededRandom } from '../services/fault-rules.ts';
import { scriptedDriver, type Operation, type OperationName } from './scripted-driver.ts';

export interface FaultyOptions {
  /** The faults follow from it, as far as the order of operations does. */
  readonly seed: number;
  /** Each from 0 to 1: an operation fails and did nothing; it fails though it happened; it waits some turns of the event loop. */
  readonly failing: number;
  readonly lost: number;
  readonly late: number;
}

export interface FaultyDriver {
  readonly driver: Driver;
  readonly happened: { failing: number; lost: number; late: number };
}

/**
 * An attempt's own operations must reach the store in the order in which they came, and one that fails ends the attempt:
 * going on from its last state is for whoever began it. So it is where the answer to a completion was lost.
 */
const NEVER: ReadonlySet<OperationName> = new Set<OperationName>(['append.write', 'append.finish', 'append.abandon']);
const NOT_LOST: ReadonlySet<OperationName> = new Set<OperationName>(['assembly.complete']);

/** A driver over the same store whose operations fail with DriverError `retryable`, or wait, by chance. */
export function faultyDriver(inner: Driver, options: FaultyOptions): FaultyDriver {
  const script = scriptedDriver(inner);
  const random = seededRandom(options.seed);
  const happened = { failing: 0, lost: 0, late: 0 };
  script.before('*', /^/, async ({ op, keys }) => {
    if (NEVER.has(op)) return;
    if (random() < options.late) {
      happened.late += 1;
      for (let turns = 1 + Math.floor(random() * 5); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
    }
    if (random() >= options.failing) return;
    happened.failing += 1;
    throw new DriverError('retryable', `${op} ${keys.join()} failed`);
  });
  script.after('*', /^/, ({ op, keys }) => {
    if (NEVER.has(op) || NOT_LOST.has(op) || random() >= options.lost) return;
    happened.lost += 1;
    throw new DriverError('retryable', `the answer to ${op} ${keys.join()} was lost`);
  });
  return { driver: script, happened };
}

export interface FailurePoint {
  readonly index: number;
  readonly when: 'before' | 'after';
}

/** Fails one operation of the whole journal, once, before or after it happened; what became of it. */
export function failingOnce(inner: Driver, point: FailurePoint): { readonly driver: Driver; readonly failed: () => Operation | undefined } {
  const script = scriptedDriver(inner);
  let failed: Operation | undefined;
  script[point.when]('*', /^/, (operation) => {
    if (operation.index !== point.index) return;
    failed = operation;
    throw new DriverError('retryable', `${operation.op} ${operation.keys.join()} failed ${point.when} it happened`);
  });
  return { driver: script, failed: () => failed };
}

const ATTEMPTS = 30;

/** Tries again what failed `retryable`; takes its own earlier success for one, where the answer to it was lost. */
export function retrying(inner: Driver): Driver {
  return {
    kind: inner.kind,
    claims: inner.claims,
    listingLagSeconds: inner.listingLagSeconds,
    assemblies: retryingAssemblies(inner.assemblies),
    ...(inner.stampNow !== undefined && { stampNow: (key: string) => inner.stampNow?.(key) ?? '' }),
    head: (key, options) => again(() => inner.head(key, options)),
    get: (key, options) => again(() => inner.get(key, options)),
    open: async (key, options) => retryingSource(await again(() => inner.open(key, options))),
    put: (key, bytes, options) => putAgain(inner, key, bytes, options),
    list: (prefix, options = {}) => goingOn(({ key }) => key, (startAfter) => inner.list(prefix, { ...options, startAfter: startAfter ?? options.startAfter ?? '' })),
    children: (prefix, options = {}) => goingOn(({ name }) => name, (startAfter) => inner.children(prefix, { ...options, startAfter: startAfter ?? options.startAfter ?? '' })),
    delete: (keys, options) => again(() => inner.delete(keys, options)),
    sync: (keys, options) => again(() => inner.sync(keys, options)),
    claim: (key, value, options) => claimAgain(() => inner.claim(key, value, options), value),
    check: (options) => again(() => inner.check(options)),
    close: () => inner.close(),
  };
}

function retryingAssemblies(inner: Assemblies): Assemblies {
  return {
    exclusive: inner.exclusive,
    growing: inner.growing,
    create: (prefix) => inner.create(prefix),
    append: (state, options) => again(() => inner.append(state, options)),
    open: async (state, options) => retryingSource(await again(() => inner.open(state, options))),
    complete: (state, key, options) => again(() => inner.complete(state, key, options)),
    discard: (state, options) => again(() => inner.discard(state, options)),
  };
}

function retryingSource(inner: Source | undefined): Source | undefined {
  if (inner === undefined) return undefined;
  const { read } = inner;
  const reading = new Set<Promise<number>>();
  return {
    stat: inner.stat,
    async *stream({ start, end }, options) {
      let at = start;
      for (let attempt = 1; ; attempt++) {
        try {
          for await (const chunk of inner.stream({ start: at, end }, options)) {
            at += chunk.length;
            yield chunk;
          }
          return;
        } catch (error) {
          if (attempt === ATTEMPTS || !isDriverError(error, 'retryable')) throw error;
          if (at > end || at >= inner.stat.size) return;
        }
      }
    },
    close: async () => {
      await Promise.allSettled(reading);
      await inner.close();
    },
    ...(read !== undefined && {
      read: (into: Uint8Array, position: number) => {
        const reads = again(() => read(into, position));
        reading.add(reads);
        return reads.finally(() => reading.delete(reads));
      },
    }),
  };
}

async function putAgain(inner: Driver, key: string, bytes: Uint8Array, options?: PutOptions): Promise<Stat> {
  const copy = Buffer.from(bytes);
  let tried = false;
  return again(async () => {
    try {
      const stat = await inner.put(key, copy, options);
      return stat;
    } catch (error) {
      if (tried && isDriverError(error, 'exists')) {
        const value = await again(() => inner.get(key, { maxBytes: copy.length }));
        if (value?.bytes.equals(copy) === true) return { size: value.size, modifiedMs: value.modifiedMs, stamp: value.stamp };
      }
      tried = true;
      throw error;
    }
  });
}

async function claimAgain(claim: () => Promise<Claimed>, value: Uint8Array): Promise<Claimed> {
  const own = Buffer.from(value);
  let tried = false;
  return again(async () => {
    const before = tried;
    tried = true;
    const claimed = await claim();
    return before && claimed.value.equals(own) ? { ...claimed, won: true } : claimed;
  });
}

/** A listing that begins again behind what it gave last. */
async function* goingOn<T>(nameOf: (item: T) => string, list: (startAfter: string | undefined) => AsyncIterable<T>): AsyncGenerator<T> {
  let last: string | undefined;
  for (let attempt = 1; ; attempt++) {
    try {
      for await (const item of list(last)) {
        last = nameOf(item);
        yield item;
      }
      return;
    } catch (error) {
      if (attempt === ATTEMPTS || !isDriverError(error, 'retryable')) throw error;
    }
  }
}

async function again<T>(attempt: () => Promise<T>): Promise<T> {
  for (let n = 1; ; n++) {
    try {
      return await attempt();
    } catch (error) {
      if (n === ATTEMPTS || !isDriverError(error, 'retryable')) throw error;
    }
  }
}
