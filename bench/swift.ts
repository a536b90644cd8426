/** One Keystone and Swift for a section, with the contenders' ways into it: Umbra's, docker-registry's, and no registry at all. */
import { randomBytes } from 'node:crypto';
import { Agent, request } from 'undici';
import { startOpenStack, type OpenStackSettings } from '../test/services/openstack.ts';
import type { BlobFile } from './content.ts';
import { run } from './process.ts';
import type { Contender } from './row.ts';
import type { Server } from './servers.ts';

export interface Swift {
  /** `storage:` of an Umbra with a container of its own. */
  umbraStorage(disk?: { readonly root: string; readonly maxBytes: string }): object;
  /** `storage:` of a docker-registry likewise. */
  dockerRegistryStorage(): object;
  /** MiB are the caller's to count: puts the file as one object, as curl does it. */
  put(file: BlobFile, name: string): Promise<void>;
  /** The whole object, thrown away. */
  get(name: string, bytes: number): Promise<void>;
  close(): Promise<void>;
}

/** Umbra with and without a disk before Swift. */
export type Which = 'plain' | 'withDisk';

/** Undefined: takes no part. */
export interface SwiftServers extends Readonly<Record<Which, Server | undefined>> {
  readonly dockerRegistry: Server | undefined;
}

/** @throws Error where the contender takes no part */
export function serverOf(servers: SwiftServers, contender: Contender, which: Which): Server {
  const server = contender === 'umbra' ? servers[which] : servers.dockerRegistry;
  if (server === undefined) throw new Error(`${contender} takes no part`);
  return server;
}

/** As docker-registry's driver and Umbra's have it, so that all three write alike. */
const RAW_CONTAINER = `bench-raw-${randomBytes(4).toString('hex')}`;

export async function openSwift(): Promise<Swift> {
  const openstack = await startOpenStack(process.env['UMBRA_TEST_OPENSTACK']);
  const { settings } = openstack;
  const agent = new Agent();
  const token = await logIn(settings, agent);
  const container = `${settings.accountUrl}/${RAW_CONTAINER}`;
  const fresh = (): string => `bench-${randomBytes(6).toString('hex')}`;
  const made = await request(container, { method: 'PUT', headers: { 'X-Auth-Token': token }, dispatcher: agent });
  await made.body.dump();
  if (made.statusCode >= 300) throw new Error(`PUT ${RAW_CONTAINER}: ${made.statusCode}`);
  const { username, password, project, domain, authUrl, region } = settings;
  return {
    umbraStorage: (disk) => ({
      driver: 'swift', container: fresh(), region,
      auth: { url: authUrl, username, password, userDomain: domain, project, projectDomain: domain },
      ...(disk === undefined ? {} : { disk }),
    }),
    // It would send clients to Swift itself, which is no pull through it.
    dockerRegistryStorage: () => ({ redirect: { disable: true }, swift: { authurl: authUrl, username, password, tenant: project, domain, tenantdomain: domain, region, container: fresh() } }),
    async put(file, name) {
      const out = await run('curl', ['-sS', '-T', file.path, '-H', 'Expect:', '-H', `X-Auth-Token: ${token}`, '-o', '/dev/null', '-w', '%{http_code}', `${container}/${name}`]);
      if (out !== '201') throw new Error(`PUT ${name}: ${out}`);
    },
    async get(name, bytes) {
      const out = await run('curl', ['-sS', '-H', `X-Auth-Token: ${token}`, '-o', '/dev/null', '-w', '%{http_code} %{size_download}', `${container}/${name}`]);
      if (out !== `200 ${bytes}`) throw new Error(`GET ${name}: ${out}`);
    },
    async close() {
      await agent.close();
      await openstack[Symbol.asyncDispose]();
    },
  };
}

async function logIn(settings: OpenStackSettings, dispatcher: Agent): Promise<string> {
  const { username, password, project, domain, authUrl } = settings;
  const answer = await request(`${authUrl}/auth/tokens`, {
    method: 'POST',
    dispatcher,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      auth: {
        identity: { methods: ['password'], password: { user: { name: username, domain: { name: domain }, password } } },
        scope: { project: { name: project, domain: { name: domain } } },
      },
    }),
  });
  await answer.body.dump();
  const token = answer.headers['x-subject-token'];
  if (typeof token !== 'string') throw new Error(`Keystone gave no token: ${answer.statusCode}`);
  return token;
}
