/** What load balancers and kubelets ask: is the process alive, and should it be given requests? */

export interface HealthAnswer {
  readonly status: 200 | 503;
  /** A line for people. */
  readonly body: string;
}

export interface Health {
  /** The process answers: that is all there is to it. A store that fails is no reason to restart it. */
  alive(): HealthAnswer;
  /** The store can be read and written, and the server is not stopping. */
  ready(): Promise<HealthAnswer>;
  /** From now on not ready: load balancers look elsewhere while what is in flight is finished. */
  drain(): void;
}

export interface HealthOptions {
  /** Rejects with why the store is not usable. */
  readonly check: (signal: AbortSignal) => Promise<void>;
  /** Told of each look that failed: who asks for readiness learns no more than that. */
  readonly failed: (error: unknown) => void;
  readonly nowMs: () => number;
  /** An answer holds for so long, so that asking often costs the store nothing. Default 2 s. */
  readonly freshMs?: number;
  /** The store must answer within. Default 3 s, below what load balancers wait. */
  readonly deadlineMs?: number;
  /** Aborts after so many milliseconds. */
  readonly deadline?: (ms: number) => AbortSignal;
}

const OK: HealthAnswer = { status: 200, body: 'ok\n' };
/** Anybody may ask, and what the store says names accounts. */
const FAILED: HealthAnswer = { status: 503, body: 'the storage cannot be used; the log says more\n' };
const DRAINING: HealthAnswer = { status: 503, body: 'stopping\n' };

export function createHealth(options: HealthOptions): Health {
  const { check, failed, nowMs, freshMs = 2_000, deadlineMs = 3_000, deadline = AbortSignal.timeout.bind(AbortSignal) } = options;
  let draining = false;
  let last: { readonly atMs: number; readonly answer: HealthAnswer } | undefined;
  let looking: Promise<HealthAnswer> | undefined;

  const look = async (): Promise<HealthAnswer> => {
    const answer = await within(deadline(deadlineMs), check).then(
      () => OK,
      (error: unknown) => {
        failed(error);
        return FAILED;
      },
    );
    last = { atMs: nowMs(), answer };
    looking = undefined;
    return answer;
  };

  return {
    alive: () => OK,
    async ready() {
      if (draining) return DRAINING;
      if (last !== undefined && nowMs() - last.atMs < freshMs) return last.answer;
      const answer = await (looking ??= look());
      return draining ? DRAINING : answer;
    },
    drain() {
      draining = true;
    },
  };
}

/** A store that does not even heed the signal is not waited for. */
async function within(signal: AbortSignal, check: HealthOptions['check']): Promise<void> {
  const late = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('no answer in time', { cause: signal.reason })), { once: true });
  });
  await Promise.race([check(signal), late]);
}
