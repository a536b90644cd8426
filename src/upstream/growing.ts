/**
 * A fill as the readers in one process see it: the attempt under way, what of it can be read and from where, and how it
 * all ended. The leader (`fill-leader.ts`) or a follower (`fills.ts`) writes it, readers (`fill-reader.ts`) wait for it.
 */
import type { Hash } from 'node:crypto';
import type { Source } from '../drivers/driver.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { Changes } from './changes.ts';
import { DownloadMismatch } from './fill-download.ts';
import { errorOf, type Outcome, type Progress } from './fill-progress.ts';
import { SharedSource } from './shared-source.ts';

export type AttemptStatus =
  | { readonly kind: 'growing' }
  /** Hashed, compared, stored: every byte may go out. */
  | { readonly kind: 'verified' }
  /** `hash` has taken all bytes that came, landed or in memory; only the leader's process has it, if it is needed. */
  | { readonly kind: 'unstored'; readonly hash: Hash | undefined; readonly verified: boolean }
  /** What landed can be read while the store keeps it, and no more comes. */
  | { readonly kind: 'orphaned'; readonly error: RegistryError }
  | { readonly kind: 'failed'; readonly error: RegistryError };

/** The leader's bytes on their way to the store, landed or not. */
export interface Memory {
  /** Bytes that came so far. */
  readonly head: number;
  /** The first position that is at hand. */
  readonly from: number;
  /** What is at hand from this position on, or undefined where it has been let go (it has landed then). */
  at(position: number): Buffer | undefined;
}

/** One download into one assembly. */
export class Attempt {
  readonly id: string;
  readonly source: SharedSource;
  /** Let go when all has landed, or is of no use. */
  memory: Memory | undefined;
  /** Bytes of the whole blob; known at the end at the latest. */
  size: number | undefined;
  /** Bytes that can be read from the source. */
  landed = 0;
  status: AttemptStatus = { kind: 'growing' };

  constructor(id: string, size: number | undefined, opened: Promise<Source | undefined>, memory?: Memory) {
    this.id = id;
    this.size = size;
    this.source = new SharedSource(opened);
    this.memory = memory;
  }

  /** How far readers may go: the blob's last byte waits for the verification. */
  get readable(): number {
    const head = Math.max(this.landed, this.memory?.head ?? 0);
    if (this.status.kind === 'verified') return head;
    return Math.max(0, Math.min(head, (this.size ?? head) - 1));
  }
}

export class Growing {
  readonly digest: Digest;
  readonly changes: Changes = new Changes();
  attempt: Attempt | undefined;
  outcome: Outcome | undefined;
  readonly #readersChanged: () => void;
  #readers = 0;

  constructor(digest: Digest, readersChanged: () => void) {
    this.digest = digest;
    this.#readersChanged = readersChanged;
  }

  /** Readers of this process, those still waiting for the first byte included. */
  get readers(): number {
    return this.#readers;
  }

  enter(): void {
    this.#readers += 1;
    this.#readersChanged();
  }

  leave(): void {
    this.#readers -= 1;
    this.#readersChanged();
  }

  /** The attempt before, if any, has failed: its bytes were not the blob's. */
  begin(attempt: Attempt): void {
    this.#giveUp(new DownloadMismatch(this.digest));
    this.attempt?.source.release();
    this.attempt = attempt;
    this.changes.notify();
  }

  /** The running attempt ends in this. */
  become(status: AttemptStatus): void {
    if (this.attempt !== undefined) settle(this.attempt, status);
    this.changes.notify();
  }

  end(outcome: Outcome): void {
    if (this.outcome !== undefined) return;
    if (outcome.kind === 'orphaned' && this.attempt?.status.kind === 'growing') settle(this.attempt, { kind: 'orphaned', error: cutOff(this.digest) });
    else if (this.attempt === undefined || outcome.kind !== 'stored' || outcome.id !== this.attempt.id) this.#giveUp(outcome.kind === 'failed' ? errorOf(outcome.error) : cutOff(this.digest));
    else {
      this.attempt.size = outcome.size;
      this.attempt.landed = outcome.size;
      settle(this.attempt, { kind: 'verified' });
    }
    this.attempt?.source.release();
    this.outcome = outcome;
    this.changes.notify();
  }

  /** A worker that follows hears of the leader's progress. `renews`: what was opened before does not grow. */
  hear(progress: Progress, open: () => Promise<Source | undefined>, renews: boolean): void {
    const { id, size, landed } = progress;
    if (this.attempt?.id !== id) this.begin(new Attempt(id, size, open()));
    else if (renews && landed > this.attempt.landed) this.attempt.source.renew(open());
    const attempt = this.attempt as Attempt; // just made, if there was none
    attempt.size = size ?? attempt.size;
    attempt.landed = Math.max(attempt.landed, landed);
    if (progress.kind === 'unstored') settle(attempt, { kind: 'unstored', hash: undefined, verified: progress.verified });
    this.changes.notify();
  }

  #giveUp(error: RegistryError): void {
    const { attempt } = this;
    if (attempt !== undefined && attempt.status.kind !== 'verified' && attempt.status.kind !== 'orphaned') settle(attempt, { kind: 'failed', error });
  }
}

function settle(attempt: Attempt, status: AttemptStatus): void {
  attempt.status = status;
  // Past a full store, readers that had bytes of it must go on from just these: the hash is of no others.
  if (status.kind !== 'unstored') attempt.memory = undefined;
}

function cutOff(digest: Digest): RegistryError {
  return new RegistryError('UNAVAILABLE', `the download of ${digest} from upstream was given up; ask again`, { detail: { digest } });
}
