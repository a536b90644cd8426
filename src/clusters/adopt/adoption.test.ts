/** Clusters of a Magnum on a socket, read by the whole service; what the lifecycle would do with the rows, tests write themselves. */
import { mkdir, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { ClusterStatus } from '../words.ts';
import { testService, VERSION, type Reply, type TestService } from '../service.fixture.ts';
import { systemTimers } from '../../workers/timers.ts';
import { cloudSettings } from '../cloud-settings.ts';
import { openCloud } from '../keystone/cloud.ts';
import { startAdoption } from './adoption.ts';
import { fakeMagnum, type Document, type FakeMagnum } from './magnum.fixture.ts';

const INTERVAL_MS = 30;

/** Every answer is this one. */
function fails(code: number, body = '{}'): (response: ServerResponse) => boolean {
  return (response) => {
    response.writeHead(code, { 'content-type': 'application/json', 'retry-after': '0' }).end(body);
    return true;
  };
}

let magnum: FakeMagnum;
let service: TestService;
let member: string;

beforeEach(async () => {
  magnum = await fakeMagnum();
});
afterEach(async () => {
  await service.close();
  await magnum[Symbol.asyncDispose]();
});

async function start(): Promise<void> {
  service = await testService({ adopt: { magnumUrl: magnum.url, intervalMs: INTERVAL_MS } });
  member = service.keystone.token();
}

const get = async ({ uuid }: Document): Promise<Reply> => await service.call(member, 'GET', `/v1/clusters/${String(uuid)}`);
const shows = async (cluster: Document, wanted: Document): Promise<void> => await vi.waitFor(async () => expect((await get(cluster)).body).toMatchObject(wanted), { timeout: 20_000, interval: 10 });

/** Magnum was read whole, from now on: of two readings that end from here on, the second began here. */
async function readAgain(): Promise<void> {
  const count = (): number => magnum.asked.filter((path) => path === 'mservices').length;
  const before = count();
  await expect.poll(count, { timeout: 20_000, interval: 10 }).toBeGreaterThan(before + 2);
}

/** As the lifecycle does. */
async function becomes({ uuid }: Document, status: ClusterStatus, generation = 1): Promise<void> {
  const inForce = status.endsWith('_COMPLETE') ? { settings: sql<string>`coalesce(wanted_settings, settings)`, wanted_settings: null } : {};
  await service.database.db.updateTable('clusters').set({ status, generation, registry_status: 'ACTIVE', updated_ms: service.database.nowMs, ...inForce }).where('uuid', '=', String(uuid)).execute();
}

async function adopted(more: Document = {}): Promise<Document> {
  magnum.template();
  const cluster = magnum.cluster(more);
  await start();
  await shows(cluster, { status: 'CREATE_IN_PROGRESS' });
  await becomes(cluster, 'CREATE_COMPLETE');
  return cluster;
}

test('clusters with the flag, of their template or their own, get registries as they are there; others do not', async () => {
  magnum.template({ http_proxy: 'http://proxy.example.org:3128', insecure_registry: '10.0.0.1:5000' });
  const byTemplate = magnum.cluster({ name: 'one', labels: { registry_port: 5001, kube_tag: 'v1', flag: true }, labels_added: { kube_tag: 'v1' }, keypair: 'key', docker_volume_size: 'large' });
  const optedOut = magnum.cluster({ labels: { registry_enabled: 'false' } });
  const going = magnum.cluster({ status: 'DELETE_IN_PROGRESS' });
  magnum.template({ registry_enabled: false, coe: 'swarm' });
  const byLabel = magnum.cluster({ name: 'two', project_id: 'p2', labels: { registry_enabled: 'True' } });
  const without = magnum.cluster();
  await start();
  await shows(byTemplate, {
    name: 'one', project_id: 'p1', user_id: 'u1', node_count: 2, keypair: 'key', docker_volume_size: null, labels: { registry_port: '5001', kube_tag: 'v1', flag: 'true' }, labels_added: { kube_tag: 'v1' },
    status: 'CREATE_IN_PROGRESS', registry_status: 'PENDING', registry_address: 'localhost:5001', registry_credential_mode: 'acl', registry_container: `registry-${String(byTemplate['uuid'])}`, cluster_template_id: byTemplate['cluster_template_id'],
  });
  const admin = service.keystone.token({ roles: ['admin'], project: 'other' });
  await vi.waitFor(async () => expect((await service.call(admin, 'GET', `/v1/clusters/${String(byLabel['uuid'])}`)).body).toMatchObject({ project_id: 'p2', status: 'CREATE_IN_PROGRESS' }));
  for (const other of [optedOut, going, without]) expect((await get(other)).status).toBe(404);
  expect((await get(byLabel)).status).toBe(404); // another project's
  expect(service.woken.count).toBeGreaterThan(0);

  await becomes(byTemplate, 'CREATE_COMPLETE');
  const rendered = async (): Promise<Reply> => await service.call(member, 'GET', `/v1/clusters/${String(byTemplate['uuid'])}/artifacts?role=worker&format=shell`);
  expect((await rendered()).detail).toContain(`There is no program of version ${VERSION}`); // all else is there
  const folder = String(service.config.programs);
  await mkdir(folder);
  await writeFile(join(folder, `umbra-${VERSION}-linux-amd64.tar.gz`), 'program');
  const { text } = await rendered();
  for (const ofTemplate of ['http://proxy.example.org:3128', '--insecure-registries 10.0.0.1:5000']) expect(text).toContain(ofTemplate);
});

test('of many, all are read, by markers and at the address that is configured', async () => {
  magnum.template();
  const all = Array.from({ length: 250 }, (_, i) => magnum.cluster({ name: `c${i}` }));
  await start();
  await shows(all.at(-1) ?? {}, { status: 'CREATE_IN_PROGRESS' });
  const first = magnum.asked.filter((path) => path.startsWith('clusters/detail')).slice(0, 3);
  expect(first.map((path) => new URLSearchParams(path.split('?')[1]).get('marker'))).toEqual([null, all[99]?.['uuid'], all[199]?.['uuid']]);
});

describe('what cannot be is said of that cluster, and the others go on', () => {
  const BAD: readonly (readonly [Document, string])[] = [
    [{ name: '<script>\0' }, "Its name, '<script> ', is none"],
    [{ name: { toString: 'x' } }, 'Its name,'],
    [{ labels: [] }, 'Its labels cannot be read'],
    [{ labels: { a: 'x'.repeat(5_000) } }, 'Its labels cannot be read'],
    [{ labels: { registry_port: {} } }, 'Its labels cannot be read'],
    [{ labels: { registry_port: '6443' } }, "Invalid label registry_port, '6443'"],
    [{ labels: { registry_enabled: 'maybe' } }, "Invalid label registry_enabled, 'maybe': expected true or false"],
    [{ labels: { registry_mode: 'x' } }, 'there is no such label'],
    [{ labels: { registry_credential_mode: 'trust' } }, 'registry_credential_mode trust needs the token of whoever owns the cluster'],
    [{ labels: { registry_container: 'backups' } }, 'registry_container is for owners who may open containers'],
  ];

  test('names and labels, until they are corrected', async () => {
    magnum.template();
    const bad = BAD.map(([more, said]) => [magnum.cluster(more), said] as const);
    const good = magnum.cluster({ name: 'good' });
    await start();
    await shows(good, { status: 'CREATE_IN_PROGRESS', registry_status: 'PENDING' });
    for (const [cluster, said] of bad) {
      const { body } = await get(cluster);
      expect([body['status'], body['registry_status'], body['status_reason']]).toEqual(['CREATE_FAILED', expect.stringMatching(/^DEGRADED: .*there is no registry until then$/), expect.stringContaining(said)]);
      expect(body['registry_status']).toContain(said);
      magnum.change(cluster['uuid'], { name: 'better', labels: { registry_port: '5002' } });
    }
    for (const [cluster] of bad) await shows(cluster, { name: 'better', status: 'CREATE_IN_PROGRESS', status_reason: null, registry_status: 'PENDING', registry_address: 'localhost:5002' });
  });

  test('a template for something else', async () => {
    magnum.template({ coe: 'mesos' });
    const cluster = magnum.cluster();
    await start();
    await shows(cluster, { status: 'CREATE_FAILED', registry_status: expect.stringContaining('Its template is for something else') as string });
  });

  test('what is no cluster at all is logged once', async () => {
    magnum.template();
    magnum.clusters.push(null as unknown as Document, { uuid: '../../../etc' }, { uuid: 7 });
    magnum.cluster({ project_id: '../AUTH_other' });
    magnum.cluster({ project_id: null });
    const good = magnum.cluster();
    await start();
    await shows(good, { status: 'CREATE_IN_PROGRESS' });
    await readAgain();
    expect(service.logged.filter((line) => line.includes('there is no place for a cluster without a UUID, nor for 4 more'))).toHaveLength(1);
    expect(await service.database.db.selectFrom('clusters').select('uuid').execute()).toHaveLength(1);
  });
});

test('labels that change are followed: what nodes were given is made anew only where it must be', async () => {
  const cluster = await adopted();
  magnum.change(cluster['uuid'], { labels: { registry_port: '5003' }, node_count: 7 });
  await shows(cluster, { registry_address: 'localhost:5003', node_count: 7, status: 'CREATE_COMPLETE', labels: { registry_port: '5003' } });
  magnum.change(cluster['uuid'], { labels: { registry_write: 'none' } });
  await shows(cluster, { status: 'UPDATE_IN_PROGRESS' });
  magnum.change(cluster['uuid'], { labels: { registry_write: 'all' } });
  await readAgain();
  expect((await service.database.db.selectFrom('clusters').select('wanted_settings').executeTakeFirstOrThrow()).wanted_settings).toContain('"write":"none"'); // not while it is worked on
  await becomes(cluster, 'UPDATE_COMPLETE', 2);
  await shows(cluster, { status: 'UPDATE_IN_PROGRESS' });
  await becomes(cluster, 'UPDATE_COMPLETE', 3);

  magnum.change(cluster['uuid'], { labels: { registry_port: 'no' } });
  await shows(cluster, { status: 'UPDATE_COMPLETE', registry_status: "DEGRADED: Invalid label registry_port, 'no': expected a port from 1024 to 65535; it is to be corrected in Magnum, and the registry stays as it was until then", registry_address: 'localhost:5000' });
  magnum.change(cluster['uuid'], { labels: { registry_write: 'all' } });
  await shows(cluster, { status: 'UPDATE_COMPLETE', registry_status: 'ACTIVE' });
});

test('a cluster that is gone there, or has the flag no more, goes here', async () => {
  const cluster = await adopted();
  const other = magnum.cluster();
  await shows(other, { status: 'CREATE_IN_PROGRESS' });
  magnum.clusters.splice(0, 2);
  await shows(cluster, { status: 'DELETE_IN_PROGRESS' });
  await readAgain();
  await shows(other, { status: 'CREATE_IN_PROGRESS' }); // not while it is worked on
  magnum.clusters.push(other);
  await becomes(other, 'CREATE_COMPLETE');
  await readAgain();
  await shows(other, { status: 'CREATE_COMPLETE' });
  magnum.change(other['uuid'], { labels: { registry_enabled: false } });
  await shows(other, { status: 'DELETE_IN_PROGRESS' });
});

describe('nothing is taken away while Magnum', () => {
  test.each([
    ['fails', fails(503), 'answered 503'],
    ['knows nobody', fails(401), 'answered 401'],
    ['tells of one project alone', (response: ServerResponse, path: string) => path === 'mservices' && fails(403)(response), 'the role admin in its project'],
    ['sends somewhere else', fails(302), 'answered 302'],
    ['answers with a page', fails(200, '<html>'), 'expected a Magnum'],
    ['answers with another list', fails(200, '{"things":[]}'), 'expected a Magnum'],
    ['hangs up', (response: ServerResponse) => response.destroy() !== undefined, 'cannot be reached'],
    ['fails in the middle of its list', (response: ServerResponse, path: string) => path.startsWith('clusters/detail') && fails(500)(response), 'answered 500'],
    ['has it although it is not in the list', (response: ServerResponse, path: string) => path.startsWith('clusters/') && !path.startsWith('clusters/detail') && fails(200)(response), undefined],
    ['does not say how its list goes on', (response: ServerResponse, path: string) => path.startsWith('clusters/detail') && fails(200, '{"clusters":[{}],"next":"x"}')(response), 'does not say how its list of clusters goes on'],
  ])('%s', async (_, trouble, said) => {
    const cluster = await adopted();
    const template = String(cluster['cluster_template_id']);
    magnum.trouble = trouble;
    const failures = (): number => service.logged.filter((line) => said !== undefined && new RegExp(`those adopted stay as they are.*${said}`).test(line)).length;
    const failsAgain = async (): Promise<void> => {
      const before = failures();
      if (said === undefined) await readAgain();
      else await expect.poll(failures, { timeout: 30_000, interval: 10 }).toBeGreaterThan(before);
    };
    await failsAgain();
    magnum.clusters.length = 0;
    await failsAgain();
    await shows(cluster, { status: 'CREATE_COMPLETE', registry_status: 'ACTIVE', cluster_template_id: template });
  });
});

test('a list too long for one answer is read in shorter pieces', async () => {
  magnum.template();
  const all = Array.from({ length: 30 }, (_, i) => magnum.cluster({ name: `c${i}`, status_reason: 'x'.repeat(400 * 1024) }));
  await start();
  await shows(all.at(-1) ?? {}, { status: 'CREATE_IN_PROGRESS' });
  expect(service.logged.filter((line) => line.includes('failed'))).toEqual([]);
});

test('it is changed and deleted in Magnum alone; its credential can be rotated', async () => {
  const cluster = await adopted();
  const path = `/v1/clusters/${String(cluster['uuid'])}`;
  const said = [409, `Cluster ${String(cluster['uuid'])} is one of the Magnum at ${magnum.url}: change or delete it there, and it is done here too.`];
  for (const [method, where, json] of [['PATCH', path, [{ op: 'replace', path: '/node_count', value: 3 }]], ['DELETE', path, undefined], ['POST', `${path}/actions/resize`, { node_count: 3 }], ['POST', `${path}/actions/upgrade`, { cluster_template: 't' }]] as const) {
    const { status, detail } = await service.call(member, method, where, { json, version: '1.10' });
    expect([status, detail]).toEqual(said);
  }
  expect((await service.call(member, 'POST', `${path}/actions/rotate`)).status).toBe(202);
  await shows(cluster, { status: 'UPDATE_IN_PROGRESS' });
});

test('a cluster of a Magnum that is not read any more stays until it is deleted here', async () => {
  const cluster = await adopted();
  const { uuid } = cluster;
  const { db } = service.database;
  magnum.trouble = fails(503);
  await vi.waitFor(() => expect(service.logged.join('\n')).toContain('those adopted stay'), { timeout: 20_000, interval: 10 });
  const { body } = await db.selectFrom('clusters').select('body').executeTakeFirstOrThrow();
  await db.updateTable('clusters').set({ body: body.replace(magnum.url, 'http://before.example.org') }).execute();
  magnum.clusters.length = 0;
  magnum.trouble = undefined;
  await readAgain();
  await shows(cluster, { status: 'CREATE_COMPLETE' });
  const { status, detail } = await service.call(member, 'PATCH', `/v1/clusters/${String(uuid)}`, { json: [{ op: 'replace', path: '/node_count', value: 3 }] });
  expect([status, detail]).toEqual([409, expect.stringContaining('can only be deleted here')]);
  expect((await service.call(member, 'DELETE', `/v1/clusters/${String(uuid)}`)).status).toBe(204);
  await shows(cluster, { status: 'DELETE_IN_PROGRESS' });
});

test('what failed is tried again, after a rest', async () => {
  magnum.template();
  const cluster = magnum.cluster();
  await start();
  await shows(cluster, { status: 'CREATE_IN_PROGRESS' });
  await becomes(cluster, 'CREATE_FAILED', 0);
  await readAgain();
  await shows(cluster, { status: 'CREATE_FAILED' });
  await service.database.db.updateTable('clusters').set({ updated_ms: 1 }).execute();
  await shows(cluster, { status: 'CREATE_IN_PROGRESS' });
});

test('a cluster of this service is not one of Magnum, whatever it is called there', async () => {
  magnum.template();
  await start();
  const made = await service.call(member, 'POST', '/v1/clustertemplates', { json: { name: 't', coe: 'kubernetes', image_id: 'x', registry_enabled: true } });
  const { body } = await service.call(member, 'POST', '/v1/clusters', { json: { name: 'ours', cluster_template_id: made.body['uuid'] } });
  const clash = magnum.cluster({ uuid: body['uuid'], name: 'theirs' });
  await vi.waitFor(() => expect(service.logged.join('\n')).toContain('since this service has made one with this id'), { timeout: 20_000 });
  await shows(clash, { name: 'ours' });
});

test('of several instances one reads in each interval', async () => {
  magnum.template();
  const cluster = magnum.cluster();
  service = await testService();
  member = service.keystone.token();
  const { database, config } = service;
  const chance = { timers: systemTimers, random: Math.random };
  const cloud = openCloud({ ...chance, nowMs: Date.now, settings: cloudSettings(config) });
  const instance = (): ReturnType<typeof startAdoption> =>
    startAdoption({
      ...chance, database, config, adopt: { magnumUrl: magnum.url, intervalMs: 3_600_000 }, cloud, lifecycle: { wake: () => undefined }, report: () => undefined,
    });
  const all = [instance(), instance(), instance()];
  await shows(cluster, { status: 'CREATE_IN_PROGRESS' });
  for (const each of all) await each.close();
  await cloud.close();
  expect(magnum.asked.filter((path) => path === 'mservices')).toHaveLength(1);
});
