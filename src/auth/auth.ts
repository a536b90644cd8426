/**
 * Authentication and authorization of one server (DESIGN section 9), put together: what `http/` asks, by listener.
 */
import type { Action, Config } from '../config/config.ts';
import type { Name, ViewId } from '../oci/name.ts';
import { createAuthenticate, type Authenticate } from './authenticate.ts';
import { derivedKeys } from './derived-key.ts';
import { openHtpasswd } from './htpasswd.ts';
import type { Identity } from './identity.ts';
import { openKeyFile } from './key.ts';
import { createKeystone } from './keystone/keystone.ts';
import { createLogins } from './logins.ts';
import { createOidc } from './oidc/oidc.ts';
import { createPasswords } from './password.ts';
import { pingNeedsChallenge, refuse, type Refusal, type Wanted } from './refusal.ts';
import type { AuthLog } from './reloaded-file.ts';
import { compileRules } from './rules.ts';
import { createThrottle, type ThrottlePeers } from './throttle.ts';
import { createTokenService, type TokenAnswer, type TokenRequest } from './token-service.ts';
import { createTokens } from './tokens.ts';
import { createUsers, type Users } from './users.ts';

/** Auth as one listener sees it. */
export interface Gate {
  /** Who sends this header; at once where that is known without work. */
  readonly authenticate: Authenticate;
  /** Asked on every request: allocates nothing. On a mirror nothing but pulling is ever permitted. */
  permits(identity: Identity, action: Action, view: ViewId, name: Name): boolean;
  permitsCatalog(identity: Identity, view: ViewId): boolean;
  /** Does `GET /v2/` answer this identity 401? */
  pingNeedsChallenge(identity: Identity): boolean;
  /** @param baseUrl the listener's `publicUrl`, or what the client reached it by */
  refuse(identity: Identity, wanted: Wanted, baseUrl: string): Refusal;
  /** `GET` and `POST /auth/token`. @throws RegistryError; a 401 goes with `BASIC_CHALLENGE` */
  issueToken(request: Omit<TokenRequest, 'mirror'>): Promise<TokenAnswer>;
}

export interface Auth {
  gate(listener: { readonly mirror: boolean }): Gate;
  /** Takes the key file and the htpasswd file as they stand; changes are noticed without it, within a second or so. */
  reload(): Promise<void>;
  close(): Promise<void>;
}

export interface AuthDeps {
  readonly nowMs: () => number;
  readonly randomBytes: (size: number) => Buffer;
  readonly log: AuthLog;
  /** See `throttle.ts`; undefined: this process is alone. */
  readonly peers: ThrottlePeers | undefined;
}

/** Of a secret that can perhaps be guessed. */
const FEW_CHARACTERS = 16;

/** Opens the key file, making it where there is none, unless the key is derived. @throws Error naming the file or the key of the configuration */
export async function createAuth(config: Pick<Config, 'auth'>, deps: AuthDeps): Promise<Auth> {
  const { auth } = config;
  const rules = compileRules(auth);
  const htpasswd = auth.htpasswd === undefined ? undefined : await openHtpasswd(auth.htpasswd, deps);
  const users = createUsers({ configured: auth.users, htpasswd, log: deps.log, passwords: createPasswords({ ...deps, verifyBcrypt }) });
  await warnOfIdleRules(config, users, deps.log);
  const keys = auth.secret === undefined ? await openKeyFile(auth.keyFile, deps) : derivedKeys(auth.secret);
  if (auth.secret !== undefined && auth.secret.reveal().length < FEW_CHARACTERS) {
    deps.log.warn({}, `auth.secret is shorter than ${FEW_CHARACTERS} characters: whoever guesses it can make tokens`);
  }
  const tokens = createTokens({ keys, nowMs: deps.nowMs });
  const oidc = auth.oidc.length === 0 ? undefined : createOidc(auth.oidc, deps);
  const keystone = auth.keystone && createKeystone(auth.keystone, deps);
  const logins = createLogins({ users, oidc, keystone, throttle: createThrottle(deps), idleThrottle: createThrottle({ ...deps, peers: undefined }) });
  const open = rules.anonymousPushes && !logins.any;
  const issueToken = createTokenService({ tokens, users, logins, rules, open });

  return {
    gate: ({ mirror }) => ({
      authenticate: createAuthenticate({ tokens, logins, open, idle: mirror && rules.anonymousCounts }),
      permits: mirror
        ? (identity, action, view, name) => action === 'pull' && rules.permits(identity, action, view, name)
        : (identity, action, view, name) => rules.permits(identity, action, view, name),
      permitsCatalog: (identity, view) => rules.permitsCatalog(identity, view),
      pingNeedsChallenge: (identity) => pingNeedsChallenge(identity, { mirror, open }),
      refuse: (identity, wanted, baseUrl) => refuse(identity, wanted, { mirror, open }, baseUrl),
      issueToken: (request) => issueToken({ ...request, mirror }),
    }),
    async reload() {
      await keys.reload();
      await users.reload();
    },
    async close() {
      await oidc?.close();
      await keystone?.close();
    },
  };
}

/** Loaded with the first hash to check: the native library costs the start some milliseconds. */
async function verifyBcrypt(password: string, hash: string): Promise<boolean> {
  const bcrypt = await import('@node-rs/bcrypt');
  return bcrypt.verify(password, hash);
}

/** A rule that binds nobody leaves open what it was written to close. */
async function warnOfIdleRules({ auth }: Pick<Config, 'auth'>, users: Users, log: AuthLog): Promise<void> {
  for (const who of new Set(auth.rules.map((rule) => rule.who))) {
    if (who === '*' || who === 'anonymous') continue;
    const user = await users.find(who);
    if (user === undefined) log.warn({ who }, 'auth.rules speak of a user who does not exist');
    else if (user.access === 'admin') log.warn({ who }, 'auth.rules speak of a user with admin access, whom rules do not bind');
  }
}
