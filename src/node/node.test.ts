import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { soloGroup } from '../workers/solo.ts';
import type { Timers } from '../workers/timers.ts';
import { FakeService, ID, KEY, TOKEN } from './node.fixture.ts';
import { startNode, type Node } from './node.ts';
import type { Condition } from './membership.ts';

let folder: string;
let service: FakeService;
let nodes: Node[];
let lines: { readonly level: string; readonly message: string; readonly [field: string]: unknown }[];
/** Every wait that began; it ends when the test says so. */
let waits: { readonly ms: number; readonly end: () => void }[];
let waited: PromiseWithResolvers<void>;
let condition: Condition;
let gone: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'umbra-node-'));
  await writeFile(join(folder, 'token'), `${TOKEN}\n`);
  service = await FakeService.start();
  [nodes, lines, waits, waited, condition, gone] = [[], [], [], Promise.withResolvers(), { error: undefined, disk: null }, []];
});
afterEach(async () => {
  for (const node of nodes) await node.close();
  await service[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const timers: Timers = {
  after(ms, task) {
    waits.push({ ms, end: task });
    waited.resolve();
    return () => undefined;
  },
};

/** Ends the wait that is under way, or the next one. @returns its length */
async function pass(): Promise<number> {
  await waited.promise;
  waited = Promise.withResolvers();
  const wait = waits.shift();
  wait?.end();
  return wait?.ms ?? Number.NaN;
}

async function start(url = service.url): Promise<Node> {
  const log = (level: string) => (fields: object, message: string): void => void lines.push({ level, message, ...fields });
  const node = await startNode(
    { clusters: url, ca: undefined, tokenFile: join(folder, 'token'), state: join(folder, 'state'), role: 'worker', storage: 'of then', name: 'node-1' },
    {
      group: soloGroup(timers), timers, log: { info: log('info'), warn: log('warn'), error: log('error') }, random: () => 0.5, version: '1.2.3',
      condition: async () => condition, gone: (why) => void gone.push(why), hashPassword: async (password) => `$2b$10$${password}`,
    },
  );
  nodes.push(node);
  return node;
}

const file = async (name: string): Promise<string> => await readFile(join(folder, 'state', name), 'utf8');
const credential = async (): Promise<unknown> => JSON.parse(await file('credential.json'));

describe('the first start', () => {
  test('exchanges the token for a key and a credential, for nobody else to read', async () => {
    service.pushUser = { name: 'push', password: 'er' };
    await start();
    expect(service.exchanges).toEqual([{ token: TOKEN, node: { name: 'node-1', role: 'worker', arch: expect.stringMatching(/^(amd64|arm64)$/) as string, version: '1.2.3' }, self: { id: expect.any(String) as string, key: expect.stringMatching(/^umbra-node-[\w-]{43}$/) as string } }]);
    expect(await credential()).toEqual({ url: 'https://keystone.example.org/v3', username: 'node', password: 'password-1' });
    expect(await file('users.htpasswd')).toBe('push:$2b$10$er\n');
    for (const name of await readdir(join(folder, 'state'))) expect((await stat(join(folder, 'state', name))).mode & 0o077).toBe(0);
    expect((await readdir(join(folder, 'state'))).toSorted()).toEqual(['credential.json', 'node.json', 'push-user.json', 'users.htpasswd']);
    expect(JSON.parse(await file('push-user.json'))).toEqual({ name: 'push', password: 'er' });
    expect((await stat(join(folder, 'state'))).mode & 0o077).toBe(0);
    for (const secret of [TOKEN, KEY, service.exchanges[0]?.self?.key ?? KEY, 'password-1']) expect(JSON.stringify(lines)).not.toContain(secret);
  });

  test('is the same node when it asks again, since an answer was lost or it was killed', async () => {
    service.next.push({ status: 503 }, { status: 503 });
    const first = start();
    await pass();
    await expect.poll(() => service.exchanges).toHaveLength(2);
    first.catch(() => undefined);
    [waits, waited] = [[], Promise.withResolvers()];
    await start();
    const selves = service.exchanges.map(({ self }) => self);
    expect(selves).toEqual([selves[0], selves[0], selves[0]]);
  });

  test('keeps nothing of a credential that it does not know', async () => {
    const later = { url: 'https://keystone.example.org/v3', username: 'node', password: 'password-1', project: 'p', systemScope: 'all' };
    service.next.push({ status: 200, body: { node: { id: ID, key: KEY }, renewSeconds: 60, generation: 1, credential: later } });
    await start();
    expect(Object.keys((await credential()) as object)).toEqual(['url', 'username', 'password', 'project']);
  });

  test('waits for a service that is away, and says what it waits for', async () => {
    service.next.push({ status: 503, retryAfter: 7 }, { status: 502 }, { status: 429 });
    const starting = start();
    expect([await pass(), await pass(), await pass()]).toEqual([7000, 1500, 3000]);
    await starting;
    expect(lines[0]).toMatchObject({ level: 'warn', message: 'waiting for the cluster service, which has the credential of this node', service: service.url, error: expect.stringContaining('answered 503: told to say 503') as string });
    expect(await credential()).toMatchObject({ password: 'password-1' });
  });

  test('ends with a token that is refused, saying how to get another', async () => {
    service.next.push({ status: 401 });
    await expect(start()).rejects.toThrow(new RegExp(`does not know this node \\(.*answered 401.*\\): get new artifacts of the cluster, put their bootstrap token in ${folder}/token, and restart`));
  });

  test.each([
    ['there is no token', async () => await rm(join(folder, 'token')), 'the bootstrap token cannot be read: ENOENT'],
    ['the token is none', async () => await writeFile(join(folder, 'token'), 'hunter2'), 'token does not hold a bootstrap token'],
    ['something else answers', async () => void service.next.push({ status: 404, body: 'nginx' }), 'answered 404; expected the URL of the cluster service in node.clusters'],
    ['the answer is another', async () => void service.next.push({ status: 200, body: {} }), 'answered, but not as the cluster service does (node: missing)'],
    ['the cluster is deleted', async () => void service.next.push({ status: 410 }), 'is of is deleted'],
    ['the state cannot be written', async () => {
      await writeFile(join(folder, 'state'), '');
    }, 'cannot be used: EEXIST'],
  ])('ends where %s', async (_, spoil, message) => {
    await spoil();
    await expect(start()).rejects.toThrow(message);
  });

  test.each([
    ['lost', async () => await rm(join(folder, 'state', 'credential.json'))],
    ['cut short by the disk', async () => await writeFile(join(folder, 'state', 'credential.json'), '{"url": "https://')],
  ])('needs no token where only the credential was %s', async (_, spoil) => {
    await (await start()).close();
    await spoil();
    await rm(join(folder, 'token'));
    await start();
    expect(service.exchanges).toHaveLength(1);
    expect(service.renewals.map(({ generation }) => generation)).toEqual([0]);
    expect(await credential()).toMatchObject({ password: 'password-1' });
  });
});

describe('a node that has its credential', () => {
  test('starts whatever the service does', async () => {
    await (await start()).close();
    await start('http://127.0.0.1:1');
  });

  test('says how it is, as often as the service wants, more or less', async () => {
    condition = { error: 'swift is\naway', disk: { usedBytes: 1, maxBytes: 2 } };
    await start();
    expect(await pass()).toBe(1000);
    expect(await pass()).toBe(60_000);
    expect(service.renewals[0]).toEqual({ version: '1.2.3', role: 'worker', lastError: 'swift is away', disk: { usedBytes: 1, maxBytes: 2 }, generation: 1, storage: 'of then' });
  });

  test('takes a new one, and tells soon that it has it', async () => {
    service.pushUser = { name: 'push', password: 'er' };
    await start();
    service.pushUser = undefined;
    service.generation = 2;
    await pass();
    expect(await pass()).toBe(2000);
    expect(await credential()).toMatchObject({ password: 'password-2' });
    // Who may push no more.
    expect(await file('users.htpasswd')).toBe('');
    await expect(file('push-user.json')).rejects.toThrow('ENOENT');
    await pass();
    expect(service.renewals.map(({ generation }) => generation)).toEqual([1, 2]);
    expect(lines.at(-1)).toMatchObject({ level: 'info', message: 'this node has a new credential', generation: 2 });
  });

  test('says what it is configured for, and keeps what it has where that is no more', async () => {
    await start();
    service.next.push({ status: 200, body: { renewSeconds: 60, generation: 1, outdated: true } });
    await pass();
    await expect.poll(() => lines.at(-1)?.message).toContain('give it what format=upgrade renders');
    expect([service.renewals[0]?.storage, await credential()]).toEqual(['of then', expect.objectContaining({ password: 'password-1' })]);
  });

  test('asks for another before it starts with a configuration for another storage', async () => {
    await (await start()).close();
    await writeFile(join(folder, 'state', 'node.json'), (await file('node.json')).replace('of then', 'of before'));
    service.generation = 2;
    await start();
    expect(await credential()).toMatchObject({ password: 'password-2' });
    expect(JSON.parse(await file('node.json'))).toMatchObject({ generation: 2, storage: 'of then' });
  });

  test('goes on while the service is away, tells it once, and when it is back', async () => {
    await start();
    service.next.push({ status: 503 }, { status: 503 }, { status: 503 });
    await pass();
    expect([await pass(), await pass(), await pass()]).toEqual([750, 1500, 3000]);
    expect(await pass()).toBe(60_000);
    expect(lines.filter(({ level }) => level === 'warn').map(({ message }) => message)).toEqual(['this node could not renew at the cluster service; it goes on with the credential that it has']);
    expect(lines.at(-1)).toMatchObject({ level: 'info', message: 'the cluster service answers again' });
  });

  test('tells what the store failed with when the service is back', async () => {
    await start();
    service.next.push({ status: 503 });
    condition = { error: 'swift is away', disk: null };
    await pass();
    await expect.poll(() => service.renewals.length).toBe(1);
    condition = { error: undefined, disk: null };
    await pass();
    await pass();
    await expect.poll(() => service.renewals.map(({ lastError }) => lastError)).toEqual(['swift is away', 'swift is away', null]);
  });

  test('keeps it where the service knows the node no more', async () => {
    await start();
    service.next.push({ status: 401 });
    await pass();
    expect(await pass()).toBe(60_000);
    expect(await credential()).toMatchObject({ password: 'password-1' });
    expect(lines.at(-1)).toMatchObject({ level: 'warn', error: expect.stringContaining('get new artifacts of the cluster') as string });
  });

  test('renews no more once its cluster is deleted', async () => {
    const node = await start();
    service.next.push({ status: 410 });
    await pass();
    await expect.poll(() => lines.at(-1)?.message).toContain('the cluster of this node is deleted');
    await node.close();
    expect(waits).toEqual([]);
    expect(gone).toEqual(['the cluster of this node is deleted']);
    expect(await credential()).toMatchObject({ password: 'password-1' });
  });

  test('begins anew with another token, as of another cluster', async () => {
    await (await start()).close();
    [waits, waited] = [[], Promise.withResolvers()];
    const other = `umbra-token-${'o'.repeat(43)}`;
    await writeFile(join(folder, 'token'), other);
    service.generation = 5;
    await start();
    expect(await credential()).toMatchObject({ password: 'password-1' });
    await pass();
    await pass();
    expect(service.exchanges.map(({ token }) => token)).toEqual([TOKEN, other]);
    expect(await credential()).toMatchObject({ password: 'password-5' });
  });

  test.each([401, 410])('goes on by its key where another token is answered %i', async (status) => {
    await start();
    await pass();
    await expect.poll(() => service.renewals).toHaveLength(1);
    await writeFile(join(folder, 'token'), `umbra-token-${'o'.repeat(43)}`);
    service.next.push({ status });
    service.generation = 2;
    await pass();
    await expect.poll(() => service.renewals).toHaveLength(2);
    expect(lines).toContainEqual(expect.objectContaining({ level: 'warn', message: expect.stringContaining('goes on by its key') as string }));
    await pass();
    await expect.poll(() => service.renewals).toHaveLength(3);
    expect([service.exchanges.length, gone, await credential()]).toEqual([2, [], expect.objectContaining({ password: 'password-2' })]);
  });

  test('has its credential back by its key where the token is refused, too', async () => {
    await (await start()).close();
    await rm(join(folder, 'state', 'credential.json'));
    await writeFile(join(folder, 'token'), `umbra-token-${'o'.repeat(43)}`);
    service.next.push({ status: 401 });
    await start();
    expect(await credential()).toMatchObject({ password: 'password-1' });
  });

  test('replaces what is broken of who it is', async () => {
    await (await start()).close();
    [waits, waited] = [[], Promise.withResolvers()];
    await writeFile(join(folder, 'state', 'node.json'), '{');
    await start();
    await pass();
    await pass();
    expect(JSON.parse(await file('node.json'))).toMatchObject({ id: ID, key: KEY, generation: 1 });
  });
});

test('what was half written when a process was killed is taken away, and nothing else', async () => {
  await mkdir(join(folder, 'state'));
  for (const name of [`credential.json.${'0'.repeat(16)}.tmp`, 'kept.tmp']) await writeFile(join(folder, 'state', name), 'x');
  await start();
  expect((await readdir(join(folder, 'state'))).toSorted()).toEqual(['credential.json', 'kept.tmp', 'node.json', 'users.htpasswd']);
});

test('a folder that others may read is closed to them', async () => {
  await mkdir(join(folder, 'state'));
  await chmod(join(folder, 'state'), 0o755);
  await start();
  expect((await stat(join(folder, 'state'))).mode & 0o777).toBe(0o700);
});
