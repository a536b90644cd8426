/**
 * OpenStack's own command line against the cluster service: `openstack coe cluster template …` and `openstack coe cluster …`,
 * as Debian packages them, with a real Keystone and Swift, over PostgreSQL; in the soak over SQLite, too.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createOutput } from '../../src/cli/output.ts';
import { run } from '../../src/cli/program.ts';
import { VERSION } from '../../src/version.ts';
import { clusterCloud, type ClusterCloud, type Tenant } from '../services/cluster-cloud.ts';
import { attempt, type CommandResult } from '../services/command.ts';
import { openStackClient, type OpenStackClient } from '../services/openstack-client.ts';
import { freePort } from '../services/ports.ts';
import { Postgres } from '../services/postgres.ts';
import { SOAK } from '../support/soak.ts';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';

const openstack = inject('openstack');
const KEY = 'k'.repeat(40);
let client: OpenStackClient;
beforeAll(async () => void (client = await openStackClient()));
afterAll(async () => await client[Symbol.asyncDispose]());

interface Place extends AsyncDisposable {
  readonly url: string;
}

const PLACES: readonly (readonly [string, (folder: string) => Promise<Place>])[] = [
  ['SQLite', async (folder) => ({ url: `sqlite:${join(folder, 'clusters.db')}`, [Symbol.asyncDispose]: async () => undefined })],
  ['PostgreSQL', async () => {
    const postgres = await Postgres.start();
    await postgres.sql('create database clusters');
    return { url: postgres.url('clusters'), [Symbol.asyncDispose]: async () => await postgres[Symbol.asyncDispose]() };
  }],
];

/** The client takes a second of a processor for each command. Other tests have SQLite under the service: those beside its code, and of nodes. */
const WANTED = PLACES.filter(([engine]) => SOAK || engine === 'PostgreSQL');

describe.each(WANTED)('over %s', (_, start) => {
  const ending = new AsyncDisposableStack();
  let cloud: ClusterCloud;
  let umbra: TestUmbra;
  let owner: Tenant;
  let colleague: Tenant;
  let stranger: Tenant;
  let url: string;
  let folder: string;
  const logged: string[] = [];
  const printed: string[] = [];
  const tokens = new Map<Tenant, string>();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'umbra-coe-'));
    ending.defer(async () => await rm(folder, { recursive: true }));
    const place = ending.use(await start(folder));
    cloud = await clusterCloud(openstack);
    owner = await cloud.tenant();
    colleague = await cloud.tenant(['member'], owner.projectId);
    stranger = await cloud.tenant();
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    await mkdir(join(folder, 'programs'));
    await writeFile(join(folder, 'programs', `umbra-${VERSION}-linux-amd64.tar.gz`), 'a program');
    ending.defer(await inCatalogue(cloud, url));
    const { service, trusteeDomain, roles } = cloud.settings;
    umbra = await startUmbra({
      clusters: {
        address: `127.0.0.1:${port}`,
        publicUrl: url,
        database: place.url,
        encryptionKey: KEY,
        keystone: { url: openstack.authUrl, username: nameOf(service.user), password: service.password.reveal(), project: nameOf(service.project) },
        trusteeDomain: trusteeDomain && { name: nameOf(trusteeDomain.domain), adminUsername: trusteeDomain.admin, adminPassword: trusteeDomain.password.reveal() },
        serviceProject: 'nodes',
        roles: { node: roles.node, delegated: roles.delegated },
        programs: join(folder, 'programs'),
      },
    }, { log: (line) => void logged.push(line) });
    ending.defer(async () => await umbra.close());
  });
  afterAll(async () => await ending.disposeAsync());

  const environment = (who: Tenant): Readonly<Record<string, string>> => ({
    OS_AUTH_URL: openstack.authUrl, OS_USERNAME: who.user.name, OS_PASSWORD: who.user.password, OS_USER_DOMAIN_NAME: openstack.domain, OS_PROJECT_ID: who.projectId,
    OS_REGION_NAME: openstack.region, OS_IDENTITY_API_VERSION: '3', HOME: folder, NO_PROXY: '127.0.0.1',
  });

  /** `openstack coe <words>` as somebody. */
  async function coe(who: Tenant, ...words: readonly string[]): Promise<CommandResult> {
    const result = await client.run(['coe', ...words], environment(who));
    printed.push(result.stdout, result.stderr);
    return result;
  }

  /** What our own command line prints. */
  async function ours(who: Tenant, ...words: readonly string[]): Promise<string> {
    const lines: string[] = [];
    const sink = { write: (text: string | Uint8Array) => lines.push(String(text)) };
    await run(words, { cwd: folder, env: environment(who), processors: 1, output: createOutput(sink, sink) }, { umbra: VERSION, node: '', platform: '' });
    printed.push(...lines);
    return lines.join('');
  }

  /** What `-f json` prints. */
  async function json(who: Tenant, ...words: readonly string[]): Promise<unknown> {
    const { code, stdout, stderr } = await coe(who, ...words, '-f', 'json');
    expect(`${code} ${stderr}`).toMatch(/^0 /);
    return JSON.parse(stdout) as unknown;
  }

  async function updated(template: string, ...change: readonly string[]): Promise<void> {
    const { code, stderr } = await coe(owner, 'cluster', 'template', 'update', template, ...change);
    expect(`${code} ${stderr}`).toMatch(/^0 /);
  }

  async function until(cluster: string, status: string): Promise<Readonly<Record<string, unknown>>> {
    await expect.poll(async () => (await shown(owner, `/v1/clusters/${cluster}`))['status'], { timeout: 60_000, interval: 100 }).toBe(status);
    return await shown(owner, `/v1/clusters/${cluster}`);
  }

  async function call(who: Tenant, method: string, path: string, body?: unknown): Promise<Response> {
    const token = tokens.get(who) ?? (await who.token());
    tokens.set(who, token);
    return await fetch(`${url}${path}`, { method, headers: { 'x-auth-token': token, 'openstack-api-version': 'container-infra latest', 'content-type': 'application/json' }, ...(body !== undefined && { body: JSON.stringify(body) }) });
  }

  async function shown(who: Tenant, path: string): Promise<Readonly<Record<string, unknown>>> {
    return (await (await call(who, 'GET', path)).json()) as Readonly<Record<string, unknown>>; // the API's
  }

  test('a template with --registry-enabled is created, shown, updated, listed and deleted', async () => {
    const created = await coe(owner, 'cluster', 'template', 'create', 'made', '--coe', 'kubernetes', '--image', 'fedora-coreos', '--external-network', 'public', '--keypair', 'key', '--dns-nameserver', '8.8.8.8', '--docker-volume-size', '5', '--registry-enabled', '--labels', "registry_port=5002,quoted=it's");
    expect(`${created.code} ${created.stderr}`).toBe('0 ');
    expect(created.stdout).toContain('Request to create cluster template made accepted');
    expect(await json(colleague, 'cluster', 'template', 'show', 'made')).toMatchObject({ name: 'made', coe: 'kubernetes', registry_enabled: true, image_id: 'fedora-coreos', keypair_id: 'key', docker_volume_size: 5, dns_nameserver: '8.8.8.8', public: false, labels: { registry_port: '5002', quoted: "it's" }, floating_ip_enabled: true, server_type: 'vm' });
    expect((await coe(stranger, 'cluster', 'template', 'show', 'made')).stderr).toContain('ClusterTemplate made could not be found (HTTP 404)');

    await updated('made', 'replace', 'registry_enabled=false', 'name=renamed');
    await updated('renamed', 'replace', "labels=registry_port=5003,other=it's");
    await updated('renamed', 'add', 'http_proxy=http://proxy.example.org:3128', 'insecure_registry=10.0.0.1:5000/');
    await updated('renamed', 'remove', 'keypair_id');
    const refused = await coe(owner, 'cluster', 'template', 'update', 'renamed', 'remove', 'registry_enabled');
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("'/registry_enabled' is a mandatory attribute and can not be removed (HTTP 400)")]);

    expect(await json(owner, 'cluster', 'template', 'show', 'renamed')).toMatchObject({ registry_enabled: false, labels: { registry_port: '5003', other: "it's" }, http_proxy: 'http://proxy.example.org:3128', insecure_registry: '10.0.0.1:5000', keypair_id: '-' });
    expect(await json(owner, 'cluster', 'template', 'list', '--sort-key', 'name', '--sort-dir', 'desc', '--limit', '5')).toEqual([expect.objectContaining({ name: 'renamed' })]);
    expect(await json(stranger, 'cluster', 'template', 'list')).toEqual([]);
    expect((await coe(owner, 'cluster', 'template', 'delete', 'renamed')).stdout).toContain('accepted');
    // Where it deletes, this client prints errors as if they were none.
    expect((await coe(owner, 'cluster', 'template', 'delete', 'renamed')).stdout).toContain('ClusterTemplate renamed could not be found (HTTP 404)');
  });

  test('what cannot be is said when the template is created', async () => {
    const create = async (...more: readonly string[]): Promise<CommandResult> => await coe(owner, 'cluster', 'template', 'create', 'bad', '--coe', 'kubernetes', '--image', 'x', '--external-network', 'public', '--registry-enabled', ...more);
    expect((await create('--labels', 'registry_port=80')).stderr).toContain("Invalid label registry_port, '80': expected a port from 1024 to 65535 (HTTP 400)");
    expect((await create('--public')).stderr).toContain('Not authorized to set public or hidden flag for cluster template (HTTP 403)');
  });

  test('a cluster with a registry is created, shown, updated, listed and deleted, and is complete when its credential works', async () => {
    await coe(owner, 'cluster', 'template', 'create', 'k8s', '--coe', 'kubernetes', '--image', 'x', '--external-network', 'public', '--registry-enabled');
    const created = await coe(owner, 'cluster', 'create', 'c1', '--cluster-template', 'k8s', '--node-count', '2', '--labels', 'registry_port=5001', '--merge-labels');
    expect(`${created.code} ${created.stderr}`).toBe('0 ');
    const { uuid } = (await until('c1', 'CREATE_COMPLETE')) as { readonly uuid: string };
    expect(await shown(owner, `/v1/clusters/${uuid}`)).toMatchObject({ registry_address: 'localhost:5001', registry_status: 'ACTIVE', registry_container: `registry-${uuid}`, registry_credential_mode: 'acl' });
    expect(await cloud.containers(owner)).toContain(`registry-${uuid}`);
    expect(await json(colleague, 'cluster', 'show', 'c1')).toMatchObject({ uuid, status: 'CREATE_COMPLETE', node_count: 2, master_count: 1, labels: { registry_port: '5001' }, labels_added: { registry_port: '5001' } });
    expect((await coe(owner, 'cluster', 'template', 'delete', 'k8s')).stdout).toContain('is referenced by one or multiple clusters (HTTP 400)');

    expect((await coe(owner, 'cluster', 'update', 'c1', 'replace', 'node_count=3')).stdout).toContain('accepted');
    expect((await coe(owner, 'cluster', 'update', 'c1', 'replace', 'name=other')).stderr).toContain('cannot change cluster property(ies) name (HTTP 400)');
    expect((await coe(owner, 'cluster', 'resize', 'c1', '4')).stdout).toContain('accepted');
    expect(await json(owner, 'cluster', 'list')).toEqual([expect.objectContaining({ uuid, name: 'c1', node_count: 4, status: 'UPDATE_COMPLETE' })]);

    const script = await call(owner, 'GET', `/v1/clusters/c1/artifacts?role=worker&format=shell`);
    expect([script.status, script.headers.get('cache-control')]).toEqual([200, 'no-store']);
    const text = await script.text();
    expect(text).toContain(`${url}/v1/program/`);
    const program = await fetch(/http:\S+\/v1\/program\/[0-9a-f]{64}/.exec(text)?.[0] ?? '');
    expect([program.status, await program.text()]).toEqual([200, 'a program']);
    const token = /umbra-token-[A-Za-z0-9_-]{43}/.exec(text)?.[0] ?? '';
    const bootstrapped = await fetch(`${url}/v1/bootstrap`, { method: 'POST', body: JSON.stringify({ token, node: { name: 'node-1', role: 'worker', arch: 'amd64', version: VERSION } }) });
    expect([bootstrapped.status, await bootstrapped.json()]).toEqual([200, expect.objectContaining({ generation: 1, credential: expect.objectContaining({ url: expect.any(String) as string }) as object })]);
    expect(await shown(owner, '/v1/clusters/c1/nodes')).toMatchObject({ nodes: [{ name: 'node-1', role: 'worker', credential: 'current' }] });

    expect((await call(owner, 'POST', '/v1/clusters/c1/actions/rotate')).status).toBe(202);
    await until('c1', 'UPDATE_COMPLETE');
    expect(await shown(owner, '/v1/clusters/c1/nodes')).toMatchObject({ nodes: [{ credential: 'old' }] });
    expect(await ours(owner, 'cluster', 'nodes', 'c1')).toMatch(/^NAME .*\nnode-1  worker  amd64  \S+ +old +\d+ s ago  -     -\n$/);
    expect(await ours(stranger, 'cluster', 'nodes', 'c1')).toMatch(/^umbra: Cluster c1 could not be found\. Seen are those of the project /);

    expect((await coe(colleague, 'cluster', 'delete', 'c1')).stdout).toContain('accepted');
    await expect.poll(async () => (await call(owner, 'GET', '/v1/clusters/c1')).status, { timeout: 60_000, interval: 100 }).toBe(404);
    expect(await cloud.left([owner, colleague])).toEqual({ users: [], trusts: 0, applicationCredentials: [] });
    expect((await coe(owner, 'cluster', 'delete', 'c1')).stderr).toContain('Cluster c1 could not be found (HTTP 404)');
    // As people call it.
    const { code, stdout } = await attempt('openstack', ['coe', 'cluster', 'template', 'delete', 'k8s'], { env: environment(owner) });
    expect([code, stdout]).toEqual([0, 'Request to delete cluster template k8s has been accepted.\n']);
  });

  test('a cluster without a registry gets one by an upgrade', async () => {
    const template = async (name: string, ...more: readonly string[]): Promise<CommandResult> => await coe(owner, 'cluster', 'template', 'create', name, '--coe', 'kubernetes', '--image', 'x', '--external-network', 'public', ...more);
    await template('bare');
    await template('registries', '--registry-enabled');
    await coe(owner, 'cluster', 'create', 'c2', '--cluster-template', 'bare');
    expect(await until('c2', 'CREATE_COMPLETE')).toMatchObject({ registry_address: null, registry_status: null });
    expect((await coe(owner, 'cluster', 'upgrade', 'c2', 'registries')).stdout).toContain('accepted');
    expect(await until('c2', 'UPDATE_COMPLETE')).toMatchObject({ registry_address: 'localhost:5000', registry_status: 'ACTIVE' });
    expect((await call(owner, 'GET', '/v1/clusters/c2/artifacts?role=worker&format=shell')).status).toBe(200);
    expect((await coe(owner, 'cluster', 'delete', 'c2')).stdout).toContain('accepted');
    await expect.poll(async () => (await call(owner, 'GET', '/v1/clusters/c2')).status, { timeout: 60_000, interval: 100 }).toBe(404);
  });

  test('lists come in pages, in every order and by filters', async () => {
    interface Listed {
      readonly uuid: string;
      readonly name: string;
    }
    const made = async (path: string, body: object): Promise<Listed> => {
      const answer = await call(stranger, 'POST', path, body);
      if (!answer.ok) throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`);
      return (await answer.json()) as Listed; // the API's
    };
    /** Names, as one page or as pages of one each. */
    const names = async (kind: string, query: Readonly<Record<string, string>>, limit?: 1): Promise<readonly string[]> => {
      const found: string[] = [];
      let next: string | undefined = `${url}/v1/${kind}?${new URLSearchParams({ ...query, ...(limit && { limit: String(limit) }) }).toString()}`;
      while (next !== undefined) {
        const page = await shown(stranger, next.slice(url.length));
        const rows = page[kind] as readonly Listed[]; // the API's
        if (limit !== undefined) expect(rows).toHaveLength(1);
        found.push(...rows.map(({ name }) => name));
        next = page['next'] as string | undefined; // likewise
      }
      return found;
    };
    const templates = new Map<string, string>();
    for (const [name, registry_enabled] of [['d', true], ['b', false], ['a', true], ['c', false]] as const) templates.set(name, (await made('/v1/clustertemplates', { name, coe: 'kubernetes', image_id: 'x', registry_enabled })).uuid);
    for (const name of ['b', 'a']) expect((await call(stranger, 'PATCH', `/v1/clustertemplates/${templates.get(name)}`, [{ op: 'replace', path: '/labels', value: { other: 'yes' } }])).status).toBe(200);
    for (const name of ['two', 'one']) await made('/v1/clusters', { name, cluster_template_id: 'b' });
    await expect.poll(async () => await names('clusters', { status: 'CREATE_COMPLETE' }), { timeout: 60_000, interval: 100 }).toHaveLength(2);

    for (const [kind, key, order] of [
      ['clustertemplates', 'name', ['a', 'b', 'c', 'd']],
      ['clustertemplates', 'updated_at', ['d', 'c', 'b', 'a']],
      // Those that are alike stand as they were made.
      ['clustertemplates', 'registry_enabled', ['b', 'c', 'd', 'a']],
      ['clusters', 'name', ['one', 'two']],
      ['clusters', 'status', ['two', 'one']],
    ] as const) {
      for (const [sort_dir, expected] of [['asc', order], ['desc', order.toReversed()]] as const) {
        const query = { sort_key: key, sort_dir };
        expect([await names(kind, query), await names(kind, query, 1)]).toEqual([expected, expected]);
      }
    }
    for (const [kind, query, expected] of [
      ['clustertemplates', { registry_enabled: 'true' }, ['d', 'a']],
      ['clustertemplates', { registry_enabled: 'false', coe: 'kubernetes', sort_key: 'name', sort_dir: 'desc' }, ['c', 'b']],
      ['clustertemplates', { name: 'b' }, ['b']],
      ['clusters', { cluster_template_id: templates.get('b') ?? '', registry_enabled: 'false' }, ['two', 'one']],
    ] as const) expect([await names(kind, query), await names(kind, query, 1)]).toEqual([expected, expected]);
  });

  test('a token that Keystone does not know is refused, and one that it revoked, too', async () => {
    expect((await fetch(`${url}/v1/clusters`, { headers: { 'x-auth-token': 'none' } })).status).toBe(401);
    const token = await owner.token();
    const headers = { 'x-auth-token': token };
    await fetch(`${openstack.authUrl}/auth/tokens`, { method: 'DELETE', headers: { 'x-auth-token': token, 'x-subject-token': token } });
    expect((await fetch(`${url}/v1/clusters`, { headers })).status).toBe(401);
  });

  test('no secret is in what was printed, logged or kept', async () => {
    const files = await Promise.all((await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isFile() && entry.name.includes('.db')).map(async ({ name }) => await readFile(join(folder, name), 'latin1')));
    const all = [...printed, ...logged, ...files].join('\n');
    for (const secret of [KEY, owner.user.password, cloud.settings.service.password.reveal(), cloud.settings.trusteeDomain?.password.reveal() ?? '']) expect(all).not.toContain(secret);
    expect(all).not.toMatch(/trust_id|gAAAA[\w-]{40}/); // a Fernet token
  });
});

function nameOf(who: { readonly id: string } | { readonly name: string }): string {
  if (!('name' in who)) throw new Error('expected a name');
  return who.name;
}

/** The service in Keystone's catalogue, where clients look for it. @returns what takes it out again */
async function inCatalogue(cloud: ClusterCloud, url: string): Promise<() => Promise<void>> {
  const headers = { 'x-auth-token': await cloud.adminToken(), 'content-type': 'application/json' };
  const post = async (path: string, body: object): Promise<Readonly<Record<string, { readonly id: string }>>> => {
    const answer = await fetch(`${openstack.authUrl}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as Readonly<Record<string, { readonly id: string }>>; // Keystone's API
  };
  const { service } = await post('/services', { service: { type: 'container-infra', name: 'umbra' } });
  await post('/endpoints', { endpoint: { service_id: service?.id, interface: 'public', region_id: openstack.region, url: `${url}/v1` } });
  return async () => void (await fetch(`${openstack.authUrl}/services/${service?.id}`, { method: 'DELETE', headers }));
}
