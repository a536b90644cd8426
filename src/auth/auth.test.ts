/** Auth as a whole: what clients do, and the table of tokens against actions. */
import { createSecretKey, hkdfSync, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT, UnsecuredJWT, decodeJwt, decodeProtectedHeader } from 'jose';
import { hashSync } from '@node-rs/bcrypt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Secret, type Action, type Config } from '../config/config.ts';
import { makeName, parseViewId, type Name } from '../oci/name.ts';
import { createAuth, type Auth, type Gate } from './auth.ts';
import type { Identity } from './identity.ts';

const CLIENT = '192.0.2.1';
const MAIN = parseViewId('main');
const STAGING = parseViewId('staging');
const APP = makeName('docker.io', 'org/app');
const START_MS = 1_800_000_000_000;

let folder: string;
let keyFile: string;
let clockMs: number;
let logged: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'umbra-auth-'));
  keyFile = join(folder, 'signing.key');
  clockMs = START_MS;
  logged = '';
});
afterEach(() => rm(folder, { recursive: true }));

const note = (fields: object, message: string): void => void (logged += `${message} ${JSON.stringify(fields)}\n`);
const start = (auth: Partial<Config['auth']> = {}): Promise<Auth> =>
  createAuth(
    { auth: { configured: true, keyFile, secret: undefined, anonymous: 'none', users: [{ name: 'ci', password: new Secret('pä:ss'), passwordHash: undefined, access: 'push' }], htpasswd: undefined, rules: [], oidc: [], keystone: undefined, ...auth } },
    { nowMs: () => clockMs, randomBytes, log: { warn: note, error: note }, peers: undefined },
  );
const toName = (spelling: string): { name: Name; view: undefined } => ({ name: makeName('docker.io', spelling), view: undefined });
const basic = (user: string, password: string): string => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
const CI = basic('ci', 'pä:ss');

async function bearer(gate: Gate, scope: string, authorization: string | undefined = CI, view = MAIN): Promise<string> {
  const { token } = await gate.issueToken({ authorization, address: CLIENT, parameters: new URLSearchParams({ scope }), toName, view });
  return `Bearer ${token}`;
}

describe('each token against each action', () => {
  const actions: readonly Action[] = ['pull', 'push', 'delete', 'admin'];
  /** The header of a token with all rights to the name, made by somebody who knows all about ours but the key. */
  async function forged(gate: Gate, secret: Uint8Array | 'none', change: object = {}): Promise<string> {
    const real = (await bearer(gate, 'repository:org/app:*')).slice(7);
    const payload = { ...decodeJwt(real), ...change };
    if (secret === 'none') return `Bearer ${new UnsecuredJWT(payload).encode()}`;
    return `Bearer ${await new SignJWT(payload).setProtectedHeader({ ...decodeProtectedHeader(real), alg: 'HS256' }).sign(createSecretKey(secret))}`;
  }
  const ownKey = async (): Promise<Uint8Array> => {
    const { keys } = JSON.parse(await readFile(keyFile, 'utf8')) as { keys: [{ k: string }] }; // as key.ts writes it
    return Buffer.from(keys[0].k, 'base64url');
  };

  test.each<[string, (gate: Gate) => Promise<string | undefined>, string, Identity['kind']]>([
    ['none', () => Promise.resolve(undefined), '', 'anonymous'],
    ['to pull', (gate) => bearer(gate, 'repository:org/app:pull'), 'pull', 'token'],
    ['to push', (gate) => bearer(gate, 'repository:org/app:push'), 'push,delete', 'token'],
    ['to pull and push', (gate) => bearer(gate, 'repository:org/app:pull,push'), 'pull,push,delete', 'token'],
    ['to do everything', (gate) => bearer(gate, 'repository:org/app:*'), 'pull,push,delete', 'token'],
    ['for nothing', (gate) => bearer(gate, ''), '', 'token'],
    ['for another name', (gate) => bearer(gate, 'repository:org/other:*'), '', 'token'],
    ['for a longer name', (gate) => bearer(gate, 'repository:org/app/more:*'), '', 'token'],
    ['for another view', (gate) => bearer(gate, 'repository:org/app:*', CI, STAGING), '', 'token'],
    ['expired', async (gate) => { const header = await bearer(gate, 'repository:org/app:*'); clockMs += 300_000; return header; }, '', 'invalid'],
    ['forged as such, to show that the next rows fail for their keys', async (gate) => forged(gate, await ownKey()), 'pull,push,delete', 'token'],
    ['wrong key', (gate) => forged(gate, randomBytes(32)), '', 'invalid'],
    ['the literal key "secret"', (gate) => forged(gate, Buffer.from('secret')), '', 'invalid'],
    ['an empty key', (gate) => forged(gate, Buffer.alloc(32)), '', 'invalid'],
    ['alg none', (gate) => forged(gate, 'none'), '', 'invalid'],
    ['wrong audience', async (gate) => forged(gate, await ownKey(), { aud: 'another' }), '', 'invalid'],
    ['wrong issuer', async (gate) => forged(gate, await ownKey(), { iss: 'another' }), '', 'invalid'],
    ['without an expiry', async (gate) => forged(gate, await ownKey(), { exp: undefined }), '', 'invalid'],
    ['Basic', () => Promise.resolve(CI), 'pull,push,delete', 'user'],
    ['Basic, wrong', () => Promise.resolve(basic('ci', 'pass')), '', 'stranger'],
  ])('%s', async (_, header, expected, kind) => {
    const gate = (await start()).gate({ mirror: false });
    const authorization = await header(gate);
    for (let time = 0; time < 2; time++) { // the second from the cache
      const identity = await gate.authenticate(authorization, CLIENT);
      expect(identity.kind).toBe(kind);
      expect(actions.filter((action) => gate.permits(identity, action, MAIN, APP)).join(',')).toBe(expected);
    }
  });
});

describe('what clients do', () => {
  test('docker login: challenge, token with the password, ping with the token', async () => {
    const gate = (await start()).gate({ mirror: false });
    const nobody = await gate.authenticate(undefined, CLIENT);
    expect(gate.pingNeedsChallenge(nobody)).toBe(true);
    expect(gate.refuse(nobody, { kind: 'ping' }, 'http://localhost:5000').challenge).toBe('Bearer realm="http://localhost:5000/auth/token",service="umbra"');
    expect(gate.pingNeedsChallenge(await gate.authenticate(await bearer(gate, ''), CLIENT))).toBe(false);
    await expect(bearer(gate, '', basic('ci', 'wrong'))).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('dockerd pulls from a mirror that hands it Hub credentials, by token and by Basic', async () => {
    const hub = basic('hubuser', 'hubsecret');
    for (const mirror of [true, false]) {
      const gate = (await start({ anonymous: 'pull' })).gate({ mirror });
      for (const header of [await bearer(gate, 'repository:org/app:pull', hub), hub]) {
        const identity = await gate.authenticate(header, CLIENT);
        expect(gate.permits(identity, 'pull', MAIN, APP)).toBe(true);
        expect(gate.permits(identity, 'push', MAIN, APP)).toBe(false);
      }
    }
    expect(logged).not.toMatch(/hub/);
  });

  test('a mirror challenges nobody and lets nobody push', async () => {
    const gate = (await start()).gate({ mirror: true });
    const ci = await gate.authenticate(CI, CLIENT);
    expect([gate.pingNeedsChallenge(await gate.authenticate(undefined, CLIENT)), gate.permits(ci, 'pull', MAIN, APP), gate.permits(ci, 'push', MAIN, APP)]).toEqual([false, true, false]);
  });

  test('with nothing configured, anybody pushes without logging in, whatever credentials they send', async () => {
    const gate = (await start({ configured: false, anonymous: 'push', users: [] })).gate({ mirror: false });
    for (const header of [undefined, basic('any', 'body')]) {
      const identity = await gate.authenticate(header, CLIENT);
      expect([gate.pingNeedsChallenge(identity), gate.permits(identity, 'push', MAIN, APP), gate.permits(identity, 'push', parseViewId('approved'), APP)]).toEqual([false, true, false]);
    }
  });

  test('where anonymous pushes and users exist, there is something to log in for', async () => {
    const gate = (await start({ anonymous: 'push' })).gate({ mirror: false });
    expect(gate.pingNeedsChallenge(await gate.authenticate(undefined, CLIENT))).toBe(true);
    expect(gate.permits(await gate.authenticate(await bearer(gate, 'repository:org/app:pull,push', ''), CLIENT), 'push', MAIN, APP)).toBe(true);
  });
});

describe('whoever guesses passwords', () => {
  const guesses = async (gate: Gate, count: number, address = CLIENT): Promise<Identity | undefined> => {
    let last: Identity | undefined;
    for (let n = 0; n < count; n++) last = await gate.authenticate(basic('ci', `wrong ${n}`), address);
    return last;
  };
  const ping = { kind: 'ping' } as const;

  test('is told to come back, even with the right password, and the user elsewhere is not', async () => {
    const gate = (await start()).gate({ mirror: false });
    await guesses(gate, 5);
    const held = await gate.authenticate(CI, CLIENT);
    expect(gate.pingNeedsChallenge(held)).toBe(true);
    expect(gate.refuse(held, ping, 'http://x')).toMatchObject({ error: { code: 'TOOMANYREQUESTS', retryAfterSeconds: 1 }, challenge: undefined });
    await expect(bearer(gate, '')).rejects.toMatchObject({ code: 'TOOMANYREQUESTS', retryAfterSeconds: 1 });
    expect(await gate.authenticate(CI, '192.0.2.2')).toMatchObject({ kind: 'user' });
    clockMs += 1000;
    expect(await gate.authenticate(CI, CLIENT)).toMatchObject({ kind: 'user' });
  });

  test('at the token endpoint is the same as with Basic', async () => {
    const gate = (await start()).gate({ mirror: false });
    for (let n = 0; n < 5; n++) await expect(bearer(gate, 'repository:org/app:push', basic('ci', `wrong ${n}`))).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(await gate.authenticate(CI, CLIENT)).toMatchObject({ undecided: { code: 'TOOMANYREQUESTS' } });
  });

  test('pulls what anonymous may pull all the same', async () => {
    const gate = (await start({ anonymous: 'pull' })).gate({ mirror: false });
    const held = await guesses(gate, 100);
    expect(held).toMatchObject({ undecided: { code: 'TOOMANYREQUESTS' } });
    expect(['pull', 'push'].map((action) => gate.permits(held as Identity, action as Action, MAIN, APP))).toEqual([true, false]);
    expect(await gate.authenticate(await bearer(gate, 'repository:org/app:pull'), CLIENT)).toMatchObject({ kind: 'token' });
  });

  test.each([
    ['pull tokens', (gate: Gate, credentials: string) => bearer(gate, 'repository:org/app:pull', credentials)],
    ['a mirror', async (_: Gate, credentials: string, auth: Auth) => auth.gate({ mirror: true }).authenticate(credentials, CLIENT)],
  ])('with foreign credentials, as dockerd sends them for %s, keeps nobody at that address from logging in', async (_, send) => {
    const auth = await start({ anonymous: 'pull' });
    const gate = auth.gate({ mirror: false });
    for (let n = 0; n < 200; n++) await send(gate, basic('ci', `of the hub, ${n}`), auth);
    expect(await gate.authenticate(CI, CLIENT)).toMatchObject({ kind: 'user' });
  });

  test('cannot do it by pull tokens, which say whom they are for', async () => {
    const gate = (await start({ anonymous: 'pull' })).gate({ mirror: false });
    const subject = async (credentials: string): Promise<unknown> => decodeJwt((await bearer(gate, 'repository:org/app:pull', credentials)).slice(7)).sub;
    expect(await subject(CI)).toBe('ci');
    for (let n = 0; n < 6; n++) expect(await subject(basic('ci', `wrong ${n}`))).toBeUndefined();
    expect(await subject(CI)).toBeUndefined();
  });
});

describe('with a Keystone, which would learn what it is asked about', () => {
  const HUB = basic('hubuser', 'hubsecret');
  /** What is asked of a Keystone where nothing answers is told as 503. */
  const withKeystone = (): Promise<Auth> => start({
    anonymous: 'pull',
    keystone: { url: 'http://127.0.0.1:1', ca: undefined, insecure: false, cacheForMs: 0, domain: 'Default', rules: [{ where: new Map([['user', ['*']]]), names: ['*'], views: undefined, may: ['pull', 'push'] }] },
  });

  test('names that are ours, pulls that anonymous may do, and mirrors, ask nothing', async () => {
    const auth = await withKeystone();
    const gate = auth.gate({ mirror: false });
    expect(await gate.authenticate(basic('ci', 'wrong'), CLIENT)).toEqual({ kind: 'stranger', problem: 'wrong user name or password' });
    expect(await gate.authenticate(CI, CLIENT)).toMatchObject({ kind: 'user' });
    expect(await bearer(gate, 'repository:org/app:pull', HUB)).toMatch(/^Bearer /);
    expect(await auth.gate({ mirror: true }).authenticate(HUB, CLIENT)).toEqual({ kind: 'stranger', problem: 'wrong user name or password' });
    expect(logged).toBe('');
    await auth.close();
  });

  test('all else does, and is told to come back while it does not answer', async () => {
    const auth = await withKeystone();
    const gate = auth.gate({ mirror: false });
    await expect(bearer(gate, 'repository:org/app:push', HUB)).rejects.toMatchObject({ code: 'UNAVAILABLE', retryAfterSeconds: 5 });
    const held = await gate.authenticate(HUB, CLIENT);
    expect(gate.refuse(held, { kind: 'ping' }, 'http://x')).toMatchObject({ error: { code: 'UNAVAILABLE' }, challenge: undefined });
    expect(gate.permits(held, 'pull', MAIN, APP)).toBe(true); // as anonymous
    expect(logged).toContain('Keystone cannot be asked');
    expect(logged).not.toMatch(/hubuser|hubsecret/);
    await auth.close();
  });
});

describe('the processes of one registry', () => {
  test('take the tokens of each other', async () => {
    const [one, other] = (await Promise.all([start(), start()])).map((auth) => auth.gate({ mirror: false })) as [Gate, Gate];
    const identity = await other.authenticate(await bearer(one, 'repository:org/app:pull'), CLIENT);
    expect(other.permits(identity, 'pull', MAIN, APP)).toBe(true);
  });

  test('and not those of another registry', async () => {
    const header = await bearer((await start()).gate({ mirror: false }), 'repository:org/app:pull');
    await rm(keyFile);
    const gate = (await start()).gate({ mirror: false });
    expect(await gate.authenticate(header, CLIENT)).toMatchObject({ kind: 'invalid' });
  });
});

test('a reload takes the files as they stand, and logs nobody out whose key is still there', async () => {
  const htpasswd = join(folder, 'htpasswd');
  await writeFile(htpasswd, '');
  const auth = await start({ htpasswd });
  const gate = auth.gate({ mirror: false });
  const header = await bearer(gate, 'repository:org/app:pull');
  const { keys } = JSON.parse(await readFile(keyFile, 'utf8')) as { keys: object[] }; // as key.ts writes it
  await writeFile(keyFile, JSON.stringify({ keys: [{ kty: 'oct', kid: 'new', k: randomBytes(32).toString('base64url') }, ...keys] }));
  await writeFile(htpasswd, `dev:${hashSync('x', 4)}\n`);
  await auth.reload();
  expect(await gate.authenticate(header, CLIENT)).toMatchObject({ kind: 'token' });
  expect(await gate.authenticate(basic('dev', 'x'), CLIENT)).toEqual({ kind: 'user', name: 'dev', access: 'push' });
  expect(decodeProtectedHeader((await bearer(gate, '')).slice(7)).kid).toBe('new');
});

describe('a key that is derived from a secret', () => {
  const gateOf = async (secret: string): Promise<Gate> => (await start({ secret: new Secret(secret) })).gate({ mirror: false });
  const SECRET = 'a secret of many characters';

  test('is the same in every process that has the secret, and makes no file', async () => {
    const header = await bearer(await gateOf(SECRET), 'repository:org/app:push');
    const identity = await (await gateOf(SECRET)).authenticate(header, CLIENT);
    expect((await gateOf(SECRET)).permits(identity, 'push', MAIN, APP)).toBe(true);
    await expect(readFile(keyFile)).rejects.toThrow('ENOENT');
  });

  test('is another for another secret', async () => {
    expect(await (await gateOf(`${SECRET}!`)).authenticate(await bearer(await gateOf(SECRET), 'repository:org/app:push'), CLIENT)).toMatchObject({ kind: 'invalid' });
  });

  test.each([SECRET, 'secret'])('is not the secret itself: %s', async (secret) => {
    const gate = await gateOf(secret);
    const real = (await bearer(gate, 'repository:org/app:push')).slice(7);
    const forge = (key: Uint8Array): Promise<string> => new SignJWT(decodeJwt(real)).setProtectedHeader({ ...decodeProtectedHeader(real), alg: 'HS256' }).sign(createSecretKey(key));
    expect(await gate.authenticate(`Bearer ${await forge(Buffer.from(secret))}`, CLIENT)).toMatchObject({ kind: 'invalid', problem: 'the token is not signed with our key' });
    // As above, but for the key, which shows that it fails for its key.
    const derived = Buffer.from(hkdfSync('sha256', secret, '', 'umbra token signing key', 32));
    expect(await gate.authenticate(`Bearer ${await forge(derived)}`, CLIENT)).toMatchObject({ kind: 'token' });
  });

  test('is warned of where it is short', async () => {
    await gateOf(SECRET);
    expect(logged).toBe('');
    await gateOf('secret');
    expect(logged).toContain('auth.secret is shorter than 16 characters');
  });
});

test('rules that bind nobody are warned of', async () => {
  const rule = { names: ['*'], views: undefined, may: ['pull'] } as const;
  await start({ rules: [{ who: 'cl', ...rule }, { who: 'root', ...rule }, { who: '*', ...rule }, { who: 'anonymous', ...rule }], users: [{ name: 'root', password: new Secret('x'), passwordHash: undefined, access: 'admin' }] });
  expect(logged.trim().split('\n')).toEqual([expect.stringContaining('does not exist {"who":"cl"}'), expect.stringContaining('do not bind {"who":"root"}')]);
});
