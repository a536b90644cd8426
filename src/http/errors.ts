/**
 * The one place where an error becomes an answer (distribution-spec "Error Codes"). What is not a client's doing is
 * logged by the caller and told to the client without its insides.
 */
import { isDriverError } from '../drivers/driver.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Exchange } from './exchange.ts';

/**
 * What the client is told; anything unforeseen is INTERNAL.
 * @param method of the request: who reads has no part in what must not be written
 * @param whyRefused why the storage lets nobody in, where that is known
 */
export function toRegistryError(error: unknown, method: string, whyRefused?: string): RegistryError {
  if (error instanceof RegistryError) return error;
  if (isDriverError(error) && error.mayNotWrite && method !== 'GET' && method !== 'HEAD') {
    return new RegistryError('DENIED', 'the storage of the registry is read-only for this node; push to a node that may write it, or have its user given the right to', { cause: error });
  }
  if (isDriverError(error, 'full') && error.byQuota) {
    return new RegistryError('QUOTA_EXCEEDED', "the quota of the registry's storage is used up: delete images, or ask whoever runs it for a larger one; nothing was kept", { cause: error });
  }
  if (isDriverError(error, 'full')) return new RegistryError('STORAGE_FULL', 'the registry has no space left to store this; nothing was kept', { cause: error });
  if (isDriverError(error, 'retryable')) return new RegistryError('UNAVAILABLE', 'the storage of the registry does not answer; try again', { cause: error, retryAfterSeconds: 5 });
  if (isDriverError(error, 'permanent')) return new RegistryError('UNAVAILABLE', `the storage of the registry refuses it: ${whyRefused ?? 'the log of the registry says why'}`, { cause: error });
  return new RegistryError('INTERNAL', 'internal error; the log of the registry says more', { cause: error });
}

/** Where nobody knows when a 429 ends: the spec wants a Retry-After. */
const DEFAULT_WAIT_SECONDS = 5;

/** Answers with the error. */
export function sendError(x: Exchange, error: RegistryError, headers: readonly string[] = []): void {
  const { code, message, detail, status, retryAfterSeconds } = error;
  const body = JSON.stringify({ errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] });
  const all = [...headers, 'Content-Type', 'application/json'];
  const waitSeconds = retryAfterSeconds ?? (status === 429 ? DEFAULT_WAIT_SECONDS : undefined);
  if (waitSeconds !== undefined) all.push('Retry-After', String(Math.max(1, Math.ceil(waitSeconds))));
  x.send(status, all, body);
}
