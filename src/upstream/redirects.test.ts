import { afterEach, beforeEach, expect, it } from 'vitest';
import { fakeUpstream, type FakeUpstream, type Misbehaviour } from '../../test/support/fake-upstream.ts';
import { clientOf, drain } from '../../test/support/upstream-client.ts';
import type { Digest } from '../oci/digest.ts';
import type { Answer } from '../drivers/exchange.ts';
import { follow } from './redirects.ts';
import type { Upstream } from './upstream.ts';

const PATH = 'org/app';
const LOGIN = { username: 'ci', password: 'hunter2' };

/** A registry that wants a login, and the storage it sends clients to, with the same content. */
let front: FakeUpstream;
let storage: FakeUpstream;
let client: Upstream;
let digest: Digest;
let bytes: Buffer;

beforeEach(async () => {
  front = await fakeUpstream({ auth: { kind: 'basic', ...LOGIN } });
  storage = await fakeUpstream({ content: front.content });
  client = clientOf(front.url, { login: LOGIN }).client;
  const image = front.content.addImage(PATH, { tag: 'latest', layers: [200_000] });
  ({ digest, bytes } = image.layers[0]!);
  await client.headManifest(PATH, 'latest'); // from here on the login is said at once
});
afterEach(() => Promise.all([client.close(), front.close(), storage.close()]));

const authorizations = (fake: FakeUpstream): unknown[] => fake.requests.map(({ headers }) => headers.authorization !== undefined);

it('a blob elsewhere is fetched without credentials, from the offset asked for', async () => {
  front.misbehave({ kind: 'blob' }, { redirectTo: storage.url });
  const blob = await client.getBlob(PATH, digest, { start: 150_000 });
  expect((await drain(blob!.body)).bytes.equals(bytes.subarray(150_000))).toBe(true);
  expect(front.requests.at(-1)?.headers.authorization).toBeDefined();
  expect(authorizations(storage)).toEqual([false]);
});

it('a manifest elsewhere is fetched without credentials', async () => {
  front.misbehave({ kind: 'manifest' }, { redirectTo: storage.url });
  expect(await client.getManifest(PATH, 'latest')).toEqual(await clientOf(storage.url).client.getManifest(PATH, 'latest'));
  expect(authorizations(storage)).toEqual([false, false]);
});

it('within the upstream credentials stay', async () => {
  front.misbehave({ kind: 'blob' }, { redirectTo: '' }, 1);
  expect(await client.headBlob(PATH, digest)).toEqual({ size: bytes.length });
  expect(authorizations(front).slice(-2)).toEqual([true, true]);
});

it('on the way back home credentials are gone', async () => {
  front.misbehave({ kind: 'blob' }, { redirectTo: storage.url }, 1);
  storage.misbehave({ kind: 'blob' }, { redirectTo: front.url }, 1);
  await expect(client.headBlob(PATH, digest)).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining('answered 401') });
  expect(authorizations(front).slice(-2)).toEqual([true, false]);
});

it('a challenge elsewhere is not answered', async () => {
  const other = await fakeUpstream({ content: front.content, auth: { kind: 'basic', ...LOGIN } });
  front.misbehave({ kind: 'blob' }, { redirectTo: other.url });
  await expect(client.getBlob(PATH, digest)).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining('answered 401') });
  expect(authorizations(other)).toEqual([false]);
  await other.close();
});

it('storage that does not have the blob answers for the registry, one that refuses leaves the question open', async () => {
  front.misbehave({ kind: 'blob' }, { redirectTo: storage.url });
  storage.misbehave({ kind: 'blob' }, { status: 404 }, 1);
  expect(await client.getBlob(PATH, digest)).toBeUndefined();
  storage.misbehave({ kind: 'blob' }, { status: 403 }, 1);
  await expect(client.getBlob(PATH, digest)).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining('answered 403') });
});

it('limits that storage states are not the upstream\'s', async () => {
  front.misbehave({ kind: 'blob' }, { redirectTo: storage.url });
  storage.misbehave({ kind: 'blob' }, { status: 429, headers: { 'retry-after': '9' } });
  await expect(client.headBlob(PATH, digest)).rejects.toMatchObject({ code: 'TOOMANYREQUESTS', retryAfterSeconds: 9 });
  expect(await client.headManifest(PATH, 'latest')).toBeDefined();
});

it.each<[string, Misbehaviour, string]>([
  ['forever', { redirectTo: '' }, 'redirected more than 5 times'],
  ['nowhere', { status: 302 }, 'without a Location'],
  ['to nonsense', { status: 302, headers: { location: 'http://[' } }, 'not a URL'],
  ['off the web', { status: 302, headers: { location: 'ftp://files.test/blob' } }, 'to ftp:'],
])('redirected %s', async (_, how, message) => {
  const before = front.requests.length;
  front.misbehave({ kind: 'blob' }, how);
  await expect(client.getBlob(PATH, digest)).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining(message) });
  expect(front.requests.length - before).toBe('redirectTo' in how ? 6 : 1);
});

it.each<[string, string, string | undefined]>([
  ['http://a.test/x', 'https://a.test/x', undefined],
  ['https://a.test/x', 'http://a.test/x?signature=secret', 'redirected from https to plain http://a.test'],
])('from %s to %s', async (from, to, refused) => {
  const answer = (status: number, location?: string): Answer => ({ status, headers: { location }, body: { discard: () => undefined } as Answer['body'] /* not read */ });
  const asked: string[] = [];
  const followed = follow({ method: 'GET', url: new URL(from), headers: {}, authorization: 'Basic x' }, async ({ url, headers }) => {
    asked.push(`${url.href} ${headers['authorization'] ?? 'nothing'}`);
    return url.href === from ? answer(302, to) : answer(200);
  });
  if (refused === undefined) expect(await followed).toMatchObject({ status: 200, elsewhere: true });
  else await expect(followed).rejects.toThrow(new RegExp(`^${refused}$`));
  expect(asked).toEqual([`${from} Basic x`, ...(refused === undefined ? [`${to} nothing`] : [])]);
});
