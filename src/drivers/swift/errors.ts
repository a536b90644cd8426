/** What Swift's refusals and broken connections mean, in the words of the contract, and what an operator does about them. */
import { handshakeProblem } from '../../tls/trust.ts';
import { DriverError } from '../driver.ts';

export interface Refusal {
  readonly what: string;
  readonly method: string;
  readonly name?: string;
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | undefined;
  readonly container: string;
  readonly who: string;
  /** Of the account. */
  readonly url: string;
}

/** Swift works, and a call made again may fare better. 202: a write that lost to a newer one. 409: so did this, or a segment is missing. 422: corrupted on the way. */
const CALL_AGAIN: ReadonlySet<number> = new Set([202, 401, 408, 409, 422, 429, 498, 499]);
/** The most that is waited because a store says so; more is for the next request to find out. */
const LONGEST_RETRY_AFTER_MS = 30_000;

export function refusal(met: Refusal): DriverError {
  const { what, method, status, container, who, url } = met;
  const said = `Swift answered ${status}${saying(met.text)}`;
  if (status === 413 || status === 507) return new DriverError('full', `${what}: ${said}: container ${container} of ${url} is full or its quota is reached; raise the quota or delete content`, { byQuota: status === 413 });
  if (status === 403) {
    return new DriverError('permanent', `${what}: ${said}: ${who} may not do this to container ${container} of ${url}; grant it a role that may (member, or one that the container's read and write ACL name)`, {
      mayNotWrite: method !== 'GET' && method !== 'HEAD',
    });
  }
  if (status === 404) return new DriverError('permanent', `${what}: ${said}: container ${container} of ${url} does not exist for ${who}; create it, or let Umbra create it`);
  if (status === 401) return new DriverError('retryable', `${what}: ${said}: the token of ${who} is refused`, { answered: true });
  if (CALL_AGAIN.has(status)) return new DriverError('retryable', `${what}: ${said}`, { answered: true, retryAfterMs: retryAfterMs(met.retryAfter) });
  if (status >= 500) return new DriverError('retryable', `${what}: ${said}`, { retryAfterMs: retryAfterMs(met.retryAfter) });
  return new DriverError('permanent', `${what}: ${said}; that was not expected of Swift at ${url}`);
}

/** @param error undici's or Node's */
export function connectionError(what: string, container: string, error: unknown): DriverError {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  const text = typeof message === 'string' && message !== '' ? message : String(code);
  const problem = handshakeProblem(error, `the Swift that holds container ${container}`, 'storage.ca');
  if (problem !== undefined) return new DriverError('permanent', `${what}: ${problem}`, { cause: error });
  return new DriverError('retryable', `${what}: the connection to Swift failed: ${text}`, { cause: error });
}

/** The first words of an error page. */
function saying(text: string): string {
  const words = text.replaceAll(/<[^>]*>/g, ' ').replaceAll(/\s+/g, ' ').trim();
  return words === '' ? '' : ` (${words.slice(0, 200)})`;
}

function retryAfterMs(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.min(LONGEST_RETRY_AFTER_MS, Math.max(0, ms)) : undefined;
}
