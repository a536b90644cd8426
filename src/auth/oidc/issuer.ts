/**
 * The keys of one issuer: found by OpenID Connect Discovery 1.0 (section 4), kept, and asked for again in the background
 * or for a key that is not among them. One request at a time, and few: whoever sends tokens cannot make us ask more.
 */
import { errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { createLocalJWKSet } from 'jose/jwks/local';
import type { WireAnswer } from '../../openstack/wire.ts';

/** Says why the keys cannot be had. */
export class IssuerUnavailable extends Error {
  override readonly name = 'IssuerUnavailable';
}

export interface IssuerDeps {
  /** Rejects with an Error that names the URL. */
  readonly get: (url: string) => Promise<WireAnswer>;
  readonly nowMs: () => number;
}

/** Older keys are replaced in the background. */
const OLD_MS = 5 * 60_000;
/** Keys that could not be replaced for so long are not used. */
const STALE_MS = 24 * 3600_000;
/** Between two questions for a key that is not among those that are known. */
const UNKNOWN_MS = 30_000;
/** After a failure. */
const PAUSE_MS = 5_000;
const MAX_KEYS = 100;

/** Gives the key that a token is signed with. @throws JOSEError where there is none, IssuerUnavailable where nobody knows */
export function openIssuer(issuer: string, { get, nowMs }: IssuerDeps): JWTVerifyGetKey {
  let held: { readonly find: JWTVerifyGetKey; readonly fetchedMs: number } | undefined;
  let asking: Promise<void> | undefined;
  let askedMs = Number.NEGATIVE_INFINITY;
  let failure: IssuerUnavailable | undefined;

  const ask = async (): Promise<void> => {
    try {
      const { jwks_uri: uri } = await metadata();
      const set = await json(uri);
      held = { find: createLocalJWKSet(checkedKeys(set, uri)), fetchedMs: nowMs() };
      failure = undefined;
    } catch (cause) {
      failure = new IssuerUnavailable(cause instanceof Error ? cause.message : 'unknown reason', { cause });
      throw failure;
    }
  };
  /** The running request, or one if the last is long enough ago. */
  const refreshed = async (pauseMs: number): Promise<void> => {
    if (asking === undefined) {
      if (nowMs() - askedMs < pauseMs) {
        if (failure !== undefined) throw failure;
        return;
      }
      askedMs = nowMs();
      asking = ask().finally(() => (asking = undefined));
    }
    await asking;
  };
  async function metadata(): Promise<{ readonly jwks_uri: string }> {
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const { issuer: named, jwks_uri: uri } = await json(url);
    if (named !== issuer) throw new Error(`${url} is about another issuer: expected ${issuer}, to the letter`);
    const parsed = typeof uri === 'string' ? URL.parse(uri) : null;
    const safe = parsed?.protocol === 'https:' || (parsed?.protocol === 'http:' && issuer.startsWith('http:'));
    if (typeof uri !== 'string' || !safe) throw new Error(`${url} names no jwks_uri that keys can be had from: expected an https URL`);
    return { jwks_uri: uri };
  }
  async function json(url: string): Promise<Readonly<Record<string, unknown>>> {
    const { status, text } = await get(url);
    if (status !== 200) throw new Error(`${url} answered ${status}: expected 200`);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new Error(`${url} did not answer with JSON`, { cause });
    }
    if (typeof value !== 'object' || value === null) throw new Error(`${url} did not answer with a JSON object`);
    return value as Readonly<Record<string, unknown>>; // an object
  }

  return async (header, token) => {
    if (held === undefined || nowMs() - held.fetchedMs >= STALE_MS) await refreshed(PAUSE_MS);
    else if (nowMs() - held.fetchedMs >= OLD_MS) refreshed(UNKNOWN_MS).catch(() => undefined /* those that are held go on */);
    if (held === undefined || nowMs() - held.fetchedMs >= STALE_MS) throw failure ?? new IssuerUnavailable(`no keys of ${issuer} could be had`);
    const before = held;
    try {
      return await before.find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      await refreshed(UNKNOWN_MS);
      if (held === before) throw error;
      return await held.find(header, token);
    }
  };
}

function checkedKeys(set: Readonly<Record<string, unknown>>, url: string): JSONWebKeySet {
  const { keys } = set;
  if (!Array.isArray(keys) || keys.some((key) => typeof key !== 'object' || key === null)) throw new Error(`${url} did not answer with a JWK Set`);
  if (keys.length > MAX_KEYS) throw new Error(`${url} answered ${keys.length} keys: expected at most ${MAX_KEYS}`);
  return { keys: keys as JSONWebKeySet['keys'] }; // objects; jose takes those that it understands
}
