/**
 * A site with clusters: the cluster service over a real Keystone and Swift, each behind a proxy that can fail, one
 * stand-in for all upstreams, and machines (namespaces) that become nodes by what the service renders for them.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import type { Coe, Role } from '../../src/clusters/words.ts';
import { VERSION } from '../../src/version.ts';
import { makeImage, type Image } from '../e2e/images.ts';
import { RegistryClient } from '../e2e/registry-client.ts';
import { PROGRAM } from '../e2e/umbra.ts';
import { fakeUpstream, type FakeUpstream } from '../support/fake-upstream.ts';
import { startUmbra } from '../support/umbra.ts';
import { makeAuthority, type Authority } from './certificates.ts';
import { clusterCloud, type ClusterCloud, type Tenant } from './cluster-cloud.ts';
import { ClusterNode } from './cluster-node.ts';
import { FaultProxy } from './fault-proxy.ts';
import { MachineNetwork, NodeMachine } from './node-machine.ts';
import type { OpenStackSettings } from './openstack.ts';
import { freePort } from './ports.ts';

export interface SiteCluster {
  /** Of its template, too. */
  readonly name: string;
  readonly coe: Coe;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ApiAnswer {
  readonly status: number;
  readonly bytes: Buffer;
  readonly json: Readonly<Record<string, unknown>>;
}

const PORT = 5000;
const WAIT_MS = 60_000;
/** Of an upstream that the service's defaults do not name. */
export const UNLISTED = 'unlisted.example.org';
/** Names of the one stand-in for all upstreams. */
const UPSTREAMS = ['registry-1.docker.io', 'docker.io', 'quay.io', UNLISTED];

export class ClusterSite implements AsyncDisposable {
  /** A short path, for the sockets of daemons. */
  readonly dir: string;
  readonly network: MachineNetwork;
  readonly cloud: ClusterCloud;
  /** Of the clusters. */
  readonly owner: Tenant;
  readonly hub: FakeUpstream;
  readonly keystone: FaultProxy;
  readonly swift: FaultProxy;
  readonly nodes: ClusterNode[] = [];
  /** Lines. */
  readonly log: string[];
  readonly #authority: Authority;
  readonly #api: RegistryClient;
  readonly #token: string;
  /** By name. */
  readonly #clusters = new Map<string, string>();
  readonly #ending: AsyncDisposableStack;

  private constructor(parts: Pick<ClusterSite, 'dir' | 'network' | 'cloud' | 'owner' | 'hub' | 'keystone' | 'swift' | 'log'> & { readonly authority: Authority; readonly api: RegistryClient; readonly token: string; readonly ending: AsyncDisposableStack }) {
    ({ dir: this.dir, network: this.network, cloud: this.cloud, owner: this.owner, hub: this.hub, keystone: this.keystone, swift: this.swift, log: this.log } = parts);
    ({ authority: this.#authority, api: this.#api, token: this.#token, ending: this.#ending } = parts);
  }

  /** Resolves when all of the clusters are complete. */
  static async start(openstack: OpenStackSettings, clusters: readonly SiteCluster[]): Promise<ClusterSite> {
    await using ending = new AsyncDisposableStack();
    const dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
    await mkdir(dir);
    ending.defer(() => rm(dir, { recursive: true }));
    const network = ending.use(await MachineNetwork.start());
    const host = network.address;
    const authority = await makeAuthority(dir);
    const leaf = await authority.issue('here', [`IP:${host}`, ...UPSTREAMS.map((name) => `DNS:${name}`)]);
    const hub = await fakeUpstream({ tls: { cert: await readFile(leaf.certFile, 'utf8'), key: await readFile(leaf.keyFile, 'utf8') }, listen: { host, port: 443 } });
    ending.defer(() => hub.close());
    const swift = ending.use(await FaultProxy.start({ origin: openstack.swiftOrigin, store: 'swift', host }));
    const { origin, pathname } = new URL(openstack.authUrl);
    // The catalogue leads to the other proxy.
    const keystone = ending.use(await FaultProxy.start({ origin, store: 'keystone', host, replace: new Map([[openstack.swiftOrigin, swift.url]]) }));
    const cloud = await clusterCloud(openstack);
    const owner = await cloud.tenant();
    const { service: who, trusteeDomain, roles } = cloud.settings;
    const address = `${host}:${await freePort()}`;
    const log: string[] = [];
    const service = await startUmbra({
      clusters: {
        address,
        publicUrl: `https://${address}`,
        tls: { cert: leaf.certFile, key: leaf.keyFile },
        database: `sqlite:${join(dir, 'clusters.db')}`,
        encryptionKey: 'k'.repeat(40),
        keystone: { url: `${keystone.url}${pathname}`, username: nameOf(who.user), password: who.password.reveal(), project: nameOf(who.project) },
        trusteeDomain: trusteeDomain && { name: nameOf(trusteeDomain.domain), adminUsername: trusteeDomain.admin, adminPassword: trusteeDomain.password.reveal() },
        serviceProject: 'nodes',
        roles: { node: roles.node, delegated: roles.delegated },
        nodes: { ca: authority.certFile, disk: '64MiB', renew: '10s' },
        programs: await packPrograms(dir),
      },
    }, { log: (line) => void log.push(line) });
    ending.defer(async () => await service.close());
    const api = ending.use(new RegistryClient(`https://${address}`, { ca: authority.pem }));
    const site = new ClusterSite({ dir, network, cloud, owner, hub, keystone, swift, log, authority, api, token: await owner.token(), ending: new AsyncDisposableStack() });
    await Promise.all(clusters.map(async (cluster) => void site.#clusters.set(cluster.name, await site.#makeCluster(cluster))));
    site.#ending.use(ending.move());
    return site;
  }

  /** Ends with the site, and before what was there before. */
  use<T extends AsyncDisposable>(what: T): T {
    return this.#ending.use(what);
  }

  /** The cluster service, asked by the owner of the clusters. */
  async call(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<ApiAnswer> {
    const headers = { 'x-auth-token': this.#token, 'openstack-api-version': 'container-infra latest', 'content-type': 'application/json' };
    const { status, bytes, headers: said } = await this.#api.call(path, { method, headers, ...(body && { body: Buffer.from(JSON.stringify(body)) }) });
    return { status, bytes, json: said['content-type']?.startsWith('application/json') === true ? (JSON.parse(bytes.toString()) as ApiAnswer['json']) : {} }; // an object, always
  }

  /** @returns its uuid */
  cluster(name: string): string {
    const uuid = this.#clusters.get(name);
    if (uuid === undefined) throw new Error(`there is no cluster ${name}`);
    return uuid;
  }

  /** @returns a tar, with tokens for so many nodes */
  async artifacts(uuid: string, role: Role, count: number): Promise<Buffer> {
    const { status, bytes } = await this.call('GET', `/v1/clusters/${uuid}/artifacts?role=${role}&format=tar&nodes=${count}`);
    if (status !== 200) throw new Error(`artifacts of ${uuid}: ${status} ${bytes.toString()}`);
    return bytes;
  }

  /** A machine that is a node, and serves. @param prepare what is on it before */
  async makeNode(name: string, files: Buffer, prepare?: (machine: NodeMachine) => Promise<void>): Promise<ClusterNode> {
    const machine = this.use(await NodeMachine.start({ dir: join(this.dir, name), name, network: this.network, ca: this.#authority.pem, hosts: Object.fromEntries(UPSTREAMS.map((host) => [host, this.network.address])) }));
    await prepare?.(machine);
    const node = this.use(new ClusterNode(machine, PORT));
    this.nodes.push(node);
    await node.install(files);
    await node.start();
    return node;
  }

  /** What the service knows of the cluster's nodes. */
  async nodesOf(uuid: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    return (await this.call('GET', `/v1/clusters/${uuid}/nodes`)).json['nodes'] as readonly Readonly<Record<string, unknown>>[]; // the API's
  }

  /** Makes an image upstream's. */
  async publish(path: string, tag: string, marker: string): Promise<Image> {
    const image = await makeImage({ marker });
    for (const bytes of image.blobs.values()) this.hub.content.addBlob(path, bytes);
    this.hub.content.addManifest(path, image.bytes, image.mediaType, tag);
    return image;
  }

  /** How many blobs of it upstream was asked for. */
  fetched(path: string): number {
    return this.hub.count({ kind: 'blob', method: 'GET', path });
  }

  /** What nodes and service said last, for a test that fails. */
  story(): string {
    return [...this.nodes.map(({ machine, output }) => `${machine.name}:\n${output.slice(-3000)}`), this.log.slice(-30).join('')].join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ending.disposeAsync();
  }

  /** @returns its uuid, once it is complete */
  async #makeCluster({ name, coe, labels }: SiteCluster): Promise<string> {
    const template = await this.call('POST', '/v1/clustertemplates', { name, coe, image_id: 'image', external_network_id: 'public', registry_enabled: true, labels });
    if (template.status !== 201 || template.json['registry_enabled'] !== true) throw new Error(`the template ${name}: ${template.status} ${template.bytes.toString()}`);
    const made = await this.call('POST', '/v1/clusters', { name, cluster_template_id: name });
    if (made.status !== 202) throw new Error(`the cluster ${name}: ${made.status} ${made.bytes.toString()}`);
    const uuid = String(made.json['uuid']);
    await vi.waitFor(async () => {
      const { status, status_reason: reason } = (await this.call('GET', `/v1/clusters/${uuid}`)).json;
      if (status !== 'CREATE_COMPLETE') throw new Error(`the cluster ${name}: ${String(status)} ${String(reason)}`);
    }, { timeout: WAIT_MS, interval: 200 });
    return uuid;
  }
}

/** What nodes fetch: a tarball whose program is the one that was built here. Gives the folder of it. */
async function packPrograms(dir: string): Promise<string> {
  const programs = join(dir, 'programs');
  await mkdir(programs);
  await mkdir(join(dir, 'packed/bin'), { recursive: true });
  await writeFile(join(dir, 'packed/bin/umbra'), `#!/bin/sh\nexec '${PROGRAM}' "$@"\n`, { mode: 0o755 });
  for (const arch of ['amd64', 'arm64']) execFileSync('tar', ['-czf', join(programs, `umbra-${VERSION}-linux-${arch}.tar.gz`), '-C', join(dir, 'packed'), '.']);
  return programs;
}

function nameOf(who: { readonly id: string } | { readonly name: string }): string {
  if (!('name' in who)) throw new Error('expected a name');
  return who.name;
}
