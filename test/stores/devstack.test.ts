/** The DevStack plugin: what it puts into a real Keystone and Swift, that it may do so again, and that it takes all of it back. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { stringify } from 'yaml';
import { VERSION } from '../../src/version.ts';
import { clusterCloud } from '../services/cluster-cloud.ts';
import { run } from '../services/command.ts';
import { openStackClient, type OpenStackClient } from '../services/openstack-client.ts';
import { freePort } from '../services/ports.ts';

const ROOT = join(import.meta.dirname, '../..');
const NODE = join(process.execPath, '..');

let folder: string;
let env: Record<string, string>;
let adminToken: string;
/** Of services, the one of this test. */
let projectId: string;
let client: OpenStackClient;

const plugin = async (command: 'stack' | 'unstack' | 'clean'): Promise<string> =>
  await run(join(ROOT, 'test/services/devstack/run'), [join(ROOT, 'devstack'), command], { env, timeoutMs: 240_000 });

async function adminTokenIn(project: object): Promise<string> {
  const { authUrl, adminPassword } = inject('openstack');
  const identity = { methods: ['password'], password: { user: { name: 'admin', domain: { id: 'default' }, password: adminPassword } } };
  const answer = await fetch(`${authUrl}/auth/tokens`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ auth: { identity, scope: { project } } }) });
  expect(answer.status).toBe(201);
  return answer.headers.get('x-subject-token') ?? '';
}

async function named(kind: string, name: string, query = ''): Promise<readonly Record<string, unknown>[]> {
  const { authUrl } = inject('openstack');
  const answer = await fetch(`${authUrl}/${kind}?name=${name}${query}`, { headers: { 'x-auth-token': adminToken } });
  expect(answer.status).toBe(200);
  return ((await answer.json()) as Record<string, readonly Record<string, unknown>[]>)[kind] ?? [];
}

/** Everything of ours in Keystone by kind; each once. */
async function inKeystone(): Promise<Record<string, number>> {
  const count = async (kind: string, key: string): Promise<number> => (await named(kind, env[key] ?? '')).length;
  const services = await named('services', 'umbra');
  const { authUrl } = inject('openstack');
  const endpoints = (await (await fetch(`${authUrl}/endpoints`, { headers: { 'x-auth-token': adminToken } })).json()) as { readonly endpoints: readonly { readonly url: string }[] };
  return {
    users: (await count('users', 'UMBRA_USER')) + (await count('users', 'UMBRA_NODE_DOMAIN_ADMIN')),
    domains: await count('domains', 'UMBRA_NODE_DOMAIN'),
    projects: await count('projects', 'UMBRA_NODE_PROJECT'),
    roles: await count('roles', 'UMBRA_NODE_ROLE'),
    services: services.length,
    endpoints: endpoints.endpoints.filter(({ url }) => url === `http://127.0.0.1:${env['UMBRA_CLUSTERS_PORT']}/v1`).length,
  };
}

beforeAll(async () => {
  const { authUrl, adminPassword, region } = inject('openstack');
  client = await openStackClient();
  folder = await mkdtemp(join(tmpdir(), 'umbra-devstack-'));
  const own = randomBytes(4).toString('hex');
  const admin = { auth_url: authUrl, username: 'admin', password: adminPassword, project_name: 'admin', user_domain_id: 'default', project_domain_id: 'default' };
  await writeFile(join(folder, 'clouds.yaml'), stringify({ clouds: { 'devstack-admin': { auth: admin, region_name: region, identity_api_version: 3 } } }));
  env = {
    ...client.env, PATH: `${NODE}:${client.env['PATH']}`, HOME: folder, OS_CLIENT_CONFIG_FILE: join(folder, 'clouds.yaml'), no_proxy: '127.0.0.1',
    DEST: folder, DATA_DIR: folder, UMBRA_DIR: ROOT, UMBRA_NODE_PROGRAM: 'False', UMBRA_PROGRAMS: join(folder, 'programs'), UMBRA_CONF_DIR: join(folder, 'etc'), UMBRA_STATE_DIR: join(folder, 'data'), STACK_USER: 'root',
    SERVICE_PROTOCOL: 'http', SERVICE_HOST: '127.0.0.1', SERVICE_LISTEN_ADDRESS: '127.0.0.1', SERVICE_TIMEOUT: '60', SERVICE_PASSWORD: `pass-${own}`,
    KEYSTONE_SERVICE_URI: authUrl.replace(/\/v3$/, ''), REGION_NAME: region, SERVICE_DOMAIN_NAME: 'Default', SERVICE_PROJECT_NAME: `service-${own}`,
    UMBRA_CLUSTERS_PORT: String(await freePort()), UMBRA_REGISTRY_PORT: String(await freePort()),
    UMBRA_USER: `umbra-${own}`, UMBRA_NODE_DOMAIN: `nodes-${own}`, UMBRA_NODE_DOMAIN_ADMIN: `nodes-admin-${own}`, UMBRA_NODE_PROJECT: `nodes-project-${own}`, UMBRA_NODE_ROLE: `node-${own}`, UMBRA_CONTAINER: `umbra-${own}`,
  };
  await mkdir(join(folder, 'programs'));
  await writeFile(join(folder, 'programs', `umbra-${VERSION}-linux-amd64.tar.gz`), 'a program');
  adminToken = await adminTokenIn({ name: 'admin', domain: { id: 'default' } });
  // Services before this one make it.
  const made = await fetch(`${authUrl}/projects`, { method: 'POST', headers: { 'x-auth-token': adminToken, 'content-type': 'application/json' }, body: JSON.stringify({ project: { name: env['SERVICE_PROJECT_NAME'], domain_id: 'default' } }) });
  projectId = ((await made.json()) as { readonly project: { readonly id: string } }).project.id; // Keystone's API
  const { code, stderr } = await client.run(['--os-cloud', 'devstack-admin', 'role', 'add', 'admin', '--user', 'admin', '--project', projectId], env);
  if (code !== 0) throw new Error(stderr);
});
afterAll(async () => {
  await plugin('unstack');
  await client[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** Names of containers in the project of services. */
async function containers(): Promise<readonly string[]> {
  const token = await adminTokenIn({ id: projectId });
  const answer = await fetch(`${inject('openstack').swiftOrigin}/v1/AUTH_${projectId}?format=json`, { headers: { 'x-auth-token': token } });
  return answer.status === 204 ? [] : ((await answer.json()) as readonly { readonly name: string }[]).map(({ name }) => name); // Swift's listing
}

test('stack makes everything once, however often, and it works; unstack and clean undo it', async () => {
  const one = { users: 2, domains: 1, projects: 1, roles: 1, services: 1, endpoints: 1 };
  const url = `http://127.0.0.1:${env['UMBRA_CLUSTERS_PORT']}`;
  expect(await plugin('stack')).toMatch(/^services: .*\bs-proxy,s-object,s-container,s-account\b/m);
  expect(await inKeystone()).toEqual(one);
  expect(await containers()).toEqual([env['UMBRA_CONTAINER']]);
  expect(((await (await fetch(`${url}/`)).json()) as { readonly versions: readonly { readonly id: string }[] }).versions.map(({ id }) => id)).toEqual(['v1']);
  expect((await fetch(`http://127.0.0.1:${env['UMBRA_REGISTRY_PORT']}/readyz`)).status).toBe(200);
  const secrets = await Promise.all((await readdir(env['UMBRA_CONF_DIR'] ?? '')).map(async (name) => [name, (await stat(join(env['UMBRA_CONF_DIR'] ?? '', name))).mode & 0o077] as const));
  expect(secrets.filter(([, others]) => others !== 0)).toEqual([]);
  const key = await readFile(join(env['UMBRA_CONF_DIR'] ?? '', 'encryption-key'), 'utf8');

  await plugin('stack');
  expect(await inKeystone()).toEqual(one);
  expect(await readFile(join(env['UMBRA_CONF_DIR'] ?? '', 'encryption-key'), 'utf8')).toBe(key);

  // The roles are enough: a credential is made, proved and taken back.
  const member = await (await clusterCloud(inject('openstack'))).tenant(['member']);
  const headers = { 'x-auth-token': await member.token(), 'content-type': 'application/json' };
  const call = async (method: string, path: string, body?: object): Promise<Response> => await fetch(`${url}/v1/${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) });
  expect((await call('POST', 'clustertemplates', { name: 't', coe: 'kubernetes', image_id: 'x', registry_enabled: true })).status).toBe(201);
  expect((await call('POST', 'clusters', { name: 'c', cluster_template_id: 't' })).status).toBe(202);
  const status = async (): Promise<unknown> => ((await (await call('GET', 'clusters/c')).json()) as { readonly status?: string }).status ?? 'gone';
  await expect.poll(status, { timeout: 60_000, interval: 100 }).toBe('CREATE_COMPLETE');
  expect((await call('DELETE', 'clusters/c')).status).toBe(204);
  await expect.poll(status, { timeout: 60_000, interval: 100 }).toBe('gone');

  await plugin('unstack');
  expect(await inKeystone()).toEqual({ users: 0, domains: 0, projects: 0, roles: 0, services: 0, endpoints: 0 });
  expect(await containers()).toEqual([]);
  await expect(fetch(`${url}/`)).rejects.toThrow('fetch failed');
  await plugin('clean');
  expect(await readdir(folder)).not.toContain('etc');
  expect(await readdir(folder)).not.toContain('data');
});
