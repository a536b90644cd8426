import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { clusterCloud, type ClusterCloud, type Tenant } from '../../../test/services/cluster-cloud.ts';
import { service, type Service } from './lifecycle.fixture.ts';

const openstack = inject('openstack');
let cloud: ClusterCloud;
let owner: Tenant;
let folder: string;
let umbra: Service;
beforeAll(async () => {
  cloud = await clusterCloud(openstack);
  folder = await mkdtemp(join(tmpdir(), 'umbra-lifecycle-'));
});
afterAll(async () => await rm(folder, { recursive: true }));
beforeEach(async ({ task }) => {
  owner = await cloud.tenant();
  umbra = await service(`sqlite:${join(folder, `${task.id}.db`)}`, cloud.settings);
  umbra.start();
});
afterEach(async () => await umbra[Symbol.asyncDispose]());

/** Logs in as a node, and asks Swift for something in the owner's account. */
async function asNode(words: Readonly<Record<string, string>>, method: string, path: string, body?: string): Promise<number> {
  const { url, userId, password, projectId, trustId, applicationCredentialId: id, applicationCredentialSecret: secret } = words;
  const identity = id === undefined ? { methods: ['password'], password: { user: { id: userId, password } } } : { methods: ['application_credential'], application_credential: { id, secret } };
  const scope = trustId !== undefined ? { 'OS-TRUST:trust': { id: trustId } } : projectId === undefined ? undefined : { project: { id: projectId } };
  const login = await fetch(`${url}/auth/tokens`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ auth: { identity, ...(scope && { scope }) } }) });
  const token = login.headers.get('x-subject-token');
  if (token === null) return 401;
  const account = `${openstack.accountUrl.replace(/\/[^/]*$/, '')}/AUTH_${owner.projectId}`;
  return (await fetch(`${account}/${path}`, { method, headers: { 'x-auth-token': token }, ...(body !== undefined && { body }) })).status;
}

describe('a cluster in the mode acl', () => {
  test('gets a credential for its containers, and leaves only them', async () => {
    const uuid = await umbra.create(owner, await owner.token());
    expect(await umbra.until(uuid, 'CREATE_COMPLETE', 'CREATE_FAILED')).toEqual({ status: 'CREATE_COMPLETE', status_reason: null, registry_status: 'ACTIVE', generation: 1 });
    const [images, upstream] = [`registry-${uuid}`, `registry-${uuid}-upstream`];
    expect(await cloud.containers(owner)).toEqual([images, upstream]);
    const node = (await umbra.credential(uuid, 1)) ?? {};
    expect(Object.keys(node).toSorted()).toEqual(['password', 'projectId', 'url', 'userId']);
    expect(await asNode(node, 'PUT', `${upstream}/x`, 'x')).toBe(201);
    expect(await asNode(node, 'GET', images)).toBe(204);
    expect(await asNode(node, 'PUT', `${images}/x`, 'x')).toBe(403);
    expect(await asNode(node, 'GET', '')).toBe(403);

    await umbra.ask(uuid, 'DELETE_IN_PROGRESS', await owner.token());
    await umbra.until(uuid, 'gone', 'DELETE_FAILED');
    expect(await cloud.left([owner])).toEqual({ users: [], trusts: 0, applicationCredentials: [] });
    expect(await cloud.containers(owner)).toEqual([images, upstream]);
    expect((await cloud.swift(owner, 'HEAD', images)).headers.get('x-container-read')).toBeNull();
    expect(await umbra.database.db.selectFrom('intents').selectAll().where('cluster_uuid', '=', uuid).execute()).toEqual([]);
    expect(await umbra.database.db.selectFrom('sealed_secrets').selectAll().execute()).toEqual([]);
    expect(await asNode(node, 'GET', images)).toBe(401);
  });
});
