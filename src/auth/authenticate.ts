/**
 * From an Authorization header to an identity. Basic is taken on every request as well as Bearer. Nothing is refused
 * here: what an identity may do is `rules.ts`, how a refusal reads is `refusal.ts`.
 */
import { parseCredentials } from './credentials.ts';
import { ANONYMOUS, type Identity, type UserIdentity } from './identity.ts';
import type { LoginContext, LoginCredentials, Logins } from './logins.ts';
import type { Tokens } from './tokens.ts';
import type { User } from './users.ts';

export interface AuthenticateDeps {
  readonly tokens: Tokens;
  readonly logins: Logins;
  /** Nobody could gain anything by logging in: passwords are not looked at. */
  readonly open: boolean;
  /** Anonymous may do something here, and whoever logs in nothing else. */
  readonly idle: boolean;
}

/** At once for no header and for a token seen before; else a promise. @param address the client's */
export type Authenticate = (authorization: string | undefined, address: string) => Identity | Promise<Identity>;

export function createAuthenticate({ tokens, logins, open, idle }: AuthenticateDeps): Authenticate {
  return (authorization, address) => {
    if (authorization === undefined) return ANONYMOUS;
    const credentials = parseCredentials(authorization);
    if (credentials.kind === 'bearer') return tokens.verifyAccess(credentials.token);
    return open ? ANONYMOUS : identify(logins, credentials, { address, idle });
  };
}

async function identify(logins: Logins, credentials: LoginCredentials, context: LoginContext): Promise<Identity> {
  const login = await logins.logIn(credentials, context);
  return login.kind === 'user' ? identityOf(login.user) : login;
}

export function identityOf({ name, access }: User): UserIdentity {
  return { kind: 'user', name, access };
}
