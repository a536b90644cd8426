/**
 * Whom a name and a password belong to: asks those who can know, and slows down whoever guesses. Refuses nobody: what
 * comes of credentials that are nobody's is for the caller to say.
 */
import { RegistryError, hasCode } from '../oci/errors.ts';
import type { Credentials } from './credentials.ts';
import { ANONYMOUS, type AnonymousIdentity, type StrangerIdentity } from './identity.ts';
import type { Throttle } from './throttle.ts';
import type { User, Users } from './users.ts';

export type LoginCredentials = Exclude<Credentials, { readonly kind: 'bearer' }>;
export type Login = AnonymousIdentity | StrangerIdentity | { readonly kind: 'user'; readonly user: User };

export interface LoginContext {
  /** The client's. */
  readonly address: string;
  /**
   * The credentials came along with something that anonymous may do as well. They may be those of another registry, and
   * are no obstacle: wrong ones do not count against anybody who logs in.
   */
  readonly idle: boolean;
}

export interface Logins {
  /** False where nobody can log in at all. */
  readonly any: boolean;
  logIn(credentials: LoginCredentials, context: LoginContext): Promise<Login>;
}

export interface LoginsDeps {
  readonly users: Users;
  readonly throttle: Throttle;
  /** For credentials that came along idly: otherwise, they could be tried out with pulls, without bound. */
  readonly idleThrottle: Throttle;
}

const WRONG: StrangerIdentity = { kind: 'stranger', problem: 'wrong user name or password' };

export function createLogins({ users, throttle, idleThrottle }: LoginsDeps): Logins {
  return {
    any: users.any,
    async logIn(credentials, { address, idle }) {
      if (credentials.kind === 'none') return ANONYMOUS;
      if (credentials.kind === 'malformed') return { kind: 'stranger', problem: credentials.problem };
      const { user: name, password } = credentials;
      const guess = { user: name, address };
      const counted = idle ? idleThrottle : throttle;
      const waitMs = counted.waitMs(guess);
      if (waitMs > 0) return undecided(new RegistryError('TOOMANYREQUESTS', 'too many wrong passwords: try again later', { retryAfterSeconds: Math.ceil(waitMs / 1000) }));
      try {
        const user = await users.check(name, password);
        if (user === undefined) {
          counted.failed(guess, password);
          return WRONG;
        }
        counted.succeeded(guess);
        return { kind: 'user', user };
      } catch (error) {
        if (!hasCode(error, 'TOOMANYREQUESTS')) throw error;
        return undecided(error);
      }
    },
  };
}

function undecided(error: RegistryError): StrangerIdentity {
  return { kind: 'stranger', problem: error.message, undecided: error };
}
