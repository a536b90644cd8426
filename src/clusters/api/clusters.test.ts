/** Clusters over HTTP, with a Keystone at the other end of a socket. What the lifecycle makes of a row is said by the test. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sealedSecrets } from '../database/sealed.ts';
import { testService, type Reply, type TestService } from '../service.fixture.ts';
import type { ClusterStatus } from '../words.ts';

let service: TestService;
let [mine, colleague, other, admin, reader] = ['', '', '', '', ''];
beforeAll(async () => {
  service = await testService();
  const { keystone } = service;
  [mine, colleague, other, admin, reader] = [keystone.token(), keystone.token({ user: 'u2' }), keystone.token({ user: 'u3', project: 'p2' }), keystone.token({ user: 'root', project: 'p0', roles: ['admin'] }), keystone.token({ user: 'u4', roles: ['reader'] })];
  await template({ name: 'plain' });
  await template({ name: 'k8s', registry_enabled: true, labels: { registry_port: '5001', registry_write: 'all', kube_tag: 'v1' }, keypair_id: 'key', flavor_id: 'm1', apiserver_port: 8443 });
});
afterAll(async () => await service.close());

const CLUSTERS = '/v1/clusters';

async function template(fields: object, token = mine): Promise<string> {
  const { status, body, text } = await service.call(token, 'POST', '/v1/clustertemplates', { json: { coe: 'kubernetes', image_id: 'fedora', ...fields } });
  expect(`${status} ${text}`).toMatch(/^201/);
  return body['uuid'] as string;
}

async function made(fields: object = {}, token = mine): Promise<string> {
  const { status, body, text } = await service.call(token, 'POST', CLUSTERS, { json: { cluster_template_id: 'plain', ...fields } });
  expect(`${status} ${text}`).toMatch(/^202/);
  return body['uuid'] as string;
}

async function shown(uuid: string, token = mine): Promise<Reply['body']> {
  return (await service.call(token, 'GET', `${CLUSTERS}/${uuid}`)).body;
}

/** What the lifecycle would have made of it. */
async function becomes(uuid: string, status: ClusterStatus, more: { readonly generation?: number; readonly registry_status?: string } = {}): Promise<void> {
  await service.database.db.updateTable('clusters').set({ status, ...more }).where('uuid', '=', uuid).execute();
}

async function callerToken(uuid: string): Promise<string | undefined> {
  return (await sealedSecrets(service.database, service.config.encryptionKeys).find(service.database.db, `cluster/${uuid}`, 'caller-token'))?.reveal();
}

describe('a cluster without a registry', () => {
  test('is complete at once, and gone when it is deleted', async () => {
    const before = service.woken.count;
    const answer = await service.call(mine, 'POST', CLUSTERS, { json: { name: 'c1', cluster_template_id: 'plain', node_count: 3, discovery_url: null, keypair: null, create_timeout: 60 } });
    expect([answer.status, Object.keys(answer.body)]).toEqual([202, ['uuid']]);
    const { uuid } = answer.body as { readonly uuid: string };
    expect(await shown('c1')).toMatchObject({
      uuid, name: 'c1', status: 'CREATE_COMPLETE', status_reason: null, node_count: 3, master_count: 1, create_timeout: 60, labels: {}, faults: {}, node_addresses: [], api_address: null, health_status: null,
      registry_address: null, registry_status: null, registry_container: null, registry_credential_mode: null, project_id: 'p1', user_id: 'u1',
      links: [{ rel: 'self', href: `http://clusters.example.org/v1/clusters/${uuid}` }, { rel: 'bookmark' }],
    });
    expect(await callerToken(uuid)).toBeUndefined();
    expect((await service.call(colleague, 'DELETE', `${CLUSTERS}/c1`)).status).toBe(204);
    expect(await service.call(colleague, 'DELETE', `${CLUSTERS}/c1`)).toMatchObject({ status: 404, detail: 'Cluster c1 could not be found.' });
    expect(service.woken.count).toBe(before);
  });

  test('that has no name is given one', async () => {
    expect((await shown(await made()))['name']).toMatch(/^[a-z]+-\d+-cluster$/);
  });
});

describe('a cluster with a registry', () => {
  test('is in progress, with the token of whoever made it sealed beside, until the lifecycle has done its work', async () => {
    const before = service.woken.count;
    const uuid = await made({ cluster_template_id: 'k8s' });
    expect(await shown(uuid)).toMatchObject({
      status: 'CREATE_IN_PROGRESS', registry_address: 'localhost:5001', registry_status: 'PENDING', registry_container: `registry-${uuid}`, registry_credential_mode: 'acl',
      labels: { registry_port: '5001', registry_write: 'all', kube_tag: 'v1' }, keypair: 'key', flavor_id: 'm1', labels_overridden: {}, labels_added: {}, labels_skipped: {},
    });
    expect([service.woken.count, await callerToken(uuid)]).toEqual([before + 1, mine]);
    const [row] = await service.database.db.selectFrom('clusters').selectAll().where('uuid', '=', uuid).execute();
    expect(JSON.parse(row?.settings ?? '')).toEqual({ port: 5001, policy: 'proxy', upstreams: [], fallback: 'upstream', write: 'all', credentialMode: 'acl', purge: false });
    expect(JSON.stringify(await service.database.db.selectFrom('sealed_secrets').selectAll().execute())).not.toContain(mine);
  });

  test('has labels of its own instead of the template\'s, or over them', async () => {
    const own = { registry_port: '5002', x: 'y' };
    expect(await shown(await made({ cluster_template_id: 'k8s', labels: own }))).toMatchObject({ labels: own, registry_address: 'localhost:5002', labels_overridden: { registry_port: '5001' }, labels_added: { x: 'y' }, labels_skipped: { registry_write: 'all', kube_tag: 'v1' } });
    expect(await shown(await made({ cluster_template_id: 'k8s', labels: own, merge_labels: true }))).toMatchObject({ labels: { ...own, registry_write: 'all', kube_tag: 'v1' }, labels_skipped: {} });
  });

  test('may share a container, and says how nodes are let in', async () => {
    const labels = { registry_container: 'shared', registry_credential_mode: 'app_cred', registry_upstreams: 'https://docker.io, quay.io', registry_policy: 'approved', registry_quota: '5GiB', registry_purge: 'yes' };
    const uuid = await made({ cluster_template_id: 'k8s', labels });
    expect(await shown(uuid)).toMatchObject({ registry_container: 'shared', registry_credential_mode: 'app_cred' });
    const [row] = await service.database.db.selectFrom('clusters').select('settings').where('uuid', '=', uuid).execute();
    expect(JSON.parse(row?.settings ?? '')).toEqual({ port: 5000, policy: 'approved', upstreams: ['docker.io', 'quay.io'], fallback: 'none', write: 'cache', credentialMode: 'app_cred', container: 'shared', quotaBytes: 5 * 2 ** 30, purge: true });
  });

  test.each<[ClusterStatus, number, string]>([
    ['CREATE_IN_PROGRESS', 409, 'already has an operation in progress: it is CREATE_IN_PROGRESS'],
    ['UPDATE_IN_PROGRESS', 409, 'already has an operation in progress'],
    ['DELETE_IN_PROGRESS', 404, 'it is being deleted'],
    ['CREATE_COMPLETE', 204, ''],
    ['CREATE_FAILED', 204, ''],
    ['DELETE_FAILED', 204, ''],
  ])('that is %s: deleting it is %i', async (status, expected, detail) => {
    const uuid = await made({ cluster_template_id: 'k8s' });
    await becomes(uuid, status, { generation: 1 });
    const before = service.woken.count;
    const answer = await service.call(colleague, 'DELETE', `${CLUSTERS}/${uuid}`);
    expect([answer.status, answer.detail]).toEqual([expected, expected === 204 ? 'undefined' : expect.stringContaining(detail)]);
    expect((await shown(uuid))['status']).toBe(expected === 204 ? 'DELETE_IN_PROGRESS' : status);
    expect([service.woken.count - before, await callerToken(uuid)]).toEqual(expected === 204 ? [1, colleague] : [0, mine]);
  });

  test('is deleted once by many at once', async () => {
    const uuid = await made({ cluster_template_id: 'k8s' });
    await becomes(uuid, 'CREATE_COMPLETE', { generation: 1 });
    const answers = await Promise.all(Array.from({ length: 8 }, () => service.call(mine, 'DELETE', `${CLUSTERS}/${uuid}`)));
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([204, ...Array.from({ length: 7 }, () => 404)]);
  });
});

describe('who may', () => {
  test("another project's is not there, but for administrators", async () => {
    const uuid = await made({ name: 'foreign' });
    for (const [method, json] of [['GET', undefined], ['PATCH', []], ['DELETE', undefined]] as const) expect(await service.call(other, method, `${CLUSTERS}/${uuid}`, json === undefined ? {} : { json })).toMatchObject({ status: 404, detail: `Cluster ${uuid} could not be found.` });
    expect((await service.call(other, 'GET', CLUSTERS)).body['clusters']).toEqual([]);
    expect((await shown(uuid, admin))['project_id']).toBe('p1');
    expect((await service.call(admin, 'DELETE', `${CLUSTERS}/${uuid}`)).status).toBe(204);
  });

  test('a reader looks and changes nothing', async () => {
    const uuid = await made();
    expect((await service.call(reader, 'GET', `${CLUSTERS}/${uuid}`)).status).toBe(200);
    for (const [method, path] of [['POST', CLUSTERS], ['PATCH', `${CLUSTERS}/${uuid}`], ['DELETE', `${CLUSTERS}/${uuid}`], ['POST', `${CLUSTERS}/${uuid}/actions/rotate`], ['GET', `${CLUSTERS}/${uuid}/artifacts`], ['GET', `${CLUSTERS}/${uuid}/nodes`]] as const)
      expect(await service.call(reader, method, path, method === 'PATCH' || method === 'POST' ? { json: method === 'PATCH' ? [] : { cluster_template_id: 'plain' } } : {})).toMatchObject({ status: 403, detail: expect.stringContaining('ask for the role member') as string });
  });

  test.each<[string, Parameters<TestService['keystone']['token']>[0], object, string]>([
    ['without a role that makes containers', { roles: ['auditor'] }, {}, 'you need one of the roles admin, member in this project'],
    ['with an application credential, by trust', { methods: ['application_credential'], applicationCredential: 'mine' }, { registry_credential_mode: 'trust' }, 'choose registry_credential_mode acl'],
    ['with an application credential, by another', { methods: ['application_credential'], applicationCredential: 'mine' }, { registry_credential_mode: 'app_cred' }, 'choose registry_credential_mode acl'],
    ['by a trust, by another', { trustee: 'somebody' }, { registry_credential_mode: 'trust' }, 'Keystone does not let a trust make a trust'],
    ['without a delegated role', { roles: ['admin'] }, { registry_credential_mode: 'trust' }, 'you lack the role member in this project'],
  ])('a cluster with a registry %s: 403 with a remedy', async (_, person, labels, detail) => {
    expect(await service.call(service.keystone.token(person), 'POST', CLUSTERS, { json: { cluster_template_id: 'k8s', labels } })).toMatchObject({ status: 403, detail: expect.stringContaining(detail) as string });
  });

  test('an application credential with the mode acl may', async () => {
    const token = service.keystone.token({ methods: ['application_credential'], applicationCredential: 'mine' });
    expect((await service.call(token, 'POST', CLUSTERS, { json: { cluster_template_id: 'k8s' } })).status).toBe(202);
  });

  test('what nodes have opens nothing', async () => {
    const uuid = await made({ cluster_template_id: 'k8s' });
    await service.database.db.insertInto('intents').values({ cluster_uuid: uuid, generation: 1, step: 'user', state: 'done', detail: JSON.stringify({ kind: 'user', name: 'x', id: 'trustee1' }), created_ms: 0 }).execute();
    const { keystone } = service;
    const nodes = [keystone.token({ domain: 'umbra-nodes' }), keystone.token({ applicationCredential: `umbra-${uuid}-1`, methods: ['application_credential'] }), keystone.token({ trustee: 'trustee1' })];
    for (const token of nodes) expect((await service.call(token, 'GET', CLUSTERS)).status).toBe(403);
    expect((await service.call(keystone.token({ trustee: 'heat' }), 'GET', CLUSTERS)).status).toBe(200);
  });
});

describe('bad input (facts C8)', () => {
  test.each<[string, object, string]>([
    ['no template', { cluster_template_id: null }, "Invalid input for field/attribute cluster_template_id. Value: 'None'. Mandatory field missing."],
    ['a template that is not there', { cluster_template_id: 'none' }, 'ClusterTemplate none could not be found.'],
    ...['1abc', 'a b', 'ä', '-a', 'a/b', 'x'.repeat(243)].map((name): [string, object, string] => [`the name ${name.slice(0, 5)}`, { name }, 'Invalid input for field/attribute name']),
    ['an unknown field', { registry_enabled: true }, 'Unknown attribute: registry_enabled'],
    ['an address', { registry_address: 'localhost:5000' }, 'Cannot set read only field.'],
    ['no masters', { master_count: 0 }, 'Invalid input for field/attribute master_count'],
    ['fewer nodes than none', { node_count: -1 }, 'Invalid input for field/attribute node_count'],
    ['a wrong label', { labels: { registry_port: '10250' } }, 'Invalid label registry_port'],
    ["the template's port of the API", { cluster_template_id: 'k8s', labels: { registry_port: '8443' } }, 'this is that of the API of Kubernetes (apiserver_port)'],
  ])('%s: 400', async (_, fields, detail) => {
    expect(await service.call(mine, 'POST', CLUSTERS, { json: { cluster_template_id: 'plain', ...fields } })).toMatchObject({ status: 400, detail: expect.stringContaining(detail) as string });
  });

  test('a template that is used is neither changed nor deleted, but renamed', async () => {
    const uuid = await template({ name: 'used' });
    const cluster = await made({ cluster_template_id: uuid });
    const patch = async (path: string, value: unknown): Promise<Reply> => await service.call(mine, 'PATCH', `/v1/clustertemplates/${uuid}`, { json: [{ op: 'replace', path, value }] });
    const referenced = { status: 400, detail: `ClusterTemplate ${uuid} is referenced by one or multiple clusters.` };
    expect(await patch('/registry_enabled', true)).toMatchObject(referenced);
    expect(await service.call(mine, 'DELETE', `/v1/clustertemplates/${uuid}`)).toMatchObject(referenced);
    expect((await patch('/name', 'used-2')).status).toBe(200);
    expect((await service.call(admin, 'PATCH', `/v1/clustertemplates/${uuid}`, { json: [{ op: 'replace', path: '/public', value: true }] })).status).toBe(200);
    await service.call(mine, 'DELETE', `${CLUSTERS}/${cluster}`);
    expect((await service.call(mine, 'DELETE', `/v1/clustertemplates/${uuid}`)).status).toBe(204);
  });

  test.each<[string, object, string]>([
    ['removes the template', { op: 'remove', path: '/cluster_template_id' }, "'/cluster_template_id' is a mandatory attribute and can not be removed"],
    ...['uuid', 'registry_address', 'registry_trust_id', 'registry_status', 'status', 'stack_id', 'trustee_password', 'project_id', 'api_address'].map((name): [string, object, string] => [`changes ${name}`, { op: 'replace', path: `/${name}`, value: 'x' }, `'/${name}' is an internal attribute and can not be updated`]),
    ['changes labels', { op: 'add', path: '/labels/x', value: 'y' }, 'cannot change cluster property(ies) labels.'],
    ['renames', { op: 'replace', path: '/name', value: 'renamed' }, 'cannot change cluster property(ies) name.'],
    ['wants no number of nodes', { op: 'replace', path: '/node_count', value: 'many' }, 'Invalid input for field/attribute node_count'],
  ])('a patch that %s: 400', async (_, operation, detail) => {
    const uuid = await made();
    expect(await service.call(mine, 'PATCH', `${CLUSTERS}/${uuid}`, { json: [operation] })).toMatchObject({ status: 400, detail: expect.stringContaining(detail) as string });
  });
});

describe('a change', () => {
  test('of the number of nodes is complete at once', async () => {
    const uuid = await made();
    expect(await service.call(mine, 'PATCH', `${CLUSTERS}/${uuid}`, { json: [{ op: 'replace', path: '/node_count', value: 5 }] })).toMatchObject({ status: 202, body: { uuid } });
    expect(await shown(uuid)).toMatchObject({ node_count: 5, status: 'UPDATE_COMPLETE', updated_at: expect.any(String) as string });
    expect((await service.call(mine, 'POST', `${CLUSTERS}/${uuid}/actions/resize`, { json: { node_count: 2, nodes_to_remove: [], nodegroup: 'default-worker' }, version: '1.7' })).status).toBe(202);
    expect((await shown(uuid))['node_count']).toBe(2);
    expect((await service.call(mine, 'POST', `${CLUSTERS}/${uuid}/actions/resize`, { json: { node_count: 2 }, version: '1.6' })).status).toBe(404);
  });

  test('of a cluster that something is being done to: 409', async () => {
    const uuid = await made({ cluster_template_id: 'k8s' });
    expect((await service.call(mine, 'PATCH', `${CLUSTERS}/${uuid}`, { json: [{ op: 'replace', path: '/node_count', value: 5 }] })).status).toBe(409);
  });

  test('of a cluster that is being deleted: 409, also after a failure', async () => {
    await template({ name: 'going', registry_enabled: true });
    const uuid = await made({ cluster_template_id: 'going' });
    await becomes(uuid, 'DELETE_FAILED', { generation: 1 });
    for (const [action, json] of [['rotate', {}], ['upgrade', { cluster_template: 'k8s' }], ['resize', { node_count: 2 }]] as const)
      expect(await service.call(mine, 'POST', `${CLUSTERS}/${uuid}/actions/${action}`, { json, version: 'latest' })).toMatchObject({ status: 409, detail: expect.stringContaining('it can only be deleted') as string });
    expect((await service.call(mine, 'DELETE', `${CLUSTERS}/${uuid}`)).status).toBe(204);
  });

  test('rotate asks for another credential, with the token of whoever asks', async () => {
    const uuid = await made({ cluster_template_id: 'k8s' });
    const rotate = async (): Promise<Reply> => await service.call(colleague, 'POST', `${CLUSTERS}/${uuid}/actions/rotate`);
    expect((await rotate()).status).toBe(409);
    await becomes(uuid, 'CREATE_COMPLETE', { generation: 1, registry_status: 'ACTIVE' });
    const before = service.woken.count;
    expect(await rotate()).toMatchObject({ status: 202, body: { uuid } });
    expect([service.woken.count - before, await callerToken(uuid)]).toEqual([1, colleague]);
    expect(await shown(uuid)).toMatchObject({ status: 'UPDATE_IN_PROGRESS', registry_status: 'ACTIVE' });
    expect(await service.call(mine, 'POST', `${CLUSTERS}/${await made()}/actions/rotate`)).toMatchObject({ status: 400, detail: expect.stringContaining('has no registry') as string });
  });

  test('upgrade to a template with a registry asks for one', async () => {
    const uuid = await made();
    const upgrade = async (cluster_template: string): Promise<Reply> => await service.call(mine, 'POST', `${CLUSTERS}/${uuid}/actions/upgrade`, { json: { cluster_template }, version: 'latest' });
    await template({ name: 'swarm', coe: 'swarm' });
    expect(await upgrade('swarm')).toMatchObject({ status: 400, detail: 'Cannot upgrade a cluster of kubernetes to a template of swarm.' });
    expect((await upgrade('k8s')).status).toBe(202);
    expect(await shown(uuid)).toMatchObject({ status: 'UPDATE_IN_PROGRESS', registry_status: 'PENDING', registry_address: 'localhost:5001' });
    await becomes(uuid, 'UPDATE_COMPLETE', { generation: 1, registry_status: 'ACTIVE' });
    expect((await upgrade('plain')).status).toBe(202);
    expect(await shown(uuid)).toMatchObject({ status: 'UPDATE_IN_PROGRESS', registry_address: null, registry_status: null });
    // Where that fails, it can be asked for again: there is a credential left.
    await becomes(uuid, 'UPDATE_FAILED');
    expect((await upgrade('plain')).status).toBe(202);
    expect(await shown(uuid)).toMatchObject({ status: 'UPDATE_IN_PROGRESS' });
  });

  describe('upgrade keeps the labels of the cluster itself', () => {
    const upgrade = async (uuid: string, to: string): Promise<Reply> => await service.call(mine, 'POST', `${CLUSTERS}/${uuid}/actions/upgrade`, { json: { cluster_template: to }, version: 'latest' });
    const ready = async (labels: object): Promise<string> => {
      const uuid = await made({ cluster_template_id: 'k8s', labels, merge_labels: true });
      await becomes(uuid, 'CREATE_COMPLETE', { generation: 1, registry_status: 'ACTIVE' });
      return uuid;
    };
    const settings = async (uuid: string): Promise<object> => {
      const row = await service.database.db.selectFrom('clusters').select(['settings', 'wanted_settings']).where('uuid', '=', uuid).executeTakeFirstOrThrow();
      return JSON.parse(row.wanted_settings ?? row.settings) as object;
    };

    test("over the new template's, and says which they are", async () => {
      const own = { registry_container: 'shared', registry_quota: '1KiB', registry_port: '5002' };
      const uuid = await ready(own);
      const next = await template({ name: 'next', registry_enabled: true, labels: { registry_port: '5003', registry_policy: 'local', kube_tag: 'v2' } });
      for (const to of [next, next, await template({ name: 'off', labels: { registry_port: '5003', kube_tag: 'v2', registry_policy: 'local' } }), next]) {
        expect((await upgrade(uuid, to)).status).toBe(202);
        expect(await settings(uuid)).toMatchObject({ container: 'shared' });
        expect(await shown(uuid)).toMatchObject({
          labels: { ...own, registry_policy: 'local', kube_tag: 'v2' },
          labels_added: { registry_container: 'shared', registry_quota: '1KiB' }, labels_overridden: { registry_port: '5003' }, labels_skipped: {},
        });
        await becomes(uuid, 'UPDATE_COMPLETE');
      }
      expect(await settings(uuid)).toMatchObject({ container: 'shared', quotaBytes: 1024, port: 5002, policy: 'local', write: 'cache' });
    });

    test('also where the new template has no registry: images stay or go as they say', async () => {
      const uuid = await ready({ registry_container: 'shared', registry_purge: 'true' });
      expect((await upgrade(uuid, 'plain')).status).toBe(202);
      expect(await settings(uuid)).toMatchObject({ container: 'shared', purge: true });
    });

    test.each<[string, object, object, string]>([
      ['a fallback that the new policy does not have', { registry_fallback: 'upstream' }, { labels: { registry_policy: 'local' } }, 'Invalid label registry_fallback'],
      ["the new template's port of the API", { registry_port: '7443' }, { apiserver_port: 7443 }, 'Invalid label registry_port'],
    ])('and where they do not go together it says so, and nothing changes: %s', async (_, own, to, detail) => {
      const uuid = await ready(own);
      const before = await shown(uuid);
      expect(await upgrade(uuid, await template({ name: 'unfit', registry_enabled: true, ...to }))).toMatchObject({ status: 400, detail: expect.stringContaining(detail) as string });
      expect(await shown(uuid)).toEqual(before);
    });
  });

  test.each([['shared', 'shared', true], ['shared', undefined, false], [undefined, undefined, true]])('upgrade from container %s to no registry, with registry_purge and container %s: purge is %s', async (before, after, purge) => {
    const labels = (container: string | undefined): object => (container === undefined ? {} : { registry_container: container });
    const [from, to] = [await template({ name: 'from', registry_enabled: true, labels: labels(before) }), await template({ name: 'to', labels: { ...labels(after), registry_purge: 'true' } })];
    const uuid = await made({ cluster_template_id: from });
    await becomes(uuid, 'CREATE_COMPLETE', { generation: 1, registry_status: 'ACTIVE' });
    expect((await service.call(mine, 'POST', `${CLUSTERS}/${uuid}/actions/upgrade`, { json: { cluster_template: to }, version: 'latest' })).status).toBe(202);
    const { settings } = await service.database.db.selectFrom('clusters').select('settings').where('uuid', '=', uuid).executeTakeFirstOrThrow();
    expect(JSON.parse(settings)).toMatchObject({ purge, ...(before !== undefined && { container: before }) });
  });

  test('upgrade to another registry shows the one that nodes have until there is the other', async () => {
    const uuid = await made({ cluster_template_id: 'k8s' });
    await becomes(uuid, 'CREATE_COMPLETE', { generation: 1, registry_status: 'ACTIVE' });
    await template({ name: 'k8s-trust', registry_enabled: true, labels: { registry_port: '5002', registry_credential_mode: 'trust' } });
    expect((await service.call(mine, 'POST', `${CLUSTERS}/${uuid}/actions/upgrade`, { json: { cluster_template: 'k8s-trust' }, version: 'latest' })).status).toBe(202);
    for (const status of ['UPDATE_IN_PROGRESS', 'UPDATE_FAILED'] as const) {
      await becomes(uuid, status);
      expect(await shown(uuid)).toMatchObject({ status, registry_address: 'localhost:5001', registry_credential_mode: 'acl' });
    }
  });
});

describe('nodes', () => {
  const nodes = async (uuid: string, path = '', method = 'GET', token = mine): Promise<Reply> => await service.call(token, method, `${CLUSTERS}/${uuid}/nodes${path}`);
  const joined = async (uuid: string, id: string): Promise<void> =>
    void (await service.database.db.insertInto('nodes').values({ id, cluster_uuid: uuid, name: id, role: 'worker', key_hash: '', token_hash: null, arch: 'amd64', version: '1', generation: 1, last_error: null, disk_used_bytes: null, disk_max_bytes: null, joined_ms: 0, seen_ms: 0 }).execute());

  test('are removed one by one, by who may change the cluster', async () => {
    const uuid = await made({ cluster_template_id: 'k8s' });
    await becomes(uuid, 'CREATE_COMPLETE', { generation: 1 });
    await joined(uuid, 'one');
    await joined(uuid, 'two');
    expect((await nodes(uuid, '/one', 'DELETE', other)).status).toBe(404);
    expect((await nodes(uuid, '/one', 'DELETE', reader)).status).toBe(403);
    expect((await nodes(uuid, '/one', 'DELETE')).status).toBe(204);
    expect((await nodes(uuid)).body).toMatchObject({ nodes: [{ id: 'two' }] });
    expect(await nodes(uuid, '/one', 'DELETE')).toMatchObject({ status: 404, detail: expect.stringContaining('has no node one: expected the id of one') as string });
  });

  test('take no other method, and have nothing below', async () => {
    const uuid = await made({ cluster_template_id: 'k8s' });
    expect([(await nodes(uuid, '', 'DELETE')).status, (await nodes(uuid, '/one')).status, (await nodes(uuid, '/one/two', 'DELETE')).status]).toEqual([405, 405, 404]);
  });
});

describe('lists', () => {
  let lister = '';
  beforeAll(async () => {
    lister = service.keystone.token({ user: 'lister', project: 'lists' });
    await template({ name: 'theirs', registry_enabled: true }, lister);
    for (const name of ['b', 'a', 'c']) await made({ name, cluster_template_id: 'theirs' }, lister);
  });
  const names = async (query: string): Promise<readonly unknown[]> => ((await service.call(lister, 'GET', `${CLUSTERS}${query}`)).body['clusters'] as readonly { readonly name: string }[]).map(({ name }) => name);

  test.each<[string, readonly string[]]>([['', ['b', 'a', 'c']], ['?sort_key=name&sort_dir=desc', ['c', 'b', 'a']], ['?status=CREATE_IN_PROGRESS&limit=2', ['b', 'a']], ['?status=CREATE_COMPLETE', []], ['/detail?name=a', ['a']]])('%s', async (query, expected) => {
    expect(await names(query)).toEqual(expected);
  });

  test('have less than details, which have all', async () => {
    const first = async (path: string): Promise<object> => ((await service.call(lister, 'GET', path)).body['clusters'] as readonly object[])[0] ?? {};
    expect(await first(CLUSTERS)).not.toHaveProperty('project_id');
    expect(await first(`${CLUSTERS}/detail`)).toMatchObject({ project_id: 'lists', registry_credential_mode: 'acl' });
    expect(Object.keys(await first(`${CLUSTERS}?fields=name,registry_container`)).toSorted()).toEqual(['links', 'name', 'registry_container']);
  });

  test('go on where they ended', async () => {
    const { body } = await service.call(lister, 'GET', `${CLUSTERS}?limit=2&sort_key=status`);
    const next = (body['next'] as string).replace('http://clusters.example.org', '');
    expect(await names(next.slice(CLUSTERS.length))).toEqual(['c']);
  });
});

describe('bays, as clusters were called', () => {
  test('have the words of their time', async () => {
    const answer = await service.call(mine, 'POST', '/v1/bays', { json: { name: 'bay', baymodel_id: 'plain', bay_create_timeout: 5 } });
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject({ name: 'bay', bay_create_timeout: 5, status: 'CREATE_COMPLETE', links: [{ href: expect.stringContaining('/v1/bays/') as string }, {}] });
    expect(answer.body).not.toHaveProperty('cluster_template_id');
    expect((await service.call(mine, 'PATCH', '/v1/bays/bay', { json: [{ op: 'replace', path: '/node_count', value: 2 }] })).body).toMatchObject({ node_count: 2 });
    expect(await service.call(mine, 'PATCH', '/v1/bays/bay', { json: [{ op: 'remove', path: '/baymodel_id' }] })).toMatchObject({ status: 400 });
    expect((await service.call(mine, 'GET', '/v1/bays', { version: '1.11' })).status).toBe(404);
    expect((await service.call(mine, 'DELETE', '/v1/bays/bay', { version: '1.10' })).status).toBe(204);
  });

  test('are listed by them', async () => {
    await service.call(mine, 'POST', '/v1/bays', { json: { name: 'listed', baymodel_id: 'plain' } });
    const { body } = await service.call(mine, 'GET', '/v1/bays?fields=name,baymodel_id&name=listed&sort_key=baymodel_id');
    expect(body['bays']).toEqual([{ name: 'listed', baymodel_id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string, links: expect.anything() as unknown }]);
    expect(await service.call(mine, 'GET', '/v1/bays?fields=cluster_template_id')).toMatchObject({ status: 400, detail: 'Unknown field: cluster_template_id' });
  });

  test('are made without waiting from 1.2 on', async () => {
    const answer = await service.call(mine, 'POST', '/v1/bays', { json: { baymodel_id: 'plain' }, version: '1.2' });
    expect([answer.status, Object.keys(answer.body)]).toEqual([202, ['uuid']]);
  });
});

test('neither an id of a trust nor a secret is in any answer or in the log', async () => {
  const uuid = await made({ cluster_template_id: 'k8s', labels: { registry_credential_mode: 'trust' } });
  await sealedSecrets(service.database, service.config.encryptionKeys).put(service.database.db, `cluster/${uuid}/1`, 'trust', service.config.keystone.password);
  await becomes(uuid, 'CREATE_COMPLETE', { generation: 1 });
  const answers = await Promise.all([`${CLUSTERS}/${uuid}`, `${CLUSTERS}/detail`, CLUSTERS, `/v1/bays/${uuid}`, '/v1/clustertemplates/detail', `${CLUSTERS}/${uuid}/nodes`].map((path) => service.call(mine, 'GET', path)));
  const all = `${answers.map(({ text }) => text).join()} ${service.logged.join()}`;
  expect(all).not.toMatch(/trust(?:ee)?_|"trust_id"|caller-token/);
  for (const secret of [mine, colleague, 'pw-of-umbra', 'pw-of-admin', 'k'.repeat(32)]) expect(all).not.toContain(secret);
});
