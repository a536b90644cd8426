/**
 * Clusters whose nodes are machines here (namespaces with a loopback, files and a disk of their own): the cluster service over a
 * real Keystone and Swift renders them, Umbra runs on each as rendered, and containerd, podman and skopeo pull
 * by what was rendered for them. Keystone, Swift, upstream and registries go away and come back.
 */
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, onTestFailed, test, vi } from 'vitest';
import type { Role } from '../../src/clusters/words.ts';
import { VERSION } from '../../src/version.ts';
import { makeImage, ociArchive, type Image } from '../e2e/images.ts';
import { ClusterSite, UNLISTED, type SiteCluster } from '../services/cluster-site.ts';
import type { ClusterNode } from '../services/cluster-node.ts';
import { Containerd } from '../services/containerd.ts';
import { Containers } from '../services/containers.ts';
import type { NodeMachine } from '../services/node-machine.ts';
import { pushImage } from '../support/push.ts';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';

const openstack = inject('openstack');
const WAIT_MS = 60_000;

const CLUSTERS: readonly SiteCluster[] = [
  { name: 'k8s', coe: 'kubernetes', labels: { registry_write: 'all' } },
  { name: 'strict', coe: 'kubernetes', labels: { registry_write: 'all', registry_fallback: 'none', registry_upstreams: 'docker.io', registry_quota: '2MiB' } },
  { name: 'none', coe: 'kubernetes', labels: { registry_write: 'none' } },
  { name: 'moving', coe: 'kubernetes', labels: {} },
  { name: 'cache', coe: 'kubernetes', labels: { registry_credential_mode: 'app_cred' } },
  { name: 'approved', coe: 'kubernetes', labels: { registry_policy: 'approved', registry_write: 'none' } },
  { name: 'local', coe: 'kubernetes', labels: { registry_policy: 'local', registry_write: 'none' } },
];

const ending = new AsyncDisposableStack();
let site: ClusterSite;

beforeAll(async () => {
  site = ending.use(await ClusterSite.start(openstack, CLUSTERS));
});
afterAll(async () => await ending.disposeAsync());
beforeEach(() => onTestFailed(() => console.error(site.story())));

function configOf(image: Image): string {
  return (JSON.parse(image.bytes.toString()) as { readonly config: { readonly digest: string } }).config.digest; // made here
}

describe('a cluster of Kubernetes: a master and two workers', () => {
  let uuid: string;
  let files: Readonly<Record<Role, Buffer>>;
  let master: ClusterNode;
  let worker: ClusterNode;
  let other: ClusterNode;
  let containerds: readonly [Containerd, Containerd];
  let containers: Containers;
  /** By the first test, on one of them. */
  let pushed: Image;

  beforeAll(async () => {
    pushed = await makeImage({ marker: 'pushed' });
    uuid = site.cluster('k8s');
    files = { master: await site.artifacts(uuid, 'master', 1), worker: await site.artifacts(uuid, 'worker', 2) };
    [master, worker, other] = await Promise.all([
      site.makeNode('master', files.master, putContainerd), site.makeNode('worker', files.worker, putContainerd), site.makeNode('other', files.worker),
    ]);
    containerds = await Promise.all([startContainerd(master), startContainerd(worker)]);
    containers = await openContainers(other);
  });

  const pullOn = async (index: 0 | 1, reference: string): Promise<string> => await pullByCri(containerds[index], reference);
  const pullOnOther = async (reference: string): Promise<string> => await pullByPodman(containers, reference);
  const pullOnAll = async (reference: string): Promise<readonly string[]> => await Promise.all([pullOn(0, reference), pullOn(1, reference), pullOnOther(reference)]);

  const pushOnOther = async (image: Image, name: string): Promise<void> => await push(containers, await other.pushUser(), image, name);
  /** Of each node that takes part, as the cluster service knows it. */
  const lastErrors = async (): Promise<readonly unknown[]> => (await site.nodesOf(uuid)).filter(({ credential }) => credential === 'current').map(({ last_error: error }) => error);

  test('has nodes that exchanged a token each, and serve on their loopbacks alone', async () => {
    const joined = (await site.nodesOf(uuid)).map(({ name, role, version, credential }) => ({ name, role, version, credential }));
    expect(joined).toHaveLength(3);
    for (const [name, role] of [['master', 'master'], ['worker', 'worker'], ['other', 'worker']]) expect(joined).toContainEqual({ name, role, version: VERSION, credential: 'current' });
    for (const host of ['127.0.0.1', '[::1]']) expect((await worker.ask('/healthz', { host })).status).toBe(200);
    await expect(worker.ask('/v2/', { host: master.machine.address })).rejects.toThrow('exit code 7');
    await expect(worker.ask('/v2/', { host: worker.machine.address })).rejects.toThrow('exit code 7');
    const [used] = /umbra-token-[\w-]{43}/.exec(files.worker.toString('latin1')) ?? [''];
    const again = await site.call('POST', '/v1/bootstrap', { token: used, node: { name: 'late', role: 'worker', arch: 'amd64', version: VERSION } });
    expect(again.status).toBe(401);
  });

  test('has what was pushed on one node on every other, by its address and by upstream’s name', async () => {
    await pushOnOther(pushed, `${other.host}/team/app:1`);
    const id = configOf(pushed);
    expect(await pullOnAll('localhost:5000/team/app:1')).toEqual([id, id, id]);
    expect(await pullOnAll('docker.io/team/app:1')).toEqual([id, id, id]);
    // Nobody may who does not say who they are.
    expect((await worker.ask('/v2/team/app/blobs/uploads/', { method: 'POST' })).status).toBe(401);
  });

  test('fetches an upstream’s image once for all nodes', async () => {
    const theirs = await site.publish('library/once', '1', 'once');
    expect(await pullOn(0, 'docker.io/library/once:1')).toBe(configOf(theirs));
    const before = site.fetched('library/once');
    expect(before).toBeGreaterThan(0);
    expect(await pullOn(1, 'docker.io/library/once:1')).toBe(configOf(theirs));
    expect(await pullOnOther('docker.io/library/once:1')).toBe(configOf(theirs));
    expect(site.fetched('library/once')).toBe(before);
  });

  test('stands for each upstream that it has a word of; another is asked itself', async () => {
    const [listed, unlisted] = [await site.publish('org/listed', '1', 'listed'), await site.publish('org/unlisted', '1', 'unlisted')];
    // The first has it fetched; two at a time may both do so.
    expect(await pullOn(0, 'quay.io/org/listed:1')).toBe(configOf(listed));
    const before = site.fetched('org/listed');
    expect(before).toBeGreaterThan(0);
    expect(await pullOnAll('quay.io/org/listed:1')).toEqual(Array.from({ length: 3 }, () => configOf(listed)));
    expect(site.fetched('org/listed')).toBe(before);
    expect(await pullOnAll(`${UNLISTED}/org/unlisted:1`)).toEqual(Array.from({ length: 3 }, () => configOf(unlisted)));
    expect(site.fetched('org/unlisted')).toBeGreaterThanOrEqual(3);
  });

  test('has its clients turn to upstream where a node’s registry is down', async () => {
    const [one, two] = [await site.publish('library/past', '1', 'past'), await site.publish('org/past', '1', 'past, too')];
    await Promise.all([worker.stop(), other.stop()]);
    for (const pull of [async (reference: string) => await pullOn(1, reference), pullOnOther]) {
      expect([await pull('docker.io/library/past:1'), await pull('quay.io/org/past:1'), await pull(`${UNLISTED}/org/unlisted:1`)]).toEqual([configOf(one), configOf(two), configOf(await makeImage({ marker: 'unlisted' }))]);
      // What is the registry's own is not to be had there.
      await expect(pull('docker.io/team/app:1')).rejects.toThrow('team/app');
    }
    await Promise.all([worker.start(), other.start()]);
    expect(await pullOnAll('docker.io/team/app:1')).toEqual(Array.from({ length: 3 }, () => configOf(pushed)));
  });

  test('serves what it has while upstream is away, and says of the rest that it is', async () => {
    const [, late] = [await site.publish('library/seen', '1', 'seen'), await site.publish('library/late', '1', 'late')];
    await pullOn(0, 'docker.io/library/seen:1');
    const back = site.hub.misbehave({}, { hangUp: true });
    try {
      expect(await pullOn(1, 'docker.io/library/seen:1')).toMatch(/^sha256:/);
      const missing = await worker.ask('/v2/library/late/manifests/1');
      expect([missing.status, missing.text]).toEqual([502, expect.stringContaining('docker.io')]);
    } finally {
      back();
    }
    await expect.poll(async () => (await worker.ask('/v2/library/late/manifests/1')).digest, { timeout: WAIT_MS, interval: 500 }).toBe(late.digest);
  });

  test('serves what a node has seen while Swift hangs, and all again when it is back', async () => {
    site.swift.add({ fault: { kind: 'silence', at: 'answer' } });
    try {
      expect(await pullOn(0, 'docker.io/team/app:1')).toBe(configOf(pushed));
      const head = await master.ask('/v2/team/app/manifests/1', { method: 'HEAD' });
      expect([head.status, head.headers.get('warning')]).toEqual([200, expect.stringContaining('this is what this node saw last')]);
      // Which ends sooner. Nodes tell of it when they renew.
      site.swift.clear();
      site.swift.add({ fault: { kind: 'status', status: 503 } });
      await expect.poll(lastErrors, { timeout: WAIT_MS, interval: 200 }).toContainEqual(expect.stringMatching(/Swift .*503/));
    } finally {
      site.swift.clear();
    }
    await expect.poll(async () => (await master.ask('/v2/team/app/manifests/1', { method: 'HEAD' })).headers.get('warning'), { timeout: WAIT_MS, interval: 200 }).toBeNull();
    await pushOnOther(await makeImage({ marker: 'after' }), `${other.host}/team/after:1`);
    expect((await master.ask('/v2/team/after/manifests/1')).status).toBe(200);
  });

  test('starts a node while Keystone is away with what its disk has, which takes part again when it is back', async () => {
    const theirs = configOf(await makeImage({ marker: 'once' }));
    site.keystone.add({ fault: { kind: 'reset', at: 'request' } });
    try {
      await master.stop();
      await master.start();
      expect([await pullOn(0, 'docker.io/team/app:1'), await pullOn(0, 'docker.io/library/once:1')]).toEqual([configOf(pushed), theirs]);
      const missing = await master.ask('/v2/team/never/manifests/1');
      expect([missing.status, missing.text]).toEqual([503, expect.stringMatching(/Keystone|storage|store/)]);
    } finally {
      site.keystone.clear();
    }
    await expect.poll(async () => (await master.ask('/v2/team/after/manifests/1')).status, { timeout: WAIT_MS, interval: 200 }).toBe(200);
  });

  test('goes on, without a restart, when its credential is replaced; meanwhile a node’s disk is lost, and nothing else', async () => {
    const theirs = configOf(await makeImage({ marker: 'once' }));
    const credentials = async (): Promise<readonly string[]> => await Promise.all([master, other].map(async ({ machine }) => await readFile(join(machine.root, 'var/lib/umbra/credential.json'), 'utf8')));
    const before = await credentials();
    expect((await site.call('POST', `/v1/clusters/${uuid}/actions/rotate`)).status).toBe(202);

    await worker.stop();
    await worker.wipe();
    // Who it was is lost, and its token was used.
    expect(await worker.startsNot()).toMatch(/does not know this node .*get new artifacts of the cluster/);
    await worker.install(await site.artifacts(uuid, 'worker', 1));
    await worker.start();
    const asked = site.fetched('library/once');
    expect([await pullOn(1, 'localhost:5000/team/app:1'), await pullOn(1, 'docker.io/library/once:1')]).toEqual([configOf(pushed), theirs]);
    expect(site.fetched('library/once')).toBe(asked);

    await expect.poll(async () => (await credentials()).every((now, i) => now !== before[i]), { timeout: WAIT_MS, interval: 200 }).toBe(true);
    await pushOnOther(await makeImage({ marker: 'rotated' }), `${other.host}/team/rotated:1`);
    for (const node of [master, worker]) expect((await node.ask('/v2/team/rotated/manifests/1')).status).toBe(200);
    // Each tells of its disk when it renews.
    const usedBytes = async (): Promise<readonly number[]> => (await site.nodesOf(uuid)).map(({ disk }) => (disk as { readonly used_bytes: number } | null)?.used_bytes ?? 0);
    await expect.poll(async () => Math.max(...(await usedBytes())), { timeout: WAIT_MS, interval: 200 }).toBeGreaterThan(0);
    await expect.poll(lastErrors, { timeout: WAIT_MS, interval: 200 }).toEqual([null, null, null]);
  });

  test('has what was pushed on a node whose disk is lost since', async () => {
    await other.stop();
    await other.wipe();
    await other.install(await site.artifacts(uuid, 'worker', 1));
    await other.start();
    expect((await other.ask('/v2/team/rotated/manifests/1')).status).toBe(200);
    expect(await pullOn(0, 'localhost:5000/team/rotated:1')).toBe(configOf(await makeImage({ marker: 'rotated' })));
  });

  test('is nobody’s to open once it is deleted, and its nodes say so', async () => {
    const GONE = 'the cluster of this node is deleted';
    for (const node of [master, worker, other]) expect((await node.ask('/v2/team/app/manifests/1')).status).toBe(200);
    expect((await site.call('DELETE', `/v1/clusters/${uuid}`)).status).toBe(204);
    await expect.poll(async () => (await site.call('GET', `/v1/clusters/${uuid}`)).status, { timeout: WAIT_MS, interval: 200 }).toBe(404);
    // Whoever renews first; the others likewise.
    const told = (): ClusterNode | undefined => [master, worker, other].find(({ output }) => output.includes(GONE));
    await expect.poll(told, { timeout: WAIT_MS, interval: 100 }).toBeDefined();
    const node = told() ?? master;
    const asked = async (): Promise<unknown> => {
      const { status, text } = await node.ask('/v2/team/other/manifests/1');
      return [status, text];
    };
    await expect.poll(asked, { timeout: WAIT_MS, interval: 200 }).toEqual([503, expect.stringContaining(GONE)]);
    // The node has these.
    expect((await node.ask('/v2/team/app/manifests/1')).status).toBe(200);
    await node.stop();
    await node.wipe();
    expect(await node.startsNot()).toMatch(/is deleted|does not know this node/);
  });
});

describe('a cluster whose clients may not go past its registries, with a quota', () => {
  let node: ClusterNode;
  let containerd: Containerd;
  let containers: Containers;

  beforeAll(async () => {
    node = await site.makeNode('strict', await site.artifacts(site.cluster('strict'), 'worker', 1), putContainerd);
    [containerd, containers] = [await startContainerd(node), await openContainers(node)];
  });

  test('pulls from upstreams that its registries stand for, and from no others', async () => {
    const theirs = await site.publish('library/strict', '1', 'strict');
    await site.publish('org/hidden', '1', 'hidden');
    for (const pull of [async () => await pullByCri(containerd, 'docker.io/library/strict:1'), async () => await pullByPodman(containers, 'docker.io/library/strict:1')]) expect(await pull()).toBe(configOf(theirs));
    expect(site.fetched('library/strict')).toBe(theirs.blobs.size);
    // Which the service's defaults name, and the cluster's label does not; which neither does.
    for (const host of ['quay.io', UNLISTED]) await expect(containerd.pullByCri(`${host}/org/hidden:1`)).rejects.toThrow(/not found/);
    expect(site.hub.count({ path: 'org/hidden' })).toBe(0);
  });

  test('pulls nothing while a node’s registry is down', async () => {
    await site.publish('library/shut', '1', 'shut');
    await node.stop();
    for (const pull of [async () => await pullByCri(containerd, 'docker.io/library/shut:1'), async () => await pullByPodman(containers, 'docker.io/library/shut:1')]) await expect(pull()).rejects.toThrow(/connection refused/);
    expect(site.hub.count({ path: 'library/shut' })).toBe(0);
    await node.start();
  });

  test('says that its quota is used up, and takes what still fits', async () => {
    const user = await node.pushUser();
    await expect(push(containers, user, await makeImage({ marker: 'large', fillerBytes: 2 ** 22 }), `${node.host}/team/large:1`)).rejects.toThrow(/quota of the registry's storage is used up: delete images, or ask/);
    expect((await node.ask('/v2/team/large/manifests/1')).status).toBe(404);
    await push(containers, user, await makeImage({ marker: 'small' }), `${node.host}/team/small:1`);
    expect((await node.ask('/v2/team/small/manifests/1')).status).toBe(200);
  });
});

/** At once: what is done to upstream is for each alone. */
describe.concurrent('what nodes may', () => {
  const refusal = (reason: string): object => expect.objectContaining({ status: 405, text: expect.stringContaining(reason) as string }) as object;
  const begun = async (node: ClusterNode): Promise<unknown> => await node.ask('/v2/team/app/blobs/uploads/', { method: 'POST' });
  /** A registry over the cluster's container that may write it, as the owner of the project has one. */
  const beside = async (uuid: string): Promise<TestUmbra> => {
    const { user, projectId } = site.owner;
    return await startUmbra({
      storage: { driver: 'swift', container: `registry-${uuid}`, auth: { url: openstack.authUrl, username: user.name, userDomain: openstack.domain, password: user.password, projectId } },
      auth: { keyFile: './key', anonymous: 'push', rules: [{ who: 'anonymous', names: ['*'], views: ['main', 'approved'], may: ['pull', 'push'] }] },
    });
  };

  test('registry_write: none keeps what is pulled on the node’s disk, and takes no push', async () => {
    const uuid = site.cluster('none');
    const node = await site.makeNode('none', await site.artifacts(uuid, 'worker', 1));
    const theirs = await site.publish('library/own', '1', 'own');
    expect((await node.ask('/v2/library/own/manifests/1')).digest).toBe(theirs.digest);
    expect(await begun(node)).toEqual(refusal('nodes of the cluster'));
    expect((await site.cloud.containers(site.owner)).filter((name) => name.includes(uuid))).toEqual([`registry-${uuid}`]);
    site.hub.misbehave({ path: 'library/own' }, { hangUp: true });
    expect((await node.ask('/v2/library/own/manifests/1')).status).toBe(200);
    await node.stop();
  });

  test('registry_write: cache has what one node pulled for the others, and takes no push', async () => {
    const uuid = site.cluster('cache');
    const node = await site.makeNode('cache', await site.artifacts(uuid, 'worker', 1));
    const theirs = await site.publish('library/shared', '1', 'shared');
    expect((await node.ask('/v2/library/shared/manifests/1')).digest).toBe(theirs.digest);
    expect(await begun(node)).toEqual(refusal('registry_write: cache'));
    await node.stop();
    // As another node, for all that this one has on its disk.
    await rm(join(node.machine.root, 'var/cache/umbra'), { recursive: true });
    site.hub.misbehave({ path: 'library/shared' }, { hangUp: true });
    await node.start();
    expect((await node.ask('/v2/library/shared/manifests/1')).digest).toBe(theirs.digest);
    await node.stop();
  });

  test('an upgrade to another container leaves a node what it has until it is configured for that', async () => {
    const uuid = site.cluster('moving');
    const node = await site.makeNode('moving', await site.artifacts(uuid, 'worker', 1));
    const theirs = await site.publish('library/moved', '1', 'moved');
    expect((await site.call('POST', '/v1/clustertemplates', { name: 'moved', coe: 'kubernetes', image_id: 'image', external_network_id: 'public', registry_enabled: true, labels: { registry_container: `moved-${uuid}` } })).status).toBe(201);
    expect((await site.call('POST', `/v1/clusters/${uuid}/actions/upgrade`, { cluster_template: 'moved' })).status).toBe(202);
    await vi.waitFor(() => expect(node.output).toContain('give it what format=upgrade renders'), { timeout: WAIT_MS, interval: 100 });
    expect((await node.ask('/v2/library/moved/manifests/1')).digest).toBe(theirs.digest);
    expect((await site.nodesOf(uuid)).map(({ credential }) => credential)).toEqual(['old']);
    await node.stop();
    await node.install(await site.artifacts(uuid, 'worker', 1));
    await node.start();
    await vi.waitFor(async () => expect((await site.nodesOf(uuid)).map(({ credential }) => credential)).toEqual(['current']), { timeout: WAIT_MS, interval: 200 });
    expect((await node.ask('/v2/library/moved/manifests/1')).digest).toBe(theirs.digest);
    expect((await site.cloud.containers(site.owner)).filter((name) => name.startsWith(`moved-${uuid}`))).toEqual([`moved-${uuid}`, `moved-${uuid}-upstream`]);
    await node.stop();
  });

  test.each(['approved', 'local'] as const)('registry_policy: %s asks no upstream', async (policy) => {
    const uuid = site.cluster(policy);
    const node = await site.makeNode(policy, await site.artifacts(uuid, 'worker', 1));
    const name = `library/${policy}`;
    await site.publish(name, '1', 'public');
    expect((await node.ask(`/v2/${name}/manifests/1`)).status).toBe(404);
    const registry = await beside(uuid);
    const approved = await pushImage(registry.origin, policy === 'approved' ? `approved.view/docker.io/${name}` : name, '1', policy);
    await registry.close();
    await vi.waitFor(async () => expect((await node.ask(`/v2/${name}/manifests/1`)).digest).toBe(approved.digest), { timeout: WAIT_MS, interval: 200 });
    expect(site.hub.count({ path: name })).toBe(0);
    await node.stop();
  });
});

async function startContainerd({ machine }: ClusterNode): Promise<Containerd> {
  return site.use(await Containerd.start(join(machine.dir, 'c'), { machine: machine.root, wrapper: machine.wrapper, caFile: machine.caFile }));
}

async function openContainers({ machine }: ClusterNode): Promise<Containers> {
  await mkdir(join(machine.dir, 'p'));
  await symlink(join(machine.root, 'etc/containers'), join(machine.dir, 'p/etc'));
  return await Containers.create(join(machine.dir, 'p'), '', machine.wrapper);
}

/** Pulls as a kubelet has it pulled. Gives the id of what came, of which nothing is kept. */
async function pullByCri(containerd: Containerd, reference: string): Promise<string> {
  const id = await containerd.pullByCri(reference);
  const names = (await containerd.ctr(['--namespace', 'k8s.io', 'images', 'ls', '--quiet'])).split('\n').filter(Boolean);
  await containerd.ctr(['--namespace', 'k8s.io', 'images', 'rm', '--sync', ...names]);
  return id;
}

/** Likewise. */
async function pullByPodman(containers: Containers, reference: string): Promise<string> {
  const id = (await containers.podman(['pull', '--quiet', reference])).trim();
  await containers.podman(['rmi', '--force', id]);
  return `sha256:${id}`;
}

async function push(containers: Containers, { username, password }: { readonly username: string; readonly password: string }, image: Image, name: string): Promise<void> {
  const archive = join(containers.dir, 'pushed.tar');
  await writeFile(archive, ociArchive(image, name));
  await containers.skopeo(['copy', '--quiet', '--dest-creds', `${username}:${password}`, `oci-archive:${archive}`, `docker://${name}`]);
}

/** What containerd is on a machine before it is a node: with its state where the machine's is. */
async function putContainerd({ root, dir: at }: NodeMachine): Promise<void> {
  const own = join(at, 'c');
  await mkdir(join(root, 'etc/containerd'), { recursive: true });
  await writeFile(join(root, 'etc/containerd/config.toml'), `version = 2
root = "${own}/root"
state = "${own}/state"
[grpc]
  address = "${own}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "${own}/opt"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
`);
}
