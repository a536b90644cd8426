/**
 * The primary's work: starts the workers, hands each what it runs with, restarts those that die, copies their output
 * and stops them within a bound. What a worker does with its life is `worker.ts` and the entry's own.
 */
import type { Cluster, Worker } from 'node:cluster';
import type { Writable } from 'node:stream';
import { primaryBroker } from './cluster.ts';
import { LineSink } from './line-sink.ts';
import type { Timers } from './timers.ts';

export type StopSignal = 'SIGTERM' | 'SIGINT';

export interface SupervisorOptions {
  readonly cluster: Cluster;
  /** How many. */
  readonly workers: number;
  /** The file that a worker runs: it calls `workerMain`. */
  readonly entry: string;
  readonly args: readonly string[];
  /** What a worker is handed when it starts; JSON over IPC, so secrets show neither in `ps` nor in its environment. */
  readonly workerData: () => unknown;
  /** How long workers may take to finish what is in flight before they are killed. */
  readonly drainMs: number;
  /** Whoever emits the signals: the process. The first stops, the second kills. */
  readonly signals: Pick<NodeJS.EventEmitter, 'on' | 'off'>;
  /** Where the workers' output goes, whole lines only. */
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly timers: Timers;
  readonly log: (event: SupervisorEvent) => void;
  /** Called once, when all workers listen, with what each reported. */
  readonly ready: (reports: readonly unknown[]) => void;
}

export type SupervisorEvent =
  | { readonly kind: 'worker-died'; readonly worker: number; readonly pid: number | undefined; readonly reason: string; readonly restartMs: number }
  | { readonly kind: 'worker-restarted'; readonly worker: number; readonly pid: number | undefined }
  | { readonly kind: 'stopping'; readonly reason: string }
  | { readonly kind: 'killing'; readonly workers: number; readonly reason: string };

export interface Stopped {
  readonly exitCode: 0 | 1;
  /** Why it could not go on; undefined where it was asked to stop. */
  readonly reason: string | undefined;
}

/** Between primary and worker, beside the group's messages. */
export type ToWorker =
  | { readonly say: 'begin'; readonly id: number; readonly size: number; readonly data: unknown }
  | { readonly say: 'drain' };
export type FromWorker =
  | { readonly say: 'hello' }
  | { readonly say: 'ready'; readonly report: unknown }
  | { readonly say: 'failed'; readonly reason: string };

/** Deaths in a row before being ready, of one place, that make the primary give up. */
const MAX_FAILED_STARTS = 5;
const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** A worker that lived so long has not died at start: its successor starts at once. */
const SETTLED_MS = 10_000;
/** How long a reader of our output that takes nothing may hold up the end. */
const LAST_LINES_MS = 1000;

/** Runs until asked to stop, or until workers cannot be started. */
export async function supervise(options: SupervisorOptions): Promise<Stopped> {
  return new Supervisor(options).run();
}

/** A worker's place: who holds it now, and how often in a row that went wrong. */
interface Place {
  readonly number: number;
  worker: Worker | undefined;
  ready: boolean;
  report: unknown;
  /** What the worker said before it left. */
  reason: string | undefined;
  deaths: number;
  failedStarts: number;
  cancelTimer: () => void;
}

class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #places: readonly Place[];
  readonly #stdout: LineSink;
  readonly #stderr: LineSink;
  readonly #copies = new Set<Promise<void>>();
  readonly #gone = Promise.withResolvers<void>();
  #announced = false;
  #stopping = false;
  #failure: string | undefined;
  #cancelKill = (): void => undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#stdout = new LineSink(options.stdout);
    this.#stderr = options.stderr === options.stdout ? this.#stdout : new LineSink(options.stderr);
    this.#places = Array.from({ length: options.workers }, (_, number) => ({
      number, worker: undefined, ready: false, report: undefined, reason: undefined, deaths: 0, failedStarts: 0, cancelTimer: () => undefined,
    }));
  }

  async run(): Promise<Stopped> {
    const { cluster, entry, args, signals } = this.#options;
    cluster.setupPrimary({ exec: entry, args: [...args], silent: true });
    const stopBroker = primaryBroker(cluster);
    const onSignal = (signal: StopSignal): void => {
      if (this.#stopping) this.#kill(`${signal} while stopping`);
      else this.#stop(signal);
    };
    signals.on('SIGTERM', onSignal);
    signals.on('SIGINT', onSignal);
    for (const place of this.#places) this.#start(place);
    await this.#gone.promise;
    this.#cancelKill();
    signals.off('SIGTERM', onSignal);
    signals.off('SIGINT', onSignal);
    stopBroker();
    await this.#lastLines();
    return { exitCode: this.#failure === undefined ? 0 : 1, reason: this.#failure };
  }

  #start(place: Place): void {
    const { cluster, log } = this.#options;
    const worker = cluster.fork();
    Object.assign(place, { worker, ready: false, reason: undefined });
    const { stdout, stderr } = worker.process;
    if (stdout !== null) this.#copy(this.#stdout.copy(stdout));
    if (stderr !== null) this.#copy(this.#stderr.copy(stderr));
    worker.on('message', (message: { readonly supervise?: FromWorker }) => {
      if (message.supervise !== undefined) this.#hear(place, worker, message.supervise);
    });
    // Failing to start a process at all (no memory, no file) comes here; so does a channel that broke. 'exit' follows, or came.
    worker.on('error', (error) => {
      place.reason ??= error.message;
      if (worker.process.pid === undefined) this.#died(place, worker, 'could not be started');
    });
    worker.once('exit', (code: number | null, signal: string | null) => {
      this.#died(place, worker, signal === null ? `exited with code ${code}` : `was ended by ${signal}`);
    });
    if (place.deaths > 0) log({ kind: 'worker-restarted', worker: place.number, pid: worker.process.pid });
  }

  #hear(place: Place, worker: Worker, message: FromWorker): void {
    const { workers, workerData, timers, ready } = this.#options;
    switch (message.say) {
      case 'hello':
        return tell(worker, { say: 'begin', id: worker.id, size: workers, data: workerData() });
      case 'failed':
        place.reason = message.reason;
        return;
      case 'ready':
        place.ready = true;
        place.report = message.report;
        place.failedStarts = 0;
        place.cancelTimer = timers.after(SETTLED_MS, () => (place.deaths = 0));
        if (this.#announced || !this.#places.every((other) => other.ready)) return;
        this.#announced = true;
        ready(this.#places.map((other) => other.report));
    }
  }

  #died(place: Place, worker: Worker, how: string): void {
    if (place.worker !== worker) return;
    const { timers, log } = this.#options;
    place.worker = undefined;
    place.cancelTimer();
    if (this.#stopping) return this.#leaveWhenEmpty();
    const reason = place.reason ?? `worker ${how}${place.ready ? '' : ' before it was ready'}`;
    place.deaths += 1;
    if (!place.ready) place.failedStarts += 1;
    // A start that failed for a reason the worker could tell (an address in use) would fail again.
    const hopeless = !place.ready && place.reason !== undefined && !this.#announced;
    if (hopeless || place.failedStarts >= MAX_FAILED_STARTS) {
      this.#failure = reason;
      return this.#stop(reason);
    }
    const restartMs = Math.min(FIRST_BACKOFF_MS * 2 ** (place.deaths - 1), MAX_BACKOFF_MS);
    log({ kind: 'worker-died', worker: place.number, pid: worker.process.pid, reason, restartMs });
    place.ready = false;
    place.cancelTimer = timers.after(restartMs, () => this.#start(place));
  }

  #stop(reason: string): void {
    const { timers, drainMs, log } = this.#options;
    this.#stopping = true;
    log({ kind: 'stopping', reason });
    for (const { worker, cancelTimer } of this.#places) {
      cancelTimer();
      if (worker !== undefined) tell(worker, { say: 'drain' });
    }
    this.#cancelKill = timers.after(drainMs, () => this.#kill(`not drained after ${drainMs} ms`));
    this.#leaveWhenEmpty();
  }

  #kill(reason: string): void {
    const left = this.#places.flatMap(({ worker }) => worker ?? []);
    this.#options.log({ kind: 'killing', workers: left.length, reason });
    for (const worker of left) worker.process.kill('SIGKILL');
  }

  #leaveWhenEmpty(): void {
    if (this.#places.every(({ worker }) => worker === undefined)) this.#gone.resolve();
  }

  #copy(copying: Promise<void>): void {
    this.#copies.add(copying);
    void copying.then(() => this.#copies.delete(copying));
  }

  async #lastLines(): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const cancel = this.#options.timers.after(LAST_LINES_MS, resolve);
    await Promise.race([Promise.all(this.#copies), late]);
    cancel();
  }
}

function tell(worker: Worker, message: ToWorker): void {
  // A worker that is leaving has closed its end; its 'exit' says so.
  if (worker.isConnected()) worker.send({ supervise: message }, undefined, undefined, () => undefined);
}
