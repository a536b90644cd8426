import { inspect } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { fakeUpstream, type FakeAuth, type FakeUpstream, type Misbehaviour } from '../../test/support/fake-upstream.ts';
import { clientOf, type ClientOptions, type Told } from '../../test/support/upstream-client.ts';
import { Secret } from '../config/config.ts';
import { parseChallenges } from './challenge.ts';
import { credentials } from './credentials.ts';
import type { Upstream } from './upstream.ts';

const PATH = 'org/app';
const LOGIN = { username: 'ci', password: 'hunter2' };
const BASIC = `Basic ${Buffer.from('ci:hunter2').toString('base64')}`;

let stop: (() => Promise<void>) | undefined;
afterEach(() => stop?.());

async function start(auth: FakeAuth, options: ClientOptions = {}): Promise<{ fake: FakeUpstream; client: Upstream; told: Told }> {
  const fake = await fakeUpstream({ auth });
  fake.content.addImage(PATH, { tag: 'latest' });
  const { client, told } = clientOf(fake.url, options);
  stop = async () => {
    await client.close();
    await fake.close();
  };
  return { fake, client, told };
}

/** What each request said, in order. */
const said = (fake: FakeUpstream): unknown[] => fake.requests.map(({ kind, headers }) => [kind, headers.authorization]);

describe('Basic', () => {
  it('is said once asked for, and at once from then on', async () => {
    const { fake, client } = await start({ kind: 'basic', ...LOGIN }, { login: LOGIN });
    expect(await client.headManifest(PATH, 'latest')).toBeDefined();
    expect(await client.headManifest(PATH, 'latest')).toBeDefined();
    expect(said(fake)).toEqual([['manifest', undefined], ['manifest', BASIC], ['manifest', BASIC]]);
  });

  it('refused: nothing there for us', async () => {
    const { client, fake } = await start({ kind: 'basic', ...LOGIN }, { login: { ...LOGIN, password: 'wrong' } });
    expect(await client.getManifest(PATH, 'latest')).toBeUndefined();
    expect(await client.getManifest(PATH, 'latest')).toBeUndefined();
    expect(fake.requests).toHaveLength(3); // the second time it was said at once, and not twice
  });

  it('asked for and not configured: the question stays open', async () => {
    const { client } = await start({ kind: 'basic', ...LOGIN });
    await expect(client.getManifest(PATH, 'latest')).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining('none are configured') });
  });
});

describe('Bearer', () => {
  it('anonymous: one token serves every question about the repository', async () => {
    const { fake, client } = await start({ kind: 'bearer' });
    expect(await client.headManifest(PATH, 'latest')).toBeDefined();
    expect(await client.getManifest(PATH, 'latest')).toBeDefined();
    expect(said(fake)).toEqual([['manifest', undefined], ['token', undefined], ['manifest', 'Bearer token-1'], ['manifest', 'Bearer token-1']]);
    expect(Object.fromEntries(new URL(fake.requests[1]!.url, fake.url).searchParams)).toEqual({ service: 'fake', scope: `repository:${PATH}:pull` });
  });

  it('with a login: it is told to the realm only', async () => {
    const { fake, client } = await start({ kind: 'bearer', login: LOGIN }, { login: LOGIN });
    expect(await client.getManifest(PATH, 'latest')).toBeDefined();
    expect(said(fake)).toEqual([['manifest', undefined], ['token', BASIC], ['manifest', 'Bearer token-1']]);
  });

  it('each repository has its own token', async () => {
    const { fake, client } = await start({ kind: 'bearer' });
    await client.headManifest(PATH, 'latest');
    await client.headManifest('org/other', 'latest');
    expect(fake.count({ kind: 'token' })).toBe(2);
  });

  it.each<[string, number | undefined, number]>([
    ['a minute where the realm does not say', undefined, 48],
    ['as long as the realm says, less half a minute', 300, 270],
  ])('a token lasts %s', async (_, expiresIn, seconds) => {
    const clock = { ms: 0 };
    const { fake, client } = await start({ kind: 'bearer', ...(expiresIn === undefined ? {} : { expiresIn }) }, { clock });
    await client.headManifest(PATH, 'latest');
    clock.ms = seconds * 1000 - 1;
    await client.headManifest(PATH, 'latest');
    expect(fake.count({ kind: 'token' })).toBe(1);
    clock.ms = seconds * 1000;
    expect(await client.headManifest(PATH, 'latest')).toBeDefined();
    expect(said(fake).slice(-2)).toEqual([['token', undefined], ['manifest', 'Bearer token-2']]);
  });

  it('a token that is no longer taken is replaced once', async () => {
    const { fake, client } = await start({ kind: 'bearer' });
    await client.headManifest(PATH, 'latest');
    fake.revokeTokens();
    expect(await client.headManifest(PATH, 'latest')).toBeDefined();
    expect(said(fake).slice(-3)).toEqual([['manifest', 'Bearer token-1'], ['token', undefined], ['manifest', 'Bearer token-2']]);
  });

  it.each([401, 403])('a fresh token that is answered %i: nothing there for us', async (status) => {
    const { fake, client } = await start({ kind: 'bearer' });
    const challenge = { 'www-authenticate': `Bearer realm="${fake.url}/token"` };
    fake.misbehave({ kind: 'manifest' }, { status, headers: challenge });
    fake.misbehave({ kind: 'manifest' }, { status: 401, headers: challenge }, 1);
    expect(await client.getManifest(PATH, 'latest')).toBeUndefined();
    expect(fake.requests.map(({ kind }) => kind)).toEqual(['manifest', 'token', 'manifest']);
  });

  it.each([401, 403])('a realm that answers the anonymous %i: nothing there for us', async (anonymous) => {
    const { client, told } = await start({ kind: 'bearer', anonymous });
    expect(await client.getManifest(PATH, 'latest')).toBeUndefined();
    expect(told.failed).toEqual([]);
  });

  it('many who ask at once share one token', async () => {
    const { fake, client } = await start({ kind: 'bearer' });
    fake.misbehave({ kind: 'token' }, { hold: fake.arrived({ kind: 'manifest' }, 20) });
    const answers = await Promise.all(Array.from({ length: 20 }, () => client.headManifest(PATH, 'latest')));
    expect(answers.every((answer) => answer !== undefined)).toBe(true);
    expect(fake.count({ kind: 'token' })).toBe(1);
  });

  it('one who leaves does not take the token from the others', async () => {
    const { fake, client } = await start({ kind: 'bearer' });
    const release = Promise.withResolvers<void>();
    fake.misbehave({ kind: 'token' }, { hold: release.promise });
    const leaving = new AbortController();
    const first = client.headManifest(PATH, 'latest', { signal: leaving.signal });
    await fake.arrived({ kind: 'token' });
    const second = client.headManifest(PATH, 'latest');
    const reason = new Error('left');
    leaving.abort(reason);
    await expect(first).rejects.toBe(reason);
    release.resolve();
    expect(await second).toBeDefined();
    expect(fake.count({ kind: 'token' })).toBe(1);
  });

  it.each<[string, ClientOptions, FakeAuth, Misbehaviour, string, string]>([
    ['rejects our login', { login: { ...LOGIN, username: 'nobody' } }, { kind: 'bearer', login: LOGIN }, {}, 'UPSTREAM_FAILED', 'rejects the configured username and password'],
    ['fails', {}, { kind: 'bearer' }, { status: 500 }, 'UPSTREAM_FAILED', 'answered 500'],
    ['breaks off', {}, { kind: 'bearer' }, { hangUp: true }, 'UPSTREAM_FAILED', 'failed: '],
    ['gives no token', {}, { kind: 'bearer' }, { status: 200, body: '{}' }, 'UPSTREAM_FAILED', 'without a token'],
    ['gives no JSON', {}, { kind: 'bearer' }, { status: 200, body: '<html>' }, 'UPSTREAM_FAILED', 'without a token'],
    ['gives a token that breaks a header', {}, { kind: 'bearer' }, { status: 200, body: '{"token":"a\\r\\nx: y"}' }, 'UPSTREAM_FAILED', 'without a token'],
    ['gives far too much', {}, { kind: 'bearer' }, { status: 200, body: 'x'.repeat(300_000) }, 'UPSTREAM_FAILED', 'more than'],
    ['is asked too often', {}, { kind: 'bearer' }, { status: 429 }, 'TOOMANYREQUESTS', 'token realm answered 429'],
    ['never answers', { timeoutMs: 100 }, { kind: 'bearer' }, { hold: new Promise(() => undefined) }, 'UPSTREAM_TIMEOUT', 'did not answer'],
    ['is no URL', {}, { kind: 'bearer', realm: 'here' }, {}, 'UPSTREAM_FAILED', 'not a URL'],
    ['is elsewhere than on the web', {}, { kind: 'bearer', realm: 'file:///etc/passwd' }, {}, 'UPSTREAM_FAILED', 'expected https'],
  ])('a realm that %s leaves the question open', async (_, options, auth, how, code, message) => {
    const { fake, client } = await start(auth, options);
    fake.misbehave({ kind: 'token' }, how);
    await expect(client.getManifest(PATH, 'latest')).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it('access_token will do', async () => {
    const { fake, client } = await start({ kind: 'bearer' });
    fake.misbehave({ kind: 'token' }, { status: 200, body: '{"access_token":"abc"}' });
    await client.getManifest(PATH, 'latest');
    expect(said(fake).at(-1)).toEqual(['manifest', 'Bearer abc']);
  });

  it('is preferred to Basic', async () => {
    const { fake, client } = await start({ kind: 'bearer', login: LOGIN }, { login: LOGIN });
    fake.misbehave({ kind: 'manifest' }, { status: 401, headers: { 'www-authenticate': `Basic realm="x", Bearer realm="${fake.url}/token"` } }, 1);
    expect(await client.getManifest(PATH, 'latest')).toBeDefined();
    expect(said(fake).at(-1)).toEqual(['manifest', 'Bearer token-1']);
  });
});

it('an upstream on https does not get us to talk to a realm in the clear', async () => {
  const asked: URL[] = [];
  const login = credentials({ host: 'registry.test', protocol: 'https:', username: LOGIN.username, password: new Secret(LOGIN.password) }, {
    nowMs: () => 0,
    fetchToken: async (url) => {
      asked.push(url);
      return { status: 200, bytes: Buffer.from('{"token":"abc"}') };
    },
  });
  const challenge = (realm: string): ReturnType<typeof parseChallenges> => parseChallenges(`Bearer realm="${realm}"`);
  const { signal } = new AbortController();
  await expect(login.answer(challenge('http://auth.test/token'), PATH, undefined, signal)).rejects.toThrow('names a token realm on http://auth.test: expected https');
  expect(asked).toEqual([]);
  expect(await login.answer(challenge('https://auth.test/token'), PATH, undefined, signal)).toBe('Bearer abc');
});

it('several scopes are asked for one by one', async () => {
  const asked: string[] = [];
  const login = credentials({ host: 'registry.test', protocol: 'https:', username: undefined, password: undefined }, {
    nowMs: () => 0,
    fetchToken: async (url) => {
      asked.push(url.search);
      return { status: 200, bytes: Buffer.from('{"token":"abc"}') };
    },
  });
  await login.answer(parseChallenges('Bearer realm="https://auth.test/token?a=b",scope="repository:x:pull repository:y:pull"'), PATH, undefined, new AbortController().signal);
  expect(asked).toEqual(['?a=b&scope=repository%3Ax%3Apull&scope=repository%3Ay%3Apull']);
});

it('no secret is in what is told of a failure', async () => {
  const { client, told } = await start({ kind: 'bearer', login: { ...LOGIN, password: 'other' } }, { login: LOGIN });
  const error: unknown = await client.getManifest(PATH, 'latest').catch((thrown: unknown) => thrown);
  const text = inspect([error, told, client], { depth: Infinity, showHidden: true });
  expect(text).toContain('UPSTREAM_FAILED');
  for (const secret of [LOGIN.password, BASIC.slice('Basic '.length)]) expect(text).not.toContain(secret);
});
