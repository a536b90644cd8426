/**
 * For whom a fill goes on: readers of this process, other workers of this machine, other machines. One that nobody
 * reads is stopped after a while.
 */
import type { Timers } from '../workers/timers.ts';
import type { FillLead } from './fill-group.ts';

export interface AudienceOptions {
  readonly leading: FillLead;
  readonly timers: Timers;
  /** How long a fill goes on without readers. */
  readonly detachedMs: number;
  /** Of this process, now. */
  readonly readers: () => number;
  /** Nobody read it for that long. */
  readonly stop: () => void;
}

/** Readers on other machines have so long at least to say that they are there. */
const ANSWER_MS = 3_000;

export class Audience {
  /** Other workers of this machine. */
  followers = 0;
  readonly #options: AudienceOptions;
  readonly #gone = Promise.withResolvers<void>();
  #stage: 'bytes' | 'rest' | 'past' | 'over' = 'bytes';
  #cancel: (() => void) | undefined;

  constructor(options: AudienceOptions) {
    this.#options = options;
  }

  /** The store is full: nothing goes on but the readers' own downloads. */
  get isPast(): boolean {
    return this.#stage === 'past';
  }

  /** `bytes`: downloading. `rest`: what is left happens whoever reads. `past`: the store is full. */
  enter(stage: 'bytes' | 'rest' | 'past'): void {
    this.#stage = stage;
    this.changed();
  }

  /** Somebody came or left. */
  changed(): void {
    if (this.#stage === 'over') return;
    const { leading, readers } = this.#options;
    if (readers() + this.followers > 0) {
      this.#cancel?.();
      this.#cancel = undefined;
      leading.alone?.(false);
    } else if (this.#stage === 'past') {
      this.#gone.resolve();
    } else if (this.#stage === 'bytes' && this.#cancel === undefined) {
      leading.alone?.(true);
      this.#detach();
    }
  }

  /** Past a full store: until the last reader has left, or `dismiss`. */
  async gone(): Promise<void> {
    await this.#gone.promise;
  }

  dismiss(): void {
    this.#gone.resolve();
  }

  /** The fill has ended. */
  close(): void {
    this.#cancel?.();
    this.#stage = 'over';
  }

  /** Stops when nobody has come for some time, unless somebody reads on another machine. */
  #detach(): void {
    const { detachedMs, leading, stop, timers } = this.#options;
    if (leading.isReadElsewhere === undefined) {
      this.#cancel = timers.after(detachedMs, stop);
      return;
    }
    const cancel = timers.after(Math.max(detachedMs, ANSWER_MS), () => {
      void leading.isReadElsewhere?.().then((isRead) => {
        if (this.#cancel !== cancel || this.#stage !== 'bytes') return;
        if (isRead) this.#detach();
        else stop();
      });
    });
    this.#cancel = cancel;
  }
}
