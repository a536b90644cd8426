/** Clusters of a real Magnum get registries in a real Keystone and Swift, and lose them; over PostgreSQL. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { VERSION } from '../../src/version.ts';
import { clusterCloud, type ClusterCloud, type Tenant } from '../services/cluster-cloud.ts';
import { Magnum } from '../services/magnum.ts';
import { freePort } from '../services/ports.ts';
import { Postgres } from '../services/postgres.ts';
import { startUmbra } from '../support/umbra.ts';

const openstack = inject('openstack');
const ending = new AsyncDisposableStack();
const logged: string[] = [];
const tokens = new Map<Tenant, string>();
let cloud: ClusterCloud;
let magnum: Magnum;
let url: string;
let owner: Tenant;
let other: Tenant;
let template: string;
let plain: string;

type Document = Readonly<Record<string, unknown>>;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'umbra-adopt-'));
  ending.defer(async () => await rm(folder, { recursive: true }));
  const postgres = ending.use(await Postgres.start());
  cloud = await clusterCloud(openstack, { admin: true });
  magnum = ending.use(await Magnum.start(openstack, cloud.settings.trusteeDomain));
  [owner, other] = [await cloud.tenant(), await cloud.tenant()];
  template = magnum.template();
  plain = magnum.template({ registry_enabled: 0, coe: 'swarm-mode', http_proxy: 'http://proxy.example.org:3128' });
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  await mkdir(join(folder, 'programs'));
  await writeFile(join(folder, 'programs', `umbra-${VERSION}-linux-amd64.tar.gz`), 'a program');
  const { service, trusteeDomain, roles } = cloud.settings;
  const name = (who: { readonly id: string } | { readonly name: string } | undefined): string => (who !== undefined && 'name' in who ? who.name : '');
  const umbra = await startUmbra({
    clusters: {
      address: `127.0.0.1:${port}`, publicUrl: url, database: postgres.url(), encryptionKey: 'k'.repeat(40), programs: join(folder, 'programs'),
      keystone: { url: openstack.authUrl, username: name(service.user), password: service.password.reveal(), project: name(service.project) },
      trusteeDomain: { name: name(trusteeDomain?.domain), adminUsername: trusteeDomain?.admin, adminPassword: trusteeDomain?.password.reveal() },
      serviceProject: 'nodes', roles: { node: roles.node },
      adopt: { magnumUrl: magnum.url, interval: '1s' },
    },
  }, { log: (line) => void logged.push(line) });
  ending.defer(async () => await umbra.close());
});
afterAll(async () => await ending.disposeAsync());

async function call(who: Tenant, method: string, path: string): Promise<Response> {
  const token = tokens.get(who) ?? (await who.token());
  tokens.set(who, token);
  return await fetch(`${url}/v1/${path}`, { method, headers: { 'x-auth-token': token, 'openstack-api-version': 'container-infra latest' } });
}

async function show(who: Tenant, uuid: string): Promise<Document> {
  const answer = await call(who, 'GET', `clusters/${uuid}`);
  return answer.status === 404 ? { status: 'gone' } : ((await answer.json()) as Document); // the API's
}

async function becomes(who: Tenant, uuid: string, wanted: Document): Promise<void> {
  await expect.poll(async () => await show(who, uuid), { timeout: 90_000, interval: 100 }).toMatchObject(wanted);
}

/** Waits until that many more complaints are in the log. */
async function complains(about: RegExp): Promise<void> {
  const count = (): number => logged.filter((line) => about.test(line)).length;
  const before = count();
  await expect.poll(count, { timeout: 90_000, interval: 50 }).toBeGreaterThan(before + 1);
}

/** What a node of the cluster is given. */
async function credentialOf(who: Tenant, uuid: string): Promise<{ readonly words: Readonly<Record<string, string>>; readonly script: string }> {
  const script = await (await call(who, 'GET', `clusters/${uuid}/artifacts?role=worker&format=shell`)).text();
  const token = /umbra-token-[A-Za-z0-9_-]{43}/.exec(script)?.[0];
  const answer = await fetch(`${url}/v1/bootstrap`, { method: 'POST', body: JSON.stringify({ token, node: { name: 'node-1', role: 'worker', arch: 'amd64', version: VERSION } }) });
  expect(answer.status).toBe(200);
  return { words: ((await answer.json()) as { readonly credential: Readonly<Record<string, string>> }).credential, script }; // bootstrap-wire.ts
}

/** What Swift answers to whoever has it. */
async function opens({ userId, password, projectId }: Readonly<Record<string, string>>, account: string, container: string): Promise<number> {
  const login = await fetch(`${openstack.authUrl}/auth/tokens`, { method: 'POST', body: JSON.stringify({ auth: { identity: { methods: ['password'], password: { user: { id: userId, password } } }, scope: { project: { id: projectId } } } }), headers: { 'content-type': 'application/json' } });
  const token = login.headers.get('x-subject-token');
  return token === null ? login.status : (await fetch(`${openstack.swiftOrigin}/v1/AUTH_${account}/${container}`, { headers: { 'x-auth-token': token } })).status;
}

test('of all clusters of Magnum those with the flag get a registry; the credential of one opens its container and no other', async () => {
  // More than a page of others.
  for (let i = 0; i < 120; i++) magnum.cluster(other, plain, { name: `plain-${i}` });
  const one = magnum.cluster(owner, template, { name: 'one', labels: { registry_port: '5001', kube_tag: 'v1.30' } });
  const two = magnum.cluster(other, plain, { name: 'two', labels: { registry_enabled: 'true', registry_container: 'shared-images' } });
  const bad = magnum.cluster(owner, template, { name: 'bad', labels: { registry_port: '80' } });
  const trusting = magnum.cluster(owner, template, { name: 'trusting', labels: { registry_credential_mode: 'trust' } });

  await becomes(owner, one, { name: 'one', status: 'CREATE_COMPLETE', registry_status: 'ACTIVE', registry_address: 'localhost:5001', registry_container: `registry-${one}`, project_id: owner.projectId, node_count: 2, master_count: 1, labels: { registry_port: '5001', kube_tag: 'v1.30' }, labels_added: { registry_port: '5001', kube_tag: 'v1.30' } });
  await becomes(other, two, { status: 'CREATE_COMPLETE', registry_status: 'ACTIVE', registry_container: 'shared-images' });
  await becomes(owner, bad, { status: 'CREATE_FAILED', registry_status: expect.stringContaining("DEGRADED: Invalid label registry_port, '80'") as string });
  await becomes(owner, trusting, { status: 'CREATE_FAILED', registry_status: expect.stringContaining('needs the token of whoever owns the cluster') as string });
  expect(((await (await call(other, 'GET', 'clusters')).json()) as { readonly clusters: readonly unknown[] }).clusters).toHaveLength(1);

  const { words } = await credentialOf(owner, one);
  expect(await opens(words, owner.projectId, `registry-${one}`)).toBeLessThan(300);
  expect(await opens(words, other.projectId, 'shared-images')).toBe(403);
  expect((await credentialOf(other, two)).script).toContain('proxy.example.org');

  magnum.label(bad, {});
  await becomes(owner, bad, { status: 'CREATE_COMPLETE', registry_status: 'ACTIVE' });
  for (const uuid of [two, bad, trusting]) magnum.remove(uuid);
  for (const [who, uuid] of [[other, two], [owner, bad], [owner, trusting]] as const) await becomes(who, uuid, { status: 'gone' });
  expect(await opens(words, owner.projectId, `registry-${one}`)).toBeLessThan(300);

  const refused = await call(owner, 'DELETE', `clusters/${one}`);
  expect([refused.status, await refused.text()]).toEqual([409, expect.stringContaining('change or delete it there')]);

  magnum.label(one, { registry_write: 'none' });
  await becomes(owner, one, { status: 'UPDATE_COMPLETE', registry_status: 'ACTIVE', registry_address: 'localhost:5000' });
  magnum.remove(one);
  await becomes(owner, one, { status: 'gone' });
  expect(await opens(words, owner.projectId, `registry-${one}`)).toBe(401);
  expect(await cloud.left([owner, other])).toEqual({ users: [], trusts: 0, applicationCredentials: [] });
  expect(await cloud.containers(owner)).toContain(`registry-${one}`);
});

test('nothing is taken away while Magnum is away, or tells of one project alone', async () => {
  const uuid = magnum.cluster(owner, template);
  await becomes(owner, uuid, { status: 'CREATE_COMPLETE', registry_status: 'ACTIVE' });
  const { words } = await credentialOf(owner, uuid);

  await magnum.kill();
  await complains(/those adopted stay as they are.*cannot be reached/);
  await becomes(owner, uuid, { status: 'CREATE_COMPLETE', registry_status: 'ACTIVE' });

  // Magnum then lists what is of the service's own project, which is nothing, and knows no cluster of another.
  await cloud.serviceRole('admin', false);
  await magnum.begin();
  await complains(/those adopted stay as they are.*the role admin in its project/);
  await becomes(owner, uuid, { status: 'CREATE_COMPLETE', registry_status: 'ACTIVE' });
  expect(await opens(words, owner.projectId, `registry-${uuid}`)).toBeLessThan(300);

  await cloud.serviceRole('admin', true);
  magnum.label(uuid, { registry_enabled: 'false' });
  await becomes(owner, uuid, { status: 'gone' });
  expect(await opens(words, owner.projectId, `registry-${uuid}`)).toBe(401);
});
