/** What Keystone or Swift failed with, in words for whoever runs the service or asked it; never with a secret. */
import type { MakeFailure } from '../../openstack/failure.ts';

export class CloudError extends Error {
  override readonly name = 'CloudError';
  /** `retryable`: the same may work later. */
  readonly failure: 'retryable' | 'permanent';
  /** What was answered; undefined: nothing was. */
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(failure: 'retryable' | 'permanent', message: string, { status, retryAfterMs, cause }: { readonly status?: number | undefined; readonly retryAfterMs?: number | undefined; readonly cause?: unknown } = {}) {
    super(message, { cause });
    this.failure = failure;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

export const cloudFailure: MakeFailure = (kind, message, options) => new CloudError(kind, message, { cause: options?.cause, retryAfterMs: options?.retryAfterMs });

/** @param statuses undefined: any failure of the cloud */
export function isCloudError(error: unknown, ...statuses: readonly number[]): error is CloudError {
  return error instanceof CloudError && (statuses.length === 0 || (error.status !== undefined && statuses.includes(error.status)));
}
