/** For tests: the service over SQLite on a free port of the loopback, and a Keystone on a socket that knows whom a test makes up. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret, type ClustersConfig } from '../config/config.ts';
import { systemTimers } from '../workers/timers.ts';
import type { Ended } from './api/handler.ts';
import { openDatabase, type ClusterDatabase } from './database/database.ts';
import { startClusters } from './service.ts';

export interface Person {
  readonly user?: string;
  readonly domain?: string;
  readonly project?: string | undefined;
  readonly roles?: readonly string[];
  readonly methods?: readonly string[];
  readonly trustee?: string;
  readonly applicationCredential?: string;
  /** Regions of the object store. */
  readonly regions?: readonly string[];
}

export interface FakeKeystone {
  readonly url: string;
  /** Tokens that were asked about, in order. */
  readonly asked: readonly string[];
  /** Logins of the service. */
  logins: number;
  /** Instead of an answer, when it is set. */
  trouble: ((response: ServerResponse) => void) | undefined;
  /** A token for somebody. */
  token(person?: Person): string;
  forget(token: string): void;
  /** Tokens of the service that were given out end. */
  expireService(): void;
  close(): void;
}

/** Of the program for nodes that tests put into the folder. */
export const VERSION = '1.2.3';
const HOUR_MS = 3_600_000;

export async function fakeKeystone(): Promise<FakeKeystone> {
  const people = new Map<string, Person>();
  const asked: string[] = [];
  let own = new Set<string>();
  let made = 0;
  const server = createServer((request, response) => {
    request.resume();
    if (keystone.trouble !== undefined) return keystone.trouble(response);
    const at = new Date();
    const answer = (status: number, body: object, headers = {}): void => void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
    const lasting = { issued_at: at.toISOString(), expires_at: new Date(at.getTime() + HOUR_MS).toISOString() };
    if (request.method === 'POST') {
      keystone.logins++;
      const token = `service-${keystone.logins}`;
      own.add(token);
      return answer(201, { token: { ...lasting, catalog: [] } }, { 'x-subject-token': token });
    }
    if (!own.has(String(request.headers['x-auth-token']))) return answer(401, { error: { code: 401, message: 'no' } });
    const subject = String(request.headers['x-subject-token']);
    asked.push(subject);
    const person = people.get(subject);
    if (person === undefined) return answer(404, { error: { code: 404, message: 'Could not find token' } });
    const { user = 'u1', domain = 'Default', project, roles = ['member'], methods = ['password'], trustee, applicationCredential, regions = ['RegionOne'] } = person;
    const endpoints = regions.map((region) => ({ interface: 'public', region, region_id: region, url: 'http://swift.example.org/v1/AUTH_p' }));
    answer(200, {
      token: {
        ...lasting, methods,
        user: { id: user, name: user, domain: { id: domain, name: domain } },
        ...(project === undefined ? {} : { project: { id: project, name: project, domain: { id: 'default', name: 'Default' } }, roles: roles.map((name) => ({ id: name, name })), catalog: endpoints.length === 0 ? [] : [{ type: 'object-store', endpoints }] }),
        ...(trustee === undefined ? {} : { 'OS-TRUST:trust': { id: 'trust', trustee_user: { id: trustee } } }),
        ...(applicationCredential === undefined ? {} : { application_credential: { id: 'c1', name: applicationCredential, restricted: true } }),
      },
    });
  });
  const keystone: FakeKeystone = {
    url: `${await listening(server)}/v3`,
    asked, logins: 0, trouble: undefined,
    token(person = {}) {
      const token = `token-${++made}-of-${person.user ?? 'u1'}`;
      people.set(token, { project: 'p1', ...person });
      return token;
    },
    forget: (token) => void people.delete(token),
    expireService: () => void (own = new Set()),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return keystone;
}

export interface TestService {
  /** Where it answers. */
  readonly origin: string;
  readonly keystone: FakeKeystone;
  readonly config: ClustersConfig;
  /** What was logged: events with fields, as JSON. */
  readonly logged: string[];
  /** Requests that ended. */
  readonly ended: readonly Ended[];
  /** How often the lifecycle was told that there is work; it does none, a test says what became of it. */
  readonly woken: { readonly count: number };
  /** The database, beside the service. */
  readonly database: ClusterDatabase;
  /** @param init.json a body */
  call(token: string | undefined, method: string, path: string, init?: { readonly json?: unknown; readonly version?: string; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }): Promise<Reply>;
  close(): Promise<void>;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** JSON. */
  readonly body: Readonly<Record<string, unknown>>;
  /** Of the first error. */
  readonly detail: string;
}

export async function testService(change: Partial<ClustersConfig> = {}, { nowMs = Date.now }: { readonly nowMs?: () => number } = {}): Promise<TestService> {
  const folder = await mkdtemp(join(tmpdir(), 'umbra-clusters-'));
  const keystone = await fakeKeystone();
  const logged: string[] = [];
  const ended: Ended[] = [];
  const woken = { count: 0 };
  const note = (fields: object, event: string): void => void logged.push(`${event} ${JSON.stringify(fields)} ${String((fields as { error?: Error }).error?.stack)}`);
  const config: ClustersConfig = {
    address: 'localhost:0', binds: [], tls: undefined,
    publicUrl: 'http://clusters.example.org',
    database: new Secret(`sqlite:${join(folder, 'clusters.db')}`),
    encryptionKeys: [new Secret('k'.repeat(32))],
    keystone: { url: keystone.url, username: 'umbra', password: new Secret('pw-of-umbra'), userDomain: 'Default', project: 'service', projectDomain: 'Default', region: undefined, interface: 'public', ca: undefined, insecure: false, cacheForMs: 60_000 },
    trusteeDomain: { name: 'umbra-nodes', adminUsername: 'umbra-admin', adminPassword: new Secret('pw-of-admin') },
    serviceProject: { name: 'umbra-nodes', domain: 'Default' },
    roles: { admin: ['admin'], operator: ['admin', 'member'], node: 'reader', delegated: ['member'] },
    defaults: { credentialMode: 'acl', write: 'cache', policy: 'proxy', port: 5000, upstreams: [], fallback: undefined },
    nodes: { image: undefined, ca: undefined, diskBytes: 2 ** 30, renewMs: 300_000 },
    openProject: false, accessRules: false, allowPrivateUpstreams: false,
    programs: join(folder, 'programs'),
    adopt: undefined,
    ...change,
  };
  const database = await openDatabase({ url: config.database.reveal(), timers: systemTimers, nowMs });
  const service = await startClusters(config, { timers: systemTimers, nowMs, elapsedMs: () => performance.now(), random: Math.random, log: { info: note, warn: note, error: note }, ended: (facts) => void ended.push(facts), version: VERSION, programs: '', clientOf: () => '127.0.0.1', startLifecycle: () => ({ wake: () => void woken.count++, close: async () => undefined }) });
  const server = createServer((request, response) => service.handle(request, response, false));
  const origin = await listening(server);
  return {
    origin, keystone, config, logged, ended, woken, database,
    async call(token, method, path, { json, version, headers = {}, body = json === undefined ? undefined : JSON.stringify(json) } = {}) {
      const answer = await fetch(`${origin}${path}`, {
        method,
        headers: { ...(token === undefined ? {} : { 'x-auth-token': token }), ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...(version === undefined ? {} : { 'openstack-api-version': `container-infra ${version}` }), ...headers },
        ...(body === undefined ? {} : { body }),
      });
      const text = await answer.text();
      const parsed = answer.headers.get('content-type') === 'application/json' && text !== '' ? (JSON.parse(text) as Reply['body']) : {}; // an object, always
      return { status: answer.status, headers: answer.headers, text, body: parsed, detail: String((parsed['errors'] as readonly { readonly detail?: string }[] | undefined)?.[0]?.detail) };
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await service.close();
      await database.close();
      keystone.close();
      await rm(folder, { recursive: true });
    },
  };
}

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`; // not a pipe
}
