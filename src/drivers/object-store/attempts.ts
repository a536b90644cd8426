/**
 * Tries again what a store failed to do and may do later: bounded in number and in time, with backoff and full jitter,
 * behind one circuit for each store. What is worth another attempt is for the caller to say, by a DriverError
 * `retryable`; an attempt must be harmless when the one before it did happen and only its answer was lost.
 */
import { pause, type Timers } from '../../workers/timers.ts';
import { Circuit, type Outage, type Pass } from './circuit.ts';
import { DriverError, isDriverError } from '../driver.ts';

export interface AttemptsOptions {
  readonly nowMs: () => number;
  readonly timers: Timers;
  /** From 0 to less than 1. */
  readonly random: () => number;
  /** In messages and events, e.g. `Swift at https://swift.example.org`. */
  readonly store: string;
  /** Told of every retry, and of the circuit. Never a secret. */
  readonly report: (event: { readonly kind: string; readonly [field: string]: unknown }) => void;
  /** No attempt begins, and none lasts, longer after `run` was called. */
  readonly totalMs?: number;
}

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  /** How long one attempt may take; where longer than the total, that is as long. Default 30 s. */
  readonly timeoutMs?: number;
  /** At most so many attempts; default 5. */
  readonly attempts?: number;
}

export interface Attempts {
  /**
   * Runs `attempt` until it succeeds, fails for good (a DriverError other than `retryable`, or any other error), or a
   * bound is reached: number of attempts, total time, the caller's signal (whose reason it then rejects with).
   * Rejects with DriverError `retryable` where it gave up. An attempt should end when its signal is aborted, and is
   * left alone where it does not; the signal means nothing after the attempt has settled, so a body that is read later
   * needs the caller's own.
   * @param what what is done to which key, as in `put blobs/sha256/…`; in messages
   */
  run<T>(what: string, attempt: (signal: AbortSignal) => Promise<T>, options?: RunOptions): Promise<T>;
}

const TIMEOUT_MS = 30_000;
const TOTAL_MS = 60_000;
const ATTEMPTS = 5;
/** The longest wait before the second attempt; doubled for each after it. */
const BASE_MS = 200;
const LONGEST_WAIT_MS = 10_000;

export function attempts(options: AttemptsOptions): Attempts {
  const { nowMs, timers, random, store, report, totalMs = TOTAL_MS } = options;
  const circuit = new Circuit({
    nowMs,
    onOpen: ({ sinceMs, untilMs, failures, last }) =>
      report({ kind: 'circuit-open', store, since: iso(sinceMs), until: iso(untilMs), failures, error: messageOf(last) }),
    onClose: ({ sinceMs }) => report({ kind: 'circuit-closed', store, since: iso(sinceMs), downMs: nowMs() - sinceMs }),
  });

  return {
    async run(what, attempt, { signal, timeoutMs = TIMEOUT_MS, attempts: most = ATTEMPTS } = {}) {
      const beganMs = nowMs();
      const endMs = beganMs + Math.max(totalMs, timeoutMs);
      for (let n = 1; ; n++) {
        signal?.throwIfAborted();
        const pass = circuit.enter();
        if (!('answered' in pass)) throw outageError(what, store, pass);
        const outcome = await once(what, pass, attempt, Math.min(timeoutMs, endMs - nowMs()), signal);
        if (!('failure' in outcome)) return outcome.value;
        const { failure } = outcome;
        const waitMs = backoffMs(n, failure.retryAfterMs, random);
        if (n >= most || nowMs() + waitMs >= endMs) {
          if (n === 1) throw failure;
          const seconds = Math.round((nowMs() - beganMs) / 1000);
          throw new DriverError('retryable', `${failure.message} (gave up after ${n} attempts in ${seconds} s)`, {
            cause: failure, retryAfterMs: failure.retryAfterMs, answered: failure.answered,
          });
        }
        report({ kind: 'retry', store, what, attempt: n, waitMs, error: failure.message });
        await pause(waitMs, timers, signal);
      }
    },
  };

  async function once<T>(
    what: string,
    pass: Pass,
    attempt: (signal: AbortSignal) => Promise<T>,
    ms: number,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly value: T } | { readonly failure: DriverError }> {
    const controller = new AbortController();
    const late = new DriverError('retryable', `${what}: ${store} did not answer within ${Math.round(ms / 100) / 10} s`);
    const onAbort = (): void => controller.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const cancel = timers.after(ms, () => controller.abort(late));
    const aborted = new Promise<never>((_, reject) => controller.signal.addEventListener('abort', () => reject(controller.signal.reason as Error), { once: true }));
    try {
      // Not every part of another's client knows of signals.
      const value = await Promise.race([attempt(controller.signal), aborted]);
      pass.answered();
      return { value };
    } catch (error) {
      if (signal?.aborted === true) {
        pass.gaveUp();
        throw signal.reason;
      }
      const failure = controller.signal.aborted ? late : error;
      if (!isDriverError(failure, 'retryable')) {
        // Absence, a refusal, a condition that failed: the store answered. What is not the driver's own word proves nothing.
        if (isDriverError(failure)) pass.answered();
        else pass.gaveUp();
        throw failure;
      }
      if (failure.answered) pass.answered();
      else pass.failed(failure);
      return { failure };
    } finally {
      cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

/** Full jitter: anywhere up to the bound, so that those who failed together do not come back together. */
function backoffMs(n: number, retryAfterMs: number | undefined, random: () => number): number {
  const jitter = Math.floor(random() * Math.min(LONGEST_WAIT_MS, BASE_MS * 2 ** (n - 1)));
  return (retryAfterMs ?? 0) + jitter;
}

function outageError(what: string, store: string, { sinceMs, untilMs, failures, last }: Outage): DriverError {
  const message = `${what}: ${store} has failed since ${iso(sinceMs)} (${failures} times in a row) and is not asked before ${iso(untilMs)}: ${messageOf(last)}`;
  return new DriverError('retryable', message, { cause: last });
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
