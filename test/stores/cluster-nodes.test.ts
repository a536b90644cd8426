/**
 * Clusters whose nodes are machines here (namespaces with a loopback, files and a disk of their own): the cluster service over a
 * real Keystone and Swift renders them, Umbra runs on each as rendered, and containerd, dockerd, podman and skopeo pull
 * by what was rendered for them. Keystone, Swift and upstream go away and come back.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, onTestFailed, test, vi } from 'vitest';
import type { Coe, Role } from '../../src/clusters/words.ts';
import { VERSION } from '../../src/version.ts';
import { dockerArchive, makeImage, ociArchive, type Image } from '../e2e/images.ts';
import { RegistryClient } from '../e2e/registry-client.ts';
import { PROGRAM } from '../e2e/umbra.ts';
import { makeAuthority, type Authority } from '../services/certificates.ts';
import { clusterCloud, type ClusterCloud, type Tenant } from '../services/cluster-cloud.ts';
import { ClusterNode } from '../services/cluster-node.ts';
import { Containerd } from '../services/containerd.ts';
import { Containers } from '../services/containers.ts';
import { Docker } from '../services/docker.ts';
import { FaultProxy } from '../services/fault-proxy.ts';
import { MachineNetwork, NodeMachine } from '../services/node-machine.ts';
import { freePort } from '../services/ports.ts';
import { fakeUpstream, type FakeUpstream } from '../support/fake-upstream.ts';
import { pushImage } from '../support/push.ts';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';

const openstack = inject('openstack');
const PORT = 5000;
const WAIT_MS = 60_000;
/** Names of the one stand-in for all upstreams. */
const UPSTREAMS = ['registry-1.docker.io', 'docker.io', 'quay.io'];

const CLUSTERS: readonly (readonly [string, Coe, Readonly<Record<string, string>>])[] = [
  ['k8s', 'kubernetes', { registry_write: 'all' }],
  ['swarm', 'swarm-mode', { registry_write: 'all', registry_credential_mode: 'trust' }],
  ['none', 'kubernetes', { registry_write: 'none' }],
  ['cache', 'kubernetes', { registry_credential_mode: 'app_cred' }],
  ['approved', 'kubernetes', { registry_policy: 'approved', registry_write: 'none' }],
  ['local', 'kubernetes', { registry_policy: 'local', registry_write: 'none' }],
];

const ending = new AsyncDisposableStack();
let dir: string;
let network: MachineNetwork;
let authority: Authority;
let hub: FakeUpstream;
let keystone: FaultProxy;
let swift: FaultProxy;
let cloud: ClusterCloud;
let owner: Tenant;
let service: TestUmbra;
let api: RegistryClient;
let token: string;
/** By name, made at once. */
const clusters = new Map<string, string>();
const nodes: ClusterNode[] = [];
const logged: string[] = [];

beforeAll(async () => {
  // Short, for the sockets of daemons.
  dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
  await mkdir(join(dir, 'programs'), { recursive: true });
  ending.defer(() => rm(dir, { recursive: true }));
  network = ending.use(await MachineNetwork.start());
  authority = await makeAuthority(dir);
  const host = network.address;
  const [leaf, port] = [await authority.issue('here', [`IP:${host}`, ...UPSTREAMS.map((name) => `DNS:${name}`)]), await freePort()];
  hub = await fakeUpstream({ tls: { cert: await readFile(leaf.certFile, 'utf8'), key: await readFile(leaf.keyFile, 'utf8') }, listen: { host, port: 443 } });
  ending.defer(() => hub.close());
  swift = ending.use(await FaultProxy.start({ origin: openstack.swiftOrigin, store: 'swift', host }));
  const { origin, pathname } = new URL(openstack.authUrl);
  // The catalogue leads to the other proxy.
  keystone = ending.use(await FaultProxy.start({ origin, store: 'keystone', host, replace: new Map([[openstack.swiftOrigin, swift.url]]) }));
  cloud = await clusterCloud(openstack);
  [owner] = [await cloud.tenant()];
  token = await owner.token();
  await packProgram();
  const { service: who, trusteeDomain, roles } = cloud.settings;
  const url = `https://${host}:${port}`;
  service = await startUmbra({
    clusters: {
      address: `${host}:${port}`,
      publicUrl: url,
      tls: { cert: leaf.certFile, key: leaf.keyFile },
      database: `sqlite:${join(dir, 'clusters.db')}`,
      encryptionKey: 'k'.repeat(40),
      keystone: { url: `${keystone.url}${pathname}`, username: nameOf(who.user), password: who.password.reveal(), project: nameOf(who.project) },
      trusteeDomain: trusteeDomain && { name: nameOf(trusteeDomain.domain), adminUsername: trusteeDomain.admin, adminPassword: trusteeDomain.password.reveal() },
      serviceProject: 'nodes',
      roles: { node: roles.node, delegated: roles.delegated },
      nodes: { ca: authority.certFile, disk: '64MiB', renew: '10s' },
      programs: join(dir, 'programs'),
    },
  }, { log: (line) => void logged.push(line) });
  ending.defer(async () => await service.close());
  api = ending.use(new RegistryClient(url, { ca: authority.pem }));
  await Promise.all(CLUSTERS.map(async ([name, coe, labels]) => void clusters.set(name, await makeCluster(name, coe, labels))));
});
afterAll(async () => await ending.disposeAsync());
beforeEach(() => onTestFailed(() => console.error([...nodes.map(({ machine, output }) => `${machine.name}:\n${output.slice(-3000)}`), logged.slice(-30).join('')].join('\n'))));

/** What nodes fetch: a tarball whose program is the one that was built here. */
async function packProgram(): Promise<void> {
  await mkdir(join(dir, 'packed/bin'), { recursive: true });
  await writeFile(join(dir, 'packed/bin/umbra'), `#!/bin/sh\nexec '${PROGRAM}' "$@"\n`, { mode: 0o755 });
  for (const arch of ['amd64', 'arm64']) execFileSync('tar', ['-czf', join(dir, 'programs', `umbra-${VERSION}-linux-${arch}.tar.gz`), '-C', join(dir, 'packed'), '.']);
}

function nameOf(who: { readonly id: string } | { readonly name: string }): string {
  if (!('name' in who)) throw new Error('expected a name');
  return who.name;
}

async function call(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<{ readonly status: number; readonly bytes: Buffer; readonly json: Readonly<Record<string, unknown>> }> {
  const headers = { 'x-auth-token': token, 'openstack-api-version': 'container-infra latest', 'content-type': 'application/json' };
  const { status, bytes, headers: said } = await api.call(path, { method, headers, ...(body && { body: Buffer.from(JSON.stringify(body)) }) });
  return { status, bytes, json: said['content-type']?.startsWith('application/json') === true ? (JSON.parse(bytes.toString()) as Readonly<Record<string, unknown>>) : {} }; // an object, always
}

/** @returns its uuid, once it is complete */
async function makeCluster(name: string, coe: Coe, labels: Readonly<Record<string, string>>): Promise<string> {
  const template = await call('POST', '/v1/clustertemplates', { name, coe, image_id: 'image', external_network_id: 'public', registry_enabled: true, labels });
  expect([template.status, template.json]).toEqual([201, expect.objectContaining({ registry_enabled: true })]);
  const made = await call('POST', '/v1/clusters', { name, cluster_template_id: name });
  expect(made.status).toBe(202);
  const uuid = String(made.json['uuid']);
  await vi.waitFor(async () => {
    const { status, status_reason: reason } = (await call('GET', `/v1/clusters/${uuid}`)).json;
    expect([status, reason]).toEqual(['CREATE_COMPLETE', null]);
  }, { timeout: WAIT_MS, interval: 200 });
  return uuid;
}

function clusterOf(name: string): string {
  const uuid = clusters.get(name);
  if (uuid === undefined) throw new Error(`there is no cluster ${name}`);
  return uuid;
}

async function artifacts(uuid: string, role: Role, count: number): Promise<Buffer> {
  const { status, bytes } = await call('GET', `/v1/clusters/${uuid}/artifacts?role=${role}&format=tar&nodes=${count}`);
  expect(status, bytes.toString()).toBe(200);
  return bytes;
}

/** A machine that is a node. @param prepare what is on it before */
async function makeNode(name: string, files: Buffer, prepare?: (machine: NodeMachine) => Promise<void>): Promise<ClusterNode> {
  const machine = ending.use(await NodeMachine.start({ dir: join(dir, name), name, network, ca: authority.pem, hosts: Object.fromEntries(UPSTREAMS.map((host) => [host, network.address])) }));
  await prepare?.(machine);
  const node = ending.use(new ClusterNode(machine, PORT));
  nodes.push(node);
  await node.install(files);
  await node.start();
  return node;
}

/** Makes an image upstream's. */
async function publish(path: string, tag: string, marker: string): Promise<Image> {
  const image = await makeImage({ marker });
  for (const bytes of image.blobs.values()) hub.content.addBlob(path, bytes);
  hub.content.addManifest(path, image.bytes, image.mediaType, tag);
  return image;
}

function configOf(image: Image): string {
  return (JSON.parse(image.bytes.toString()) as { readonly config: { readonly digest: string } }).config.digest; // made here
}

const fetched = (path: string): number => hub.count({ kind: 'blob', method: 'GET', path });

async function nodesOf(uuid: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
  return (await call('GET', `/v1/clusters/${uuid}/nodes`)).json['nodes'] as readonly Readonly<Record<string, unknown>>[]; // the API's
}

describe('a cluster of Kubernetes: a master and two workers', () => {
  let uuid: string;
  let files: Readonly<Record<Role, Buffer>>;
  let master: ClusterNode;
  let worker: ClusterNode;
  let other: ClusterNode;
  let containerds: readonly [Containerd, Containerd];
  let containers: Containers;

  beforeAll(async () => {
    uuid = clusterOf('k8s');
    files = { master: await artifacts(uuid, 'master', 1), worker: await artifacts(uuid, 'worker', 2) };
    [master, worker, other] = await Promise.all([
      makeNode('master', files.master, putContainerd), makeNode('worker', files.worker, putContainerd), makeNode('other', files.worker),
    ]);
    const start = async ({ machine }: ClusterNode): Promise<Containerd> => ending.use(await Containerd.start(join(machine.dir, 'c'), { machine: machine.root, wrapper: machine.wrapper, caFile: machine.caFile }));
    containerds = await Promise.all([start(master), start(worker)]);
    await mkdir(join(other.machine.dir, 'p'));
    await symlink(join(other.machine.root, 'etc/containers'), join(other.machine.dir, 'p/etc'));
    containers = await Containers.create(join(other.machine.dir, 'p'), '', other.machine.wrapper);
  });

  /** Pulls as a kubelet has it pulled, on each node with containerd; and with podman on the other. Gives the ids of what came. */
  const pullOn = async (index: 0 | 1, reference: string): Promise<string> => {
    const id = await containerds[index].pullByCri(reference);
    const names = (await containerds[index].ctr(['--namespace', 'k8s.io', 'images', 'ls', '--quiet'])).split('\n').filter(Boolean);
    await containerds[index].ctr(['--namespace', 'k8s.io', 'images', 'rm', '--sync', ...names]);
    return id;
  };
  const pullOnOther = async (reference: string): Promise<string> => {
    const id = (await containers.podman(['pull', '--quiet', reference])).trim();
    await containers.podman(['rmi', '--force', id]);
    return `sha256:${id}`;
  };
  const pullOnAll = async (reference: string): Promise<readonly string[]> => await Promise.all([pullOn(0, reference), pullOn(1, reference), pullOnOther(reference)]);

  const pushOnOther = async (image: Image, name: string): Promise<void> => {
    const { username, password } = await other.pushUser();
    const archive = join(dir, 'pushed.tar');
    await writeFile(archive, ociArchive(image, name));
    await containers.skopeo(['copy', '--quiet', '--dest-creds', `${username}:${password}`, `oci-archive:${archive}`, `docker://${name}`]);
  };

  test('has nodes that exchanged a token each, and serve on their loopbacks alone', async () => {
    const joined = (await nodesOf(uuid)).map(({ name, role, version, credential }) => ({ name, role, version, credential }));
    expect(joined).toHaveLength(3);
    for (const [name, role] of [['master', 'master'], ['worker', 'worker'], ['other', 'worker']]) expect(joined).toContainEqual({ name, role, version: VERSION, credential: 'current' });
    for (const host of ['127.0.0.1', '[::1]']) expect((await worker.ask('/healthz', { host })).status).toBe(200);
    await expect(worker.ask('/v2/', { host: master.machine.address })).rejects.toThrow('exit code 7');
    await expect(worker.ask('/v2/', { host: worker.machine.address })).rejects.toThrow('exit code 7');
    const [used] = /umbra-token-[\w-]{43}/.exec(files.worker.toString('latin1')) ?? [''];
    const again = await call('POST', '/v1/bootstrap', { token: used, node: { name: 'late', role: 'worker', arch: 'amd64', version: VERSION } });
    expect(again.status).toBe(401);
  });

  test('has what was pushed on one node on every other, by its address and by upstream’s name', async () => {
    const pushed = await makeImage({ marker: 'pushed' });
    await pushOnOther(pushed, `${other.host}/team/app:1`);
    const id = configOf(pushed);
    expect(await pullOnAll('localhost:5000/team/app:1')).toEqual([id, id, id]);
    expect(await pullOnAll('docker.io/team/app:1')).toEqual([id, id, id]);
    // Nobody may who does not say who they are.
    expect((await worker.ask('/v2/team/app/blobs/uploads/', { method: 'POST' })).status).toBe(401);
  });

  test('fetches an upstream’s image once for all nodes', async () => {
    const theirs = await publish('library/once', '1', 'once');
    expect(await pullOn(0, 'docker.io/library/once:1')).toBe(configOf(theirs));
    const before = fetched('library/once');
    expect(before).toBeGreaterThan(0);
    expect(await pullOn(1, 'docker.io/library/once:1')).toBe(configOf(theirs));
    expect(await pullOnOther('docker.io/library/once:1')).toBe(configOf(theirs));
    expect(fetched('library/once')).toBe(before);
  });

  test('serves what it has while upstream is away, and says of the rest that it is', async () => {
    const [, late] = [await publish('library/seen', '1', 'seen'), await publish('library/late', '1', 'late')];
    await pullOn(0, 'docker.io/library/seen:1');
    const back = hub.misbehave({}, { hangUp: true });
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
    const pushed = configOf(await makeImage({ marker: 'pushed' }));
    swift.add({ fault: { kind: 'silence', at: 'answer' } });
    try {
      expect(await pullOn(0, 'docker.io/team/app:1')).toBe(pushed);
      const head = await master.ask('/v2/team/app/manifests/1', { method: 'HEAD' });
      expect([head.status, head.headers.get('warning')]).toEqual([200, expect.stringContaining('this is what this node saw last')]);
    } finally {
      swift.clear();
    }
    await expect.poll(async () => (await master.ask('/v2/team/app/manifests/1', { method: 'HEAD' })).headers.get('warning'), { timeout: WAIT_MS, interval: 200 }).toBeNull();
    await pushOnOther(await makeImage({ marker: 'after' }), `${other.host}/team/after:1`);
    expect((await master.ask('/v2/team/after/manifests/1')).status).toBe(200);
  });

  test('starts a node while Keystone is away with what its disk has, which takes part again when it is back', async () => {
    const [pushed, theirs] = [configOf(await makeImage({ marker: 'pushed' })), configOf(await makeImage({ marker: 'once' }))];
    keystone.add({ fault: { kind: 'reset', at: 'request' } });
    try {
      await master.stop();
      await master.start();
      expect([await pullOn(0, 'docker.io/team/app:1'), await pullOn(0, 'docker.io/library/once:1')]).toEqual([pushed, theirs]);
      const missing = await master.ask('/v2/team/never/manifests/1');
      expect([missing.status, missing.text]).toEqual([503, expect.stringMatching(/Keystone|storage|store/)]);
    } finally {
      keystone.clear();
    }
    await expect.poll(async () => (await master.ask('/v2/team/after/manifests/1')).status, { timeout: WAIT_MS, interval: 200 }).toBe(200);
  });

  test('goes on, without a restart, when its credential is replaced; meanwhile a node’s disk is lost, and nothing else', async () => {
    const [pushed, theirs] = [configOf(await makeImage({ marker: 'pushed' })), configOf(await makeImage({ marker: 'once' }))];
    const credentials = async (): Promise<readonly string[]> => await Promise.all([master, other].map(async ({ machine }) => await readFile(join(machine.root, 'var/lib/umbra/credential.json'), 'utf8')));
    const before = await credentials();
    expect((await call('POST', `/v1/clusters/${uuid}/actions/rotate`)).status).toBe(202);

    await worker.stop();
    await worker.wipe();
    // Who it was is lost, and its token was used.
    expect(await worker.startsNot()).toMatch(/does not know this node .*get new artifacts of the cluster/);
    await worker.install(await artifacts(uuid, 'worker', 1));
    await worker.start();
    const asked = fetched('library/once');
    expect([await pullOn(1, 'localhost:5000/team/app:1'), await pullOn(1, 'docker.io/library/once:1')]).toEqual([pushed, theirs]);
    expect(fetched('library/once')).toBe(asked);

    await expect.poll(async () => (await credentials()).every((now, i) => now !== before[i]), { timeout: WAIT_MS, interval: 200 }).toBe(true);
    await pushOnOther(await makeImage({ marker: 'rotated' }), `${other.host}/team/rotated:1`);
    for (const node of [master, worker]) expect((await node.ask('/v2/team/rotated/manifests/1')).status).toBe(200);
    // Each tells of its disk when it renews.
    const usedBytes = async (): Promise<readonly number[]> => (await nodesOf(uuid)).map(({ disk }) => (disk as { readonly used_bytes: number } | null)?.used_bytes ?? 0);
    await expect.poll(async () => Math.max(...(await usedBytes())), { timeout: WAIT_MS, interval: 200 }).toBeGreaterThan(0);
  });

  test('has what was pushed on a node whose disk is lost since', async () => {
    await other.stop();
    await other.wipe();
    await other.install(await artifacts(uuid, 'worker', 1));
    await other.start();
    expect((await other.ask('/v2/team/rotated/manifests/1')).status).toBe(200);
    expect(await pullOn(0, 'localhost:5000/team/rotated:1')).toBe(configOf(await makeImage({ marker: 'rotated' })));
  });

  test('is nobody’s to open once it is deleted, and its nodes say so', async () => {
    const GONE = 'the cluster of this node is deleted';
    for (const node of [master, worker, other]) expect((await node.ask('/v2/team/app/manifests/1')).status).toBe(200);
    expect((await call('DELETE', `/v1/clusters/${uuid}`)).status).toBe(204);
    await expect.poll(async () => (await call('GET', `/v1/clusters/${uuid}`)).status, { timeout: WAIT_MS, interval: 200 }).toBe(404);
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

describe('a cluster of Swarm: a manager and a worker', () => {
  let manager: ClusterNode;
  let worker: ClusterNode;
  let dockers: readonly [Docker, Docker];

  beforeAll(async () => {
    const uuid = clusterOf('swarm');
    const put = async ({ root }: NodeMachine): Promise<void> => {
      await mkdir(join(root, 'etc/docker'), { recursive: true });
      await writeFile(join(root, 'etc/docker/daemon.json'), JSON.stringify({ 'max-download-attempts': 1 }));
    };
    const [forManager, forWorker] = [await artifacts(uuid, 'master', 1), await artifacts(uuid, 'worker', 1)];
    [manager, worker] = await Promise.all([makeNode('manager', forManager, put), makeNode('swarm-worker', forWorker, put)]);
    const start = async (node: ClusterNode): Promise<Docker> => {
      const { dir: at, root, wrapper, caFile } = node.machine;
      return ending.use(await Docker.start({ dir: join(at, 'd'), machine: root, wrapper, caFile, logins: { [node.host]: await node.pushUser() } }));
    };
    dockers = await Promise.all([start(manager), start(worker)]);
  });

  const pullOn = async (index: 0 | 1, reference: string): Promise<string> => {
    await dockers[index].run(['pull', '--quiet', reference]);
    return (await dockers[index].run(['inspect', '--format', '{{.Config.Labels.marker}}', reference])).trim();
  };

  test('has what was pushed on one on the other, by its address and by Docker Hub’s name', async () => {
    for (const [from, to] of [[0, 1], [1, 0]] as const) {
      const reference = `localhost:5000/team/service${from}:1`;
      await dockers[from].run(['load'], { input: dockerArchive(await makeImage({ marker: `from ${from}`, format: 'docker' }), reference) });
      await dockers[from].run(['push', '--quiet', reference]);
      expect(await pullOn(to, reference)).toBe(`from ${from}`);
      await dockers[to].run(['rmi', '--force', reference]);
      expect(await pullOn(to, `team/service${from}:1`)).toBe(`from ${from}`);
    }
  });

  test('fetches Docker Hub’s image once, which then needs no Docker Hub', async () => {
    await publish('library/hub', '1', 'hub');
    expect(await pullOn(0, 'hub:1')).toBe('hub');
    const before = fetched('library/hub');
    const back = hub.misbehave({}, { hangUp: true });
    try {
      expect(await pullOn(1, 'hub:1')).toBe('hub');
    } finally {
      back();
    }
    expect(fetched('library/hub')).toBe(before);
  });
});

/** At once: what is done to upstream is for each alone. */
describe.concurrent('what nodes may', () => {
  const refusal = (reason: string): object => expect.objectContaining({ status: 405, text: expect.stringContaining(reason) as string }) as object;
  const push = async (node: ClusterNode): Promise<unknown> => await node.ask('/v2/team/app/blobs/uploads/', { method: 'POST' });
  /** A registry over the cluster's container that may write it, as the owner of the project has one. */
  const beside = async (uuid: string): Promise<TestUmbra> => {
    const { user, projectId } = owner;
    return await startUmbra({
      storage: { driver: 'swift', container: `registry-${uuid}`, auth: { url: openstack.authUrl, username: user.name, userDomain: openstack.domain, password: user.password, projectId } },
      auth: { keyFile: './key', anonymous: 'push', rules: [{ who: 'anonymous', names: ['*'], views: ['main', 'approved'], may: ['pull', 'push'] }] },
    });
  };

  test('registry_write: none keeps what is pulled on the node’s disk, and takes no push', async () => {
    const uuid = clusterOf('none');
    const node = await makeNode('none', await artifacts(uuid, 'worker', 1));
    const theirs = await publish('library/own', '1', 'own');
    expect((await node.ask('/v2/library/own/manifests/1')).digest).toBe(theirs.digest);
    expect(await push(node)).toEqual(refusal('nodes of the cluster'));
    expect((await cloud.containers(owner)).filter((name) => name.includes(uuid))).toEqual([`registry-${uuid}`]);
    hub.misbehave({ path: 'library/own' }, { hangUp: true });
    expect((await node.ask('/v2/library/own/manifests/1')).status).toBe(200);
    await node.stop();
  });

  test('registry_write: cache has what one node pulled for the others, and takes no push', async () => {
    const uuid = clusterOf('cache');
    const node = await makeNode('cache', await artifacts(uuid, 'worker', 1));
    const theirs = await publish('library/shared', '1', 'shared');
    expect((await node.ask('/v2/library/shared/manifests/1')).digest).toBe(theirs.digest);
    expect(await push(node)).toEqual(refusal('registry_write: cache'));
    await node.stop();
    // As another node, for all that this one has on its disk.
    await rm(join(node.machine.root, 'var/cache/umbra'), { recursive: true });
    hub.misbehave({ path: 'library/shared' }, { hangUp: true });
    await node.start();
    expect((await node.ask('/v2/library/shared/manifests/1')).digest).toBe(theirs.digest);
    await node.stop();
  });

  test.each(['approved', 'local'] as const)('registry_policy: %s asks no upstream', async (policy) => {
    const uuid = clusterOf(policy);
    const node = await makeNode(policy, await artifacts(uuid, 'worker', 1));
    const name = `library/${policy}`;
    await publish(name, '1', 'public');
    expect((await node.ask(`/v2/${name}/manifests/1`)).status).toBe(404);
    const registry = await beside(uuid);
    const approved = await pushImage(registry.origin, policy === 'approved' ? `approved.view/docker.io/${name}` : name, '1', policy);
    await registry.close();
    await vi.waitFor(async () => expect((await node.ask(`/v2/${name}/manifests/1`)).digest).toBe(approved.digest), { timeout: WAIT_MS, interval: 200 });
    expect(hub.count({ path: name })).toBe(0);
    await node.stop();
  });
});

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
