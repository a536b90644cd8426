/**
 * ID tokens as passwords (OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725): whose they are, whether they hold, and what
 * they allow. Nothing of a token is ever repeated but the issuer that the configuration names.
 */
import { errors, type JWTPayload } from 'jose';
import { jwtVerify } from 'jose/jwt/verify';
import type { OidcConfig, Secret } from '../../config/config.ts';
import { RegistryError } from '../../oci/errors.ts';
import { wire as openWire, type Wire } from '../../openstack/wire.ts';
import { compileAttributeRules, tellMisfits, type AttributeRules } from '../attributes.ts';
import type { StrangerIdentity } from '../identity.ts';
import type { Login } from '../logins.ts';
import type { AuthLog } from '../reloaded-file.ts';
import { claimsOf } from './claims.ts';
import { IssuerUnavailable, openIssuer } from './issuer.ts';

export interface Oidc {
  /** Undefined: it is no token of an issuer that is known here, but perhaps an ordinary password. */
  check(password: Secret): Promise<Exclude<Login, { readonly kind: 'anonymous' }>> | undefined;
  close(): Promise<void>;
}

export interface OidcDeps {
  readonly nowMs: () => number;
  readonly log: AuthLog;
  /** For one request to an issuer. */
  readonly deadline?: () => AbortSignal;
}

interface Known {
  readonly config: OidcConfig;
  /** As in the configuration, for messages. */
  readonly key: string;
  readonly verify: (token: string) => Promise<{ readonly payload: JWTPayload; readonly type: string | undefined }>;
  readonly rules: AttributeRules;
}

/** Signatures that take the issuer's private key, and no other: with HS256, whoever knows the public key could sign. */
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'];
/** Others are made for something else, as `logout+jwt` is. */
const TYPES: ReadonlySet<string | undefined> = new Set([undefined, 'jwt', 'at+jwt', 'application/at+jwt']);
const SKEW_SECONDS = 30;
const MAX_TOKEN = 16 * 1024;
const MAX_ANSWER = 512 * 1024;
const DEADLINE_MS = 10_000;
/** An issuer that stays away is logged as often. */
const COMPLAIN_MS = 60_000;

/** @throws Error naming the rule and what was expected, where one could never apply */
export function createOidc(configs: readonly OidcConfig[], { nowMs, log, deadline = () => AbortSignal.timeout(DEADLINE_MS) }: OidcDeps): Oidc {
  const wires: Wire[] = [];
  const known = new Map(configs.map((config, index): [string, Known] => [config.issuer, know(config, `auth.oidc[${index}]`)]));
  const complainedMs = new Map<string, number>();

  function know(config: OidcConfig, key: string): Known {
    const wire = openWire({
      ca: config.ca, insecure: false, caKey: `${key}.ca`, expected: 'an OpenID Connect issuer', maxBytes: MAX_ANSWER,
      failed: (_, message, options) => new Error(message, { cause: options?.cause }),
    });
    wires.push(wire);
    const keyFor = openIssuer(config.issuer, { nowMs, get: (url) => wire.send({ method: 'GET', url, headers: { accept: 'application/json' } }, deadline()) });
    return {
      config, key,
      rules: compileAttributeRules(config.rules, `${key}.rules`),
      async verify(token) {
        const { payload, protectedHeader } = await jwtVerify(token, keyFor, {
          algorithms: ALGORITHMS, issuer: config.issuer, audience: [...config.audience], clockTolerance: SKEW_SECONDS, requiredClaims: ['exp', 'sub'], currentDate: new Date(nowMs()),
        });
        return { payload, type: protectedHeader.typ?.toLowerCase() };
      },
    };
  }

  async function judge(token: string, { config, key, verify, rules }: Known): Promise<Exclude<Login, { readonly kind: 'anonymous' }>> {
    const what = `the ID token of ${config.issuer}`;
    try {
      const { payload, type } = await verify(token);
      if (!TYPES.has(type)) return stranger(`${what} is of a type that is no ID token's`);
      const { grants, misfits } = rules(claimsOf(payload));
      if (grants.length === 0) return stranger(`no rule of ${key} fits ${what}: ${tellMisfits(misfits)}`);
      const { exp = 0, sub = '' } = payload;
      return { kind: 'user', user: { name: nameOf(config.issuer, sub), access: grants, credential: undefined, endsMs: exp * 1000 } };
    } catch (error) {
      if (error instanceof IssuerUnavailable) return undecided(error, config.issuer);
      if (!(error instanceof errors.JOSEError)) throw error;
      return stranger(`${what} ${problemOf(error, config)}`);
    }
  }

  function undecided(error: IssuerUnavailable, issuer: string): StrangerIdentity {
    if (nowMs() - (complainedMs.get(issuer) ?? Number.NEGATIVE_INFINITY) >= COMPLAIN_MS) {
      complainedMs.set(issuer, nowMs());
      log.error({ issuer, error: error.message }, 'the keys of an issuer of ID tokens cannot be had: nobody can log in with its tokens');
    }
    const problem = `the keys of ${issuer} cannot be had now, so that its ID tokens cannot be checked; try again`;
    return { kind: 'stranger', problem, undecided: new RegistryError('UNAVAILABLE', problem, { cause: error, retryAfterSeconds: 5 }) };
  }

  return {
    check(password) {
      const token = password.reveal();
      const issuer = issuerOf(token);
      const one = issuer === undefined ? undefined : known.get(issuer);
      return one && judge(token, one);
    },
    async close() {
      for (const wire of wires) await wire.close();
    },
  };
}

/** What the token says of itself, of which nothing is believed: it chooses whose keys it is held against. */
function issuerOf(token: string): string | undefined {
  if (token.length > MAX_TOKEN) return undefined;
  const payload = /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(token)?.[1];
  if (payload === undefined) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
    return typeof claims === 'object' && claims !== null && 'iss' in claims && typeof claims.iss === 'string' ? claims.iss : undefined;
  } catch {
    return undefined;
  }
}

/** With colons, which no other user's name has. */
function nameOf(issuer: string, subject: string): string {
  return `oidc:${new URL(issuer).host}:${subject.replace(/\p{Cc}/gu, '').slice(0, 255)}`;
}

function stranger(problem: string): StrangerIdentity {
  return { kind: 'stranger', problem };
}

function problemOf(error: errors.JOSEError, { audience }: OidcConfig): string {
  if (error instanceof errors.JWTExpired) return 'has expired';
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, reason } = error;
    if (reason === 'missing') return `has no claim ${JSON.stringify(claim)}`;
    if (claim === 'aud') return `is for another audience: expected ${audience.join(' or ')}`;
    return claim === 'nbf' ? 'is not valid yet' : `has a claim ${JSON.stringify(claim)} that is not as expected`;
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return `is signed with an algorithm other than ${ALGORITHMS.join(', ')}`;
  if (error instanceof errors.JWKSNoMatchingKey) return 'is signed with a key that the issuer does not publish';
  if (error instanceof errors.JWKSMultipleMatchingKeys) return 'does not say with which of the keys of the issuer it is signed';
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'is not signed with the key that it names';
  return 'is not one that can be read';
}
