/** A Swift without Keystone: TempAuth, as Debian's own `tempauth` middleware answers it, with images pushed and pulled over it. */
import { Agent, request } from 'undici';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { freshContainer, startTempAuth, type TempAuthSettings } from '../services/openstack.ts';
import { get, pushImage } from '../support/push.ts';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';

const MiB = 1024 * 1024;
const NAME = 'quay.io/without/keystone';

describe('a Swift with TempAuth', () => {
  let tempauth: TempAuthSettings;
  const container = freshContainer('tempauth');
  const ending = new AsyncDisposableStack();
  const lines: string[] = [];

  beforeAll(async () => {
    tempauth = await startTempAuth(inject('openstack'));
  });
  afterAll(async () => ending.disposeAsync());

  function storage(more: object = {}): object {
    const { url, username, password } = tempauth;
    return { driver: 'swift', container, auth: { url, username, password }, ...more };
  }

  async function start(more?: object): Promise<TestUmbra> {
    const umbra = await startUmbra({ storage: storage(more) }, { log: (line) => void lines.push(line) });
    ending.defer(async () => umbra.close());
    return umbra;
  }

  test('serves what was pushed, in segments too, on any node', async () => {
    const [a, b] = [await start(), await start()];
    const pushed = await pushImage(a.origin, NAME, '1', 'layer '.repeat(MiB));
    expect(await get(b.origin, `${NAME}/manifests/1`)).toMatchObject({ status: 200, digest: pushed.digest, bytes: pushed.bytes });
    const layer = await get(b.origin, `${NAME}/blobs/${pushed.layer.digest}`);
    expect([layer.status, digestOf(layer.bytes)]).toEqual([200, pushed.layer.digest]);
    expect((await fetch(`${a.origin}/v2/${NAME}/manifests/${pushed.digest}`, { method: 'DELETE' })).status).toBe(202);
    expect((await get(a.origin, `${NAME}/manifests/1`)).status).toBe(404);
  });

  test('sends clients to it by TempURL, with the key of the container', async () => {
    const a = await start();
    const agent = new Agent();
    ending.defer(async () => agent.close());
    const { url, username, password } = tempauth;
    const login = await request(url, { dispatcher: agent, headers: { 'x-auth-user': username, 'x-auth-key': password } });
    const [account, token] = [String(login.headers['x-storage-url']), String(login.headers['x-auth-token'])];
    const key = 'a key of this container';
    const set = await request(`${account}/${container}`, { method: 'POST', dispatcher: agent, headers: { 'x-auth-token': token, 'x-container-meta-temp-url-key': key } });
    await Promise.all([login.body.dump(), set.body.dump()]);
    expect(set.statusCode).toBe(204);

    const pushed = await pushImage(a.origin, NAME, '2', 'another '.repeat(MiB));
    const redirecting = await start({ redirect: true });
    const sent = await get(redirecting.origin, `${NAME}/blobs/${pushed.layer.digest}`, { redirect: 'manual' });
    expect([sent.status, sent.headers.get('location')?.startsWith(`${account}/${container}/`)]).toEqual([307, true]);
    const followed = await get(redirecting.origin, `${NAME}/blobs/${pushed.layer.digest}`);
    expect(digestOf(followed.bytes)).toBe(pushed.layer.digest);
    for (const secret of [password, key, token]) expect(lines.join('\n')).not.toContain(secret);
  });

  test.each([
    ['a wrong password', () => ({ password: 'wrong' }), /refused.*test:tester|test:tester.*refused/],
    ['a user who may not use the account', () => ({ username: tempauth.guest }), new RegExp(container)],
  ])('%s ends the start, and the error says whose it was', async (_, auth, message) => {
    const { url, username, password } = tempauth;
    await expect(start({ auth: { url, username, password, ...auth() } })).rejects.toThrow(message);
  });
});
