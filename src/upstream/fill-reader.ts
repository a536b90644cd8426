/**
 * One client's way through a fill: until it has given its first byte it may move on to another attempt, or begin again;
 * afterwards what it gave commits it.
 */
import type { ByteRange } from '../drivers/driver.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Timers } from '../workers/timers.ts';
import { attemptBytes, AttemptFailed } from './fill-bytes.ts';
import { DownloadMismatch } from './fill-download.ts';
import type { FillEvent } from './fill-event.ts';
import { pastBytes } from './fill-past.ts';
import { errorOf, type Outcome } from './fill-progress.ts';
import type { FillJob, FillReader } from './fill.ts';
import { Attempt, type Growing } from './growing.ts';
import { SourceMoved } from './shared-source.ts';

export interface ReaderOptions {
  /** The fill of this job's blob, begun if there is none. @throws RegistryError when closing */
  readonly fillOf: (job: FillJob) => Growing;
  readonly newId: () => string;
  readonly timers: Timers;
  readonly observe: (event: FillEvent) => void;
}

/** Fills that may end under a reader (their worker died, another origin's failed) before it gives up. */
const MAX_FILLS = 5;

export class Reader implements FillReader {
  readonly #job: FillJob;
  readonly #options: ReaderOptions;
  #growing: Growing;
  /** Held while it is the one to read. */
  #attempt: Attempt | undefined;
  /** An attempt whose bytes went from where they were before we opened them. */
  #moved: Attempt | undefined;
  /** What the ETag names. */
  #named = '';
  #fills = 1;
  #closed = false;

  constructor(job: FillJob, options: ReaderOptions) {
    this.#job = job;
    this.#options = options;
    this.#growing = options.fillOf(job);
    this.#growing.enter();
  }

  get size(): number | undefined {
    return this.#attempt?.size;
  }

  get etag(): string {
    return `"${this.#job.digest};fill=${this.#named}"`;
  }

  /** Waits for something to read. False: upstream has no such blob. @throws RegistryError */
  async begin(signal: AbortSignal): Promise<boolean> {
    return (await this.#next(signal)) !== undefined;
  }

  /** Waits for the blob to be stored. False: upstream has no such blob. @throws RegistryError */
  async complete(signal: AbortSignal): Promise<boolean> {
    for (;;) {
      signal.throwIfAborted();
      const { attempt, outcome, changes, digest } = this.#growing;
      if (outcome === undefined) {
        if (attempt?.status.kind === 'unstored') throw new RegistryError('STORAGE_FULL', `no space left to store ${digest}`, { detail: { digest } });
        await changes.next(signal);
      } else if (outcome.kind === 'stored') {
        this.#checkSize(this.#job.size, outcome.size);
        return true;
      } else if (this.#isOurs(outcome)) {
        return false;
      } else {
        this.#again();
      }
    }
  }

  async *stream(range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
    let given = false;
    for (;;) {
      const attempt = await this.#next(signal);
      if (attempt === undefined) throw new RegistryError('UPSTREAM_FAILED', `upstream no longer has ${this.#job.digest}`);
      attempt.source.hold();
      try {
        for await (const chunk of this.#bytes(attempt, range, signal)) {
          given = true;
          yield chunk;
        }
        return;
      } catch (error) {
        if (given) throw error instanceof AttemptFailed ? error.error : error;
        if (error instanceof SourceMoved) this.#moved = attempt;
        else if (!(error instanceof AttemptFailed)) throw error;
      } finally {
        attempt.source.release();
      }
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#attempt?.source.release();
    this.#growing.leave();
  }

  #bytes(attempt: Attempt, range: ByteRange | undefined, signal: AbortSignal): AsyncIterable<Buffer> {
    const { timers, observe } = this.#options;
    const job = this.#job;
    return attemptBytes({
      attempt, range, signal,
      changes: this.#growing.changes,
      past: (rest, status) => pastBytes({ ...rest, attempt, status, job, signal, timers, observe }),
    });
  }

  /** The attempt to read, which is then ours to hold; undefined: upstream has no such blob. */
  async #next(signal: AbortSignal): Promise<Attempt | undefined> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#closed) throw new Error(`the reader of ${this.#job.digest} was closed`);
      if (this.#isReadable(this.#attempt)) return this.#attempt;
      const { attempt, outcome, changes } = this.#growing;
      if (this.#isReadable(attempt)) return this.#take(attempt);
      if (outcome === undefined) {
        await changes.next(signal);
      } else if (outcome.kind === 'stored') {
        const stored = await this.#stored(signal);
        if (stored !== undefined) return stored;
        this.#again();
      } else if (this.#isOurs(outcome)) {
        return undefined;
      } else {
        this.#again();
      }
    }
  }

  #isReadable(attempt: Attempt | undefined): attempt is Attempt {
    if (attempt === undefined || attempt === this.#moved) return false;
    return attempt.status.kind !== 'failed' && attempt.status.kind !== 'orphaned';
  }

  /** Whether upstream's "no" is an answer to our question. @throws its error, where it is */
  #isOurs(outcome: Exclude<Outcome, { kind: 'stored' }>): boolean {
    if (outcome.kind === 'aborted' || outcome.kind === 'orphaned' || outcome.origin !== this.#job.origin) return false;
    if (outcome.kind === 'failed') throw errorOf(outcome.error);
    return true;
  }

  /** The bytes as some other worker's fill left them. */
  async #stored(signal: AbortSignal): Promise<Attempt | undefined> {
    const source = await this.#job.stored?.(signal);
    if (source === undefined) return undefined;
    const attempt = new Attempt(this.#options.newId(), source.stat.size, Promise.resolve(source));
    attempt.landed = source.stat.size;
    attempt.status = { kind: 'verified' };
    try {
      return this.#take(attempt);
    } finally {
      attempt.source.release();
    }
  }

  #take(attempt: Attempt): Attempt {
    this.#checkSize(this.#attempt === undefined ? this.#job.size : this.#attempt.size, attempt.size);
    // Past a full store every reader has bytes of its own: `If-Range` must not splice those of two.
    this.#named = attempt.status.kind === 'unstored' ? this.#options.newId() : attempt.id;
    attempt.source.hold();
    this.#attempt?.source.release();
    this.#attempt = attempt;
    return attempt;
  }

  /** A wrong descriptor, or a second attempt of another size than the client was told, fails this reader only. */
  #checkSize(promised: number | undefined, size: number | undefined): void {
    if (promised !== undefined && size !== undefined && promised !== size) throw new DownloadMismatch(this.#job.digest);
  }

  #again(): void {
    this.#fills += 1;
    if (this.#fills > MAX_FILLS) throw new RegistryError('UNAVAILABLE', `${this.#fills - 1} downloads of ${this.#job.digest} were given up; ask again later`);
    const next = this.#options.fillOf(this.#job);
    this.#growing.leave();
    this.#growing = next;
    next.enter();
  }
}
