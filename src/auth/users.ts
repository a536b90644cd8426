/**
 * The users that this registry knows by itself: those of the configuration, and those of the htpasswd file. For others,
 * see `logins.ts`.
 */
import type { Secret, UserAccess, UserConfig } from '../config/config.ts';
import type { Htpasswd } from './htpasswd.ts';
import { costOf, isBcrypt, type Passwords, type StoredPassword } from './password.ts';
import type { AuthLog, ReloadedFile } from './reloaded-file.ts';
import type { Grant } from './rules.ts';

export interface User {
  readonly name: string;
  /** As in `UserIdentity`. */
  readonly access: UserAccess | readonly Grant[];
  /** Changes with the user's password; undefined where a login cannot outlive the credentials it was made with. */
  readonly credential: Secret | undefined;
  /** When the credentials end; tokens end soon after, too. */
  readonly endsMs?: number;
}

export interface Users {
  /** False where nobody can log in at all. */
  readonly any: boolean;
  /** Undefined: wrong name or password, which one is not told. @throws RegistryError TOOMANYREQUESTS */
  check(name: string, password: Secret): Promise<User | undefined>;
  find(name: string): Promise<User | undefined>;
  reload(): Promise<void>;
}

export interface UsersDeps {
  readonly configured: readonly UserConfig[];
  readonly htpasswd: ReloadedFile<Htpasswd> | undefined;
  readonly passwords: Passwords;
  readonly log: AuthLog;
}

interface Account {
  readonly user: User;
  readonly stored: StoredPassword;
}

/** The file says no level; this is what docker-registry's htpasswd users have. Rules narrow it. */
const HTPASSWD_ACCESS: UserAccess = 'push';
const RESERVED: ReadonlySet<string> = new Set(['anonymous', '*', '']);

/** @throws Error naming the user and what was expected */
export function createUsers({ configured, htpasswd, passwords, log }: UsersDeps): Users {
  const own = new Map<string, Account>();
  for (const [index, user] of configured.entries()) {
    if (own.has(user.name)) throw new Error(`auth.users[${index}].name ${JSON.stringify(user.name)} stands there twice`);
    own.set(user.name, accountOf(user, `auth.users[${index}]`));
  }
  const ownCost = highestCost([...own.values()].filter(({ stored }) => stored.kind === 'bcrypt').map(({ stored }) => stored.secret));

  let fileVersion = 0;
  let decoyCost = ownCost;
  const fresh = async (): Promise<void> => {
    if (htpasswd === undefined) return;
    await htpasswd.refresh();
    if (fileVersion === htpasswd.version) return;
    fileVersion = htpasswd.version;
    decoyCost = highestCost([...htpasswd.value.values()], ownCost);
    for (const name of htpasswd.value.keys()) {
      if (own.has(name)) log.warn({ user: name }, 'user stands in auth.users and in the htpasswd file: the first counts');
      if (RESERVED.has(name)) log.warn({ user: name }, 'user of the htpasswd file has a reserved name and cannot log in');
    }
  };
  const accountFor = (name: string): Account | undefined => {
    const account = own.get(name);
    if (account !== undefined || RESERVED.has(name)) return account;
    const hash = htpasswd?.value.get(name);
    if (hash === undefined) return undefined;
    return { user: { name, access: HTPASSWD_ACCESS, credential: hash }, stored: { kind: 'bcrypt', secret: hash } };
  };

  return {
    any: own.size > 0 || htpasswd !== undefined,
    async check(name, password) {
      await fresh();
      const account = accountFor(name);
      const right = await passwords.check(name, password, account?.stored, decoyCost);
      return right ? account?.user : undefined;
    },
    async find(name) {
      await fresh();
      return accountFor(name)?.user;
    },
    async reload() {
      await htpasswd?.reload();
    },
  };
}

function accountOf({ name, access, password, passwordHash }: UserConfig, key: string): Account {
  if (RESERVED.has(name) || name.includes(':')) {
    throw new Error(`${key}.name ${JSON.stringify(name)} cannot be a user's: expected a name without ":" other than "anonymous" and "*"`);
  }
  if (passwordHash !== undefined && !isBcrypt(passwordHash.reveal())) {
    throw new Error(`${key}.passwordHash of ${name} is not bcrypt ($2a$, $2b$ or $2y$), as "htpasswd -nB" makes it`);
  }
  const secret = passwordHash ?? password;
  if (secret === undefined || secret.reveal() === '') throw new Error(`${key} has no password: expected password or passwordHash`);
  return { user: { name, access, credential: secret }, stored: { kind: passwordHash === undefined ? 'plain' : 'bcrypt', secret } };
}

function highestCost(hashes: readonly Secret[], least?: number): number | undefined {
  return hashes.reduce<number | undefined>((highest, hash) => Math.max(highest ?? 0, costOf(hash)), least);
}
