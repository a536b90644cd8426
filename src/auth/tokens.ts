/**
 * Tokens: issuing and verifying JWTs (RFC 7519) signed with HS256. An access token carries Docker's `access` claim with
 * canonical names, and the view it is bound to; a refresh token names a user and ends when their password changes.
 * Who gets which is `token-service.ts`.
 */
import { timingSafeEqual } from 'node:crypto';
import { JOSEError, JWTClaimValidationFailed } from 'jose/errors';
import { SignJWT } from 'jose/jwt/sign';
import { jwtVerify, type JWTVerifyOptions } from 'jose/jwt/verify';
import type { JWTPayload, JWTVerifyGetKey } from 'jose';
import { LRUCache } from 'lru-cache';
import type { Secret } from '../config/config.ts';
import type { ViewId } from '../oci/name.ts';
import { ACTION_BITS, tokenActionBits, tokenActionList } from './action.ts';
import { SERVICE } from './challenge.ts';
import type { InvalidIdentity, TokenGrant, TokenIdentity } from './identity.ts';
import { macOf, type Keys, type SigningKey } from './key.ts';

export const ACCESS_SECONDS = 300;
/** Docker's clients take anything below for this. */
const LEAST_SECONDS = 60;
/** How long `docker login` holds without the password being given again. */
export const REFRESH_SECONDS: number = 30 * 24 * 3600;

export interface AccessRequest {
  readonly subject: string | undefined;
  readonly view: ViewId;
  readonly grants: readonly TokenGrant[];
  /** When the credentials end that it was issued for: it ends then, but no earlier than clients can cope with. */
  readonly endsMs?: number | undefined;
}

export interface IssuedToken {
  readonly token: string;
  readonly issuedAtSeconds: number;
  readonly lifeSeconds: number;
}

export interface Refresher {
  readonly name: string;
  /** What the user's password is checked with; a token is good for as long as it stays the same. */
  readonly credential: Secret;
}

export interface RefreshClaim {
  readonly name: string;
  /** Whether the user's password is still the one that the token was issued for. */
  matches(credential: Secret): boolean;
}

export interface Tokens {
  issueAccess(request: AccessRequest): Promise<IssuedToken>;
  /** At once for a token that was verified before: this is on the path of every request. */
  verifyAccess(token: string): TokenIdentity | InvalidIdentity | Promise<TokenIdentity | InvalidIdentity>;
  issueRefresh(user: Refresher): Promise<string>;
  /** Undefined: not a refresh token of ours, or expired. */
  verifyRefresh(token: string): Promise<RefreshClaim | undefined>;
}

/** One entry of the `access` claim (Docker's "Token Authentication Implementation"); `view` where it is not the token's. */
interface AccessEntry {
  readonly type: 'repository' | 'registry';
  readonly name: string;
  readonly actions: readonly string[];
  readonly view?: ViewId;
}

interface AccessClaims extends JWTPayload {
  readonly access: readonly AccessEntry[];
  readonly view: ViewId;
}

const ISSUER = SERVICE;
const ACCESS_TYPE = 'JWT';
const REFRESH_TYPE = 'refresh+jwt';
/** Bounds on the verified tokens kept: how many, and their text in all. */
const CACHED_TOKENS = 10_000;
const CACHED_CHARACTERS = 8 * 1024 * 1024;

export function createTokens({ keys, nowMs }: { readonly keys: Keys; readonly nowMs: () => number }): Tokens {
  const verified = new LRUCache<string, TokenIdentity>({
    max: CACHED_TOKENS,
    maxSize: CACHED_CHARACTERS,
    sizeCalculation: (_, token) => token.length,
  });
  let verifiedWith = keys.version;

  const keyFor: JWTVerifyGetKey = async ({ kid = '' }) => {
    if (keys.find(kid) === undefined) await keys.refresh(); // perhaps another node rotated them
    const key = keys.find(kid);
    if (key === undefined) throw new UnknownKey();
    return key.secret;
  };
  const options = (typ: string): JWTVerifyOptions => ({
    algorithms: ['HS256'], typ, issuer: ISSUER, audience: SERVICE, requiredClaims: ['exp', 'iat'], currentDate: new Date(nowMs()),
  });
  const currentKey = async (): Promise<SigningKey> => {
    await keys.refresh();
    return keys.signing;
  };
  const sign = async (key: SigningKey, payload: JWTPayload, typ: string, lifeSeconds: number): Promise<IssuedToken> => {
    const issuedAtSeconds = Math.floor(nowMs() / 1000);
    const token = await new SignJWT(payload)
      .setProtectedHeader({ alg: 'HS256', typ, kid: key.kid })
      .setIssuer(ISSUER)
      .setAudience(SERVICE)
      .setIssuedAt(issuedAtSeconds)
      .setExpirationTime(issuedAtSeconds + lifeSeconds)
      .sign(key.secret);
    return { token, issuedAtSeconds, lifeSeconds };
  };
  const verify = async (token: string): Promise<TokenIdentity | InvalidIdentity> => {
    try {
      const version = keys.version;
      const { payload } = await jwtVerify<AccessClaims>(token, keyFor, options(ACCESS_TYPE));
      const identity = identityOf(payload);
      if (version === keys.version) verified.set(token, identity); // else its key may be gone by now
      return identity;
    } catch (error) {
      if (!isAboutToken(error)) throw error;
      return { kind: 'invalid', problem: problemOf(error) };
    }
  };

  return {
    async issueAccess({ subject, view, grants, endsMs = Number.POSITIVE_INFINITY }) {
      const access = grants.map((grant) => entryOf(grant, view));
      const claims = subject === undefined ? { view, access } : { sub: subject, view, access };
      const lifeSeconds = Math.max(LEAST_SECONDS, Math.min(ACCESS_SECONDS, Math.floor((endsMs - nowMs()) / 1000)));
      return sign(await currentKey(), claims, ACCESS_TYPE, lifeSeconds);
    },
    verifyAccess(token) {
      void keys.refresh(); // in passing: a key that was taken out must not live on in the cache
      if (verifiedWith !== keys.version) {
        verified.clear(); // a key may have gone
        verifiedWith = keys.version;
      }
      const identity = verified.get(token);
      if (identity === undefined) return verify(token);
      return identity.expiresAtMs > nowMs() ? identity : EXPIRED;
    },
    async issueRefresh({ name, credential }) {
      const key = await currentKey();
      const stamp = macOf(key, CREDENTIAL_STAMP, credential.reveal());
      return (await sign(key, { sub: name, stamp }, REFRESH_TYPE, REFRESH_SECONDS)).token;
    },
    async verifyRefresh(token) {
      try {
        const { payload, protectedHeader } = await jwtVerify(token, keyFor, options(REFRESH_TYPE));
        const key = keys.find(protectedHeader.kid ?? '');
        const { sub, stamp } = payload;
        if (key === undefined || sub === undefined || typeof stamp !== 'string') return undefined;
        return { name: sub, matches: (credential) => equal(stamp, macOf(key, CREDENTIAL_STAMP, credential.reveal())) };
      } catch (error) {
        if (!isAboutToken(error)) throw error;
        return undefined;
      }
    },
  };
}

const CREDENTIAL_STAMP = 'credential stamp';
const EXPIRED: InvalidIdentity = { kind: 'invalid', problem: 'the token has expired' };

/** The token names a key that is not ours (any more). */
class UnknownKey extends Error {
  override readonly name = 'UnknownKey';
}

function entryOf({ view, name, actions }: TokenGrant, tokenView: ViewId): AccessEntry {
  const elsewhere = view === tokenView ? {} : { view };
  if (name === 'catalog') return { type: 'registry', name, actions: ['*'], ...elsewhere };
  return { type: 'repository', name, actions: tokenActionList(actions), ...elsewhere };
}

/** The claims are signed by us with a key that nobody else has: they have the shape that `entryOf` gave them. */
function identityOf(claims: AccessClaims & { readonly exp?: number }): TokenIdentity {
  const { sub, view, access, exp = 0 } = claims;
  const grants = access.map((entry): TokenGrant => {
    const actions = entry.type === 'registry' ? ACTION_BITS.pull : tokenActionBits(entry.actions);
    return { view: entry.view ?? view, name: entry.name, actions };
  });
  return { kind: 'token', subject: sub, view, grants, expiresAtMs: exp * 1000 };
}

function isAboutToken(error: unknown): error is UnknownKey | JOSEError {
  return error instanceof UnknownKey || error instanceof JOSEError;
}

function problemOf(error: UnknownKey | JOSEError): string {
  if (error instanceof UnknownKey) return 'the token is signed with a key that is not ours';
  switch (error.code) {
    case 'ERR_JWT_EXPIRED':
      return EXPIRED.problem;
    case 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED':
      return 'the token is not signed with our key';
    case 'ERR_JWT_CLAIM_VALIDATION_FAILED':
      return `the token's ${error instanceof JWTClaimValidationFailed ? error.claim : 'claims'} is not what is expected here`;
    default:
      return 'the token is not one of ours';
  }
}

function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
