/**
 * The cluster service with as many clusters in its database as a cloud has, beside a Keystone and a Swift that take 25 ms
 * for each answer; a thousand nodes that come at once; and the registry of one node.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { keyOf, type BootstrapAnswer } from '../../src/bootstrap-wire.ts';
import { bootstrap } from '../../src/clusters/bootstrap/bootstrap.ts';
import { openDatabase, type ClusterDatabase } from '../../src/clusters/database/database.ts';
import { sealedSecrets } from '../../src/clusters/database/sealed.ts';
import { configOf } from '../../src/clusters/render/config-file.ts';
import { CACHE_FOLDER, STATE_FOLDER } from '../../src/clusters/render/places.ts';
import type { RegistrySettings } from '../../src/clusters/words.ts';
import { Secret } from '../../src/config/config.ts';
import { systemTimers } from '../../src/workers/timers.ts';
import type { Bench } from '../bench.ts';
import { startCloudStub, type CloudStub } from '../cloud.ts';
import { rate } from '../load.ts';
import { freePort } from '../process.ts';
import type { Row, Section } from '../row.ts';
import { startUmbraWith, type Server } from '../servers.ts';

interface State {
  readonly bench: Bench;
  readonly cloud: CloudStub;
  /** One for each number of clusters, started when its first row is measured. */
  readonly services: Map<number, Promise<Service>>;
}

interface Service {
  readonly server: Server;
  readonly clusters: string;
  readonly token: string;
  readonly database: ClusterDatabase;
  /** A cluster whose credential is made. */
  readonly ready: string;
  readonly key: Secret;
}

const KEYSTONE_MS = 25;
const SIZES = [100, 1_000, 10_000];
const NODES = 1_000;
const PROJECT = 'project';
const IDLE_MS = 2_000;
const AT_ONCE = 20;

async function serviceWith({ bench, cloud, services }: State, count: number): Promise<Service> {
  const known = services.get(count) ?? startService(bench, cloud, count);
  services.set(count, known);
  return await known;
}

async function startService(bench: Bench, cloud: CloudStub, count: number): Promise<Service> {
  const folder = await bench.folder(`clusters-${count}`);
  const [port, key] = [await freePort(), new Secret(randomBytes(32).toString('hex'))];
  const database = await openDatabase({ url: `sqlite:${join(folder, 'clusters.db')}`, timers: systemTimers, nowMs: Date.now });
  await fill(database, count);
  const server = await startUmbraWith(folder, {
    storage: { driver: 'filesystem', root: './data' },
    clusters: {
      address: `127.0.0.1:${port}`, publicUrl: `http://127.0.0.1:${port}`, database: `sqlite:${join(folder, 'clusters.db')}`, encryptionKey: key.reveal(),
      keystone: { url: cloud.url, username: 'umbra', password: 'x', project: 'service' },
      trusteeDomain: { name: 'nodes', adminUsername: 'admin', adminPassword: 'x' }, serviceProject: 'nodes',
      nodes: { image: 'registry.example.org/umbra' }, // which no node here runs
    },
  }, await freePort());
  const clusters = `http://127.0.0.1:${port}`;
  const token = cloud.token(PROJECT);
  const template = await ask('POST', `${clusters}/v1/clustertemplates`, token, { name: 'bench', coe: 'kubernetes', image_id: 'x', registry_enabled: true });
  if (template.status !== 201) throw new Error(`the template was answered ${template.status}: ${template.text}`);
  const service = { server, clusters, token, database, key, ready: '' };
  const [ready = ''] = await create(service, 1);
  await completion(service, [ready]);
  return { ...service, ready };
}

/** Rows as the service leaves them, of many projects, a tenth of them the caller's. */
async function fill({ db, nowMs }: ClusterDatabase, count: number): Promise<void> {
  const settings: RegistrySettings = { port: 5000, policy: 'proxy', upstreams: [], fallback: 'upstream', write: 'cache', credentialMode: 'acl', container: undefined, quotaBytes: undefined, purge: false };
  const template = { uuid: randomUUID(), name: 'of-old', project_id: PROJECT, user_id: 'owner', coe: 'kubernetes' as const, registry_enabled: 0, is_public: 0, is_hidden: 0, created_ms: nowMs, updated_ms: null, body: '{}' };
  await db.insertInto('templates').values(template).execute();
  for (let at = 0; at < count; at += 100) {
    await db.insertInto('clusters').values(Array.from({ length: Math.min(100, count - at) }, (_, i) => ({
      uuid: randomUUID(), name: `cluster-${at + i}`, project_id: i % 10 === 0 ? PROJECT : `project-${i}`, user_id: 'owner', template_uuid: template.uuid, coe: template.coe,
      registry_enabled: 0, status: 'CREATE_COMPLETE' as const, status_reason: null, registry_status: null, wanted_settings: null, settings: JSON.stringify(settings), generation: 0, is_adopted: 0,
      created_ms: nowMs, updated_ms: null, body: JSON.stringify({ values: { node_count: 3, labels: { kube_tag: 'v1.31' } } }),
    }))).execute();
  }
}

const agent = new Agent({ keepAlive: true, maxSockets: 256 });

async function ask(method: string, url: string, token: string | undefined, json?: object): Promise<{ readonly status: number; readonly text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly status: number; readonly text: string }>();
  const body = json === undefined ? undefined : JSON.stringify(json);
  const req = request(url, { method, agent, headers: { ...(token === undefined ? {} : { 'x-auth-token': token }), ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }) } }, (res) => {
    const chunks: Buffer[] = [];
    res.on('data', (chunk: Buffer) => chunks.push(chunk));
    res.once('end', () => resolve({ status: res.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    res.once('error', reject);
  });
  req.once('error', reject);
  req.end(body);
  return await promise;
}

/** @returns their UUIDs */
async function create({ clusters, token }: Pick<Service, 'clusters' | 'token'>, count: number): Promise<readonly string[]> {
  return await Promise.all(Array.from({ length: count }, async () => {
    const { status, text } = await ask('POST', `${clusters}/v1/clusters`, token, { cluster_template_id: 'bench' });
    if (status !== 202) throw new Error(`a cluster was answered ${status}: ${text}`);
    return (JSON.parse(text) as { readonly uuid: string }).uuid; // Magnum's answer
  }));
}

async function completion({ clusters, token }: Pick<Service, 'clusters' | 'token'>, uuids: readonly string[]): Promise<void> {
  for (const uuid of uuids) {
    for (;;) {
      const { text } = await ask('GET', `${clusters}/v1/clusters/${uuid}`, token);
      const { status, status_reason } = JSON.parse(text) as { readonly status: string; readonly status_reason: string | null }; // Magnum's answer
      if (status === 'CREATE_COMPLETE') break;
      if (status === 'CREATE_FAILED') throw new Error(`a cluster failed: ${status_reason}`);
      await pause(5);
    }
  }
}

/** Of requests as clients make them with a token that was good a moment ago. */
function reading(count: number, what: string, pathOf: (service: Service) => string): Row<State> {
  return {
    name: `${count} clusters: ${what}`,
    unit: 'req/s',
    contenders: ['umbra'],
    async measure(state) {
      const service = await serviceWith(state, count);
      return await rate(`${service.clusters}${pathOf(service)}`, state.bench.options.quick ? 1 : 5, { headers: [`X-Auth-Token: ${service.token}`] });
    },
  };
}

const rowsOf = (count: number): readonly Row<State>[] => [
  reading(count, 'a list of 100', () => '/v1/clusters?limit=100'),
  reading(count, 'show one', ({ ready }) => `/v1/clusters/${ready}`),
  {
    name: `${count} clusters: ${AT_ONCE} more at once, proved`,
    unit: 's',
    contenders: ['umbra'],
    async measure(state) {
      const service = await serviceWith(state, count);
      const before = performance.now();
      await completion(service, await create(service, AT_ONCE));
      return (performance.now() - before) / 1000;
    },
  },
];

const nodesAtOnce: Row<State> = {
  name: `${NODES} nodes at once, each with a token`,
  unit: 'node/s',
  goal: { kind: 'floor', value: 200 },
  contenders: ['umbra'],
  async measure(state) {
    const { clusters, database, key, ready } = await serviceWith(state, 1_000);
    const tokens = bootstrap({ database, secrets: sealedSecrets(database, [key]), randomBytes, renewSeconds: 300 });
    const all: string[] = [];
    for (let i = 0; i < NODES; i++) all.push((await tokens.makeToken({ clusterUuid: ready, role: 'worker', uses: 1 })).token.reveal());
    const selves = all.map(() => ({ id: randomUUID(), key: keyOf(randomBytes(32)) }));
    const before = performance.now();
    const ids = await Promise.all(all.map(async (token, i) => {
      const { status, text } = await ask('POST', `${clusters}/v1/bootstrap`, undefined, { token, node: { name: `node-${i}`, role: 'worker', arch: 'amd64', version: '1.0.0' }, self: selves[i] });
      if (status !== 200) throw new Error(`a node was answered ${status}: ${text}`);
      return (JSON.parse(text) as BootstrapAnswer).node.id;
    }));
    const seconds = (performance.now() - before) / 1000;
    const again = await ask('POST', `${clusters}/v1/bootstrap`, undefined, { token: all[0], node: { name: 'again', role: 'worker', arch: 'amd64', version: '1.0.0' } });
    if (new Set(ids).size !== NODES || again.status !== 401) throw new Error(`${new Set(ids).size} of ${NODES} nodes; a token used twice was answered ${again.status}`);
    return NODES / seconds;
  },
};

/** As rendered for a worker, with its folders in one of the bench's: bootstrapped, logged in, ready for pulls. */
async function onNode(state: State, measure: (server: Server) => number | Promise<number>): Promise<number> {
  const { clusters, database, key, ready } = await serviceWith(state, 1_000);
  const folder = await state.bench.folder('node');
  const port = await freePort();
  const { token } = await bootstrap({ database, secrets: sealedSecrets(database, [key]), randomBytes, renewSeconds: 300 }).makeToken({ clusterUuid: ready, role: 'worker', uses: 1 });
  const config = configOf({
    cluster: { uuid: ready, name: 'bench', coe: 'kubernetes' }, role: 'worker', port, policy: 'proxy', upstreams: ['docker.io', 'quay.io'], insecureRegistries: [], fallback: 'upstream', write: 'cache', diskBytes: 2 ** 30,
    storage: { container: `registry-${ready}`, account: `AUTH_${PROJECT}`, region: undefined, interface: 'public', ca: undefined },
    login: { kind: 'bootstrap', url: clusters, ca: undefined, token: '' },
    program: { version: '1.0.0', tarballs: {}, image: undefined }, proxies: undefined,
  });
  await mkdir(join(folder, 'cache'));
  await writeFile(join(folder, 'bootstrap-token'), token.reveal(), { mode: 0o600 });
  const here = JSON.parse(JSON.stringify(config).replaceAll(STATE_FOLDER, join(folder, 'state')).replaceAll(CACHE_FOLDER, join(folder, 'cache'))) as object; // what configOf gave
  const server = await startUmbraWith(folder, here, port);
  try {
    return await measure(server);
  } finally {
    await server.stop();
  }
}

export const clusters: Section<State> = {
  title: `cluster service, Keystone and Swift answering in ${KEYSTONE_MS} ms`,
  rows: [
    ...SIZES.flatMap(rowsOf),
    nodesAtOnce,
    {
      name: "a node's registry: ready after its first start",
      unit: 'ms',
      goal: { kind: 'bound', value: 500 },
      contenders: ['umbra'],
      measure: (state) => onNode(state, ({ startedMs }) => startedMs),
    },
    {
      name: "a node's registry: idle memory, all processes",
      unit: 'MiB',
      goal: { kind: 'bound', value: 80 },
      contenders: ['umbra'],
      measure: (state) => onNode(state, async (server) => {
        await pause(IDLE_MS);
        return server.memory().reduce((sum, { nowMiB }) => sum + nowMiB, 0);
      }),
    },
  ],
  open: async (bench) => ({ bench, cloud: await startCloudStub(KEYSTONE_MS), services: new Map() }),
  async close({ cloud, services }) {
    for (const service of services.values()) {
      const { server, database } = await service;
      await server.stop();
      await database.close();
    }
    agent.destroy();
    await cloud.close();
  },
};
