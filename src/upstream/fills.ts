/**
 * The fills of one worker: who in this process reads which blob, and whether this worker leads its download or follows
 * another's. One fill per digest in the group; the first to want it leads.
 */
import type { Driver, Source } from '../drivers/driver.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import type { FollowEvent, Following } from '../workers/group.ts';
import type { Timers } from '../workers/timers.ts';
import type { FillEvent } from './fill-event.ts';
import type { FillGroup, Relay } from './fill-group.ts';
import { Leader, type LeaderOptions } from './fill-leader.ts';
import { errorFacts, type Outcome, type Progress } from './fill-progress.ts';
import { Reader, type ReaderOptions } from './fill-reader.ts';
import type { FillJob, FillReader, Fills } from './fill.ts';
import { Growing } from './growing.ts';

export interface FillsOptions {
  /** One whose assemblies can be read as they grow, or by the piece. */
  readonly driver: Driver;
  readonly group: FillGroup;
  readonly timers: Timers;
  /** For durations. */
  readonly nowMs: () => number;
  /** How long a download goes on without readers. */
  readonly detachedMs: number;
  /** A fresh identity, never given twice; names attempts and generations. */
  readonly newId: () => string;
  readonly observe: (event: FillEvent) => void;
  /** A longer blob is refused. Default: any. */
  readonly maxBytes?: number;
  /** Bound on the bytes that all downloads of this worker hold in memory, as long as they are not very many. Default 64 MiB. */
  readonly bufferBytes?: number;
}

const BUFFER_BYTES = 64 * 1024 * 1024;
const MAX_WINDOW_BYTES = 4 * 1024 * 1024;
/** However many downloads there are: with less, the store would be waited for after every chunk. */
const MIN_WINDOW_BYTES = 256 * 1024;

export function fills(options: FillsOptions): Fills {
  return new FillSet(options);
}

/** A fill in this process. */
interface Running {
  readonly growing: Growing;
  role: 'joining' | Leader | Following | Relay;
}

class FillSet implements Fills {
  readonly #options: FillsOptions;
  readonly #leaderOptions: LeaderOptions;
  readonly #readerOptions: ReaderOptions;
  readonly #running = new Map<Digest, Running>();
  readonly #ends = new Set<Promise<void>>();
  #leading = 0;
  #closed = false;

  constructor(options: FillsOptions) {
    const { assemblies } = options.driver;
    if (assemblies.exclusive && !assemblies.growing) throw new Error(`fills cannot work on ${options.driver.kind} storage: what is being written there cannot be read`);
    const { bufferBytes = BUFFER_BYTES, maxBytes = Infinity, newId, timers, observe } = options;
    this.#options = options;
    const windowBytes = (): number => Math.min(MAX_WINDOW_BYTES, Math.max(MIN_WINDOW_BYTES, bufferBytes / Math.max(1, this.#leading)));
    this.#leaderOptions = { ...options, maxBytes, windowBytes };
    this.#readerOptions = { fillOf: (job) => this.#fillOf(job), newId, timers, observe };
  }

  async open(job: FillJob, signal: AbortSignal): Promise<FillReader | undefined> {
    const reader = new Reader(job, this.#readerOptions);
    let found = false;
    try {
      found = await reader.begin(signal);
    } finally {
      if (!found) reader.close();
    }
    return found ? reader : undefined;
  }

  async complete(job: FillJob, signal: AbortSignal): Promise<boolean> {
    const reader = new Reader(job, this.#readerOptions);
    try {
      return await reader.complete(signal);
    } finally {
      reader.close();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const running of this.#running.values()) {
      if (running.role instanceof Leader) running.role.abort(new Error('the server is stopping'));
      else this.#leave(running);
    }
    await Promise.all(this.#ends);
    await this.#options.group.close();
  }

  #fillOf(job: FillJob): Growing {
    if (this.#closed) throw stopping();
    const known = this.#running.get(job.digest);
    if (known !== undefined && known.growing.outcome === undefined) return known.growing;
    const growing = new Growing(job.digest, () => {
      const { role } = running;
      if (role instanceof Leader) role.readersChanged();
      else if (role === 'joining') return;
      else if (role.role === 'relay') role.readersChanged(growing.readers);
      else if (growing.readers === 0) this.#leave(running);
    });
    const running: Running = { growing, role: 'joining' };
    this.#running.set(job.digest, running);
    const end = this.#join(running, job).finally(() => {
      this.#ends.delete(end);
      this.#forget(running);
    });
    this.#ends.add(end);
    return growing;
  }

  /** Resolves when a fill that is led has ended, or when one is followed, here or elsewhere. Never rejects. */
  async #join(running: Running, job: FillJob): Promise<void> {
    const { growing } = running;
    let followers = 0;
    const followersChanged = (count: number): void => {
      followers = count;
      if (running.role instanceof Leader) running.role.followersChanged(count);
    };
    let joined;
    try {
      joined = await this.#options.group.join(job.digest, job.size, (event) => this.#hear(running, job, event), followersChanged);
    } catch {
      return growing.end({ kind: 'failed', ...(job.origin === undefined ? {} : { origin: job.origin }), error: errorFacts(stopping()) });
    }
    if (joined.role === 'follower') {
      running.role = joined;
      if (growing.readers === 0 || this.#closed) this.#leave(running);
      return;
    }
    const leader = new Leader(growing, job, joined, this.#leaderOptions);
    running.role = leader;
    if (this.#closed) leader.abort(stopping());
    this.#leading += 1;
    leader.followersChanged(followers);
    const relay = await leader.run();
    this.#leading -= 1;
    if (relay === undefined) return;
    running.role = relay;
    relay.readersChanged(this.#closed ? 0 : growing.readers);
  }

  #hear(running: Running, job: FillJob, event: FollowEvent): void {
    const { growing } = running;
    if (growing.outcome !== undefined) return;
    if (event.kind === 'announcement') {
      const progress = event.message as Progress; // a leader of this program wrote it
      return growing.hear(progress, async () => this.#open(progress), !this.#options.driver.assemblies.growing);
    }
    const outcome = (event.message as Outcome | undefined) ?? { kind: 'aborted' };
    const { assemblies } = this.#options.driver;
    // Only what is stored can be read to its end where the store shows whole pieces.
    if (outcome.kind === 'stored' && !assemblies.growing) growing.attempt?.source.renew(published(job, outcome));
    growing.end(outcome);
    this.#forget(running);
  }

  async #open({ state }: Progress): Promise<Source | undefined> {
    return state === undefined ? undefined : this.#options.driver.assemblies.open(state);
  }

  /** Follows no longer. */
  #leave(running: Running): void {
    const { role } = running;
    if (role !== 'joining' && !(role instanceof Leader)) {
      if (role.role === 'relay') role.readersChanged(0);
      else role.leave();
    }
    if (running.growing.outcome === undefined) running.growing.end({ kind: 'aborted' });
    this.#forget(running);
  }

  #forget(running: Running): void {
    if (running.growing.outcome !== undefined && this.#running.get(running.growing.digest) === running) this.#running.delete(running.growing.digest);
  }
}

async function published(job: FillJob, { id, size }: Extract<Outcome, { kind: 'stored' }>): Promise<Source | undefined> {
  return job.published?.(id, size);
}

function stopping(): RegistryError {
  return new RegistryError('UNAVAILABLE', 'the server is stopping');
}
