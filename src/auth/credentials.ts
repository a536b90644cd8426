/**
 * The Authorization header, parsed: Basic (RFC 7617) and Bearer (RFC 6750). Says what was presented, not whether it is
 * right. Problems are worded without any of the content, which may be a secret of some other registry.
 */
import { Secret } from '../config/config.ts';

export type Credentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'password'; readonly user: string; readonly password: Secret }
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'malformed'; readonly problem: string };

const NONE: { readonly kind: 'none' } = { kind: 'none' };
// Each part begins with a character that the one before cannot take: no header makes them backtrack far.
const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i;
const BASIC = /^basic +([A-Za-z0-9+/_-]+={0,2})$/i;
/** RFC 7617 section 2 takes none in either part. */
const CONTROL = /\p{Cc}/u;

export function parseCredentials(authorization: string | undefined): Credentials {
  if (authorization === undefined || authorization === '') return NONE;
  const bearer = BEARER.exec(authorization);
  if (bearer?.[1] !== undefined) return { kind: 'bearer', token: bearer[1] };
  const basic = BASIC.exec(authorization);
  if (basic?.[1] !== undefined) return parseBasic(basic[1]);
  return { kind: 'malformed', problem: problemOf(authorization) };
}

function parseBasic(encoded: string): Credentials {
  const text = decode(Buffer.from(encoded, 'base64'));
  const colon = text.indexOf(':');
  if (colon === -1) return { kind: 'malformed', problem: 'Basic credentials without a colon: expected base64 of user:password' };
  if (CONTROL.test(text)) return { kind: 'malformed', problem: 'Basic credentials with control characters' };
  return passwordCredentials(text.slice(0, colon), text.slice(colon + 1));
}

/** Neither name nor password is nobody: after a Basic challenge, skopeo says anonymous by `Basic Og==`. */
export function passwordCredentials(user: string, password: string): Exclude<Credentials, { readonly kind: 'bearer' }> {
  return user === '' && password === '' ? NONE : { kind: 'password', user, password: new Secret(password) };
}

/** UTF-8, as RFC 7617 advises; what is not valid UTF-8 comes from a client that still sends ISO-8859-1. */
function decode(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : bytes.toString('latin1');
}

function problemOf(authorization: string): string {
  const scheme = /^(?:basic|bearer)(?= |$)/i.exec(authorization)?.[0].toLowerCase();
  if (scheme === 'basic') return 'Basic credentials that are not base64';
  if (scheme === 'bearer') return 'a Bearer token with characters that no token has';
  return 'an Authorization header of an unknown scheme: expected Basic or Bearer';
}
