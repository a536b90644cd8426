/**
 * Leading a fill: downloads the blob once for every reader on this machine, and on others that share the store,
 * verifies and publishes it. Waits for no reader; it only knows whether this machine has any.
 */
import type { Hash } from 'node:crypto';
import { isDriverError, type Appender, type AssemblyState, type Driver, type Source } from '../drivers/driver.ts';
import { algorithmOf, finishHash, newHash, type Digest } from '../oci/digest.ts';
import { hasCode, RegistryError } from '../oci/errors.ts';
import type { Timers } from '../workers/timers.ts';
import { Audience } from './fill-audience.ts';
import { asRegistryError, download, DownloadMismatch } from './fill-download.ts';
import type { FillEvent } from './fill-event.ts';
import type { FillLead, Relay } from './fill-group.ts';
import { errorFacts, type Outcome, type Progress } from './fill-progress.ts';
import type { FillJob } from './fill.ts';
import { Attempt, type Growing } from './growing.ts';
import { Landing, LandingError } from './landing.ts';
import type { RemoteBlob } from './upstream.ts';

export interface LeaderOptions {
  readonly driver: Driver;
  readonly timers: Timers;
  readonly nowMs: () => number;
  /** Names an attempt, its assembly `uploads/<id>` and the generation that it becomes. */
  readonly newId: () => string;
  /** How long a fill goes on without readers. */
  readonly detachedMs: number;
  /** A longer blob is refused. */
  readonly maxBytes: number;
  /** See `LandingOptions`. */
  readonly windowBytes: () => number;
  readonly observe: (event: FillEvent) => void;
}

/** A wrong blob is asked for once more. */
const MAX_ATTEMPTS = 2;
/** How far followers may be behind while bytes keep coming: a message per write would cost more than it helps. */
const ANNOUNCE_BYTES = 1024 * 1024;

export class Leader {
  readonly #growing: Growing;
  readonly #job: FillJob;
  readonly #leading: FillLead;
  readonly #options: LeaderOptions;
  readonly #control = new AbortController();
  readonly #audience: Audience;
  #began = false;
  #over = false;
  #announced = 0;
  #progress: (() => Progress) | undefined;
  /** What need not keep the readers waiting. */
  #afterwards = async (): Promise<void> => undefined;

  constructor(growing: Growing, job: FillJob, leading: FillLead, options: LeaderOptions) {
    this.#growing = growing;
    this.#job = job;
    this.#leading = leading;
    this.#options = options;
    const { detachedMs, timers } = options;
    const stop = (): void => this.abort(new Error(`nobody read the fill of ${job.digest} for ${detachedMs} ms`));
    this.#audience = new Audience({ leading, timers, detachedMs, readers: () => growing.readers, stop });
  }

  /** Runs the fill to its end and tells everybody; or gives what speaks instead, where another machine leads. Never rejects. */
  async run(): Promise<Relay | undefined> {
    const { nowMs, observe } = this.#options;
    const startedMs = nowMs();
    this.readersChanged();
    // Before upstream is asked: megabytes of an answer that nobody takes are on their way before that can be told.
    const relay = await this.#leading.contend?.(this.#control.signal);
    const outcome = relay === undefined ? await this.#fill().catch((error: unknown) => this.#failed(error)) : undefined;
    this.#over = true;
    const unstored = this.#audience.isPast;
    this.#audience.close();
    if (outcome === undefined) {
      observe({ kind: 'began', digest: this.#job.digest });
      observe({ kind: 'ended', digest: this.#job.digest, outcome: 'elsewhere', bytes: 0, durationMs: nowMs() - startedMs, error: undefined });
      return relay;
    }
    const bytes = this.#growing.attempt?.landed ?? 0;
    this.#growing.end(outcome);
    this.#leading.end(outcome);
    await this.#afterwards();
    if (!this.#began) return undefined;
    observe({
      kind: 'ended', digest: this.#job.digest, outcome: unstored ? 'unstored' : outcome.kind, bytes,
      durationMs: nowMs() - startedMs, error: outcome.kind === 'failed' ? outcome.error : undefined,
    });
    return undefined;
  }

  abort(reason: Error): void {
    this.#control.abort(reason);
    this.#audience.dismiss();
  }

  followersChanged(count: number): void {
    const more = count > this.#audience.followers;
    this.#audience.followers = count;
    this.#audience.changed();
    // The newcomer was told what was announced last: long ago, if nobody followed.
    if (more) this.#announce();
  }

  readersChanged(): void {
    this.#audience.changed();
  }

  async #fill(): Promise<Outcome> {
    const { newId, observe } = this.#options;
    const { signal } = this.#control;
    signal.throwIfAborted();
    const stored = await this.#job.stored?.(signal);
    if (stored !== undefined) {
      await stored.close();
      return { kind: 'stored', id: newId(), size: stored.stat.size };
    }
    this.#began = true;
    observe({ kind: 'began', digest: this.#job.digest });
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt();
      } catch (error) {
        if (!(error instanceof DownloadMismatch)) throw error;
        observe({ kind: 'mismatch', digest: this.#job.digest, attempt });
        if (attempt === MAX_ATTEMPTS || signal.aborted) throw error;
        this.#audience.enter('bytes');
        this.#growing.become({ kind: 'failed', error });
      }
    }
  }

  /** @throws DownloadMismatch where upstream sent something else; whatever upstream or the store failed with */
  async #attempt(): Promise<Outcome> {
    // An answer whose body nobody reads goes on until its signal says otherwise.
    const over = new AbortController();
    try {
      return await this.#attemptUnder(over);
    } finally {
      over.abort(new Error('the attempt is over'));
    }
  }

  async #attemptUnder(over: AbortController): Promise<Outcome> {
    const { driver, newId, maxBytes } = this.#options;
    const { digest, origin } = this.#job;
    const signal = AbortSignal.any([this.#control.signal, over.signal]);
    const opened = await this.#job.download(0, signal);
    if (opened === undefined) return { kind: 'absent', ...(origin === undefined ? {} : { origin }) };
    // What upstream says goes first: a wrong descriptor then fails its own reader only.
    const size = opened.size ?? this.#job.size;
    if (size !== undefined && size > maxBytes) throw new RegistryError('UPSTREAM_FAILED', `${digest} has ${size} bytes upstream: at most ${maxBytes} are taken`);
    const id = newId();
    const state = driver.assemblies.create(`uploads/${id}`);
    let storeMoved = (): void => undefined;
    const appender = await driver.assemblies.append(state, { onLanded: () => storeMoved(), expectBytes: size }).catch((error: unknown) => {
      if (isFull(error)) return undefined;
      throw error;
    });
    if (appender === undefined) {
      over.abort(new Error('the store is full'));
      this.#growing.begin(new Attempt(id, size, Promise.resolve(undefined)));
      return await this.#goPast({ id, size, landed: 0, hash: newHash(algorithmOf(digest)) });
    }
    try {
      const outcome = await this.#land({ id, size, opened, state, appender, over, signal, onStoreMoved: (moved) => (storeMoved = moved) });
      this.#afterwards = async () => this.#clear(state, appender, outcome.kind === 'stored' ? 'stored' : 'unfinished');
      return outcome;
    } catch (error) {
      if (error instanceof DownloadMismatch) await this.#clear(state, appender, 'useless');
      else this.#afterwards = async () => this.#clear(state, appender, 'unfinished');
      throw error;
    }
  }

  /** What is left of an attempt after its end; the sweep of uploads takes what stays. */
  async #clear(state: AssemblyState, appender: Appender, what: 'stored' | 'unfinished' | 'useless'): Promise<void> {
    const { assemblies } = this.#options.driver;
    // Where attempts stand side by side, what is published may stay where it was gathered.
    if (what === 'stored' && !assemblies.exclusive) return;
    const discard = async (): Promise<void> => {
      // Of a finished attempt that was published, nothing is left to clear but an empty place.
      await appender.abandon().catch(() => undefined);
      await assemblies.discard(state).catch(() => undefined);
    };
    if (what !== 'unfinished' || this.#leading.later === undefined) return await discard();
    // Machines that follow have these bytes from us, and go on from them.
    await appender.finish().catch(() => undefined);
    this.#leading.later(discard);
  }

  async #land({ id, size, opened, state, appender, over, signal, onStoreMoved }: Begun): Promise<Outcome> {
    const { driver, timers, maxBytes, windowBytes, observe } = this.#options;
    const { digest } = this.#job;
    const algorithm = algorithmOf(digest);
    const piecewise = appender.landed !== undefined;
    /** What can be read by now, in any process. */
    const standing = (): AssemblyState => landing.standing ?? state;
    const land = (): void => {
      const { readable } = landing;
      if (piecewise && readable > attempt.landed) attempt.source.renew(driver.assemblies.open(standing()));
      attempt.landed = readable;
    };
    const moved = (): void => {
      land();
      this.#leading.came?.(landing.head);
      this.#growing.changes.notify();
      const news = attempt.landed - this.#announced;
      if ((this.#audience.followers > 0 || this.#leading.contend !== undefined) && (news >= ANNOUNCE_BYTES || (news > 0 && attempt.landed === landing.head))) this.#announce();
    };
    const landing: Landing = new Landing({ appender, hash: newHash(algorithm), windowBytes, moved, refused: (error) => over.abort(error) });
    const attempt: Attempt = new Attempt(id, size, driver.assemblies.open(state), landing);
    onStoreMoved(() => landing.storeMoved());
    this.#growing.begin(attempt);
    this.#progress = () => ({ kind: 'growing', id, ...(size === undefined ? {} : { size }), landed: landing.readable, state: standing() });
    this.#announce();
    let whole = size;
    let verified = false;
    try {
      const resuming = (offset: number, error: unknown): void => observe({ kind: 'resuming', digest, offset, error });
      const open = this.#job.download.bind(this.#job);
      for await (const chunk of download({ digest, open, start: 0, opened, size, signal, timers, resuming })) {
        if (landing.head + chunk.length > maxBytes) throw new RegistryError('UPSTREAM_FAILED', `${digest} has more bytes upstream than the ${maxBytes} that are taken`);
        await landing.add(chunk);
      }
      whole = landing.head;
      await landing.end();
      land();
      this.#audience.enter('rest');
      if (finishHash(algorithm, landing.hash) !== digest) throw new DownloadMismatch(digest);
      verified = true;
      // Published bytes go elsewhere: what is opened by then stays readable.
      await attempt.source.opened;
      await this.#job.publish(id, await appender.finish(), landing.landed);
      if (piecewise) attempt.source.renew(this.#published(id, landing.landed));
      return { kind: 'stored', id, size: landing.landed };
    } catch (error) {
      if (!isFull(error)) throw error;
      await landing.settled();
      land();
      return await this.#goPast({ id, size: whole, landed: attempt.landed, state: standing(), hash: verified ? undefined : landing.hashOfAll() });
    }
  }

  async #published(id: string, size: number): Promise<Source | undefined> {
    return this.#job.published?.(id, size);
  }

  /** The store is full: the readers go on with downloads of their own, and the fill stays until the last has left. */
  async #goPast({ id, size, landed, state, hash }: Past): Promise<Outcome> {
    const { digest } = this.#job;
    const verified = hash === undefined;
    this.#options.observe({ kind: 'full', digest, landed });
    if (this.#growing.attempt !== undefined) this.#growing.attempt.size = size;
    this.#growing.become({ kind: 'unstored', hash, verified });
    this.#progress = () => ({ kind: 'unstored', id, ...(size === undefined ? {} : { size }), landed, ...(state === undefined ? {} : { state }), verified });
    this.#announce();
    this.#audience.enter('past');
    await this.#audience.gone();
    return { kind: 'aborted' };
  }

  #announce(): void {
    const progress = this.#progress?.();
    // What lands as an attempt is cleared is no news: the last word has been said.
    if (progress === undefined || this.#over) return;
    this.#announced = progress.landed;
    this.#leading.announce(progress);
  }

  #failed(error: unknown): Outcome {
    const { digest, origin } = this.#job;
    if (this.#control.signal.aborted) return { kind: 'aborted' };
    if (isDriverError(storeErrorOf(error))) this.#options.observe({ kind: 'refused', digest, error: storeErrorOf(error) });
    return { kind: 'failed', ...(origin === undefined ? {} : { origin }), error: errorFacts(asToldToReaders(digest, error)) };
  }
}

interface Begun {
  readonly id: string;
  readonly size: number | undefined;
  readonly opened: RemoteBlob;
  readonly state: AssemblyState;
  readonly appender: Appender;
  /** Takes what to call when the store shows more. */
  readonly onStoreMoved: (moved: () => void) => void;
  /** Ends the download. */
  readonly over: AbortController;
  readonly signal: AbortSignal;
}

interface Past {
  readonly id: string;
  readonly size: number | undefined;
  /** What the store took. */
  readonly landed: number;
  readonly state?: AssemblyState;
  /** Of all that came; undefined where that is the whole blob, verified. */
  readonly hash: Hash | undefined;
}

function storeErrorOf(error: unknown): unknown {
  return error instanceof LandingError ? error.cause : error;
}

function isFull(error: unknown): boolean {
  const met = storeErrorOf(error);
  return isDriverError(met, 'full') || hasCode(met, 'STORAGE_FULL');
}

function asToldToReaders(digest: Digest, error: unknown): RegistryError {
  const met = storeErrorOf(error);
  if (isDriverError(met)) return new RegistryError('UNAVAILABLE', `storing ${digest} failed; the log of the registry says more`, { cause: met });
  return asRegistryError(digest, met);
}
