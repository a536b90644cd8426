/**
 * Following a download that another machine leads: its lease is read again and again, and its words are passed on to
 * this machine's workers. A download that stands still is left; its readers go on from what they have.
 */
import type { FollowEvent, Leading, Message } from '../workers/group.ts';
import type { Timers } from '../workers/timers.ts';
import type { Relay } from './fill-group.ts';
import { DEAD_MS, type FillLease, type Kept, type Lease } from './fill-lease.ts';
import type { Outcome, Progress } from './fill-progress.ts';

export interface RelayOptions {
  readonly lease: FillLease;
  /** This machine's lead, which passes on what the other node says. */
  readonly local: Leading;
  /** The same for this process. */
  readonly follow: (event: FollowEvent) => void;
  readonly first: Kept;
  readonly timers: Timers;
  /** For durations. */
  readonly nowMs: () => number;
  /** Other processes of this machine that follow. */
  readonly followers: number;
  readonly ended: () => void;
}

/** Between two looks: while it goes on, and at most. */
const POLL_MS = 250;
const MAX_POLL_MS = 500;
/** How often a holder that asks is told that somebody reads here. */
const WANT_MS = 10_000;
/** How long the holder may take, having the whole blob, to verify and publish it: its beats are all that it can show. */
const PUBLISH_MS = 60_000;

const ORPHANED: Outcome = { kind: 'orphaned' };

export class LeaseRelay implements Relay {
  readonly role = 'relay';
  readonly #options: RelayOptions;
  #seen: Lease;
  /** When it was seen to have got on. */
  #movedMs: number;
  #pollMs = POLL_MS;
  /** When it was seen to have the whole blob. */
  #wholeMs: number | undefined;
  #wantedMs = -Infinity;
  #wanting: Promise<void> | undefined;
  #unwanting: Promise<void> | undefined;
  #readers = 1;
  #followers: number;
  #over = false;
  #cancel = (): void => undefined;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#seen = options.first.lease;
    this.#followers = options.followers;
    // Of one that is dead by now nobody waits for more than is left of its time.
    this.#movedMs = options.nowMs() - Math.max(0, options.first.ageMs);
  }

  /** Passes on what stood in the lease when the contest was lost, which may be the last word, and goes on from there. */
  begin(): void {
    this.#hear(this.#seen);
  }

  readersChanged(count: number): void {
    this.#readers = count;
    this.#endIfAlone();
  }

  followersChanged(count: number): void {
    this.#followers = count;
    this.#endIfAlone();
  }

  async close(): Promise<void> {
    this.#end(undefined);
    await this.#unwanting;
  }

  #endIfAlone(): void {
    if (this.#readers + this.#followers === 0) this.#end(undefined);
  }

  #hear(lease: Lease): void {
    if (lease.ended === true) return this.#end(lease.message);
    if (lease.message !== undefined) {
      this.#options.local.announce(lease.message);
      this.#options.follow({ kind: 'announcement', message: lease.message });
    }
    this.#again();
  }

  #again(): void {
    if (!this.#over) this.#cancel = this.#options.timers.after(this.#pollMs, () => void this.#poll());
  }

  async #poll(): Promise<void> {
    const { lease, nowMs } = this.#options;
    const seen = this.#seen;
    // A store that fails once shows nothing new.
    const now = await lease.read().catch(() => seen);
    if (this.#over) return;
    if (now === undefined || now.holder !== seen.holder) return this.#end(ORPHANED);
    this.#seen = now;
    this.#answer(now);
    const hasMoved = now.ended === true || now.came > seen.came || this.#publishes(now, seen) || JSON.stringify(now.message) !== JSON.stringify(seen.message);
    if (hasMoved) {
      this.#movedMs = nowMs();
      this.#pollMs = POLL_MS;
      return this.#hear(now);
    }
    // That its holder lives is not enough: an upstream that gives it nothing may give us something.
    if (nowMs() - this.#movedMs >= DEAD_MS) return this.#end(ORPHANED);
    this.#pollMs = Math.min(MAX_POLL_MS, this.#pollMs * 2);
    this.#again();
  }

  /** It stops where nobody says that he reads, and all would have to go on by themselves. */
  #answer({ alone }: Lease): void {
    const now = this.#options.nowMs();
    if (alone !== true || now - this.#wantedMs < WANT_MS) return;
    this.#wantedMs = now;
    this.#wanting = this.#options.lease.want(this.#seen.holder).catch(() => undefined); // said again later
  }

  #publishes(now: Lease, seen: Lease): boolean {
    const { size } = (now.message ?? {}) as Partial<Progress>; // a leader of this program wrote it
    if (size === undefined || now.came < size) return false;
    this.#wholeMs ??= this.#options.nowMs();
    return now.beat > seen.beat && this.#options.nowMs() - this.#wholeMs < PUBLISH_MS;
  }

  #end(lastWord: Message): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancel();
    const { ended, local, follow } = this.#options;
    if (this.#wanting === undefined) ended();
    else this.#unwanting = this.#unwant(this.#wanting).finally(ended);
    local.end(lastWord);
    follow({ kind: 'ended', message: lastWord });
  }

  /** The holder removes what was said by the time that it ends. What came later we take back. */
  async #unwant(wanting: Promise<void>): Promise<void> {
    await wanting;
    await this.#options.lease.unwant(this.#seen.holder).catch(() => undefined); // the sweep of leases takes it
  }
}
