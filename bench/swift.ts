/** One Keystone and Swift for a section, with the contenders' ways into it: Umbra's, docker-registry's, and no registry at all. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { startOpenStack, type OpenStackSettings } from '../test/services/openstack.ts';
import type { BlobFile } from './content.ts';
import { run } from './process.ts';
import type { Contender } from './row.ts';
import type { Server } from './servers.ts';

export interface Swift {
  /** `storage:` of an Umbra with a container of its own, or this one. */
  umbraStorage(disk?: { readonly root: string; readonly maxBytes: string }, container?: string): object;
  /** `storage:` of a docker-registry likewise. */
  dockerRegistryStorage(container?: string): object;
  /** Writes what `word` is in the name of, under each of these words instead. Gives how many objects each is. */
  multiply(container: string, word: string, words: readonly string[]): Promise<number>;
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
const CONNECTIONS = 16;

export const freshContainer = (): string => `bench-${randomBytes(6).toString('hex')}`;

export async function openSwift(): Promise<Swift> {
  const running = process.env['UMBRA_TEST_OPENSTACK'];
  const openstack = await startOpenStack(running);
  const { settings } = openstack;
  const abandon = (): void => void spawnSync(join(import.meta.dirname, '../test/services/openstack/down'), ['--purge', settings.state]);
  if (running === undefined) process.once('exit', abandon);
  const agent = new Agent();
  const token = await logIn(settings, agent);
  const container = `${settings.accountUrl}/${RAW_CONTAINER}`;
  const made = await request(container, { method: 'PUT', headers: { 'X-Auth-Token': token }, dispatcher: agent });
  await made.body.dump();
  if (made.statusCode >= 300) throw new Error(`PUT ${RAW_CONTAINER}: ${made.statusCode}`);
  const { username, password, project, domain, authUrl, region } = settings;
  return {
    umbraStorage: (disk, name = freshContainer()) => ({
      driver: 'swift', container: name, region,
      auth: { url: authUrl, username, password, userDomain: domain, project, projectDomain: domain },
      ...(disk === undefined ? {} : { disk }),
    }),
    // It would send clients to Swift itself, which is no pull through it.
    dockerRegistryStorage: (name = freshContainer()) => ({ redirect: { disable: true }, swift: { authurl: authUrl, username, password, tenant: project, domain, tenantdomain: domain, region, container: name } }),
    async multiply(name, word, words) {
      const objects = await objectsWith(`${settings.accountUrl}/${name}`, word, token, agent);
      const writes = words.flatMap((other) => objects.map((object) => ({ ...object, name: object.name.replaceAll(word, other) })));
      const pool = new Agent({ connections: CONNECTIONS });
      await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
        for (let write = writes.pop(); write !== undefined; write = writes.pop()) {
          const answer = await request(`${settings.accountUrl}/${name}/${encodeURI(write.name)}`, { method: 'PUT', headers: { ...write.headers, 'x-auth-token': token }, body: write.bytes, dispatcher: pool });
          await answer.body.dump();
          if (answer.statusCode !== 201) throw new Error(`PUT ${write.name}: ${answer.statusCode}`);
        }
      }));
      await pool.close();
      return objects.length;
    },
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
      process.off('exit', abandon);
    },
  };
}

interface Written {
  readonly name: string;
  readonly bytes: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

/** Those whose names have this in them. */
async function objectsWith(container: string, word: string, token: string, dispatcher: Agent): Promise<readonly Written[]> {
  const headers = { 'x-auth-token': token };
  const listing = await request(`${container}?format=json`, { headers, dispatcher });
  const names = ((await listing.body.json()) as readonly { readonly name: string }[]).map(({ name }) => name).filter((name) => name.includes(word)); // Swift's listing
  return await Promise.all(names.map(async (name) => {
    const answer = await request(`${container}/${encodeURI(name)}`, { headers, dispatcher });
    const kept = Object.entries(answer.headers).filter(([header]) => header === 'content-type' || header.startsWith('x-object-meta-')).map(([header, value]) => [header, String(value)]);
    return { name, bytes: Buffer.from(await answer.body.arrayBuffer()), headers: Object.fromEntries(kept) as Record<string, string> };
  }));
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
