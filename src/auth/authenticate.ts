/**
 * From an Authorization header to an identity. Basic is taken on every request as well as Bearer. Nothing is refused
 * here: what an identity may do is `rules.ts`, how a refusal reads is `refusal.ts`.
 */
import { parseCredentials, type Credentials } from './credentials.ts';
import { ANONYMOUS, type AnonymousIdentity, type Identity, type StrangerIdentity, type UserIdentity } from './identity.ts';
import type { Tokens } from './tokens.ts';
import type { User, Users } from './users.ts';

export interface AuthenticateDeps {
  readonly tokens: Tokens;
  readonly users: Users;
  /** Nobody could gain anything by logging in: passwords are not looked at. */
  readonly open: boolean;
}

/** At once for no header and for a token seen before; else a promise. @throws RegistryError TOOMANYREQUESTS */
export type Authenticate = (authorization: string | undefined) => Identity | Promise<Identity>;

export function createAuthenticate({ tokens, users, open }: AuthenticateDeps): Authenticate {
  return (authorization) => {
    if (authorization === undefined) return ANONYMOUS;
    const credentials = parseCredentials(authorization);
    if (credentials.kind === 'bearer') return tokens.verifyAccess(credentials.token);
    return open ? ANONYMOUS : identify(users, credentials);
  };
}

async function identify(users: Users, credentials: LoginCredentials): Promise<Identity> {
  const login = await logIn(users, credentials);
  return login.kind === 'user' ? identityOf(login.user) : login;
}

export function identityOf({ name, access }: User): UserIdentity {
  return { kind: 'user', name, access };
}

export type LoginCredentials = Exclude<Credentials, { readonly kind: 'bearer' }>;
export type Login = AnonymousIdentity | StrangerIdentity | { readonly kind: 'user'; readonly user: User };

/** Who logs in with a name and a password, or without. @throws RegistryError TOOMANYREQUESTS */
export async function logIn(users: Users, credentials: LoginCredentials): Promise<Login> {
  switch (credentials.kind) {
    case 'none':
      return ANONYMOUS;
    case 'malformed':
      return { kind: 'stranger', problem: credentials.problem };
    case 'password': {
      const user = await users.check(credentials.user, credentials.password);
      return user === undefined ? { kind: 'stranger', problem: 'wrong user name or password' } : { kind: 'user', user };
    }
  }
}
