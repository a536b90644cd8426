/** Key files whose keys take over from each other, and the logins that must outlast it. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeProtectedHeader } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Secret } from '../config/config.ts';
import { parseViewId } from '../oci/name.ts';
import { openKeyFile, type KeyRecord } from './key.ts';
import { rotateKey, type Rotation, type RotationOptions } from './rotate-key.ts';
import { REFRESH_SECONDS, createTokens, type Tokens } from './tokens.ts';

const MINUTE = 60_000;
const START_MS = 1_800_000_000_000;
const CREDENTIAL = new Secret('x');

let folder: string;
let path: string;
let clockMs: number;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'umbra-rotate-'));
  path = join(folder, 'signing.key');
  clockMs = START_MS;
});
afterEach(() => rm(folder, { recursive: true }));

const nowMs = (): number => clockMs;
const silent = { warn: () => undefined, error: () => undefined };
/** A node: it has the file open, and looks at it by itself. */
const node = async (): Promise<Tokens> => createTokens({ keys: await openKeyFile(path, { nowMs, randomBytes, log: silent }), nowMs });
const rotate = (options: Partial<RotationOptions> = {}, file = path): Promise<Rotation> => rotateKey(file, { afterMs: MINUTE, revoke: false, ...options }, { nowMs, randomBytes });
const records = async (): Promise<readonly KeyRecord[]> => (JSON.parse(await readFile(path, 'utf8')) as { keys: KeyRecord[] }).keys;
const access = async (tokens: Tokens): Promise<string> => (await tokens.issueAccess({ subject: 'ci', view: parseViewId('main'), grants: [] })).token;
const refresh = (tokens: Tokens): Promise<string> => tokens.issueRefresh({ name: 'ci', credential: CREDENTIAL });
const kid = (token: string): unknown => decodeProtectedHeader(token).kid;
const verified = async (tokens: Tokens, token: string): Promise<string> => (await tokens.verifyAccess(token)).kind;
const refreshes = async (tokens: Tokens, token: string): Promise<boolean> => (await tokens.verifyRefresh(token))?.matches(CREDENTIAL) === true;

describe('a rotation', () => {
  test('logs nobody out: nodes take it, sign with the new key once its time has come, and verify what the old one signed', async () => {
    const [one, other] = [await node(), await node()];
    const [before, login] = [await access(one), await refresh(one)];
    const rotation = await rotate();
    expect(rotation).toMatchObject({ signsFromMs: START_MS + MINUTE, older: 1 });

    clockMs += MINUTE - 1;
    expect(kid(await access(one))).toBe(kid(before));
    clockMs += 1;
    const after = await access(one);
    expect(kid(after)).toBe(rotation.kid);
    for (const tokens of [one, other, await node()]) {
      expect(await Promise.all([verified(tokens, before), verified(tokens, after), refreshes(tokens, login)])).toEqual(['token', 'token', true]);
    }
  });

  test('keeps the old key until the longest login made with it has ended, and then leaves it out', async () => {
    const tokens = await node();
    await rotate();
    clockMs += MINUTE - 1000;
    const last = await refresh(tokens); // with the old key, in its last second
    clockMs += REFRESH_SECONDS * 1000 - 1000;
    expect(await refreshes(tokens, last)).toBe(true);
    await rotate();
    expect(await refreshes(tokens, last)).toBe(true);
    expect(await records()).toHaveLength(3);
    clockMs += 2 * 3600 * 1000;
    await rotate();
    expect(await records()).toHaveLength(3); // the new, and the two before; the first is gone
  });

  test('before the last one is in force changes nothing of it', async () => {
    const tokens = await node();
    const first = await rotate({ afterMs: MINUTE });
    const second = await rotate({ afterMs: 10 * MINUTE });
    expect(second.older).toBe(2);
    clockMs += MINUTE;
    expect(kid(await access(tokens))).toBe(first.kid);
    clockMs += 9 * MINUTE;
    expect(kid(await access(tokens))).toBe(second.kid);
  });

  test('that revokes ends whatever other keys signed', async () => {
    const tokens = await node();
    const [token, login] = [await access(tokens), await refresh(tokens)];
    expect(await verified(tokens, token)).toBe('token'); // and is kept as verified
    const { kid: only, older, olderEndMs } = await rotate({ revoke: true });
    expect([older, olderEndMs]).toEqual([0, undefined]);
    clockMs += 1000;
    expect(kid(await access(tokens))).toBe(only);
    expect(await Promise.all([verified(tokens, token), refreshes(tokens, login)])).toEqual(['invalid', false]);
  });
});

describe('the file', () => {
  test('keeps its mode, its place behind a link, and members that it was given by hand', async () => {
    await writeFile(path, JSON.stringify({ keys: [{ kty: 'oct', kid: 'hand', k: 'A'.repeat(43), note: 'mine' }] }));
    await chmod(path, 0o640);
    const named = join(folder, 'link');
    await symlink(path, named);
    await rotate({}, named);
    expect((await stat(path)).mode & 0o777).toBe(0o640);
    expect(await records()).toMatchObject([{}, { kid: 'hand', note: 'mine' }]);
    expect(await readdir(folder)).toEqual(['link', 'signing.key']);
  });

  test('is left alone where it cannot be used', async () => {
    await expect(rotate()).rejects.toThrow(`signing key file ${path} cannot be changed: ENOENT`);
    await writeFile(path, '{"keys":[]}');
    await expect(rotate()).rejects.toThrow('it holds no keys');
    expect([await readdir(folder), await readFile(path, 'utf8')]).toEqual([['signing.key'], '{"keys":[]}']);
  });

  test('is changed by one at a time', async () => {
    await node();
    await writeFile(`${path}.new`, '');
    await expect(rotate()).rejects.toThrow(`${path}.new is there: another rotation is at work`);
    expect(await records()).toHaveLength(1);
    await rm(`${path}.new`);
    const outcomes = await Promise.allSettled([rotate(), rotate(), rotate()]);
    expect(await records()).toHaveLength(1 + outcomes.filter(({ status }) => status === 'fulfilled').length);
  });
});
