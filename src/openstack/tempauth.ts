/** Logging in to a Swift without Keystone: TempAuth and its like, version 1. */
import { describeAuth, type OpenStackAuth } from './auth.ts';
import type { MakeFailure } from './failure.ts';
import { retryAfterMs } from './identity.ts';
import type { Wire } from './wire.ts';

export type TempAuth = Extract<OpenStackAuth, { readonly kind: 'tempauth' }>;

export interface TempGrant {
  readonly token: string;
  readonly lifetimeMs: number | undefined;
  readonly storageUrl: string;
}

/** Rejects with a failure in words, or with the signal's reason. */
export async function tempAuthToken(auth: TempAuth, wire: Wire, failed: MakeFailure, signal: AbortSignal): Promise<TempGrant> {
  const { url, username, password } = auth;
  const answer = await wire.send({ method: 'GET', url, headers: { 'x-auth-user': username, 'x-auth-key': password.reveal() } }, signal);
  const { status } = answer;
  const who = describeAuth(auth);
  if (status === 401 || status === 403) throw failed('permanent', `${url} refused ${who} (${status}): the name, expected as account:user, or the password is wrong`);
  if (status === 408 || status === 429) throw failed('retryable', `${url} is busy (${status})`, { answered: true, retryAfterMs: retryAfterMs(answer) });
  if (status >= 500) throw failed('retryable', `${url} fails (${status})`, { retryAfterMs: retryAfterMs(answer) });
  const token = answer.header('x-auth-token') ?? answer.header('x-storage-token');
  const storageUrl = answer.header('x-storage-url')?.replace(/\/+$/, '');
  if (status < 200 || status >= 300 || token === undefined || storageUrl === undefined || !URL.canParse(storageUrl))
    throw failed('permanent', `${url} does not answer as TempAuth does (${status}); expected its URL in auth.url, such as https://swift.example.org/auth/v1.0`);
  const seconds = Number(answer.header('x-auth-token-expires') ?? Number.NaN);
  return { token, lifetimeMs: Number.isFinite(seconds) ? seconds * 1000 : undefined, storageUrl };
}
