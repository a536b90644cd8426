import { hashSync, verify } from '@node-rs/bcrypt';
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { Secret } from '../config/config.ts';
import { createPasswords, isBcrypt, type Passwords, type StoredPassword } from './password.ts';

const HASH = hashSync('hunter2', 4);
const plain = (text: string): StoredPassword => ({ kind: 'plain', secret: new Secret(text) });
const bcrypt = (hash = HASH): StoredPassword => ({ kind: 'bcrypt', secret: new Secret(hash) });

/** Real bcrypt, counted; where it is held back, until let go. */
function setUp(): { passwords: Passwords; compared: string[]; advance: (ms: number) => void; hold: () => () => void } {
  let nowMs = 0;
  let held: Promise<void> = Promise.resolve();
  const compared: string[] = [];
  const passwords = createPasswords({
    nowMs: () => nowMs,
    randomBytes,
    async verifyBcrypt(password, hash) {
      compared.push(hash);
      await held;
      return verify(password, hash);
    },
  });
  const hold = (): (() => void) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    held = promise;
    return resolve;
  };
  return { passwords, compared, advance: (ms) => void (nowMs += ms), hold };
}

describe('a check', () => {
  test.each([
    ['plain, right', plain('hunter2'), 'hunter2', true],
    ['plain, wrong', plain('hunter2'), 'hunter3', false],
    ['plain, a prefix', plain('hunter2'), 'hunter', false],
    ['plain, not ASCII', plain('pässwörd ✓'), 'pässwörd ✓', true],
    ['plain, colons', plain('a:b:'), 'a:b:', true],
    ['bcrypt, right', bcrypt(), 'hunter2', true],
    ['bcrypt, wrong', bcrypt(), 'hunter3', false],
    ['bcrypt, not ASCII', bcrypt(hashSync('pässwörd ✓', 4)), 'pässwörd ✓', true],
    ['bcrypt, as $2y$ (Apache)', bcrypt(HASH.replace(/^\$2b/, '$2y')), 'hunter2', true],
    ['bcrypt, as $2a$', bcrypt(HASH.replace(/^\$2b/, '$2a')), 'hunter2', true],
    ['no such user', undefined, 'hunter2', false],
  ])('%s', async (_, stored, password, expected) => {
    const { passwords } = setUp();
    expect(await passwords.check('ci', new Secret(password), stored, 4)).toBe(expected);
    expect(await passwords.check('ci', new Secret(password), stored, 4)).toBe(expected);
  });
});

describe('the work of a failure does not tell who exists', () => {
  test.each([
    ['nobody has a hash', undefined, [[plain('x'), 0], [undefined, 0]]],
    ['somebody has a hash', 5, [[bcrypt(), 1], [plain('x'), 1], [undefined, 1]]],
  ] as const)('%s', async (_, decoyCost, cases) => {
    for (const [stored, comparisons] of cases) {
      const { passwords, compared } = setUp();
      expect(await passwords.check('ci', new Secret('wrong'), stored, decoyCost)).toBe(false);
      expect(compared).toHaveLength(comparisons);
    }
  });

  test('a decoy is a well-formed hash of the cost, so that comparing takes the whole time', async () => {
    const { passwords, compared } = setUp();
    for (const cost of [4, 5]) {
      await passwords.check('nobody', new Secret('x'), undefined, cost);
      const decoy = compared.at(-1) ?? '';
      expect(isBcrypt(decoy)).toBe(true);
      // What verify would reject at once: bits of salt or digest that stand for nothing, and are not zero.
      expect(decoy).toMatch(new RegExp(`^\\$2b\\$0${cost}\\$.{21}[.Oeu].{30}[.CGKOSWaeimquy26]$`));
    }
  });
});

describe('outcomes of bcrypt', () => {
  test('are kept for a minute, right or wrong', async () => {
    const { passwords, compared, advance } = setUp();
    const check = (password: string): Promise<boolean> => passwords.check('ci', new Secret(password), bcrypt(), 4);
    expect([await check('hunter2'), await check('wrong'), await check('hunter2'), await check('wrong')]).toEqual([true, false, true, false]);
    expect(compared).toHaveLength(2);
    advance(60_000);
    expect([await check('hunter2'), await check('wrong')]).toEqual([true, false]);
    expect(compared).toHaveLength(4);
  });

  test('end with the hash they are about, and belong to one user', async () => {
    const { passwords } = setUp();
    expect(await passwords.check('ci', new Secret('hunter2'), bcrypt(), 4)).toBe(true);
    expect(await passwords.check('ci', new Secret('hunter2'), bcrypt(hashSync('changed', 4)), 4)).toBe(false);
    const { passwords: others, compared } = setUp();
    await others.check('ab', new Secret('c'), bcrypt(), 4);
    await others.check('a', new Secret('bc'), bcrypt(), 4);
    expect(compared).toHaveLength(2);
  });

  test('are shared by checks that come at once', async () => {
    const { passwords, compared, hold } = setUp();
    const release = hold();
    const checks = Array.from({ length: 50 }, () => passwords.check('ci', new Secret('hunter2'), bcrypt(), 4));
    release();
    expect(new Set(await Promise.all(checks))).toEqual(new Set([true]));
    expect(compared).toHaveLength(1);
  });
});

test('two checks run, a hundred wait, more are told to come back', async () => {
  const { passwords, compared, hold } = setUp();
  const release = hold();
  const checks = Array.from({ length: 103 }, (_, i) => passwords.check(`user${i}`, new Secret('x'), undefined, 4));
  await expect(checks[102]).rejects.toMatchObject({ code: 'TOOMANYREQUESTS', retryAfterSeconds: 2 });
  expect(compared).toHaveLength(2);
  release();
  expect(await Promise.all(checks.slice(0, 102))).not.toContain(true);
  expect(compared).toHaveLength(102);
  expect(await passwords.check('ci', new Secret('hunter2'), bcrypt(), 4)).toBe(true);
});
