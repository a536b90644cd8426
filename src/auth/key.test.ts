import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { macOf, openKeyFile, type Keys } from './key.ts';

let folder: string;
let path: string;
let clockMs: number;
let logged: string[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'umbra-key-'));
  path = join(folder, 'signing.key');
  clockMs = 1_000_000;
  logged = [];
});
afterEach(() => rm(folder, { recursive: true }));

const log = {
  warn: (_: object, message: string): void => void logged.push(`warn: ${message}`),
  error: (fields: { err?: Error }, message: string): void => void logged.push(`error: ${message}: ${fields.err?.message ?? ''}`),
};
const openKeys = (): Promise<Keys> => openKeyFile(path, { nowMs: () => clockMs, randomBytes, log });
const jwk = (kid: string, bytes = 32): object => ({ kty: 'oct', alg: 'HS256', kid, k: randomBytes(bytes).toString('base64url') });
const write = (...keys: unknown[]): Promise<void> => writeFile(path, JSON.stringify({ keys }), { mode: 0o600 });
/** As an operator's tool would: a new file in the place of the old. */
const replace = async (...keys: unknown[]): Promise<void> => {
  await writeFile(`${path}.new`, JSON.stringify({ keys }), { mode: 0o600 });
  await rename(`${path}.new`, path);
};

describe('the key file', () => {
  test('is made on first start, for the owner only, and found by the next', async () => {
    const first = await openKeys();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const again = await openKeys();
    expect(again.signing.kid).toBe(first.signing.kid);
    expect(macOf(again.signing, 'p', 'x')).toBe(macOf(first.signing, 'p', 'x'));
    expect(logged).toEqual([]);
  });

  test('is one and the same for many that start at once, and leaves nothing else behind', async () => {
    const all = await Promise.all(Array.from({ length: 24 }, openKeys));
    expect(new Set(all.map((keys) => macOf(keys.signing, 'p', 'x'))).size).toBe(1);
    expect(await readdir(folder)).toEqual(['signing.key']);
  });

  test('is that of another process which made one in the meantime', async () => {
    const winner = { keys: [jwk('winner')] };
    const keys = await openKeyFile(path, {
      nowMs: () => clockMs,
      log,
      randomBytes(size) { // asked once it is known that there is no file
        writeFileSync(path, JSON.stringify(winner), { mode: 0o600 });
        return randomBytes(size);
      },
    });
    expect(keys.signing.kid).toBe('winner');
    expect(await readdir(folder)).toEqual(['signing.key']);
  });

  test('signs with its first key and finds all', async () => {
    await write(jwk('new'), jwk('old'));
    const keys = await openKeys();
    expect(keys.signing.kid).toBe('new');
    expect(keys.find('old')?.kid).toBe('old');
    expect(keys.find('other')).toBeUndefined();
  });

  test('is warned of when others can read it', async () => {
    await write(jwk('a'));
    await chmod(path, 0o644);
    await openKeys();
    expect(logged).toEqual([expect.stringContaining('can be read by other users')]);
  });

  test.each([
    ['empty', '', 'is not JSON'],
    ['not JSON, and the secret is not repeated', 'c2VjcmV0', 'is not JSON'],
    ['no set', '[]', 'expected a JWK Set'],
    ['no keys', '{"keys":[]}', 'holds no keys'],
    ['another kind of key', '{"keys":[{"kty":"RSA","kid":"a"}]}', 'keys[0].kty'],
    ['another algorithm', JSON.stringify({ keys: [{ ...jwk('a'), alg: 'HS512' }] }), 'keys[0].alg'],
    ['no kid', '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}', 'keys[0].kid'],
    ['not base64url', '{"keys":[{"kty":"oct","kid":"a","k":"c2V jcmV0"}]}', 'keys[0].k'],
    ['a short key', JSON.stringify({ keys: [jwk('a', 31)] }), 'keys[0].k holds 31 bytes'],
    ['a time in words', JSON.stringify({ keys: [{ ...jwk('a'), nbf: 'today' }] }), 'keys[0].nbf'],
    ['an end in words', JSON.stringify({ keys: [{ ...jwk('a'), exp: 'never' }] }), 'keys[0].exp'],
    ['one kid twice', JSON.stringify({ keys: [jwk('a'), jwk('a')] }), 'keys[1].kid'],
  ])('stops the start when it is corrupt: %s', async (_, text, message) => {
    await writeFile(path, text, { mode: 0o600 });
    const problem: unknown = await openKeys().catch((error: unknown) => error);
    expect(String(problem)).toContain(path);
    expect(String(problem)).toContain(message);
    expect(String(problem) + String((problem as Error).cause)).not.toContain('c2V'); // any part of a key
    expect(await readFile(path, 'utf8')).toBe(text);
  });

  test('stops the start when it cannot be read or made', async () => {
    path = folder;
    await expect(openKeys()).rejects.toThrow(`signing key file ${folder} cannot be read`);
    path = join(folder, 'absent', 'signing.key');
    await expect(openKeys()).rejects.toThrow(`signing key file ${path} cannot be made: ENOENT`);
  });
});

describe('the times of keys', () => {
  test('say which of them signs, and which still verifies', async () => {
    await write({ ...jwk('next'), nbf: 2000 }, { ...jwk('now'), exp: 3000 }, { ...jwk('past'), exp: 1000 });
    const keys = await openKeys();
    const seen = (): unknown => [keys.signing.kid, ...['next', 'now', 'past'].filter((kid) => keys.find(kid) !== undefined)];
    clockMs = 999_999;
    expect(seen()).toEqual(['now', 'next', 'now', 'past']);
    clockMs = 1_000_000;
    expect(seen()).toEqual(['now', 'next', 'now']);
    clockMs = 2_000_000;
    expect(seen()).toEqual(['next', 'next', 'now']);
    clockMs = 3_000_000;
    expect(seen()).toEqual(['next', 'next']);
  });

  test('leave one that signs where they leave none', async () => {
    await write({ ...jwk('a'), nbf: 2000 }, { ...jwk('b'), nbf: 3000 });
    expect((await openKeys()).signing.kid).toBe('a');
  });
});

describe('rotation', () => {
  test('is noticed by a look that is at most a second old', async () => {
    const old = jwk('old');
    await write(old);
    const keys = await openKeys();
    await replace(jwk('new'), old);
    await keys.refresh();
    expect(keys.signing.kid).toBe('old');
    clockMs += 1000;
    await keys.refresh();
    expect(keys.signing.kid).toBe('new');
    expect(keys.find('old')).toBeDefined();
    expect(keys.version).toBe(2);
  });

  test('to a corrupt or missing file leaves the keys in force, said once', async () => {
    await write(jwk('old'));
    const keys = await openKeys();
    await replace('nonsense');
    for (let look = 0; look < 3; look++) {
      clockMs += 1000;
      await keys.refresh();
    }
    expect(keys.signing.kid).toBe('old');
    expect(logged).toEqual([expect.stringMatching(/^error: changed signing key file cannot be used.*keys\[0\] is not an object/)]);
    await rm(path);
    clockMs += 1000;
    await keys.refresh();
    expect(logged[1]).toContain('ENOENT');
    await write(jwk('new'));
    clockMs += 1000;
    await keys.refresh();
    expect(keys.signing.kid).toBe('new');
  });

  test('by reload takes the file now, and rejects where it is corrupt', async () => {
    await write(jwk('old'));
    const keys = await openKeys();
    await replace(jwk('new'));
    await keys.reload();
    expect(keys.signing.kid).toBe('new');
    await replace();
    await expect(keys.reload()).rejects.toThrow('holds no keys');
    expect(keys.signing.kid).toBe('new');
  });
});
