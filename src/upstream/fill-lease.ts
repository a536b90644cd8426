/**
 * The lease of one digest in the store, as one node reads and writes it: who leads its download, and where that stands.
 * It is advisory (PROTOCOL "Claims"): two leaders at once waste a download and nothing else. So it is a small object
 * that is written over and deleted, which nothing that must be kept may be.
 */
import type { Driver } from '../drivers/driver.ts';
import { algorithmOf, hexOf, type Digest } from '../oci/digest.ts';
import type { Message } from '../workers/group.ts';
import type { Timers } from '../workers/timers.ts';
import type { Outcome } from './fill-progress.ts';

/** What stands in a lease. */
export interface Lease {
  readonly holder: string;
  /** Counts the holder's writes. */
  readonly beat: number;
  /** Bytes that have come to the holder from upstream. */
  readonly came: number;
  /** What the holder's own workers heard last. */
  readonly message?: Message;
  /** `message` is the last word. */
  readonly ended?: true;
  /** Nobody on the holder's machine reads: who reads on another says so, or it stops. */
  readonly alone?: true;
}

/** A lease that somebody keeps up, who wrote it so long ago. */
export interface Kept {
  readonly lease: Lease;
  readonly ageMs: number;
}

export type Contest =
  | { readonly kind: 'won' }
  | { readonly kind: 'lost'; readonly kept: Kept }
  /** The blob was stored just now, and those who followed may not have read that yet: it must not be written over. */
  | { readonly kind: 'over' }
  | { readonly kind: 'undecided' };

export interface LeaseOptions {
  readonly driver: Driver;
  readonly timers: Timers;
  /** This machine's clock, where the store has none of its own. */
  readonly nowMs: () => number;
  /** Names the holder. */
  readonly newId: () => string;
}

/** A lease that its holder left alone for so long is nobody's. */
export const DEAD_MS = 5_000;
/** Whoever said so long ago that he reads may have left. Several times as long as readers wait until they say it again. */
const WANTED_MS = 30_000;
/** How long to wait at least, having claimed, for whoever claimed at the same moment; and as long as a claim takes. */
const SETTLE_MS = 40;

const LEASES = 'leases/fills/';
/** Nobody looks at a lease so old, but the next one who wants the blob, and only to pass it over. */
const SWEPT_MS = 60 * 60_000;
const DELETED_AT_ONCE = 100;

export class FillLease {
  readonly holder: string;
  readonly #key: string;
  readonly #options: LeaseOptions;

  constructor(digest: Digest, options: LeaseOptions) {
    this.#key = `${LEASES}${algorithmOf(digest)}/${hexOf(digest)}`;
    this.#options = options;
    this.holder = options.newId();
  }

  /** Takes the lease where nobody keeps it. Never rejects: on a store that fails nothing is decided. */
  async acquire(): Promise<Contest> {
    const { nowMs, timers } = this.#options;
    try {
      const kept = await this.#kept();
      if (kept !== undefined) return kept.lease.ended === true ? { kind: 'over' } : { kind: 'lost', kept };
      const startedMs = nowMs();
      await this.write({ beat: 0, came: 0 });
      // The last put wins. Once those of the others are over too, all read the same winner.
      await new Promise<void>((resolve) => timers.after(Math.max(SETTLE_MS, nowMs() - startedMs), resolve));
      const lease = await this.read();
      return lease === undefined || lease.holder === this.holder ? { kind: 'won' } : { kind: 'lost', kept: { lease, ageMs: 0 } };
    } catch {
      return { kind: 'undecided' };
    }
  }

  async read(): Promise<Lease | undefined> {
    const stored = await this.#options.driver.get(this.#key);
    return stored === undefined ? undefined : parse(stored.bytes);
  }

  async write(lease: Omit<Lease, 'holder'>): Promise<void> {
    await this.#options.driver.put(this.#key, Buffer.from(JSON.stringify({ holder: this.holder, ...lease })), { durable: 'later' });
  }

  /** Tells the holder that somebody here reads. */
  async want(holder: string): Promise<void> {
    await this.#options.driver.put(this.#wantedKey(holder), Buffer.alloc(0), { durable: 'later' });
  }

  /** Whether anybody told us so lately. */
  async isWanted(): Promise<boolean> {
    const stat = await this.#options.driver.head(this.#wantedKey(this.holder));
    return stat !== undefined && (await this.#ageMs(stat.modifiedMs)) < WANTED_MS;
  }

  /** Takes back what was said to this holder, where it holds no longer: what came too late for it to remove. */
  async unwant(holder: string): Promise<void> {
    const lease = await this.read();
    if (lease?.holder !== holder || lease.ended === true) await this.#options.driver.delete([this.#wantedKey(holder)]);
  }

  /** Where it is still ours; `asked`: and what readers said. */
  async remove({ asked }: { readonly asked: boolean }): Promise<void> {
    const isOurs = (await this.read())?.holder === this.holder;
    const keys = [...(isOurs ? [this.#key] : []), ...(asked ? [this.#wantedKey(this.holder)] : [])];
    if (keys.length > 0) await this.#options.driver.delete(keys);
  }

  /** Not a part of the lease, which its holder alone writes. */
  #wantedKey(holder: string): string {
    return `${this.#key}.wanted.${holder}`;
  }

  /** The lease, if somebody keeps it up, or if it says that the blob was stored. */
  async #kept(): Promise<Kept | undefined> {
    const stored = await this.#options.driver.get(this.#key);
    const lease = stored === undefined ? undefined : parse(stored.bytes);
    if (stored === undefined || lease === undefined || (lease.ended === true && (lease.message as Outcome | undefined)?.kind !== 'stored')) return undefined;
    const ageMs = await this.#ageMs(stored.modifiedMs);
    return ageMs < DEAD_MS ? { lease, ageMs } : undefined;
  }

  /** The age of what is in the store is the store's to tell. */
  async #ageMs(modifiedMs: number): Promise<number> {
    const { driver, nowMs } = this.#options;
    return ((await driver.clock?.()) ?? nowMs()) - modifiedMs;
  }
}

/** Removes the leases that machines left which died. */
export async function sweepLeases({ driver, nowMs, signal }: { readonly driver: Driver; readonly nowMs: () => number; readonly signal: AbortSignal }): Promise<void> {
  const beforeMs = ((await driver.clock?.({ signal })) ?? nowMs()) - SWEPT_MS;
  let old: string[] = [];
  for await (const { key, modifiedMs } of driver.list(LEASES, { signal })) {
    if (modifiedMs < beforeMs) old.push(key);
    if (old.length < DELETED_AT_ONCE) continue;
    await driver.delete(old, { signal });
    old = [];
  }
  if (old.length > 0) await driver.delete(old, { signal });
}

function parse(bytes: Buffer): Lease | undefined {
  try {
    const lease = JSON.parse(bytes.toString('utf8')) as Lease; // this class writes them
    return typeof lease.holder === 'string' && typeof lease.beat === 'number' ? lease : undefined;
  } catch {
    return undefined;
  }
}
