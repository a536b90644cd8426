/** A new signing key under a running server of two processes: whoever was logged in stays so, on every connection. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { DEBIAN_PATH, run } from '../services/command.ts';
import { RegistryClient } from './registry-client.ts';
import { PROGRAM, Umbra } from './umbra.ts';

const CONNECTIONS = 16;

test('umbra auth rotate-key logs nobody out', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'umbra-rotation-'));
  try {
    await using umbra = await Umbra.start({ dir, config: { workers: 2, auth: { anonymous: 'none', users: [{ name: 'ci', password: 'pw-of-ci', access: 'push' }] } } });
    const ask = async (form: Readonly<Record<string, string>>): Promise<{ readonly token: string; readonly refresh_token?: string }> => {
      const answer = await fetch(`${umbra.url}/auth/token`, { method: 'POST', body: new URLSearchParams({ service: 'umbra', ...form }) });
      expect(answer.status).toBe(200);
      return (await answer.json()) as { readonly token: string; readonly refresh_token?: string }; // the token endpoint's answer
    };
    /** What each of many connections, and so each process, says to a token. */
    const statuses = async (token: string): Promise<ReadonlySet<number>> => new Set(await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
      await using client = new RegistryClient(umbra.url);
      return (await client.call('/v2/', { headers: { authorization: `Bearer ${token}` } })).status;
    })));
    const kid = (token: string): string => (JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { readonly kid: string }).kid; // a token of ours

    const before = await ask({ grant_type: 'password', username: 'ci', password: 'pw-of-ci', access_type: 'offline' });
    const login = { grant_type: 'refresh_token', refresh_token: before.refresh_token ?? '' };
    const printed = await run(PROGRAM, ['auth', 'rotate-key', '-c', umbra.configFile, '--after', '2s', '--json'], { env: { PATH: `${dirname(process.execPath)}:${DEBIAN_PATH}` } });
    const rotation = JSON.parse(printed) as { readonly kid: string; readonly older: number }; // what it prints
    expect(rotation.older).toBe(1);

    let after = await ask(login);
    while (kid(after.token) !== rotation.kid) after = await ask(login); // until its time has come
    expect(await statuses(after.token)).toEqual(new Set([200]));
    expect(await statuses(before.token)).toEqual(new Set([200]));
    expect(kid((await ask(login)).token)).toBe(rotation.kid);
  } finally {
    await rm(dir, { recursive: true });
  }
});
