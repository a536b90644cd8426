/**
 * What is said in Authorization to one upstream: Basic, or a Bearer token fetched from the realm that a challenge names
 * (distribution, "Token Authentication Specification"), with our user name where one is configured and anonymously
 * otherwise. Tokens are shared by everybody who asks for the same scope; nothing of them appears in an error.
 */
import { LRUCache } from 'lru-cache';
import type { Secret } from '../config/config.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Challenge } from './challenge.ts';
import { abortable } from './deadline.ts';

export interface CredentialsSettings {
  /** Of the upstream, for messages. */
  readonly host: string;
  /** Of the upstream: a realm in the clear is accepted only where this is `http:`. */
  readonly protocol: string;
  readonly username: string | undefined;
  readonly password: Secret | undefined;
}

export interface CredentialsDeps {
  readonly nowMs: () => number;
  /** Asks a realm. Rejects with RegistryError where no answer came; has its own deadline. */
  readonly fetchToken: (url: URL, authorization: string | undefined) => Promise<{ readonly status: number; readonly bytes: Buffer }>;
}

export interface Credentials {
  /** What earlier challenges about this repository taught us to say; undefined where there was none. */
  known(path: string, signal: AbortSignal): Promise<string | undefined>;
  /**
   * The answer to challenges, never `refused` (what the challenged request said). `undefined`: there is nothing better to
   * say, the upstream refuses us.
   * @throws RegistryError UPSTREAM_FAILED where a login is asked for that we do not have or that the realm rejects
   */
  answer(challenges: readonly Challenge[], path: string, refused: string | undefined, signal: AbortSignal): Promise<string | undefined>;
}

interface Grant {
  readonly realm: string;
  readonly service: string | undefined;
  readonly scope: string;
}

interface Token {
  readonly authorization: string;
  readonly untilMs: number;
}

const MAX_REMEMBERED = 1_000;
/** "For compatibility with older clients, a token should never be returned with less than 60 seconds to live." */
const DEFAULT_EXPIRY_SECONDS = 60;
const MAX_EXPIRY_SECONDS = 24 * 3600;
/** A token is renewed this long before its end, a short-lived one in the last fifth of its life. */
const RENEW_MS = 30_000;
const PRINTABLE = /^[\x21-\x7e]+$/;

export function credentials({ host, protocol, username, password }: CredentialsSettings, { nowMs, fetchToken }: CredentialsDeps): Credentials {
  const login = username === undefined || password === undefined ? undefined : basic(username, password);
  /** How each repository is asked for. */
  const learned = new LRUCache<string, Grant | 'basic'>({ max: MAX_REMEMBERED });
  const tokens = new LRUCache<string, Token>({ max: MAX_REMEMBERED });
  const fetching = new Map<string, Promise<string | undefined>>();

  function failed(what: string): never {
    throw new RegistryError('UPSTREAM_FAILED', `upstream ${host} ${what}`);
  }

  async function token(grant: Grant, signal: AbortSignal): Promise<string | undefined> {
    const key = JSON.stringify([grant.realm, grant.service, grant.scope]);
    const held = tokens.get(key);
    if (held !== undefined && nowMs() < held.untilMs) return held.authorization;
    let running = fetching.get(key);
    if (running === undefined) {
      running = request(grant).then((fresh) => {
        if (fresh === undefined) tokens.delete(key);
        else tokens.set(key, fresh);
        return fresh?.authorization;
      }).finally(() => fetching.delete(key));
      running.catch(() => undefined); // everybody who waited may have left
      fetching.set(key, running);
    }
    return await abortable(running, signal);
  }

  async function request({ realm, service, scope }: Grant): Promise<Token | undefined> {
    const url = realmUrl(realm);
    if (service !== undefined) url.searchParams.set('service', service);
    for (const each of scope.split(' ')) url.searchParams.append('scope', each);
    const { status, bytes } = await fetchToken(url, login);
    // A realm that knows us and grants nothing says 403; one that rejects the password says 401, and the question stays open.
    if (status === 403 || (status === 401 && login === undefined)) return undefined;
    if (status === 401) failed(`has a token realm, ${url.host}, that rejects the configured username and password`);
    if (status !== 200) failed(`has a token realm, ${url.host}, that answered ${status}`);
    const { text, expirySeconds } = readToken(bytes) ?? failed(`has a token realm, ${url.host}, that answered without a token`);
    const lifeMs = expirySeconds * 1000;
    return { authorization: `Bearer ${text}`, untilMs: nowMs() + Math.max(lifeMs - RENEW_MS, lifeMs * 0.8) };
  }

  function realmUrl(realm: string): URL {
    if (!URL.canParse(realm)) failed('names a token realm that is not a URL');
    const url = new URL(realm);
    if (url.protocol !== 'https:' && (url.protocol !== 'http:' || protocol !== 'http:')) failed(`names a token realm on ${url.protocol}//${url.host}: expected https`);
    return url;
  }

  /** Forgets a token that was refused, unless somebody else has already replaced it. */
  function forget(refused: string): void {
    for (const [key, held] of tokens.entries()) if (held.authorization === refused) tokens.delete(key);
  }

  return {
    async known(path, signal) {
      const how = learned.get(path);
      if (how === undefined) return undefined;
      return how === 'basic' ? login : await token(how, signal);
    },

    async answer(challenges, path, refused, signal) {
      const grant = challenges.map((challenge) => bearerGrant(challenge, path)).find((each) => each !== undefined);
      const takesBasic = challenges.some(({ scheme }) => scheme === 'basic');
      let better: string | undefined;
      if (grant !== undefined) {
        learned.set(path, grant);
        if (refused !== undefined) forget(refused);
        better = await token(grant, signal);
      } else if (takesBasic) {
        if (login === undefined) failed('asks for a username and a password, and none are configured');
        learned.set(path, 'basic');
        better = login;
      } else if (refused === undefined) {
        failed('answered 401 without a Basic or Bearer challenge');
      }
      return better === refused ? undefined : better;
    },
  };
}

function bearerGrant({ scheme, params }: Challenge, path: string): Grant | undefined {
  const realm = params.get('realm');
  if (scheme !== 'bearer' || realm === undefined) return undefined;
  return { realm, service: params.get('service'), scope: params.get('scope') || `repository:${path}:pull` };
}

function basic(username: string, password: Secret): string {
  return `Basic ${Buffer.from(`${username}:${password.reveal()}`, 'utf8').toString('base64')}`;
}

function readToken(bytes: Buffer): { readonly text: string; readonly expirySeconds: number } | undefined {
  try {
    const { token, access_token: accessToken, expires_in: expiresIn } = JSON.parse(bytes.toString('utf8')) as Readonly<Record<string, unknown>>;
    const text = token || accessToken;
    if (typeof text !== 'string' || !PRINTABLE.test(text)) return undefined;
    const expirySeconds = typeof expiresIn === 'number' && expiresIn > 0 ? Math.min(expiresIn, MAX_EXPIRY_SECONDS) : DEFAULT_EXPIRY_SECONDS;
    return { text, expirySeconds };
  } catch {
    return undefined; // not JSON, or JSON of something else
  }
}
