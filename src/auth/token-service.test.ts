import { verify } from '@node-rs/bcrypt';
import { createSecretKey, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { Secret, type AnonymousAccess, type RuleConfig } from '../config/config.ts';
import { RegistryError } from '../oci/errors.ts';
import { makeName, parseViewId } from '../oci/name.ts';
import { tokenActionList } from './action.ts';
import type { Keys } from './key.ts';
import { createLogins } from './logins.ts';
import { createPasswords } from './password.ts';
import { compileRules } from './rules.ts';
import type { ToName } from './scopes.ts';
import { createThrottle } from './throttle.ts';
import { createTokenService, type TokenAnswer } from './token-service.ts';
import { createTokens } from './tokens.ts';
import { createUsers, type Users } from './users.ts';

const MAIN = parseViewId('main');
const START_MS = 1_800_000_000_000;
const key = { kid: 'k', secret: createSecretKey(randomBytes(32)) };
const keys: Keys = { version: 1, signing: key, find: (kid) => (kid === 'k' ? key : undefined), refresh: async () => {}, reload: async () => {} };
const tokens = createTokens({ keys, nowMs: () => START_MS });
const log = { warn: () => {}, error: () => {} };

function usersWith(passwords: Readonly<Record<string, string>>): Users {
  return createUsers({
    configured: Object.entries(passwords).map(([name, password]) => ({ name, password: new Secret(password), passwordHash: undefined, access: name === 'reader' ? 'pull' : 'push' })),
    htpasswd: undefined,
    passwords: createPasswords({ nowMs: () => START_MS, randomBytes, verifyBcrypt: verify }),
    log,
  });
}

interface Setting {
  readonly anonymous?: AnonymousAccess;
  readonly rules?: readonly RuleConfig[];
  readonly mirror?: boolean;
  readonly open?: boolean;
  readonly users?: Users;
}
const USERS = usersWith({ ci: 'pä:ss', reader: 'r' });

function ask(query: string, setting: Setting = {}, authorization?: string): Promise<TokenAnswer> {
  const { anonymous = 'pull', rules = [], mirror = false, open = false, users = USERS } = setting;
  const throttle = createThrottle({ nowMs: () => START_MS, randomBytes, peers: undefined });
  const issue = createTokenService({ tokens, users, logins: createLogins({ users, oidc: undefined, keystone: undefined, throttle, idleThrottle: throttle }), rules: compileRules({ anonymous, rules }), open });
  const toName: ToName = (spelling) => {
    const [, view, path = ''] = /^(?:([^/]+)\.view\/)?(.*)$/.exec(spelling) ?? [];
    return { name: makeName('docker.io', path), view: view === undefined ? undefined : parseViewId(view) };
  };
  return issue({ authorization, address: '192.0.2.1', parameters: new URLSearchParams(query), toName, view: MAIN, mirror });
}

const basic = (user: string, password: string): string => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
const CI = basic('ci', 'pä:ss');
const READER = basic('reader', 'r');
const HUB = basic('hubuser', 'hubsecret');
const PULL = 'scope=repository:org/app:pull';
const PUSH = 'scope=repository:org/app:pull,push';

/** `<subject>: <view>/<name> <actions>; …` of what a token says, or the code of the refusal. */
async function outcome(answer: Promise<TokenAnswer>): Promise<string> {
  try {
    const identity = await tokens.verifyAccess((await answer).token);
    if (identity.kind !== 'token') return identity.problem;
    return `${identity.subject ?? '-'}: ${identity.grants.map(({ view, name, actions }) => `${view}/${name} ${tokenActionList(actions).join(',')}`).join('; ')}`;
  } catch (error) {
    if (error instanceof RegistryError) return error.code;
    throw error;
  }
}

describe('who gets which token', () => {
  const mine: RuleConfig = { who: 'ci', names: ['docker.io/org/*'], views: undefined, may: ['pull', 'push'] };
  const publicOnly: RuleConfig = { who: 'anonymous', names: ['docker.io/public/*'], views: undefined, may: ['pull'] };
  test.each<[string, string, string | undefined, Setting, string]>([
    ['anonymous pull', PULL, undefined, {}, '-: main/docker.io/org/app pull'],
    ['anonymous says so by Basic', PULL, 'Basic Og==', {}, '-: main/docker.io/org/app pull'],
    ['anonymous gets what is left of a push', PUSH, undefined, {}, '-: main/docker.io/org/app pull'],
    ['anonymous who may nothing', PULL, undefined, { anonymous: 'none' }, 'UNAUTHORIZED'],
    ['anonymous push, refused', 'scope=repository:org/app:push', undefined, {}, 'UNAUTHORIZED'],
    ['anonymous push, allowed', PUSH, undefined, { anonymous: 'push' }, '-: main/docker.io/org/app pull,push,delete'],
    ['anonymous without a scope', '', undefined, {}, '-: '],
    ['anonymous without a scope who may nothing', '', undefined, { anonymous: 'none' }, 'UNAUTHORIZED'],
    ['a user pulls', PULL, CI, {}, 'ci: main/docker.io/org/app pull'],
    ['a user pushes, and may delete what it pushed (crane)', PUSH, CI, {}, 'ci: main/docker.io/org/app pull,push,delete'],
    ['a user asks for everything (skopeo delete)', 'scope=repository:org/app:*', CI, {}, 'ci: main/docker.io/org/app pull,push,delete'],
    ['a reader asks to push', PUSH, READER, {}, 'reader: main/docker.io/org/app pull'],
    ['a user logs in', '', CI, {}, 'ci: '],
    ['a user whom nothing is allowed of that', 'scope=repository:org/app:push', READER, {}, 'reader: '],
    ['several scopes', `${PULL}&scope=repository:org/b:push`, CI, {}, 'ci: main/docker.io/org/app pull; main/docker.io/org/b push,delete'],
    ['a rule without delete', PUSH, CI, { rules: [mine] }, 'ci: main/docker.io/org/app pull,push'],
    ['outside the rule', 'scope=repository:other/app:pull,push', CI, { rules: [mine] }, 'ci: main/docker.io/other/app pull'],
    ['a view by its prefix', 'scope=repository:staging.view/org/app:push', CI, {}, 'ci: staging/docker.io/org/app push,delete'],
    ['the approved view', 'scope=repository:approved.view/org/app:pull,push', CI, {}, 'ci: approved/docker.io/org/app pull'],
    ['the catalogue', 'scope=registry:catalog:*', CI, {}, 'ci: main/catalog pull'],
    ['the catalogue, refused', 'scope=registry:catalog:*', undefined, { anonymous: 'none' }, 'UNAUTHORIZED'],
    ['Hub credentials, pull', PULL, HUB, {}, '-: main/docker.io/org/app pull'],
    ['Hub credentials, pull, on a mirror', PULL, HUB, { mirror: true }, '-: main/docker.io/org/app pull'],
    ['a malformed header, pull', PULL, 'Basic §', {}, '-: main/docker.io/org/app pull'],
    ['Hub credentials, pull of what anonymous may not', PULL, HUB, { anonymous: 'none' }, 'UNAUTHORIZED'],
    ['Hub credentials, several pulls, one not for anonymous', `scope=repository:public/a:pull&${PULL}`, HUB, { rules: [publicOnly] }, 'UNAUTHORIZED'],
    ['wrong credentials, push', PUSH, basic('ci', 'wrong'), {}, 'UNAUTHORIZED'],
    ['wrong credentials, push that anonymous may', PUSH, basic('ci', 'wrong'), { anonymous: 'push' }, 'UNAUTHORIZED'],
    ['wrong credentials, login', '', basic('ci', 'wrong'), {}, 'UNAUTHORIZED'],
    ['wrong credentials, catalogue that anonymous may', 'scope=registry:catalog:*', HUB, {}, '-: main/catalog pull'],
    ['nobody to log in as: credentials say nothing', PUSH, HUB, { anonymous: 'push', open: true }, '-: main/docker.io/org/app pull,push,delete'],
    ['nobody to log in as, approved view', 'scope=repository:approved.view/a:push', undefined, { anonymous: 'push', open: true }, 'DENIED'],
    ['a mirror gives pull only', PUSH, CI, { mirror: true }, 'ci: main/docker.io/org/app pull'],
    ['a token in the place of credentials', PUSH, 'Bearer abc', {}, 'UNAUTHORIZED'],
    ['a scope that is none', 'scope=repository:UPPER:pull', CI, {}, 'PARAMETER_INVALID'],
    ['form: password', `grant_type=password&username=ci&password=${encodeURIComponent('pä:ss')}&service=x&client_id=c&${PUSH.replace(',push', '')}`, undefined, {}, 'ci: main/docker.io/org/app pull'],
    ['form: scopes separated by spaces', 'grant_type=password&username=ci&password=p%C3%A4:ss&scope=repository:a:pull+repository:b:pull', undefined, {}, 'ci: main/docker.io/a pull; main/docker.io/b pull'],
    ['form: wrong password, push', `grant_type=password&username=ci&password=wrong&${PUSH}`, undefined, {}, 'UNAUTHORIZED'],
    ['form: Hub password, pull', `grant_type=password&username=hub&password=x&${PULL}`, undefined, {}, '-: main/docker.io/org/app pull'],
    ["form: Hub's refresh token, pull", `grant_type=refresh_token&refresh_token=dckr_x&${PULL}`, undefined, {}, '-: main/docker.io/org/app pull'],
    ["form: Hub's refresh token, push", `grant_type=refresh_token&refresh_token=dckr_x&${PUSH}`, undefined, {}, 'UNAUTHORIZED'],
    ['form: an unknown grant', 'grant_type=authorization_code', undefined, {}, 'PARAMETER_INVALID'],
  ])('%s', async (_, query, authorization, setting, expected) => {
    expect(await outcome(ask(query, setting, authorization))).toBe(expected);
  });
});

describe('the answer', () => {
  test('has the fields of both specifications', async () => {
    const answer = await ask(`${PUSH}&scope=registry:catalog:*`, {}, CI);
    expect(answer).toEqual({
      token: answer.access_token,
      access_token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/) as string,
      expires_in: 300,
      issued_at: '2027-01-15T08:00:00.000Z',
      scope: 'repository:org/app:pull,push registry:catalog:*',
    });
  });

  test('names in a refusal what was asked for, as the client wrote it', async () => {
    await expect(ask('scope=repository:staging.view/a/b:push')).rejects.toThrow('authentication required to push staging.view/a/b (view staging)');
    await expect(ask('scope=repository:a/b:pull', { anonymous: 'none' }, HUB)).rejects.toThrow('wrong user name or password');
  });

  test('never repeats credentials', async () => {
    for (const query of ['', PUSH, `grant_type=refresh_token&refresh_token=hubsecret`, 'grant_type=password&username=hubuser&password=hubsecret']) {
      const problem: unknown = await ask(query, {}, HUB).catch((error: unknown) => error);
      expect(`${String(problem)} ${JSON.stringify(problem)}`).not.toMatch(/hubuser|hubsecret/);
    }
  });
});

describe('a refresh token', () => {
  const refreshWith = (refresh: string | undefined, query: string, setting: Setting = {}): Promise<string> =>
    outcome(ask(`grant_type=refresh_token&refresh_token=${refresh ?? ''}&${query}`, setting));

  test.each([['GET', 'offline_token=true&client_id=docker', CI], ['form', 'grant_type=password&username=ci&password=p%C3%A4:ss&access_type=offline', undefined]])(
    'comes with a login that asks for one: %s', async (_, query, authorization) => {
      const { refresh_token: refresh } = await ask(query, {}, authorization);
      expect(await refreshWith(refresh, PUSH)).toBe('ci: main/docker.io/org/app pull,push,delete');
    },
  );

  test.each<[string, string, string | undefined]>([
    ['nobody asked for one', '', CI],
    ['anonymous', `offline_token=true&${PULL}`, undefined],
    ['somebody with wrong credentials', `offline_token=true&${PULL}`, HUB],
  ])('does not come for %s', async (_, query, authorization) => {
    expect(await ask(query, {}, authorization)).not.toHaveProperty('refresh_token');
  });

  test('ends with the user and with the password', async () => {
    const { refresh_token: refresh } = await ask('offline_token=true', {}, CI);
    expect(await refreshWith(refresh, PUSH, { users: usersWith({ ci: 'changed' }) })).toBe('UNAUTHORIZED');
    expect(await refreshWith(refresh, PUSH, { users: usersWith({ other: 'pä:ss' }) })).toBe('UNAUTHORIZED');
    expect(await refreshWith(refresh, '', { users: usersWith({ ci: 'pä:ss' }) })).toBe('ci: ');
  });

  test('has the rights of the moment, not those of the login', async () => {
    const { refresh_token: refresh } = await ask('offline_token=true', {}, CI);
    const rules: RuleConfig[] = [{ who: 'ci', names: ['docker.io/else/*'], views: undefined, may: ['push'] }];
    expect(await refreshWith(refresh, PUSH, { anonymous: 'none', rules })).toBe('ci: ');
  });

  test('cannot be made of an access token', async () => {
    const { token } = await ask(PUSH, {}, CI);
    expect(await refreshWith(token, PUSH)).toBe('UNAUTHORIZED');
  });
});

describe('while logins are queueing', () => {
  const busy: Users = {
    any: true,
    check: () => Promise.reject(new RegistryError('TOOMANYREQUESTS', 'too many logins are being checked')),
    find: () => Promise.resolve(undefined),
    reload: () => Promise.resolve(),
  };
  test('pulls that anonymous may go on, pushes are told to come back', async () => {
    expect(await outcome(ask(PULL, { users: busy }, HUB))).toBe('-: main/docker.io/org/app pull');
    expect(await outcome(ask(PUSH, { users: busy }, CI))).toBe('TOOMANYREQUESTS');
  });
});
