import { hashSync, verify } from '@node-rs/bcrypt';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Secret, type UserConfig } from '../config/config.ts';
import { openHtpasswd } from './htpasswd.ts';
import { createPasswords } from './password.ts';
import { createUsers, type Users } from './users.ts';

let folder: string;
let path: string;
let clockMs: number;
let logged: string[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'umbra-users-'));
  path = join(folder, 'htpasswd');
  clockMs = 1_000_000;
  logged = [];
});
afterEach(() => rm(folder, { recursive: true }));

const log = { warn: (_: object, message: string): void => void logged.push(message), error: (_: object, message: string): void => void logged.push(message) };
const nowMs = (): number => clockMs;
const hash = (password: string): string => hashSync(password, 4).replace(/^\$2b/, '$2y');
const configured = (name: string, password: string, more: Partial<UserConfig> = {}): UserConfig => ({ name, password: new Secret(password), passwordHash: undefined, access: 'push', ...more });
const replace = async (text: string): Promise<void> => {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
};
async function users(own: readonly UserConfig[], htpasswd?: string): Promise<Users> {
  if (htpasswd !== undefined) await writeFile(path, htpasswd);
  return createUsers({
    configured: own,
    htpasswd: htpasswd === undefined ? undefined : await openHtpasswd(path, { nowMs, log }),
    passwords: createPasswords({ nowMs, randomBytes, verifyBcrypt: verify }),
    log,
  });
}
const level = async (all: Users, name: string, password: string): Promise<unknown> => (await all.check(name, new Secret(password)))?.access;

describe('users', () => {
  test('of the configuration have their level, those of htpasswd push', async () => {
    const all = await users(
      [configured('ci', 'one', { access: 'pull' }), configured('root', '', { password: undefined, passwordHash: new Secret(hash('two')), access: 'admin' })],
      `# made by htpasswd -B\n\ndev:${hash('three')}\r\njürgen:${hash('pässwörd:✓')}\n`,
    );
    expect(await Promise.all([level(all, 'ci', 'one'), level(all, 'root', 'two'), level(all, 'dev', 'three'), level(all, 'jürgen', 'pässwörd:✓')])).toEqual(['pull', 'admin', 'push', 'push']);
    for (const [name, password] of [['ci', 'two'], ['root', 'one'], ['dev', ''], ['', ''], ['nobody', 'one'], ['constructor', 'x'], ['__proto__', 'x']] as const) {
      expect(await level(all, name, password)).toBeUndefined();
    }
    expect([(await all.find('dev'))?.access, await all.find('nobody')]).toEqual(['push', undefined]);
    expect(all.any).toBe(true);
  });

  test('are none where none are configured', async () => {
    expect((await users([])).any).toBe(false);
  });

  test('of the configuration come before those of htpasswd, and it is said', async () => {
    const all = await users([configured('ci', 'one')], `ci:${hash('two')}\nanonymous:${hash('three')}\n`);
    expect([await level(all, 'ci', 'one'), await level(all, 'ci', 'two'), await level(all, 'anonymous', 'three')]).toEqual(['push', undefined, undefined]);
    expect(logged).toEqual([expect.stringContaining('the first counts'), expect.stringContaining('reserved name')]);
  });

  test('of htpasswd come, change and go with the file', async () => {
    const all = await users([], `dev:${hash('one')}\n`);
    expect(await level(all, 'dev', 'one')).toBe('push');
    await replace(`dev:${hash('two')}\nnew:${hash('three')}\n`);
    clockMs += 1000;
    expect([await level(all, 'dev', 'one'), await level(all, 'dev', 'two'), await level(all, 'new', 'three')]).toEqual([undefined, 'push', 'push']);
    await replace('');
    clockMs += 1000;
    expect([await level(all, 'dev', 'two'), await all.find('new')]).toEqual([undefined, undefined]);
  });

  test('of an htpasswd file that turns bad stay as they were', async () => {
    const all = await users([], `dev:${hash('one')}\n`);
    await replace('dev:{SHA}abc\n');
    clockMs += 1000;
    expect(await level(all, 'dev', 'one')).toBe('push');
    expect(logged).toEqual([expect.stringContaining('the one before stays in force')]);
    await expect(all.reload()).rejects.toThrow('line 1');
  });
});

describe('an htpasswd file stops the start, named with its line', () => {
  test.each([
    ['MD5', 'a:$apr1$x$y', 'line 1: the hash is not bcrypt'],
    ['SHA-1', `ok:${hash('x')}\nb:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=`, 'line 2: the hash is not bcrypt'],
    ['crypt', 'a:rl.3StKT.4T8M', 'line 1: the hash is not bcrypt'],
    ['plain text', 'a:secret', 'line 1: the hash is not bcrypt'],
    ['a cost that bcrypt has not', `a:${hash('x').replace('$04$', '$03$')}`, 'line 1: the hash is not bcrypt'],
    ['no colon', 'just words', 'line 1: expected name:hash'],
    ['no name', `:${hash('x')}`, 'line 1: expected name:hash'],
    ['a name twice', `a:${hash('x')}\na:${hash('x')}`, 'line 2: user "a" stands in the file twice'],
  ])('%s', async (_, text, message) => {
    await writeFile(path, text);
    await expect(openHtpasswd(path, { nowMs, log })).rejects.toThrow(`htpasswd file ${path} cannot be used: ${message}`);
  });
  test('absent', async () => {
    await expect(openHtpasswd(path, { nowMs, log })).rejects.toThrow(`htpasswd file ${path} cannot be read: ENOENT`);
  });
});

describe('a user of the configuration that cannot be stops the start', () => {
  test.each([
    ['a name twice', [configured('a', 'x'), configured('a', 'y')], 'auth.users[1].name "a"'],
    ['a reserved name', [configured('anonymous', 'x')], 'auth.users[0].name "anonymous"'],
    ['a colon in the name', [configured('a:b', 'x')], 'auth.users[0].name "a:b"'],
    ['no password', [configured('a', '', { password: undefined })], 'auth.users[0] has no password'],
    ['an empty password', [configured('a', '')], 'auth.users[0] has no password'],
    ['a hash that is not bcrypt', [configured('a', '', { passwordHash: new Secret('$6$x$y') })], 'auth.users[0].passwordHash of a is not bcrypt'],
  ])('%s', async (_, own, message) => {
    await expect(users(own)).rejects.toThrow(message);
  });
});
