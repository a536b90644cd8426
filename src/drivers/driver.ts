/**
 * The contract of a storage driver: bytes by key. Drivers know nothing of registries; what the keys mean is
 * `content/keys.ts`. Every driver passes `driver.contract.ts` (DESIGN section 5, PROTOCOL "Stores").
 *
 * Keys are `/`-separated components of [A-Za-z0-9._:@[\]~+-], never empty, never `.` or `..`; a component may be
 * longer than a file name may be, a key has at most 940 characters. No key is a proper prefix (at a `/`) of another.
 * Absence is `undefined`, never an error.
 */

export interface CallOptions {
  /** Ends the call early; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What a store knows of an object without reading it. */
export interface Stat {
  readonly size: number;
  /** By the store's clock, milliseconds since the epoch. */
  readonly modifiedMs: number;
  /** Equal stamps mean equal bytes. Where the driver has `stampNow`, changes also when the object is replaced by equal bytes. */
  readonly stamp: string;
}

export interface Entry extends Stat {
  readonly key: string;
}

/** A small object read whole. */
export interface Value extends Stat {
  readonly bytes: Buffer;
}

export interface PutOptions extends CallOptions {
  /** Only if nothing stands at the key; else DriverError `exists`. Not a lock on every store: use `claim` to coordinate. */
  readonly when?: 'absent';
  /**
   * `now` (default): durable against power loss when the call returns.
   * `later`: visible at once and safe from the death of this process; durable after `sync`.
   */
  readonly durable?: 'now' | 'later';
}

/** Both ends inclusive, in bytes, as in HTTP. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * An object opened for reading. What was opened stays readable after the key is deleted, until closed; an object store
 * may fail instead (DriverError `permanent`) where it was replaced or deleted. Never are bytes of two objects mixed.
 */
export interface Source {
  readonly stat: Stat;
  /**
   * Random access where the store has it (filesystem, memory): reads at most `into.length` bytes from `position`,
   * returns how many (0 at the end). The caller owns the buffer, so bodies can flow through a bounded pool.
   */
  readonly read?: (into: Uint8Array, position: number) => Promise<number>;
  /** The bytes of the range in order. Chunks are the consumer's to keep. Destroying the iterator frees what it holds. */
  stream(range: ByteRange, options?: CallOptions): AsyncIterable<Buffer>;
  close(): Promise<void>;
}

/** Where a gathered object stands; JSON-able, so that any process over the store can go on with it. */
export interface AssemblyState {
  /** The key prefix that the bytes in progress live under, e.g. `uploads/<id>`. */
  readonly prefix: string;
  /** Bytes gathered so far by finished attempts. */
  readonly offset: number;
  /** The driver's own. */
  readonly parts: unknown;
}

/** One attempt at adding bytes. */
export interface Appender {
  /**
   * Adds bytes after those before. Resolves when more may be given (backpressure); at most a bounded amount is in
   * flight. The chunk must not be changed until the promise settles, and may be reused afterwards.
   */
  write(chunk: Uint8Array): Promise<void>;
  /**
   * Where bytes become readable by the piece (object stores, whose pieces are segments): what can be read by now, in
   * any process, by opening this state. Elsewhere absent: what was written can be read.
   */
  landed?(): AssemblyState;
  /** Ends the attempt and returns the new state with everything written; on a filesystem not yet durable. */
  finish(): Promise<AssemblyState>;
  /** Gives the attempt up; the state it began from stays good where nobody else went on from it. */
  abandon(): Promise<void>;
}

/** An object that another program wrote, in a store that may be the same one. */
export interface ForeignObject {
  /** Which store, by the one name that all give it: the account's public URL (Swift), where it answers (S3). */
  readonly store: string;
  /** Its container or bucket. */
  readonly container: string;
  readonly name: string;
  readonly size: number;
}

export interface AppendOptions extends CallOptions {
  /** Called whenever `landed()` has more to say. */
  readonly onLanded?: (() => void) | undefined;
  /** How many bytes are to come, where that is known: a store with a bound then says at once that it has no room (`full`). */
  readonly expectBytes?: number | undefined;
}

/**
 * Multi-part writing that becomes visible in one step (filesystem: file and rename; object stores: segments).
 * Where `exclusive`, each attempt owns the bytes from its beginning: an attempt begun later takes them over, and the
 * earlier one's next write, finish or complete fails with DriverError `superseded`. Elsewhere attempts stand side by
 * side under ids of their own, and whoever records states decides which of them counts (PROTOCOL "Upload sessions").
 */
export interface Assemblies {
  readonly exclusive: boolean;
  /** A fresh state; writes nothing. */
  create(prefix: string): AssemblyState;
  append(state: AssemblyState, options?: AppendOptions): Promise<Appender>;
  /**
   * Where the store copies by itself (object stores): an attempt at adding the bytes of such an object, none of which come
   * by here. Undefined: it cannot, from there.
   */
  copy?(state: AssemblyState, from: ForeignObject, options?: CallOptions): Promise<AssemblyState | undefined>;
  /** Reads what finished attempts gathered. Where `growing`, what the running attempt wrote so far is readable too. */
  open(state: AssemblyState, options?: CallOptions): Promise<Source | undefined>;
  /**
   * Makes the bytes visible at `key`; durable after `sync([key])`. DriverError `superseded` where the assembly was
   * discarded meanwhile. Consumes the state where `exclusive`; elsewhere it may be completed again, to the same key.
   */
  complete(state: AssemblyState, key: string, options?: CallOptions): Promise<Stat>;
  /**
   * Removes everything under the prefix that the driver made, but for the bytes of a completed object. Whatever the
   * driver keeps there is its own: `list` and `children` of keys show none of it where not `exclusive`.
   */
  discard(state: AssemblyState, options?: CallOptions): Promise<void>;
  /**
   * Whether `open` on a running attempt's state shows bytes as they are written, in every process of the machine.
   * Where not, its appender has `landed`.
   */
  readonly growing: boolean;
  /**
   * Where an attempt can leave bytes that no state names (object stores): removes those that nobody touched since
   * `beforeMs`, by the store's clock. `inUse` tells whether a session still stands under the prefix that `create` was given.
   */
  sweep?(options: SweepOptions): Promise<{ readonly removed: number }>;
}

export interface SweepOptions extends CallOptions {
  readonly beforeMs: number;
  readonly inUse: (prefix: string) => Promise<boolean>;
}

/** The outcome of a claim: whoever claimed first is the winner, everybody learns the value. */
export interface Claimed {
  readonly won: boolean;
  readonly value: Buffer;
  /** Where claims settle: when this one may be believed, by the store's clock, if it still stands then (`settling.ts`). */
  readonly settledAtMs?: number;
}

/** What a store said last of records, for when it does not answer; for those who serve, never for those who decide. */
export interface LastSeen {
  /** The store did not answer the last time, or did not let us in. */
  readonly away: boolean;
  /** There was something before this process began: it may start without the store. */
  readonly mayServe: boolean;
  /** What stood at the key, `bytes` undefined where nothing did; undefined: the store never said. */
  find(key: string): { readonly bytes: Buffer | undefined } | undefined;
  /** As `Driver.get`; where `find` has something, a store that does not answer soon fails (`retryable`). */
  get(key: string): Promise<Value | undefined>;
}

export interface Driver {
  readonly kind: string;
  /** `strict`: a claim is decided when the call returns. `settle`: nobody believes one younger than the settling time (`claimSettled`). */
  readonly claims: 'strict' | 'settle';
  /** How long a listing may miss what a point read shows, in seconds. */
  readonly listingLagSeconds: number;
  head(key: string, options?: CallOptions): Promise<Stat | undefined>;
  /** Whole small object. `maxBytes` (default 16 MiB) guards against reading a blob by mistake: DriverError `permanent`. */
  get(key: string, options?: CallOptions & { readonly maxBytes?: number }): Promise<Value | undefined>;
  open(key: string, options?: CallOptions): Promise<Source | undefined>;
  /** On an object store `modifiedMs` is about that of the answer: to the second, and up to two off what `head` says. */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<Stat>;
  /** Keys beginning with `prefix` (any text, not only whole components) in byte order, from after `startAfter`. */
  list(prefix: string, options?: CallOptions & { readonly startAfter?: string }): AsyncIterable<Entry>;
  /**
   * The next level only: the distinct components that follow `prefix` (which ends in `/`), in byte order; `true` where
   * the component is a whole key.
   */
  children(prefix: string, options?: CallOptions & { readonly startAfter?: string }): AsyncIterable<{ readonly name: string; readonly leaf: boolean }>;
  /** Absent keys are no error. */
  delete(keys: readonly string[], options?: CallOptions): Promise<void>;
  /** A barrier: everything written at these keys is durable when it returns. Absent keys are no error. */
  sync(keys: readonly string[], options?: CallOptions): Promise<void>;
  /** The only coordination primitive: `value` is written if nobody claimed before. Durable. */
  claim(key: string, value: Uint8Array, options?: CallOptions): Promise<Claimed>;
  /**
   * Where a look costs microseconds (filesystem, memory): the stamp of what stands at the key now, '' where nothing
   * does. Caches validate with it on every use; where it is missing they go by age.
   */
  readonly stampNow?: (key: string) => string;
  readonly assemblies: Assemblies;
  /** Where what the store says is noted beside it (`last-seen/`). */
  readonly lastSeen?: LastSeen;
  /** Where some of it is on a disk before the store: the bytes at this key can be read, whatever the store does. A look costs microseconds. */
  readonly isNear?: (key: string) => boolean;
  /** The store's clock now, milliseconds since the epoch: what ages of its objects are compared with. Absent: this machine's. */
  clock?(options?: CallOptions): Promise<number>;
  /** A signed URL a client may be sent to, where the store has such a thing. */
  redirect?(key: string, options?: CallOptions): Promise<string | undefined>;
  /** Is the store usable, for reading and writing? Rejects with the reason. */
  check(options?: CallOptions): Promise<void>;
  close(): Promise<void>;
}

/**
 * exists: a condition failed. superseded: somebody took the assembly over. full: no space or quota left.
 * retryable: may work later. permanent: will not.
 */
export type DriverFailure = 'exists' | 'superseded' | 'full' | 'retryable' | 'permanent';

export interface DriverErrorOptions {
  readonly cause?: unknown;
  /** Where `retryable`: the store asked to be left alone for so long (Retry-After). */
  readonly retryAfterMs?: number | undefined;
  /**
   * Where `retryable`: the store itself works and refused this call alone (408, 429, 498, a token that expired), so it
   * says nothing about the next call. Otherwise a retryable failure counts against the store (attempts.ts).
   */
  readonly answered?: boolean;
  /** Where `full`: there is room, but no more of it is ours. */
  readonly byQuota?: boolean;
  /** Where `permanent`: the store lets us in, and does not let us write this. Reading may be permitted. */
  readonly mayNotWrite?: boolean;
}

export class DriverError extends Error {
  override readonly name = 'DriverError';
  readonly failure: DriverFailure;
  readonly retryAfterMs: number | undefined;
  readonly answered: boolean;
  readonly byQuota: boolean;
  readonly mayNotWrite: boolean;

  constructor(failure: DriverFailure, message: string, { cause, retryAfterMs, answered = false, byQuota = false, mayNotWrite = false }: DriverErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.failure = failure;
    this.retryAfterMs = retryAfterMs;
    this.answered = answered;
    this.byQuota = byQuota;
    this.mayNotWrite = mayNotWrite;
  }
}

export function isDriverError(error: unknown, ...failures: DriverFailure[]): error is DriverError {
  return error instanceof DriverError && (failures.length === 0 || failures.includes(error.failure));
}
