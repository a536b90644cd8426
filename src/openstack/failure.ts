/** Failures as whoever uses these clients wants them: this folder knows no error class of others. */

export interface FailureOptions {
  readonly cause?: unknown;
  /** The server asked to be left alone for so long. */
  readonly retryAfterMs?: number | undefined;
  /** The server works, and refused this call alone. */
  readonly answered?: boolean;
}

/** Makes an error; `retryable`: the same may work later. */
export type MakeFailure = (kind: 'retryable' | 'permanent', message: string, options?: FailureOptions) => Error;

/** Tries again what failed with `retryable` (drivers/object-store/attempts.ts). */
export interface Retries {
  run<T>(what: string, attempt: (signal: AbortSignal) => Promise<T>, options?: { readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number }): Promise<T>;
}
