/**
 * Whom a name and a password belong to: asks those who can know, and slows down whoever guesses. Refuses nobody: what
 * comes of credentials that are nobody's is for the caller to say.
 */
import type { Secret } from '../config/config.ts';
import { RegistryError, hasCode } from '../oci/errors.ts';
import type { Credentials } from './credentials.ts';
import { ANONYMOUS, type AnonymousIdentity, type StrangerIdentity } from './identity.ts';
import type { Keystone } from './keystone/keystone.ts';
import type { Oidc } from './oidc/oidc.ts';
import type { Throttle } from './throttle.ts';
import type { User, Users } from './users.ts';

export type LoginCredentials = Exclude<Credentials, { readonly kind: 'bearer' }>;
export type Login = AnonymousIdentity | StrangerIdentity | { readonly kind: 'user'; readonly user: User };

export interface LoginContext {
  /** The client's. */
  readonly address: string;
  /**
   * The credentials came along with something that anonymous may do as well. They may be those of another registry, and
   * are no obstacle: they go to no other service, and wrong ones do not count against anybody who logs in.
   */
  readonly idle: boolean;
}

export interface Logins {
  /** False where nobody can log in at all. */
  readonly any: boolean;
  logIn(credentials: LoginCredentials, context: LoginContext): Promise<Login>;
  /** Whom an ID token is of, that comes as such. */
  exchange(token: Secret): Promise<Login>;
}

export interface LoginsDeps {
  readonly users: Users;
  /** Undefined: there are no issuers. */
  readonly oidc: Oidc | undefined;
  /** Undefined: there is none. */
  readonly keystone: Keystone | undefined;
  readonly throttle: Throttle;
  /** For credentials that came along idly: otherwise, they could be tried out with pulls, without bound. */
  readonly idleThrottle: Throttle;
}

const WRONG: StrangerIdentity = { kind: 'stranger', problem: 'wrong user name or password' };

export function createLogins({ users, oidc, keystone, throttle, idleThrottle }: LoginsDeps): Logins {
  /** A name that is ours is ours alone: Keystone does not learn its password. */
  const judge = async (name: string, password: Secret, idle: boolean): Promise<Exclude<Login, AnonymousIdentity>> => {
    if (keystone !== undefined && !idle && (await users.find(name)) === undefined) return keystone.check(name, password);
    const user = await users.check(name, password);
    return user === undefined ? WRONG : { kind: 'user', user };
  };
  return {
    any: users.any || oidc !== undefined || keystone !== undefined,
    async logIn(credentials, { address, idle }) {
      if (credentials.kind === 'none') return ANONYMOUS;
      if (credentials.kind === 'malformed') return { kind: 'stranger', problem: credentials.problem };
      const { user: name, password } = credentials;
      const vouched = await oidc?.check(password);
      if (vouched?.kind === 'user') return vouched;
      const guess = { user: name, address };
      const counted = idle ? idleThrottle : throttle;
      const waitMs = counted.waitMs(guess);
      if (waitMs > 0) return undecided(new RegistryError('TOOMANYREQUESTS', 'too many wrong passwords: try again later', { retryAfterSeconds: Math.ceil(waitMs / 1000) }));
      try {
        const login = await judge(name, password, idle);
        if (login.kind === 'user') counted.succeeded(guess);
        // An ID token that does not hold is no guess; it may still have been the password of a user of ours.
        else if (vouched === undefined && login.undecided === undefined) counted.failed(guess, password);
        return login.kind === 'user' ? login : (vouched ?? login);
      } catch (error) {
        if (!hasCode(error, 'TOOMANYREQUESTS')) throw error;
        return undecided(error);
      }
    },
    async exchange(token) {
      return (await oidc?.check(token)) ?? { kind: 'stranger', problem: 'the token is not of an issuer that is known here' };
    },
  };
}

function undecided(error: RegistryError): StrangerIdentity {
  return { kind: 'stranger', problem: error.message, undecided: error };
}
