/**
 * A swarm of machines made here, whose nodes' registries the cluster service rendered: dockerd on each pulls by what was
 * rendered for it, and services run what was pushed on one node of them, and what Docker Hub has. A registry stops, a disk is
 * lost, the credential is replaced, and the cluster ends.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, inject, onTestFailed, test } from 'vitest';
import { dockerArchive, makeImage } from '../e2e/images.ts';
import type { ClusterNode } from '../services/cluster-node.ts';
import { ClusterSite } from '../services/cluster-site.ts';
import { Docker } from '../services/docker.ts';
import type { NodeMachine } from '../services/node-machine.ts';

const WAIT_MS = 60_000;

const ending = new AsyncDisposableStack();
let site: ClusterSite;
let uuid: string;
let manager: ClusterNode;
let worker: ClusterNode;
let dockers: readonly [Docker, Docker];

beforeAll(async () => {
  site = ending.use(await ClusterSite.start(inject('openstack'), [{ name: 'swarm', coe: 'swarm-mode', labels: { registry_write: 'all', registry_credential_mode: 'trust' } }]));
  uuid = site.cluster('swarm');
  const [forManager, forWorker] = [await site.artifacts(uuid, 'master', 1), await site.artifacts(uuid, 'worker', 1)];
  [manager, worker] = await Promise.all([site.makeNode('manager', forManager, putDocker), site.makeNode('worker', forWorker, putDocker)]);
  dockers = await Promise.all([startDocker(manager), startDocker(worker)]);
  const [{ address }, [first, second]] = [manager.machine, dockers];
  await first.run(['swarm', 'init', '--advertise-addr', address]);
  await second.run(['swarm', 'join', '--token', (await first.run(['swarm', 'join-token', '--quiet', 'worker'])).trim(), `${address}:2377`]);
});
afterAll(async () => await ending.disposeAsync());
beforeEach(() => onTestFailed(() => console.error(site.story())));

/** What dockerd is told on a machine before it is a node. */
async function putDocker({ root }: NodeMachine): Promise<void> {
  await mkdir(join(root, 'etc/docker'), { recursive: true });
  await writeFile(join(root, 'etc/docker/daemon.json'), JSON.stringify({ 'max-download-attempts': 1 }));
}

async function startDocker(node: ClusterNode): Promise<Docker> {
  const { dir, root, wrapper, caFile } = node.machine;
  return site.use(await Docker.start({ dir: join(dir, 'd'), machine: root, wrapper, caFile, logins: { [node.host]: await node.pushUser() } }));
}

async function pullOn(index: 0 | 1, reference: string): Promise<string> {
  await dockers[index].run(['pull', '--quiet', reference]);
  return (await dockers[index].run(['inspect', '--format', '{{.Config.Labels.marker}}', reference])).trim();
}

async function pushOn(index: 0 | 1, reference: string, marker: string): Promise<void> {
  await dockers[index].run(['load'], { input: dockerArchive(await makeImage({ marker, format: 'docker' }), reference) });
  await dockers[index].run(['push', '--quiet', reference]);
}

test('what was pushed on one is on the other, by its address and by Docker Hub’s name', async () => {
  for (const [from, to] of [[0, 1], [1, 0]] as const) {
    const reference = `localhost:5000/team/service${from}:1`;
    await pushOn(from, reference, `from ${from}`);
    expect(await pullOn(to, reference)).toBe(`from ${from}`);
    await dockers[to].run(['rmi', '--force', reference]);
    expect(await pullOn(to, `team/service${from}:1`)).toBe(`from ${from}`);
  }
});

test('Docker Hub’s image is fetched once, and then needs no Docker Hub', async () => {
  await site.publish('library/hub', '1', 'hub');
  expect(await pullOn(0, 'hub:1')).toBe('hub');
  const before = site.fetched('library/hub');
  const back = site.hub.misbehave({}, { hangUp: true });
  try {
    expect(await pullOn(1, 'hub:1')).toBe('hub');
  } finally {
    back();
  }
  expect(site.fetched('library/hub')).toBe(before);
});

test('what Docker Hub has is pulled past a registry that is stopped, and what was pushed is there again with it', async () => {
  await site.publish('library/past', '1', 'past');
  await worker.stop();
  expect(await pullOn(1, 'past:1')).toBe('past');
  // What is the registry's own is not to be had there.
  await dockers[1].run(['rmi', '--force', 'team/service0:1']);
  const asked = site.hub.count({ path: 'team/service0' });
  expect(await dockers[1].attempt(['pull', '--quiet', 'team/service0:1'])).toMatchObject({ code: 1, stderr: expect.stringContaining('team/service0') as string });
  expect(site.hub.count({ path: 'team/service0' })).toBeGreaterThan(asked);
  expect((await dockers[1].attempt(['pull', '--quiet', 'localhost:5000/team/service0:1'])).stderr).toContain('connection refused');
  await worker.start();
  for (const reference of ['team/service0:1', 'localhost:5000/team/service0:1']) expect(await pullOn(1, reference)).toBe('from 0');
});

test('services of the swarm run on every node what each has of its own registry', async () => {
  await pushOn(0, 'localhost:5000/team/job:1', 'pushed on the manager');
  await dockers[0].run(['rmi', '--force', 'localhost:5000/team/job:1']);
  await site.publish('library/job', '1', 'of Docker Hub');
  for (const [image, marker] of [['localhost:5000/team/job:1', 'pushed on the manager'], ['job:1', 'of Docker Hub']] as const) {
    // On each node once, to its end: it prints its marker.
    const service = (await dockers[0].run(['service', 'create', '--quiet', '--detach', '--mode', 'global-job', '--network', 'host', image])).trim();
    const tasks = async (): Promise<readonly string[]> => (await dockers[0].run(['service', 'ps', '--no-trunc', '--format', '{{.Node}} {{.CurrentState}} {{.Error}}', service])).split('\n').filter(Boolean).map((line) => line.replace(/(Complete).*/, '$1')).toSorted();
    await expect.poll(tasks, { timeout: WAIT_MS, interval: 500 }).toEqual(['manager Complete', 'worker Complete']);
    expect((await dockers[0].run(['service', 'logs', '--raw', service])).split(marker)).toHaveLength(3);
  }
});

test('a registry whose disk is lost joins anew by new artifacts, and has what was pushed on it', async () => {
  await worker.stop();
  await worker.wipe();
  await worker.install(await site.artifacts(uuid, 'worker', 1));
  await worker.start();
  expect((await site.nodesOf(uuid)).filter(({ name, credential }) => name === 'worker' && credential === 'current').length).toBeGreaterThan(0);
  await dockers[1].run(['rmi', '--force', 'localhost:5000/team/service1:1']);
  expect(await pullOn(1, 'localhost:5000/team/service1:1')).toBe('from 1');
  // Who may push is the cluster's: the login is good still.
  await pushOn(1, 'localhost:5000/team/anew:1', 'anew');
  expect(await pullOn(0, 'team/anew:1')).toBe('anew');
});

test('a credential that is replaced takes no restart', async () => {
  const credentials = async (): Promise<readonly string[]> => await Promise.all([manager, worker].map(async ({ machine }) => await readFile(join(machine.root, 'var/lib/umbra/credential.json'), 'utf8')));
  const before = await credentials();
  expect((await site.call('POST', `/v1/clusters/${uuid}/actions/rotate`)).status).toBe(202);
  await expect.poll(async () => (await credentials()).every((now, i) => now !== before[i]), { timeout: WAIT_MS, interval: 200 }).toBe(true);
  await pushOn(1, 'localhost:5000/team/rotated:1', 'rotated');
  expect(await pullOn(0, 'team/rotated:1')).toBe('rotated');
});

test('nodes of a cluster that is deleted say so', async () => {
  const GONE = 'the cluster of this node is deleted';
  expect((await site.call('DELETE', `/v1/clusters/${uuid}`)).status).toBe(204);
  await expect.poll(async () => (await site.call('GET', `/v1/clusters/${uuid}`)).status, { timeout: WAIT_MS, interval: 200 }).toBe(404);
  // Whoever renews first; the other likewise.
  const told = (): number => [manager, worker].findIndex(({ output }) => output.includes(GONE));
  await expect.poll(told, { timeout: WAIT_MS, interval: 100 }).not.toBe(-1);
  const [node, docker] = told() === 1 ? [worker, dockers[1]] : [manager, dockers[0]];
  await expect.poll(async () => (await node.ask('/v2/team/other/manifests/1')).text, { timeout: WAIT_MS, interval: 200 }).toContain(GONE);
  // dockerd begins with HEAD, whose answer has no words.
  expect(await docker.attempt(['pull', '--quiet', 'localhost:5000/team/other:1'])).toMatchObject({ code: 1, stderr: expect.stringContaining('503') as string });
});
