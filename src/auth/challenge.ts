/**
 * The text of WWW-Authenticate (RFC 9110 section 11.6.1, RFC 6750 section 3, Docker's "Token Authentication").
 */

/** Names our tokens' audience. Fixed, so that a token of one node is good on all nodes that share the key. */
export const SERVICE = 'umbra';

/** For a 401 of the token endpoint itself, which takes passwords in UTF-8 (RFC 7617 section 2.1). */
export const BASIC_CHALLENGE: string = `Basic realm="${SERVICE}", charset="UTF-8"`;

export interface Challenge {
  /** What the client reached us by, e.g. `https://registry.example.org`. */
  readonly baseUrl: string;
  /** What the client is to ask for. */
  readonly scope?: string | undefined;
  /** RFC 6750 section 3.1; absent where no token was presented. */
  readonly error?: 'invalid_token' | 'insufficient_scope' | undefined;
}

export function bearerChallenge({ baseUrl, scope, error }: Challenge): string {
  const parameters = [`realm=${quoted(`${baseUrl.replace(/\/+$/, '')}/auth/token`)}`, `service=${quoted(SERVICE)}`];
  if (scope !== undefined) parameters.push(`scope=${quoted(scope)}`);
  if (error !== undefined) parameters.push(`error=${quoted(error)}`);
  return `Bearer ${parameters.join(',')}`;
}

/**
 * A quoted-string. Base URL and scope repeat what a client sent (Host header, name): anything but visible ASCII is
 * dropped, so that it can end neither the string nor the header.
 */
function quoted(text: string): string {
  return `"${text.replace(/[^\u0020-\u007e]/g, '').replace(/["\\]/g, '\\$&')}"`;
}
