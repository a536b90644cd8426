/**
 * A driver whose strings a test holds: it records what is asked of the store inside, and stalls, fails or crashes at
 * any operation. `every-crash.ts` dies at each of them in turn.
 */
import type {
  Appender, Assemblies, AssemblyState, ByteRange, CallOptions, Claimed, Driver, Entry, PutOptions, Source, Stat, Value,
} from '../../src/drivers/driver.ts';

export type OperationName =
  | 'head' | 'get' | 'open' | 'put' | 'list' | 'children' | 'delete' | 'sync' | 'claim' | 'redirect' | 'check'
  | 'source.read' | 'source.stream'
  | 'append' | 'append.write' | 'append.finish' | 'append.abandon' | 'assembly.open' | 'assembly.complete' | 'assembly.discard';

export interface Operation {
  /** Counts from 0, in the order in which the calls came. */
  readonly index: number;
  readonly op: OperationName;
  /** What it is about; the prefix for listings and assemblies, prefix and key for `assembly.complete`, '' for `check`. */
  readonly keys: readonly string[];
  /** Of a put. */
  readonly durable?: 'now' | 'later';
  /** By the script's clock. */
  readonly atMs: number;
}

/** Runs at an operation, which waits for it. What it throws, the operation fails with. */
export type Step = (operation: Operation) => void | 'crash' | Promise<void | 'crash'>;

/** `*`: any operation. */
export type OperationPattern = OperationName | '*';
/** A whole key, or what one of the keys matches. */
export type KeyPattern = string | RegExp;

export interface CrashPoint {
  readonly index: number;
  /** Before or after the operation took effect. */
  readonly when: 'before' | 'after';
}

/** Something that waits at an operation. */
export interface Held {
  /** The operation has come and waits. */
  readonly reached: Promise<Operation>;
  /** Lets it go on, also if it has not come yet. */
  release(): void;
}

/** The process that the wrapper stands for is dead: nothing it does reaches the store any more. */
export class CrashError extends Error {
  override readonly name = 'CrashError';

  constructor() {
    super('the process crashed');
  }
}

interface Rule {
  readonly when: 'before' | 'after';
  readonly op: OperationPattern;
  readonly key: KeyPattern;
  readonly step: Step;
}

export interface ScriptOptions {
  /** Milliseconds, for the journal. */
  readonly clock?: () => number;
}

export function scriptedDriver(inner: Driver, options: ScriptOptions = {}): ScriptedDriver {
  return new ScriptedDriver(inner, options.clock ?? Date.now);
}

export class ScriptedDriver implements Driver {
  readonly journal: Operation[] = [];
  readonly assemblies: Assemblies;
  readonly stampNow?: (key: string) => string;
  readonly redirect?: (key: string, options?: CallOptions) => Promise<string | undefined>;
  readonly #inner: Driver;
  readonly #clock: () => number;
  /** Replaced, never changed: an operation goes through the rules that stood when it came. */
  #rules: readonly Rule[] = [];
  #crashPoint: CrashPoint | undefined;
  #crashed = false;

  constructor(inner: Driver, clock: () => number) {
    this.#inner = inner;
    this.#clock = clock;
    this.assemblies = new ScriptedAssemblies(this, inner.assemblies);
    if (inner.stampNow !== undefined) {
      this.stampNow = (key) => {
        this.checkAlive();
        return inner.stampNow?.(key) ?? '';
      };
    }
    if (inner.redirect !== undefined) {
      this.redirect = (key, callOptions) => this.perform('redirect', [key], async () => inner.redirect?.(key, callOptions));
    }
  }

  get kind(): string {
    return this.#inner.kind;
  }

  get claims(): 'strict' | 'settle' {
    return this.#inner.claims;
  }

  get listingLagSeconds(): number {
    return this.#inner.listingLagSeconds;
  }

  get crashed(): boolean {
    return this.#crashed;
  }

  /** Runs `step` before such operations take effect, until the function returned is called. */
  before(op: OperationPattern, key: KeyPattern, step: Step): () => void {
    return this.#add({ when: 'before', op, key, step });
  }

  /** Runs `step` after such operations took effect and before their callers learn of it. */
  after(op: OperationPattern, key: KeyPattern, step: Step): () => void {
    return this.#add({ when: 'after', op, key, step });
  }

  /** Makes the next such operation wait. */
  hold(when: 'before' | 'after', op: OperationPattern, key: KeyPattern): Held {
    const reached = Promise.withResolvers<Operation>();
    const released = Promise.withResolvers<void>();
    const remove = this.#add({
      when, op, key,
      step: (operation) => {
        remove();
        reached.resolve(operation);
        return released.promise;
      },
    });
    return {
      reached: reached.promise,
      release: () => {
        remove();
        released.resolve();
      },
    };
  }

  /** Crashes now: this operation, those under way and all later ones reject with CrashError. */
  crash(): void {
    this.#crashed = true;
  }

  /** Crashes when that operation comes. */
  crashAt(point: CrashPoint): void {
    this.#crashPoint = point;
  }

  /** @throws CrashError */
  checkAlive(): void {
    if (this.#crashed) throw new CrashError();
  }

  /** Records an operation, does it, and runs what the script has for it. */
  async perform<T>(op: OperationName, keys: readonly string[], run: () => Promise<T>, facts: Pick<Operation, 'durable'> = {}): Promise<T> {
    const operation = this.#record(op, keys, facts);
    await this.#follow('before', operation);
    const result = await run();
    await this.#follow('after', operation);
    return result;
  }

  /** As `perform`, for what comes piece by piece. */
  async *performEach<T>(op: OperationName, keys: readonly string[], run: () => AsyncIterable<T>): AsyncGenerator<T> {
    const operation = this.#record(op, keys, {});
    await this.#follow('before', operation);
    for await (const item of run()) {
      this.checkAlive();
      yield item;
    }
    await this.#follow('after', operation);
  }

  head(key: string, options?: CallOptions): Promise<Stat | undefined> {
    return this.perform('head', [key], () => this.#inner.head(key, options));
  }

  get(key: string, options?: CallOptions & { readonly maxBytes?: number }): Promise<Value | undefined> {
    return this.perform('get', [key], () => this.#inner.get(key, options));
  }

  async open(key: string, options?: CallOptions): Promise<Source | undefined> {
    const source = await this.perform('open', [key], () => this.#inner.open(key, options));
    return source === undefined ? undefined : scriptedSource(this, source, key);
  }

  put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<Stat> {
    return this.perform('put', [key], () => this.#inner.put(key, bytes, options), { durable: options.durable ?? 'now' });
  }

  list(prefix: string, options?: CallOptions & { readonly startAfter?: string }): AsyncIterable<Entry> {
    return this.performEach('list', [prefix], () => this.#inner.list(prefix, options));
  }

  children(prefix: string, options?: CallOptions & { readonly startAfter?: string }): AsyncIterable<{ readonly name: string; readonly leaf: boolean }> {
    return this.performEach('children', [prefix], () => this.#inner.children(prefix, options));
  }

  delete(keys: readonly string[], options?: CallOptions): Promise<void> {
    return this.perform('delete', keys, () => this.#inner.delete(keys, options));
  }

  sync(keys: readonly string[], options?: CallOptions): Promise<void> {
    return this.perform('sync', keys, () => this.#inner.sync(keys, options));
  }

  claim(key: string, value: Uint8Array, options?: CallOptions): Promise<Claimed> {
    return this.perform('claim', [key], () => this.#inner.claim(key, value, options));
  }

  check(options?: CallOptions): Promise<void> {
    return this.perform('check', [''], () => this.#inner.check(options));
  }

  /** Leaves the store inside open: it may outlive the process that crashed. */
  async close(): Promise<void> {}

  #add(rule: Rule): () => void {
    this.#rules = [...this.#rules, rule];
    return () => {
      this.#rules = this.#rules.filter((one) => one !== rule);
    };
  }

  #record(op: OperationName, keys: readonly string[], facts: Pick<Operation, 'durable'>): Operation {
    this.checkAlive();
    const operation: Operation = { index: this.journal.length, op, keys: [...keys], atMs: this.#clock(), ...facts };
    this.journal.push(operation);
    return operation;
  }

  async #follow(when: 'before' | 'after', operation: Operation): Promise<void> {
    if (this.#crashPoint?.index === operation.index && this.#crashPoint.when === when) this.crash();
    for (const rule of this.#rules) {
      if (!this.#crashed && rule.when === when && matches(rule, operation) && (await rule.step(operation)) === 'crash') this.crash();
    }
    this.checkAlive();
  }
}

class ScriptedAssemblies implements Assemblies {
  readonly #script: ScriptedDriver;
  readonly #inner: Assemblies;

  constructor(script: ScriptedDriver, inner: Assemblies) {
    this.#script = script;
    this.#inner = inner;
  }

  get exclusive(): boolean {
    return this.#inner.exclusive;
  }

  get growing(): boolean {
    return this.#inner.growing;
  }

  create(prefix: string): AssemblyState {
    this.#script.checkAlive();
    return this.#inner.create(prefix);
  }

  async append(state: AssemblyState, options?: CallOptions): Promise<Appender> {
    const script = this.#script;
    const keys = [state.prefix];
    const appender = await script.perform('append', keys, () => this.#inner.append(state, options));
    return {
      write: (chunk) => script.perform('append.write', keys, () => appender.write(chunk)),
      finish: () => script.perform('append.finish', keys, () => appender.finish()),
      abandon: () => script.perform('append.abandon', keys, () => appender.abandon()),
    };
  }

  async open(state: AssemblyState, options?: CallOptions): Promise<Source | undefined> {
    const source = await this.#script.perform('assembly.open', [state.prefix], () => this.#inner.open(state, options));
    return source === undefined ? undefined : scriptedSource(this.#script, source, state.prefix);
  }

  complete(state: AssemblyState, key: string, options?: CallOptions): Promise<Stat> {
    return this.#script.perform('assembly.complete', [state.prefix, key], () => this.#inner.complete(state, key, options));
  }

  discard(state: AssemblyState, options?: CallOptions): Promise<void> {
    return this.#script.perform('assembly.discard', [state.prefix], () => this.#inner.discard(state, options));
  }
}

/** Closing is no operation: it leaves no trace in the store, and a test must be able to do it after a crash. */
function scriptedSource(script: ScriptedDriver, source: Source, key: string): Source {
  const reading = new Set<Promise<number>>();
  const read = async (into: Uint8Array, position: number): Promise<number> => {
    const reads = script.perform('source.read', [key], async () => source.read?.(into, position) ?? 0);
    reading.add(reads);
    return reads.finally(() => reading.delete(reads));
  };
  return {
    stat: source.stat,
    stream: (range: ByteRange, options?: CallOptions) => script.performEach('source.stream', [key], () => source.stream(range, options)),
    close: async () => {
      await Promise.allSettled(reading); // one that the script holds has not reached the source yet
      await source.close();
    },
    ...(source.read === undefined ? {} : { read }),
  };
}

function matches({ op, key }: Rule, operation: Operation): boolean {
  if (op !== '*' && op !== operation.op) return false;
  return typeof key === 'string' ? operation.keys.includes(key) : operation.keys.some((one) => key.test(one));
}

/** One line for each operation, e.g. `put repos/…/_tags/latest`. */
export function described(journal: readonly Operation[]): string[] {
  return journal.map(({ op, keys }) => [op, ...keys].join(' '));
}
