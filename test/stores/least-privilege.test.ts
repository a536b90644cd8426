/**
 * The least that a user of Swift may need, as docs/swift.md says it: a role that means nothing to Swift, in the project
 * of the container, and an ACL on that one container. Each row of its table is tried, then the driver with it.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { Secret, type SwiftStorage } from '../../src/config/config.ts';
import type { Driver } from '../../src/drivers/driver.ts';
import { rawSwift, type RawSwift } from '../../src/drivers/swift/swift.fixture.ts';
import type { OpenStackAuth } from '../../src/openstack/auth.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { openStackSession, type OpenStackSession } from '../../src/openstack/session.ts';
import { openStore, type StorageDeps } from '../../src/storage.ts';
import { systemTimers } from '../../src/workers/timers.ts';
import { openKeystone, type Keystone, type MadeUser } from '../services/keystone.ts';
import { freshContainer } from '../services/openstack.ts';
import { fakeUpstream, type FakeUpstream } from '../support/fake-upstream.ts';
import { get, pushImage, type Pushed } from '../support/push.ts';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';

const service = inject('openstack');
const container = freshContainer('acl');
const TEMP_URL_KEY = randomBytes(16).toString('hex');
const hidden = (text: string): Secret => new Secret(text);

let keystone: Keystone;
let owner: RawSwift;
let user: MadeUser;
let role: { readonly id: string; readonly name: string };
let session: OpenStackSession;

beforeAll(async () => {
  keystone = await openKeystone(service);
  owner = rawSwift(service);
  [user, role] = [await keystone.user(), await keystone.role()];
  await keystone.grant(user.id, service.projectId, role);
  const acl = `${service.projectId}:${user.id}`;
  await make(container, { 'x-container-read': acl, 'x-container-write': acl, 'x-container-meta-temp-url-key': TEMP_URL_KEY, 'x-container-meta-quota-bytes': '100000000' });
  await make(`${container}/there`, {}, 'bytes');
  session = openStackSession({
    auth: passwordAuth(), region: undefined, interface: 'public', ca: undefined, insecure: false, nowMs: Date.now, random: Math.random,
    retries: { run: async (_, attempt) => await attempt(AbortSignal.timeout(60_000)) }, failed: (_, message) => new Error(message),
  });
});
afterAll(async () => {
  await session.close();
  await owner.remove(container);
  await owner.close();
  await keystone[Symbol.asyncDispose]();
});

/** By the owner of the account. */
async function make(path: string, headers: Record<string, string> = {}, body = ''): Promise<void> {
  const answer = await owner.fetch(path, { method: 'PUT', headers, body });
  if (answer.status !== 201) throw new Error(`PUT ${path}: ${answer.status}`);
}

function passwordAuth(): OpenStackAuth {
  const domain = { name: service.domain };
  return { kind: 'password', url: service.authUrl, user: { name: user.name, domain }, password: hidden(user.password), project: { name: service.project, domain } };
}

async function call(method: string, path: string, headers: Record<string, string> = {}, body?: string): Promise<Response> {
  const { url, token } = await session.access();
  return await fetch(`${url}${path}`, { method, headers: { 'x-auth-token': token, ...headers }, ...(body === undefined ? {} : { body }) });
}

describe('with a role that Swift does not know and an ACL on the container, a user', () => {
  test.each<[string, string, () => string, number, Record<string, string>?, string?]>([
    ['may look at the container', 'HEAD', () => `/${container}`, 204],
    ['may list it', 'GET', () => `/${container}?prefix=the`, 200],
    ['may write', 'PUT', () => `/${container}/mine`, 201, {}, 'mine'],
    ['may read', 'GET', () => `/${container}/there`, 200],
    ['may read the newest', 'GET', () => `/${container}/there`, 200, { 'x-newest': 'true' }],
    ['may change metadata of an object', 'POST', () => `/${container}/mine`, 202, { 'x-object-meta-a': 'b' }],
    ['may copy within the container', 'PUT', () => `/${container}/copy`, 201, { 'x-copy-from': `/${container}/mine` }, ''],
    ['may write a segment', 'PUT', () => `/${container}/segment`, 201, {}, 's'.repeat(1000)],
    ['may make a large object of it', 'PUT', () => `/${container}/large?multipart-manifest=put`, 201, {}, 'MANIFEST'],
    ['may read a large object', 'GET', () => `/${container}/large`, 200],
    ['may delete a large object with its segments', 'DELETE', () => `/${container}/large?multipart-manifest=delete`, 200],
    ['may delete', 'DELETE', () => `/${container}/copy`, 204],
    ['may delete many', 'POST', () => '?bulk-delete', 200, { 'content-type': 'text/plain', accept: 'application/json' }, 'BULK'],
    ['may not list the account', 'GET', () => '', 403],
    ['may not look at the account', 'HEAD', () => '', 403],
    ['may not make a container', 'PUT', () => '/umbra-another', 403, {}, ''],
    ['may not change the container: its ACL', 'POST', () => `/${container}`, 403, { 'x-container-read': '.r:*' }, ''],
    ['may not change the container: a TempURL key', 'POST', () => `/${container}`, 403, { 'x-container-meta-temp-url-key': 'x' }, ''],
    ['may not change the container: a quota', 'POST', () => `/${container}`, 403, { 'x-container-meta-quota-bytes': '1' }, ''],
    ['may not delete the container', 'DELETE', () => `/${container}`, 403],
  ])('%s', async (_name, method, path, status, headers = {}, body?) => {
    const text = body === 'MANIFEST' ? JSON.stringify([{ path: `/${container}/segment` }]) : body === 'BULK' ? `/${container}/mine\n` : body;
    const answer = await call(method, path(), headers, text);
    const said = await answer.text();
    expect(answer.status).toBe(status);
    if (body === 'BULK') expect(JSON.parse(said)).toMatchObject({ 'Number Deleted': 1, Errors: [] });
  });

  test('does not see the TempURL key, nor another container', async () => {
    expect((await call('HEAD', `/${container}`)).headers.get('x-container-meta-temp-url-key')).toBeNull();
    const other = freshContainer('other');
    await make(other);
    expect([(await call('GET', `/${other}`)).status, (await call('PUT', `/${other}/x`, {}, 'x')).status]).toEqual([403, 403]);
    await owner.remove(other);
  });

  test('may sign with the key that it was told', async () => {
    const { publicUrl } = await session.access();
    const url = `${publicUrl}/${container}/there`;
    const expires = Math.floor(Date.now() / 1000) + 300;
    const signature = createHmac('sha256', TEMP_URL_KEY).update(`GET\n${expires}\n${new URL(url).pathname}`).digest('hex');
    expect(await (await fetch(`${url}?temp_url_sig=${signature}&temp_url_expires=${expires}`)).text()).toBe('bytes');
  });

  test('is told that the container is full where the owner set a quota', async () => {
    expect((await owner.fetch(container, { method: 'POST', headers: { 'x-container-meta-quota-bytes': '10' } })).status).toBe(204);
    expect((await call('PUT', `/${container}/much`, {}, 'x'.repeat(1000))).status).toBe(413);
    expect((await owner.fetch(container, { method: 'POST', headers: { 'x-container-meta-quota-bytes': '100000000' } })).status).toBe(204);
  });
});

const deps: StorageDeps = {
  threads: 4, nowMs: Date.now, timers: systemTimers, memoryBytes: 64 * 1024 * 1024, report: () => undefined,
} as StorageDeps; // what a store without a disk needs

function storage(auth: OpenStackAuth, other: Partial<SwiftStorage> = {}): SwiftStorage {
  return {
    driver: 'swift', container, account: undefined, prefix: 'umbra/', region: undefined, interface: 'public', auth, segmentBytes: 1024 * 1024, tempUrlKey: hidden(TEMP_URL_KEY),
    redirect: 'always', ca: undefined, insecure: false, disk: undefined, ...other,
  };
}

/** Everything that a registry does with a store. */
async function use(driver: Driver): Promise<void> {
  await driver.put('a/small', Buffer.from('small'));
  expect((await driver.get('a/small'))?.bytes.toString()).toBe('small');
  const bytes = randomBytes(3 * 1024 * 1024);
  const appender = await driver.assemblies.append(driver.assemblies.create('uploads/u'));
  await appender.write(bytes);
  await driver.assemblies.complete(await appender.finish(), 'a/large');
  const source = await driver.open('a/large');
  const read: Buffer[] = [];
  for await (const chunk of source?.stream({ start: 0, end: bytes.length - 1 }) ?? []) read.push(chunk);
  await source?.close();
  expect(Buffer.concat(read).equals(bytes)).toBe(true);
  const where = await driver.redirect?.('a/large');
  expect(where).toBeDefined();
  expect((await (await fetch(where ?? '')).arrayBuffer()).byteLength).toBe(bytes.length);
  const listed: string[] = [];
  for await (const { key } of driver.list('a/')) listed.push(key);
  expect(listed).toEqual(['a/large', 'a/small']);
  await driver.delete(['a/small', 'a/large']);
  expect(await driver.head('a/large')).toBeUndefined();
}

describe('the driver works for', () => {
  test.each<[string, () => OpenStackAuth | Promise<OpenStackAuth>]>([
    ['the user with the ACL', passwordAuth],
    ["the user's application credential", async () => {
      const { id, secret } = await keystone.applicationCredential(user, service.projectId);
      return { kind: 'application-credential', url: service.authUrl, credential: { id }, secret: hidden(secret) };
    }],
    ['another that the user lent the role to, by a trust', async () => {
      const trustee = await keystone.user();
      const { id } = await keystone.trust(user, trustee.id, service.projectId, [{ name: role.name }]);
      return { kind: 'trust', url: service.authUrl, user: { id: trustee.id }, password: hidden(trustee.password), trustId: hidden(id) };
    }],
  ])('%s', async (_name, auth) => {
    const driver = await openStore(storage(await auth()), undefined, deps);
    try {
      await use(driver);
    } finally {
      await driver.close();
    }
  });

  test('nobody where the container is missing: the start says so', async () => {
    const missing = freshContainer('missing');
    const driver = await openStore(storage(passwordAuth(), { container: missing }), undefined, deps);
    // As the server does before it listens.
    await expect(driver.check()).rejects.toThrow(new RegExp(`container ${missing}.*403.*user "${user.name}"`));
    await driver.close();
  });
});

describe('a user of another project, whom the ACL names', () => {
  const [account] = new URL(service.accountUrl).pathname.split('/').slice(-1);
  const theirs = freshContainer('shared');
  let auth: OpenStackAuth;

  beforeAll(async () => {
    const [stranger, project] = [await keystone.user(), await keystone.project()];
    await keystone.grant(stranger.id, project.id, 'member');
    const acl = `${project.id}:${stranger.id}`;
    await make(theirs, { 'x-container-read': acl, 'x-container-write': acl, 'x-container-meta-temp-url-key': TEMP_URL_KEY });
    auth = { kind: 'password', url: service.authUrl, user: { id: stranger.id }, password: hidden(stranger.password), project: { id: project.id } };
  });
  afterAll(() => owner.remove(theirs));

  test('does with the container what its owner does, where account says whose it is', async () => {
    const driver = await openStore(storage(auth, { container: theirs, account }), undefined, deps);
    try {
      await driver.check();
      await use(driver);
      await driver.put('a/key', Buffer.from('bytes'));
      expect(await owner.names(theirs)).toEqual(['umbra/a/key']);
    } finally {
      await driver.close();
    }
  });

  test('is refused another container of that account', async () => {
    const other = freshContainer('other');
    await make(other);
    const driver = await openStore(storage(auth, { container: other, account }), undefined, deps);
    await expect(driver.check()).rejects.toThrow(new RegExp(`403.*user with id .* may not do this to container ${other} of ${service.accountUrl};`));
    await driver.close();
    await owner.remove(other);
  });
});

describe('a node that may only read the images, with a container of its own for what it pulls through', () => {
  const HOST = 'upstream.example.org';
  const [images, cache] = [freshContainer('images'), freshContainer('cache')];
  const stack = new AsyncDisposableStack();
  const lines: string[] = [];
  let upstream: FakeUpstream;
  let writer: TestUmbra;
  let reader: TestUmbra;
  let pushed: Pushed;
  const settings = (name: string, password: string, config: string): object => ({
    driver: 'swift', container: config, auth: { url: service.authUrl, username: name, password, project: service.project },
  });

  beforeAll(async () => {
    const acl = `${service.projectId}:${user.id}`;
    await make(images, { 'x-container-read': acl });
    await make(cache, { 'x-container-read': acl, 'x-container-write': acl });
    for (const made of [images, cache]) stack.defer(() => owner.remove(made));
    upstream = await fakeUpstream();
    stack.defer(() => upstream.close());
    writer = await startUmbra({ storage: settings(service.username, service.password, images) });
    stack.defer(() => writer.close());
    pushed = await pushImage(writer.origin, 'org/app', '1', 'a layer');
    reader = await startUmbra(
      { storage: settings(user.name, user.password, images), upstreamStorage: settings(user.name, user.password, cache), upstreams: { [HOST]: { url: upstream.url } } },
      { log: (line) => lines.push(line) },
    );
    stack.defer(() => reader.close());
  });
  afterAll(() => stack.disposeAsync());

  test('is ready, and says what it is', async () => {
    expect((await fetch(`${reader.origin}/readyz`)).status).toBe(200);
    expect(lines.join('\n')).toContain('storage: read-only');
  });

  test('serves what others push', async () => {
    expect(await get(reader.origin, 'org/app/manifests/1')).toMatchObject({ status: 200, bytes: pushed.bytes });
    expect(await get(reader.origin, `org/app/blobs/${pushed.layer.digest}`)).toMatchObject({ status: 200, bytes: pushed.layer.bytes });
  });

  test('serves what upstream has, and keeps it', async () => {
    const image = upstream.content.addImage('org/up', { tag: '1' });
    expect(await get(reader.origin, `${HOST}/org/up/manifests/1`)).toMatchObject({ status: 200, digest: image.digest });
    const blob = `${HOST}/org/up/blobs/${image.layers[0]?.digest}`;
    expect(await get(reader.origin, blob)).toMatchObject({ status: 200 });
    await expect.poll(async () => (await owner.names(cache, 'blobs/')).length).toBeGreaterThan(0);
    expect(await get(reader.origin, `org/none/manifests/1`)).toMatchObject({ status: 404 });
  });

  test.each<[string, string, () => string, () => RequestInit]>([
    ['an upload', 'POST', () => 'org/app/blobs/uploads/', () => ({})],
    ['a whole blob', 'POST', () => `org/app/blobs/uploads/?digest=${digestOf(Buffer.from('new'))}`, () => ({ body: 'new' })],
    ['a blob to be mounted', 'POST', () => `org/other/blobs/uploads/?mount=${pushed.layer.digest}&from=org/app`, () => ({})],
    ['a tag', 'PUT', () => 'org/app/manifests/2', () => ({ body: new Uint8Array(pushed.bytes), headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' } })],
    ['a deletion', 'DELETE', () => 'org/app/manifests/1', () => ({})],
  ])('refuses %s: 403, with what to do', async (_, method, path, init) => {
    const answer = await fetch(`${reader.origin}/v2/${path()}`, { method, ...init() });
    const body = await answer.json();
    expect([answer.status, body]).toEqual([403, { errors: [{ code: 'DENIED', message: expect.stringMatching(/read-only for this node.*push to a node that may write/) }] }]);
    expect(await get(reader.origin, 'org/app/manifests/1')).toMatchObject({ status: 200 });
  });

  test('can be one by S3 too', async () => {
    const { accessKeyId, secretAccessKey } = await keystone.ec2Credential(user, service.projectId);
    const driver = await openStore({
      driver: 's3', endpoint: service.swiftOrigin, region: service.region, bucket: images, prefix: '', pathStyle: true, redirect: 'never', claims: undefined,
      credentials: { accessKeyId, secretAccessKey: hidden(secretAccessKey) }, ca: undefined, insecure: false, disk: undefined,
    }, undefined, deps);
    try {
      await owner.fetch(`${images}/key`, { method: 'PUT', body: 'bytes' });
      expect((await driver.get('key'))?.bytes.toString()).toBe('bytes');
      for (const write of [() => driver.put('other', Buffer.from('x')), () => driver.delete(['key']), () => driver.check()]) {
        await expect(write()).rejects.toMatchObject({ failure: 'permanent', mayNotWrite: true });
      }
      expect(await driver.head('key')).toBeDefined();
    } finally {
      await driver.close();
    }
  });

  test('says no more than that to the client, and the rest to the log', () => {
    expect(lines.join('\n')).toMatch(new RegExp(`request failed.*Swift answered 403.*container ${images}`));
  });
});

test('without such a container, one that may only read the images is of no use: the start says so', async () => {
  const images = freshContainer('images');
  await make(images, { 'x-container-read': `${service.projectId}:${user.id}` });
  const auth = { url: service.authUrl, username: user.name, password: user.password, project: service.project };
  await expect(startUmbra({ storage: { driver: 'swift', container: images, auth } })).rejects.toThrow(new RegExp(`container ${images}.*403`));
  await owner.remove(images);
});
