/**
 * Fills of several machines over one object store (PROTOCOL "Fills"): the workers of a machine choose a leader, who
 * looks for a lease in the store before it asks upstream. Where another machine holds it, that one's words are relayed;
 * else this one holds it, and writes into it what its own workers hear.
 */
import type { FollowEvent, Group, Leading, Message } from '../workers/group.ts';
import { keyOf, type FillGroup, type FillLead, type Relay } from './fill-group.ts';
import { FillLease, type Kept, type LeaseOptions } from './fill-lease.ts';
import type { Outcome } from './fill-progress.ts';
import { LeaseRelay } from './lease-relay.ts';

export interface SharedFillsOptions extends LeaseOptions {
  readonly group: Pick<Group, 'join'>;
}

/** A blob smaller than this is downloaded again sooner than its lease is looked up. */
const WORTH_A_LEASE_BYTES = 1024 * 1024;
/** A store that takes longer to say who leads has not said it. */
const CONTEST_MS = 3_000;
/** How often a holder says that it lives: several times while others wait, since a store under load takes its time. */
const BEAT_MS = 1_000;
/** Who said nothing for so long may have been taken for dead. */
const UNHEARD_MS = 4_000;
/** How long the last word stands. */
const LAST_WORD_MS = 5_000;
/** How long those who followed a download that ended may take to read again what they had of it. */
const LATER_MS = 60_000;

export function sharedFills(options: SharedFillsOptions): FillGroup {
  const open = new Set<{ close(): Promise<void> }>();
  return {
    async join(digest, size, follow, followersChanged) {
      const shared: { lead?: SharedLead; followers: number } = { followers: 0 };
      const changed = (count: number): void => {
        shared.followers = count;
        if (shared.lead === undefined) followersChanged(count);
        else shared.lead.followersChanged(count);
      };
      const local = await options.group.join(keyOf(digest), follow, changed);
      if (local.role === 'follower' || (size !== undefined && size < WORTH_A_LEASE_BYTES)) return local;
      shared.lead = new SharedLead({ ...options, lease: new FillLease(digest, options), local, follow, followersChanged, open });
      shared.lead.followersChanged(shared.followers);
      return shared.lead;
    },

    async close() {
      await Promise.all([...open].map(async (one) => one.close()));
    },
  };
}

interface LeadOptions extends SharedFillsOptions {
  readonly lease: FillLease;
  readonly local: Leading;
  readonly follow: (event: FollowEvent) => void;
  readonly followersChanged: (count: number) => void;
  /** Whoever has something to put in order before the process ends. */
  readonly open: Set<{ close(): Promise<void> }>;
}

class SharedLead implements FillLead {
  readonly role = 'leader';
  readonly #options: LeadOptions;
  /** The lease is ours, as far as we know. */
  #holds = false;
  #ended = false;
  #relay: LeaseRelay | undefined;
  #followers = 0;
  #beat = 0;
  #writtenMs = 0;
  #came = 0;
  #message: Message;
  #alone = false;
  /** Others were asked whether they read, and may have left their answer. */
  #asked = false;
  #dirty = false;
  #writing: Promise<void> | undefined;
  #cancel = (): void => undefined;

  constructor(options: LeadOptions) {
    this.#options = options;
  }

  followersChanged(count: number): void {
    this.#followers = count;
    if (this.#relay === undefined) this.#options.followersChanged(count);
    else this.#relay.followersChanged(count);
  }

  async contend(signal: AbortSignal): Promise<Relay | undefined> {
    const { lease, timers } = this.#options;
    if (signal.aborted) return undefined;
    return await new Promise((resolve) => {
      let waits = true;
      const settle = (relay?: Relay): void => {
        waits = false;
        cancel();
        signal.removeEventListener('abort', giveUp);
        resolve(relay);
      };
      const giveUp = (): void => settle();
      const cancel = timers.after(CONTEST_MS, giveUp);
      signal.addEventListener('abort', giveUp, { once: true });
      void lease.acquire().then((contest) => {
        if (contest.kind === 'won') this.#hold();
        // Later it would come too late: readers may have bytes of our own download by then.
        if (waits) settle(contest.kind === 'lost' ? this.#relayed(contest.kept) : undefined);
      });
    });
  }

  came(bytes: number): void {
    this.#came = bytes;
  }

  alone(isAlone: boolean): void {
    if (isAlone === this.#alone) return;
    this.#alone = isAlone;
    this.#write();
  }

  async isReadElsewhere(): Promise<boolean> {
    return this.#holds && (await this.#options.lease.isWanted().catch(() => false));
  }

  announce(message: Message): void {
    this.#options.local.announce(message);
    this.#message = message;
    this.#write();
  }

  end(lastWord: Message): void {
    this.#options.local.end(lastWord);
    this.#message = toOthers(lastWord as Outcome); // the leader of a fill says nothing else
    this.#ended = true;
    this.#write();
    if (this.#holds) this.#again(LAST_WORD_MS, () => void this.close());
  }

  /** Removes the lease: a node that stops leaves nothing to wait for. */
  async close(): Promise<void> {
    this.#cancel();
    this.#options.open.delete(this);
    await this.#writing;
    this.#holds = false;
    await this.#options.lease.remove({ asked: this.#asked }).catch(() => undefined);
  }

  later(task: () => Promise<void>): void {
    const { open, timers } = this.#options;
    const cancel = timers.after(LATER_MS, () => {
      open.delete(waiting);
      void task();
    });
    const waiting = { close: async () => cancel() };
    open.add(waiting);
  }

  #relayed(first: Kept): Relay {
    const { open, lease, local, follow, timers, nowMs } = this.#options;
    const relay: LeaseRelay = new LeaseRelay({ lease, local, follow, first, timers, nowMs, followers: this.#followers, ended: () => open.delete(relay) });
    this.#relay = relay;
    open.add(relay);
    relay.begin();
    return relay;
  }

  #hold(): void {
    this.#holds = true;
    this.#writtenMs = this.#options.nowMs();
    this.#options.open.add(this);
    // What was said meanwhile, the last word perhaps.
    if (this.#message !== undefined) this.#write();
    if (this.#ended) this.#again(LAST_WORD_MS, () => void this.close());
    else this.#again(BEAT_MS, () => void this.#beatOn());
  }

  async #beatOn(): Promise<void> {
    const isHeard = this.#options.nowMs() - this.#writtenMs < UNHEARD_MS;
    const now = isHeard ? undefined : await this.#options.lease.read().catch(() => undefined);
    if (this.#ended) return;
    if (now !== undefined && now.holder !== this.#options.lease.holder) {
      // Another took us for dead: two that write in turns would keep everybody from following either.
      this.#holds = false;
      this.#options.open.delete(this);
      return;
    }
    this.#write();
    this.#again(BEAT_MS, () => void this.#beatOn());
  }

  #again(ms: number, task: () => void): void {
    this.#cancel();
    this.#cancel = this.#options.timers.after(ms, task);
  }

  /** One write at a time; what came meanwhile goes with the next. */
  #write(): void {
    if (!this.#holds) return;
    this.#dirty = true;
    this.#writing ??= this.#flush().finally(() => (this.#writing = undefined));
  }

  async #flush(): Promise<void> {
    while (this.#dirty && this.#holds) {
      this.#dirty = false;
      this.#beat += 1;
      const { lease, nowMs } = this.#options;
      const startedMs = nowMs();
      this.#asked ||= this.#alone;
      // Where it cannot be written nobody can follow: they take this node for dead, and download for themselves.
      await lease
        .write({
          beat: this.#beat, came: this.#came, ...(this.#message === undefined ? {} : { message: this.#message }),
          ...(this.#ended ? { ended: true } : {}), ...(this.#alone ? { alone: true } : {}),
        })
        .then(() => (this.#writtenMs = startedMs))
        .catch(() => undefined);
    }
  }
}

/**
 * That upstream refused this node, or that it stops, says nothing of what upstream tells others: they ask for
 * themselves, and go on from where this download ended.
 */
function toOthers(outcome: Outcome): Outcome {
  return outcome.kind === 'stored' ? outcome : { kind: 'orphaned' };
}

