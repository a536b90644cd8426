/**
 * What an upstream still lets us ask, as it says itself: `RateLimit-*` (Docker Hub's form and those of the IETF's drafts)
 * and `Retry-After`. While it is used up, questions are refused here and upstream is not bothered.
 *
 * A 429, or a Retry-After with a 503, stops everything. A remainder of 0 stops manifest GETs only, because those are what
 * is counted (Docker Hub counts no HEADs), and the answer to a HEAD shows when there is something left again.
 */
import { RegistryError } from '../oci/errors.ts';
import { headerOf, type ResponseHeaders } from '../drivers/exchange.ts';

export interface Budget {
  /**
   * @param counted whether this is a manifest GET
   * @throws RegistryError TOOMANYREQUESTS or UPSTREAM_FAILED with `retryAfterSeconds`: do not ask now
   */
  check(counted: boolean): void;
  /** Takes note of an answer from the upstream itself. */
  record(counted: boolean, status: number, headers: ResponseHeaders): void;
  /** Requests left in the upstream's window; undefined where it does not say. */
  readonly remaining: number | undefined;
}

/** A 429 that does not say for how long. */
const DEFAULT_PAUSE_MS = 5_000;
/** Nobody means more than this. */
const MAX_PAUSE_MS = 24 * 3600_000;
/**
 * Docker Hub's window slides and has no end that one could wait for, so while it is used up one request a minute is let
 * through: its answer tells.
 */
const PROBE_MS = 60_000;

export function budget(host: string, nowMs: () => number): Budget {
  let paused: { readonly untilMs: number; readonly status: number } | undefined;
  let drainedUntilMs = 0;
  let remaining: number | undefined;

  function refuse(status: number, untilMs: number, why: string): never {
    const retryAfterSeconds = Math.max(1, Math.ceil((untilMs - nowMs()) / 1000));
    throw new RegistryError(status === 429 ? 'TOOMANYREQUESTS' : 'UPSTREAM_FAILED', `upstream ${host} ${why}: asking again in ${retryAfterSeconds} s`, { retryAfterSeconds });
  }

  return {
    get remaining() {
      return remaining;
    },

    check(counted) {
      const now = nowMs();
      if (paused !== undefined && now < paused.untilMs) refuse(paused.status, paused.untilMs, paused.status === 429 ? 'answered 429' : 'is unavailable');
      if (!counted || remaining !== 0) return;
      if (now < drainedUntilMs) refuse(429, drainedUntilMs, 'has no requests left for us in its rate limit');
      drainedUntilMs = now + PROBE_MS;
    },

    record(counted, status, headers) {
      const now = nowMs();
      const limit = readRateLimit(headers, now);
      if (limit?.remaining === 0) drainedUntilMs = now + Math.min(limit.resetMs ?? Math.min(limit.windowMs ?? PROBE_MS, PROBE_MS), MAX_PAUSE_MS);
      // A counted request that was served without a word of limits: they are gone.
      if (limit !== undefined || (counted && status < 400)) remaining = limit?.remaining;
      const retryAfterMs = readRetryAfter(headers, now);
      if (status === 429) paused = { status, untilMs: now + (retryAfterMs ?? (limit?.remaining === 0 ? limit.resetMs : undefined) ?? DEFAULT_PAUSE_MS) };
      else if (status === 503 && retryAfterMs !== undefined) paused = { status, untilMs: now + retryAfterMs };
    },
  };
}

/** `Retry-After` as milliseconds from now: a number of seconds or an HTTP date (RFC 9110 section 10.2.3). */
export function readRetryAfter(headers: ResponseHeaders, nowMs: number): number | undefined {
  const text = headerOf(headers, 'retry-after')?.trim();
  if (text === undefined) return undefined;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), MAX_PAUSE_MS);
}

export interface RateLimit {
  readonly remaining: number;
  /** From now to when the count starts afresh, where upstream says. */
  readonly resetMs: number | undefined;
  readonly windowMs: number | undefined;
}

/**
 * Reads, of several quotas, the one with the least left:
 * `RateLimit: "hour";r=12;t=300` (draft 8 on), `RateLimit: limit=100, remaining=12, reset=300` (draft 7) or
 * `RateLimit-Remaining: 12` with `RateLimit-Reset: 300` (drafts 0 to 6; Docker Hub: `12;w=21600` without a reset).
 */
export function readRateLimit(headers: ResponseHeaders, nowMs: number): RateLimit | undefined {
  const joined = headerOf(headers, 'ratelimit');
  if (joined !== undefined) {
    const draft7 = fields(joined, ',');
    const quotas = draft7['remaining'] === undefined
      ? joined.split(',').map((item) => fields(item, ';')).map((item) => quota(item['r'], item['t'], undefined, nowMs))
      : [quota(draft7['remaining'], draft7['reset'], undefined, nowMs)];
    return scarcest(quotas);
  }
  const reset = headerOf(headers, 'ratelimit-reset');
  const left = headerOf(headers, 'ratelimit-remaining') ?? '';
  return scarcest(left.split(',').map((item) => quota(item.split(';')[0], reset, fields(item, ';')['w'], nowMs)));
}

function quota(remaining: string | undefined, reset: string | undefined, window: string | undefined, nowMs: number): RateLimit | undefined {
  const left = whole(remaining);
  if (left === undefined) return undefined;
  const resetSeconds = whole(reset);
  const windowSeconds = whole(window);
  return {
    remaining: left,
    // Some send the moment itself, in seconds since the epoch.
    resetMs: resetSeconds === undefined ? undefined : resetSeconds > 1e9 ? Math.max(0, resetSeconds * 1000 - nowMs) : resetSeconds * 1000,
    windowMs: windowSeconds === undefined ? undefined : windowSeconds * 1000,
  };
}

function scarcest(quotas: readonly (RateLimit | undefined)[]): RateLimit | undefined {
  return quotas.reduce((least, next) => (next !== undefined && (least === undefined || next.remaining < least.remaining) ? next : least), undefined);
}

function fields(text: string, separator: string): Readonly<Record<string, string>> {
  return Object.fromEntries(text.split(separator).map((field) => field.split('=').map((part) => part.trim())).filter((pair) => pair.length === 2)) as Record<string, string>;
}

function whole(text: string | undefined): number | undefined {
  const digits = text?.trim() ?? '';
  return /^\d{1,15}$/.test(digits) ? Number(digits) : undefined;
}
