/**
 * Small JSON records read through memory, so that an answer costs microseconds. How it is known that memory still
 * says what stands in the store depends on the kind:
 *
 * - `tag`: each use is validated by the object's stamp, where the driver can look in microseconds: anybody may move a
 *   tag at any time (PROTOCOL: "the tags of a filesystem are validated by stat, never by age").
 * - `record`: believed for `staleMs`, since it hardly ever changes; whoever writes over one tells the other workers of
 *   this machine before it answers. That none stands is looked at each time.
 * - `flag`: the same, and that none stands is believed too: whoever sets one tells.
 *
 * Where the driver cannot look, all of them go by age and by being told; that nothing stands is still looked at each
 * time but for flags, so that what one node pushed is there at once on every other.
 *
 * Where the store does not answer, and what it said last is noted somewhere, `read` gives that: to be served, and not kept
 * here. Whoever decides something reads with `readFresh`, which fails.
 */
import { LRUCache } from 'lru-cache';
import { isDriverError, type Driver, type Entry } from '../drivers/driver.ts';

interface Held<T> {
  readonly value: T | undefined;
  /** '' where nothing stood. */
  readonly stamp: string;
  /** Characters, about. */
  readonly size: number;
  seenMs: number;
}

export interface CachedDeps {
  readonly driver: Driver;
  readonly nowMs: () => number;
  readonly staleMs: number;
  /** Makes the other workers of this machine forget what stood at the key; resolves when they have. */
  readonly tell: (key: string) => Promise<void>;
}

/** What is kept of one kind: entries, and their text. */
const MAX_ENTRIES = 20_000;
const MAX_CHARACTERS = 4 * 1024 * 1024;
/** Of an entry, beside its text. */
const OVERHEAD = 100;

/** Records of one kind. `T` must be treated as immutable: it is shared. */
export class CachedRecords<T extends object> {
  readonly #deps: CachedDeps;
  readonly #byStamp: boolean;
  readonly #believesAbsence: boolean;
  readonly #held = new LRUCache<string, Held<T>>({ max: MAX_ENTRIES, maxSize: MAX_CHARACTERS, sizeCalculation: ({ size }) => size });
  /** Reads under way: what one finds is not kept if somebody wrote, or told of a write, meanwhile. */
  readonly #reading = new Map<string, Set<{ overtaken: boolean }>>();

  constructor(deps: CachedDeps, kind: 'tag' | 'record' | 'flag') {
    const looks = deps.driver.stampNow !== undefined;
    this.#deps = deps;
    this.#byStamp = kind === 'tag' && looks;
    this.#believesAbsence = kind === 'flag';
  }

  /** The record at the key, or `undefined`. At once where memory has it: awaiting costs more than looking. */
  read(key: string): T | undefined | Promise<T | undefined> {
    const { driver, nowMs, staleMs } = this.#deps;
    const held = this.#held.get(key);
    if (held === undefined) return driver.stampNow?.(key) === '' ? this.#absent(key, nowMs()) : this.#served(key);
    if (!this.#byStamp && nowMs() - held.seenMs < staleMs) return held.value;
    if (driver.stampNow?.(key) !== held.stamp) return this.#served(key);
    held.seenMs = nowMs();
    return held.value;
  }

  /** The record that a listing saw; at once where memory has that very one. A listing may lag, and so may this. */
  readListed({ key, stamp }: Pick<Entry, 'key' | 'stamp'>): T | undefined | Promise<T | undefined> {
    const held = this.#held.get(key);
    return held?.stamp === stamp ? held.value : this.readFresh(key);
  }

  /** What stands there now, whatever memory says. */
  async readFresh(key: string): Promise<T | undefined> {
    return await this.#readBy(this.#deps.driver, key);
  }

  async #readBy(store: Pick<Driver, 'get'>, key: string): Promise<T | undefined> {
    const { nowMs } = this.#deps;
    const seenMs = nowMs();
    const reading = { overtaken: false };
    const all = this.#reading.get(key) ?? new Set();
    this.#reading.set(key, all.add(reading));
    try {
      const stored = await store.get(key);
      const value = parsed<T>(stored?.bytes);
      if (reading.overtaken) return value;
      if (stored === undefined) return this.#absent(key, seenMs);
      this.#held.set(key, { value, stamp: stored.stamp, size: stored.size + OVERHEAD, seenMs });
      return value;
    } finally {
      all.delete(reading);
      if (all.size === 0) this.#reading.delete(key);
    }
  }

  /** Writes the record; when it resolves, every worker of this machine reads it. Durability and condition as `Driver.put`. */
  async write(key: string, value: T, durable: 'now' | 'later', when?: 'absent'): Promise<void> {
    const { driver, nowMs, tell } = this.#deps;
    const othersMayHold = !this.#byStamp && (this.#believesAbsence || driver.stampNow?.(key) !== '');
    const bytes = Buffer.from(JSON.stringify(value));
    const { stamp } = await driver.put(key, bytes, { durable, ...(when === undefined ? {} : { when }) });
    this.forget(key);
    this.#held.set(key, { value, stamp, size: bytes.length + OVERHEAD, seenMs: nowMs() });
    if (othersMayHold) await tell(key);
  }

  /** Whether memory had anything. */
  forget(key: string): boolean {
    for (const reading of this.#reading.get(key) ?? []) reading.overtaken = true;
    return this.#held.delete(key);
  }

  async #served(key: string): Promise<T | undefined> {
    const { driver } = this.#deps;
    const { lastSeen } = driver;
    if (lastSeen?.away === true) {
      const seen = lastSeen.find(key);
      if (seen !== undefined) return parsed<T>(seen.bytes);
    }
    try {
      return await this.#readBy(lastSeen ?? driver, key);
    } catch (error) {
      const seen = isDriverError(error, 'retryable', 'permanent') ? lastSeen?.find(key) : undefined;
      if (seen === undefined) throw error;
      return parsed<T>(seen.bytes);
    }
  }

  #absent(key: string, seenMs: number): undefined {
    if (this.#believesAbsence) this.#held.set(key, { value: undefined, stamp: '', size: OVERHEAD, seenMs });
    else this.#held.delete(key);
    return undefined;
  }
}

function parsed<T>(bytes: Buffer | undefined): T | undefined {
  return bytes === undefined ? undefined : (JSON.parse(bytes.toString('utf8')) as T); // written by the class above only
}
