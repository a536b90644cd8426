/** Logins by a Keystone on a socket that counts, waits, fails and goes away. What the real one says: keystone.store.test.ts. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Secret, type KeystoneConfig } from '../../config/config.ts';
import { createKeystone, type Keystone } from './keystone.ts';
import { parseLogin } from './login-name.ts';

const PASSWORD = 'pw: of the user';
const PERSON = { user: { id: 'u1', name: 'joe', domain: { id: 'default', name: 'Default' } }, project: { id: 'p1', name: 'images', domain: { id: 'default', name: 'Default' } }, roles: [{ id: 'r', name: 'member' }] };

let server: Server;
let clockMs: number;
let asked: { readonly identity: { readonly password?: { readonly user: { readonly password: string } } } }[];
let answer: (response: ServerResponse, right: boolean) => void;
let logged: string[];
let hangUp: AbortController;
let keystone: Keystone;
const opened: Keystone[] = [];

const honest = (response: ServerResponse, right: boolean, token: unknown = PERSON): void =>
  void response.writeHead(right ? 201 : 401, right ? { 'x-subject-token': 't' } : {}).end(JSON.stringify(right ? { token } : { error: { code: 401, message: 'The request you have made requires authentication.' } }));

beforeEach(async () => {
  [asked, logged, answer, clockMs] = [[], [], honest, 1_800_000_000_000];
  hangUp = new AbortController();
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const { auth } = JSON.parse(body) as { readonly auth: (typeof asked)[number] }; // what askWho sends
      asked.push(auth);
      answer(response, auth.identity.password?.user.password === PASSWORD);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  keystone = open();
});
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  server.closeAllConnections();
  server.close();
});

function open(change: Partial<KeystoneConfig> = {}): Keystone {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`; // not a pipe
  const rules: KeystoneConfig['rules'] = [
    { where: new Map([['project', ['images']], ['projectDomain', ['Default']], ['domain', ['Default']], ['role', ['member', 'admin']]]), names: ['*'], views: undefined, may: ['pull', 'push'] },
    { where: new Map([['user', ['jo*']], ['domain', ['Default']]]), names: ['*'], views: undefined, may: ['pull'] },
  ];
  const log = { warn: () => undefined, error: (_: object, message: string) => void logged.push(message) };
  const made = createKeystone({ url, ca: undefined, insecure: false, cacheForMs: 60_000, domain: 'Default', rules, ...change }, { nowMs: () => clockMs, randomBytes, log, deadline: () => hangUp.signal });
  opened.push(made);
  return made;
}

/** The user and the actions of the grants, or the problem. */
async function outcome(name = 'joe/images', password = PASSWORD, by = keystone): Promise<string> {
  const login = await by.check(name, new Secret(password));
  expect(JSON.stringify(login)).not.toContain(password);
  if (login.kind === 'user') return `${login.user.name} ${(login.user.access as readonly { readonly actions: number }[]).map(({ actions }) => actions).join('+')}`; // grants
  return login.undecided === undefined ? login.problem : `${login.undecided.code} ${login.undecided.retryAfterSeconds}: ${(login.undecided.cause as Error).message}`;
}
const IN = 'keystone:joe@Default/images 3+1';
const WRONG = 'wrong user name, project or password';

describe('a name', () => {
  const domain = (name: string): object => ({ name });
  test.each<[string, object]>([
    ['joe', { user: 'joe', domain: domain('Default'), project: undefined }],
    ['joe@users', { user: 'joe', domain: domain('users'), project: undefined }],
    ['joe/images', { user: 'joe', domain: domain('Default'), project: { name: 'images', domain: domain('Default') } }],
    ['joe@users/images', { user: 'joe', domain: domain('users'), project: { name: 'images', domain: domain('users') } }],
    ['joe@users/images@cloud', { user: 'joe', domain: domain('users'), project: { name: 'images', domain: domain('cloud') } }],
    ['joe@example.org@users/a/b', { user: 'joe@example.org', domain: domain('users'), project: { name: 'a/b', domain: domain('users') } }],
    ['@joe', { user: '@joe', domain: domain('Default'), project: undefined }],
  ])('%s', (name, expected) => {
    const password = new Secret('x');
    expect(parseLogin(name, password, 'Default')).toEqual({ kind: 'password', password, ...expected });
  });

  test('of 32 hex digits is the id of an application credential', async () => {
    answer = (response) => honest(response, true);
    expect(await outcome('0123456789abcdef0123456789abcdef')).toBe(IN);
    expect(asked).toEqual([{ identity: { methods: ['application_credential'], application_credential: { id: '0123456789abcdef0123456789abcdef', secret: PASSWORD } } }]);
  });
});

describe('a login', () => {
  test('is asked about once a minute, by many at once too; the password is part of it', async () => {
    expect(new Set(await Promise.all(Array.from({ length: 20 }, () => outcome())))).toEqual(new Set([IN]));
    clockMs += 59_999;
    expect(await outcome()).toBe(IN);
    expect(asked).toHaveLength(1);
    expect(await outcome('joe/images', 'another')).toBe(WRONG);
    expect(asked).toHaveLength(2);
    clockMs += 1;
    await outcome();
    expect(asked).toHaveLength(3);
  });

  test('that was refused is asked about again after ten seconds', async () => {
    for (let n = 0; n < 3; n++) expect(await outcome('joe/images', 'guessed')).toBe(WRONG);
    expect(asked).toHaveLength(1);
    clockMs += 10_000;
    answer = (response) => honest(response, true);
    expect(await outcome('joe/images', 'guessed')).toBe(IN);
  });

  test('is asked about each time where nothing is to be kept', async () => {
    const fresh = open({ cacheForMs: 0 });
    for (const password of [PASSWORD, 'guessed', PASSWORD, 'guessed']) await outcome('joe/images', password, fresh);
    expect(asked).toHaveLength(4);
  });

  test.each<[string, object, string]>([
    ['without the role has what other rules give', { ...PERSON, roles: [{ name: 'reader' }] }, 'keystone:joe@Default/images 1'],
    ['without a project too', { user: PERSON.user }, 'keystone:joe@Default 1'],
    ['to a project of that name in another domain too', { ...PERSON, project: { ...PERSON.project, domain: { name: 'theirs' } } }, 'keystone:joe@Default/images 1'],
    ['of a user of that name in another domain is refused', { ...PERSON, user: { ...PERSON.user, domain: { name: 'theirs' } } }, 'no rule of auth.keystone fits keystone:joe@theirs/images: rules[0] expects another "domain"; rules[1] expects another "domain"'],
  ])('%s', async (_, token, expected) => {
    answer = (response) => honest(response, true, token);
    expect(await outcome()).toBe(expected);
  });
});

describe('a Keystone that does not say is neither a refusal nor a grant', () => {
  test.each<[string, (response: ServerResponse) => void, string, number]>([
    ['fails', (response) => void response.writeHead(500).end(), 'answered 500', 2],
    ['is busy', (response) => void response.writeHead(429).end(), 'answered 429', 2],
    ['sends elsewhere', (response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(), 'answered 302', 2],
    ['is none', (response) => void response.writeHead(404).end('<html>'), 'answered 404', 2],
    ['says yes in other words', (response) => void response.writeHead(200, { 'x-subject-token': 't' }).end('{}'), 'but not as Keystone does', 1],
    ['says yes without a token', (response) => void response.writeHead(200).end(JSON.stringify({ token: PERSON })), 'but not as Keystone does', 1],
    ['hangs up', (response) => void response.destroy(), 'cannot be reached', 1],
    ['does not answer', () => hangUp.abort(new Error('no answer in time')), 'no answer in time', 1],
  ])('where it %s', async (_, does, message, times) => {
    answer = does;
    for (let n = 0; n < 2; n++) expect(await outcome()).toMatch(new RegExp(`^UNAVAILABLE 5: .*${message}`));
    expect(asked).toHaveLength(times); // what it answers to one login says nothing of others
    expect(logged).toEqual(['Keystone cannot be asked: its users cannot log in']);
  });

  test('whoever is known goes on for the rest of a minute, and it is asked again after some seconds', async () => {
    await outcome();
    answer = (response) => void response.destroy();
    expect(await outcome('joe/images', 'other')).toMatch(/^UNAVAILABLE/);
    expect(await outcome()).toBe(IN);
    answer = honest;
    clockMs += 4_999;
    expect(await outcome('joe/images', 'other')).toMatch(/^UNAVAILABLE/);
    clockMs += 1;
    expect(await outcome('joe/images', 'other')).toBe(WRONG);
  });

  test('is asked four things at a time, and a hundred more wait', async () => {
    const held: ServerResponse[] = [];
    let most = 0;
    answer = (response) => {
      held.push(response);
      most = Math.max(most, held.length);
      if (asked.length >= 4) for (const each of held.splice(0)) honest(each, true);
    };
    const outcomes = await Promise.allSettled(Array.from({ length: 110 }, (_, n) => outcome(`joe/images-${n}`)));
    expect(most).toBe(4);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(104);
    expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'TOOMANYREQUESTS' } });
  });
});
