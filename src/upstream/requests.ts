/**
 * Questions to one upstream: each within its budget, with the credentials that upstream asks for, across redirects, and
 * the answer's status turned into an outcome of the contract (`upstream.ts`). What is asked is `client.ts`.
 */
import type { UpstreamConfig } from '../config/config.ts';
import { RegistryError } from '../oci/errors.ts';
import { budget, readRetryAfter } from './budget.ts';
import { parseChallenges } from './challenge.ts';
import { credentials } from './credentials.ts';
import { deadline } from './deadline.ts';
import type { Answer, ResponseHeaders } from '../drivers/exchange.ts';
import { follow, RedirectError, type Followed } from './redirects.ts';
import type { Request, Transport } from './transport.ts';

export type Kind = 'manifest' | 'blob' | 'tags' | 'referrers' | 'token';

/** Told of every question, for metrics and logs. Nothing in the events is a secret. */
export interface UpstreamObserver {
  /** `status` after redirects; `ms` until the headers were here. */
  answered(event: { readonly host: string; readonly kind: Kind; readonly status: number; readonly ms: number }): void;
  /** No answer, or none that could be used. */
  failed(event: { readonly host: string; readonly kind: Kind; readonly error: Error; readonly ms: number }): void;
  /** Upstream said how many requests it still allows in its window. */
  rateLimit(event: { readonly host: string; readonly remaining: number }): void;
}

export interface Question {
  readonly kind: Kind;
  readonly method: 'GET' | 'HEAD';
  /** The repository, which credentials are scoped to. */
  readonly path: string;
  /** Below `/v2/`, with its query. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Requests {
  /** With status 200 or 206; `undefined` where upstream has no such thing for us. The signal governs the body too. */
  ask(question: Question, signal: AbortSignal): Promise<Answer | undefined>;
  /**
   * Runs `work` with a deadline, by default the upstream's `timeout`. Rejects with the caller's reason or with a
   * RegistryError, whatever `work` rejects with. A body that `work` returns stays readable, without the deadline.
   */
  within<T>(kind: Kind, caller: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>, ms?: number): Promise<T>;
  /** What an error becomes that comes after `within`, in a body. It is told to the observer. */
  failed(kind: Kind, caller: AbortSignal | undefined, error: unknown): Error;
}

export interface RequestsDeps {
  readonly transport: Transport;
  readonly nowMs: () => number;
  readonly observe: UpstreamObserver;
}

const MAX_TOKEN_BYTES = 256 * 1024;
const LATE: ReadonlySet<unknown> = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT']);

export function requests(config: UpstreamConfig, { transport, nowMs, observe }: RequestsDeps): Requests {
  const { host, timeoutMs } = config;
  const base = config.url.replace(/\/+$/, '');
  const home = new URL(base);
  const allowance = budget(host, nowMs);
  const login = credentials({ host, protocol: home.protocol, username: config.username, password: config.password }, { nowMs, fetchToken });

  function explain(error: unknown): RegistryError {
    if (error instanceof RegistryError) return error;
    const { code, message } = error as { readonly code?: string; readonly message?: string }; // Node's and undici's
    if (error instanceof RedirectError) return new RegistryError('UPSTREAM_FAILED', `upstream ${host} ${error.message}`, { cause: error });
    // A program that was replaced while it runs: nothing that upstream did, nor for its clients to read.
    if (code === 'ERR_MODULE_NOT_FOUND') return new RegistryError('INTERNAL', 'internal error; the log of the registry says more', { cause: error });
    // An AggregateError of several addresses has a code and no message.
    return new RegistryError(LATE.has(code) ? 'UPSTREAM_TIMEOUT' : 'UPSTREAM_FAILED', `upstream ${host} failed: ${message || code || 'no connection'}`, { cause: error });
  }

  async function within<T>(kind: Kind, caller: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>, ms = timeoutMs): Promise<T> {
    const limit = deadline(ms, caller, () => new RegistryError('UPSTREAM_TIMEOUT', `upstream ${host} did not answer within ${ms / 1000} s`));
    const startMs = nowMs();
    try {
      return await work(limit.signal);
    } catch (thrown) {
      if (caller?.aborted === true) throw caller.reason;
      const error = explain(thrown);
      limit.abort(error); // a body left half-way would hold its connection
      observe.failed({ host, kind, error, ms: nowMs() - startMs });
      throw error;
    } finally {
      limit.clear();
    }
  }

  async function send(kind: Kind, request: Request & { readonly authorization: string | undefined }, signal: AbortSignal): Promise<Followed> {
    const startMs = nowMs();
    const counted = kind === 'manifest' && request.method === 'GET';
    const answer = await follow(request, async (hop) => {
      const each = await transport.send(hop, signal);
      if (hop.url.origin === home.origin) {
        allowance.record(counted, each.status, each.headers);
        if (allowance.remaining !== undefined) observe.rateLimit({ host, remaining: allowance.remaining });
      }
      return each;
    });
    observe.answered({ host, kind, status: answer.status, ms: nowMs() - startMs });
    return answer;
  }

  function fetchToken(url: URL, authorization: string | undefined): Promise<{ status: number; bytes: Buffer }> {
    // Shared by all who wait for this token, so no caller's signal ends it.
    return within('token', undefined, async (signal) => {
      const { status, headers, body } = await send('token', { method: 'GET', url, headers: { accept: 'application/json' }, authorization }, signal);
      if (status === 429) throw tooMany(headers, 'its token realm answered 429');
      const bytes = await body.gather(MAX_TOKEN_BYTES);
      if (bytes === undefined) throw new RegistryError('UPSTREAM_FAILED', `upstream ${host} has a token realm, ${url.host}, that answered with more than ${MAX_TOKEN_BYTES} bytes`);
      return { status, bytes };
    });
  }

  function tooMany(headers: ResponseHeaders, what: string): RegistryError {
    const waitMs = readRetryAfter(headers, nowMs());
    return new RegistryError('TOOMANYREQUESTS', `upstream ${host} allows no more requests now: ${what}`, waitMs === undefined ? {} : { retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) });
  }

  function outcome({ method, target }: Question, answer: Followed): Answer | undefined {
    const { status, headers, body, elsewhere } = answer;
    if (status === 200 || status === 206) return answer;
    body.discard();
    // Storage that refuses a signed URL leaves the question open; the upstream that refuses us has answered it.
    if (status === 404 || status === 410 || (!elsewhere && (status === 401 || status === 403))) return undefined;
    if (status === 429) throw tooMany(headers, 'it answered 429');
    const waitMs = status === 503 ? readRetryAfter(headers, nowMs()) : undefined;
    throw new RegistryError('UPSTREAM_FAILED', `upstream ${host} answered ${status} to ${method} /v2/${target}`, waitMs === undefined ? {} : { retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) });
  }

  return {
    within,
    failed(kind, caller, thrown) {
      if (caller?.aborted === true) return caller.reason as Error; // every signal made here aborts with an Error
      const error = explain(thrown);
      observe.failed({ host, kind, error, ms: 0 });
      return error;
    },
    async ask(question, signal) {
      const { kind, method, path, target, headers = {} } = question;
      allowance.check(kind === 'manifest' && method === 'GET');
      const url = new URL(`${base}/v2/${target}`);
      const authorization = await login.known(path, signal);
      const answer = await send(kind, { method, url, headers, authorization }, signal);
      if (answer.status !== 401 || answer.elsewhere) return outcome(question, answer);
      answer.body.discard();
      const challenges = parseChallenges(answer.headers['www-authenticate']);
      const better = await login.answer(challenges, path, authorization, signal);
      if (better === undefined) return undefined;
      return outcome(question, await send(kind, { method, url, headers, authorization: better }, signal));
    },
  };
}
