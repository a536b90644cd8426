/**
 * The DevStack plugin: what it puts into a real Keystone and Swift, that it may do so again, and that it takes all of it back. What
 * it wants and builds before that is test/set-up/devstack.test.ts.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { stringify } from 'yaml';
import { cloudInitFiles } from '../../src/clusters/render/formats/decoded.fixture.ts';
import { VERSION } from '../../src/version.ts';
import { RegistryClient } from '../e2e/registry-client.ts';
import { makeAuthority } from '../services/certificates.ts';
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

const plugin = async (command: 'stack' | 'unstack' | 'clean', settings: Readonly<Record<string, string>> = {}): Promise<string> =>
  await run(join(ROOT, 'test/services/devstack/run'), [join(ROOT, 'devstack'), command], { env: { ...env, ...settings }, timeoutMs: 240_000 });

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
  const count = async (kind: string, ...keys: readonly string[]): Promise<number> => (await Promise.all(keys.map(async (key) => await named(kind, env[key] ?? '')))).flat().length;
  const services = await named('services', 'umbra');
  const { authUrl } = inject('openstack');
  const endpoints = (await (await fetch(`${authUrl}/endpoints`, { headers: { 'x-auth-token': adminToken } })).json()) as { readonly endpoints: readonly { readonly url: string }[] };
  return {
    users: await count('users', 'UMBRA_USER', 'UMBRA_NODE_DOMAIN_ADMIN'),
    domains: await count('domains', 'UMBRA_NODE_DOMAIN'),
    projects: await count('projects', 'UMBRA_NODE_PROJECT'),
    roles: await count('roles', 'UMBRA_NODE_ROLE', 'UMBRA_DELEGATED_ROLE'),
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
    UMBRA_USER: `umbra-${own}`, UMBRA_NODE_DOMAIN: `nodes-${own}`, UMBRA_NODE_DOMAIN_ADMIN: `nodes-admin-${own}`, UMBRA_NODE_PROJECT: `nodes-project-${own}`, UMBRA_NODE_ROLE: `node-${own}`, UMBRA_DELEGATED_ROLE: `delegated-${own}`, UMBRA_CONTAINER: `umbra-${own}`,
  };
  await mkdir(join(folder, 'programs'));
  await writeFile(join(folder, 'programs', `umbra-${VERSION}-linux-amd64.tar.gz`), 'a program');
  adminToken = await adminTokenIn({ name: 'admin', domain: { id: 'default' } });
  // Services before this one make it.
  const made = await fetch(`${authUrl}/projects`, { method: 'POST', headers: { 'x-auth-token': adminToken, 'content-type': 'application/json' }, body: JSON.stringify({ project: { name: env['SERVICE_PROJECT_NAME'], domain_id: 'default' } }) });
  projectId = ((await made.json()) as { readonly project: { readonly id: string } }).project.id; // Keystone's API
  // Others have made that one.
  const others = await fetch(`${authUrl}/roles`, { method: 'POST', headers: { 'x-auth-token': adminToken, 'content-type': 'application/json' }, body: JSON.stringify({ role: { name: env['UMBRA_NODE_ROLE'] } }) });
  if (!others.ok) throw new Error(`${env['UMBRA_NODE_ROLE']} was not made: ${others.status}`);
  const [[user], [role]] = await Promise.all([named('users', 'admin', '&domain_id=default'), named('roles', 'admin')]);
  const given = await fetch(`${authUrl}/projects/${projectId}/users/${String(user?.['id'])}/roles/${String(role?.['id'])}`, { method: 'PUT', headers: { 'x-auth-token': adminToken } });
  if (!given.ok) throw new Error(`admin got no role in ${env['SERVICE_PROJECT_NAME']}: ${given.status}`);
});
afterAll(async () => {
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
  // Also before another try, and where there is nothing to undo.
  await using ending = new AsyncDisposableStack();
  ending.defer(async () => {
    await plugin('unstack');
    await plugin('clean');
  });
  const one = { users: 2, domains: 1, projects: 1, roles: 2, services: 1, endpoints: 1 };
  expect(await plugin('stack')).toMatch(/^services: .*\bs-proxy,s-object,s-container,s-account\b/m);
  expect(await inKeystone()).toEqual(one);
  expect(await containers()).toEqual([env['UMBRA_CONTAINER']]);
  const url = `http://127.0.0.1:${env['UMBRA_CLUSTERS_PORT']}`;
  expect(((await (await fetch(`${url}/`)).json()) as { readonly versions: readonly { readonly id: string }[] }).versions.map(({ id }) => id)).toEqual(['v1']);
  expect((await fetch(`http://127.0.0.1:${env['UMBRA_REGISTRY_PORT']}/readyz`)).status).toBe(200);
  const secrets = await Promise.all((await readdir(env['UMBRA_CONF_DIR'] ?? '')).map(async (name) => [name, (await stat(join(env['UMBRA_CONF_DIR'] ?? '', name))).mode & 0o077] as const));
  expect(secrets.filter(([, others]) => others !== 0)).toEqual([]);
  const key = await readFile(join(env['UMBRA_CONF_DIR'] ?? '', 'encryption-key'), 'utf8');

  // Again, now with what tls-proxy has: one file with the key and the certificate, and another with the authority.
  const authority = await makeAuthority(folder);
  const leaf = await authority.issue('devstack');
  await writeFile(join(folder, 'devstack.pem'), `${await readFile(leaf.keyFile, 'utf8')}${await readFile(leaf.certFile, 'utf8')}`);
  await plugin('stack', { ENABLED_SERVICES: 'tls-proxy,', SERVICE_PROTOCOL: 'https', DEVSTACK_CERT: join(folder, 'devstack.pem'), SSL_BUNDLE_FILE: authority.certFile });
  expect(await inKeystone()).toEqual(one);
  expect(await readFile(join(env['UMBRA_CONF_DIR'] ?? '', 'encryption-key'), 'utf8')).toBe(key);

  // The roles are enough: in each mode a credential is made, proved and taken back.
  await using api = new RegistryClient(`https://127.0.0.1:${env['UMBRA_CLUSTERS_PORT']}`, { ca: authority.pem });
  const member = await (await clusterCloud(inject('openstack'))).tenant(['member']);
  const headers = { 'x-auth-token': await member.token(), 'content-type': 'application/json', 'openstack-api-version': 'container-infra latest' };
  const call = async (method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<readonly [number, Readonly<Record<string, unknown>>]> => {
    const { status, bytes } = await api.call(`/v1/${path}`, { method, headers, ...(body && { body: Buffer.from(JSON.stringify(body)) }) });
    return [status, bytes.length === 0 ? {} : (JSON.parse(bytes.toString()) as Record<string, unknown>)]; // the API's
  };
  const status = async (name: string): Promise<unknown> => {
    const [, { status: word = 'gone', status_reason: reason }] = await call('GET', `clusters/${name}`);
    return [word, reason ?? null];
  };
  expect((await call('POST', 'clustertemplates', { name: 't', coe: 'kubernetes', image_id: 'x', registry_enabled: true }))[0]).toBe(201);
  const modes = ['acl', 'trust', 'app_cred'];
  for (const mode of modes) expect(await call('POST', 'clusters', { name: mode, cluster_template_id: 't', labels: { registry_credential_mode: mode }, merge_labels: true })).toEqual([202, expect.anything()]);
  for (const mode of modes) await expect.poll(async () => await status(mode), { timeout: 60_000, interval: 100 }).toEqual(['CREATE_COMPLETE', null]);
  // Nodes trust whom they fetch it from.
  const decoded = (await api.call('/v1/clusters/acl/artifacts?role=worker&format=cloud-init', { headers })).bytes.toString();
  expect(cloudInitFiles(decoded)['/etc/umbra/clusters-ca.pem']?.[1]).toBe(authority.pem);
  for (const mode of modes) expect((await call('DELETE', `clusters/${mode}`))[0]).toBe(204);
  for (const mode of modes) await expect.poll(async () => (await status(mode) as readonly unknown[])[0], { timeout: 60_000, interval: 100 }).toBe('gone');

  await plugin('unstack');
  expect(await inKeystone()).toEqual({ users: 0, domains: 0, projects: 0, roles: 1, services: 0, endpoints: 0 });
  expect(await named('roles', env['UMBRA_NODE_ROLE'] ?? '')).toHaveLength(1);
  expect(await containers()).toEqual([]);
  await expect(api.call('/')).rejects.toThrow('ECONNREFUSED');
  await plugin('clean');
  expect(await readdir(folder)).not.toContain('etc');
  expect(await readdir(folder)).not.toContain('data');
});
