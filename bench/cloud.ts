/**
 * A stand-in for Keystone and Swift that takes so many milliseconds for each answer and believes everybody: the cluster
 * service's own work is what is measured, beside a cloud whose speed is known. It keeps what is put into containers, and
 * closes what an access list does not open, since the service tries both.
 */
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

export interface CloudStub {
  /** Of Keystone, with `/v3`. */
  readonly url: string;
  /** A token of a member of this project. */
  token(projectId: string): string;
  close(): Promise<void>;
}

interface Holder {
  readonly userId: string;
  readonly projectId: string;
  readonly isOperator: boolean;
}

interface Container {
  readonly headers: Map<string, string>;
  readonly objects: Map<string, Buffer>;
}

const HOUR_MS = 3_600_000;
const SERVICE_PROJECT = 'nodes';

export async function startCloudStub(answerMs: number): Promise<CloudStub> {
  const holders = new Map<string, Holder>();
  const containers = new Map<string, Container>();

  const tokenFor = (holder: Holder): string => {
    const token = randomUUID();
    holders.set(token, holder);
    return token;
  };
  const lasting = (): object => ({ issued_at: new Date().toISOString(), expires_at: new Date(Date.now() + HOUR_MS).toISOString() });
  const describe = ({ userId, projectId, isOperator }: Holder, origin: string): object => ({
    token: {
      ...lasting(), methods: ['password'],
      user: { id: userId, name: userId, domain: { id: 'default', name: 'Default' } },
      project: { id: projectId, name: projectId, domain: { id: 'default', name: 'Default' } },
      roles: [{ id: 'role', name: isOperator ? 'member' : 'reader' }],
      catalog: [{ type: 'object-store', endpoints: [{ interface: 'public', region: 'RegionOne', region_id: 'RegionOne', url: `${origin}/v1/AUTH_${projectId}` }] }],
    },
  });

  function keystone(req: IncomingMessage, path: string, body: Buffer, answer: Answer, origin: string): void {
    const one = (kind: string, id: string): object => ({ [kind]: { id, name: id, enabled: true } });
    if (path === '/v3/auth/tokens' && req.method === 'GET') {
      const holder = holders.get(String(req.headers['x-subject-token']));
      return holder === undefined ? answer(404, {}) : answer(200, describe(holder, origin));
    }
    if (path === '/v3/auth/tokens') {
      const { auth } = JSON.parse(body.toString()) as { readonly auth: { readonly identity: { readonly password: { readonly user: { readonly id?: string; readonly name?: string } } }; readonly scope?: { readonly domain?: object } } }; // the service's login
      const { id, name } = auth.identity.password.user;
      const holder = { userId: id ?? name ?? '', projectId: id === undefined ? 'service' : SERVICE_PROJECT, isOperator: id === undefined };
      const domain = auth.scope?.domain === undefined ? {} : { token: { ...lasting(), domain: { id: 'domain', name: 'domain' }, user: { id: 'admin', name: 'admin', domain: { id: 'domain', name: 'domain' } }, catalog: [] } };
      return answer(201, { ...describe(holder, origin), ...domain }, { 'x-subject-token': tokenFor(holder) });
    }
    if (path === '/v3/users' && req.method === 'POST') return answer(201, one('user', `user-${randomUUID()}`));
    if (req.method === 'PUT' || req.method === 'DELETE') return answer(204);
    const [, , kind = '', id] = path.split('/');
    if (id !== undefined) return answer(200, one(kind.replace(/s$/, ''), id));
    answer(200, { [kind]: kind === 'users' ? [] : [{ id: kind === 'projects' ? SERVICE_PROJECT : kind, name: kind }] });
  }

  function swift(req: IncomingMessage, path: string, query: URLSearchParams, body: Buffer, answer: Answer): void {
    const [, , account = '', container, ...rest] = path.split('/');
    const holder = holders.get(String(req.headers['x-auth-token']));
    if (holder === undefined) return answer(401);
    const place = `${account}/${container}`;
    const found = containers.get(place);
    const isRead = req.method === 'GET' || req.method === 'HEAD';
    const owns = holder.isOperator && (account === `AUTH_${holder.projectId}` || holder.projectId === 'service');
    const list = found?.headers.get(isRead ? 'x-container-read' : 'x-container-write') ?? '';
    if (!owns && !list.split(',').includes(`${holder.projectId}:${holder.userId}`)) return answer(403);
    if (container === undefined) return answer(204);
    const object = rest.join('/');
    if (object === '') {
      if (req.method === 'PUT' || req.method === 'POST') {
        const made = found ?? { headers: new Map<string, string>(), objects: new Map<string, Buffer>() };
        for (const [name, value] of Object.entries(req.headers)) if (name.startsWith('x-container-')) made.headers.set(name, String(value));
        containers.set(place, made);
        return answer(found === undefined ? 201 : 204);
      }
      if (found === undefined) return answer(404);
      if (req.method === 'DELETE') return answer(containers.delete(place) ? 204 : 404);
      const names = [...found.objects.keys()].filter((name) => name.startsWith(query.get('prefix') ?? '') && name > (query.get('marker') ?? '')).toSorted();
      return answer(200, names.map((name) => ({ name, bytes: found.objects.get(name)?.length, hash: 'x', last_modified: new Date().toISOString(), content_type: 'application/octet-stream' })), Object.fromEntries(found.headers));
    }
    if (found === undefined) return answer(404);
    const etag = (bytes: Buffer): object => ({ etag: createHash('md5').update(bytes).digest('hex'), 'last-modified': new Date().toUTCString(), 'x-timestamp': String(Date.now() / 1000) });
    if (req.method === 'PUT') {
      found.objects.set(object, body);
      return answer(201, undefined, etag(body));
    }
    if (req.method === 'DELETE') return answer(found.objects.delete(object) ? 204 : 404);
    const bytes = found.objects.get(object);
    return bytes === undefined ? answer(404) : answer(200, bytes, etag(bytes));
  }

  const server = createServer((req, res) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of req) chunks.push(chunk as Buffer); // no encoding is set
      await pause(answerMs);
      const origin = `http://${req.headers.host}`;
      const { pathname, searchParams } = new URL(req.url ?? '/', origin);
      const answer = answerer(req, res);
      if (pathname === '/info') answer(200, { swift: { version: '2.30.0', max_file_size: 5_368_709_122 }, slo: { max_manifest_segments: 1000 }, bulk_delete: {} });
      else if (pathname.startsWith('/v3/')) keystone(req, pathname, Buffer.concat(chunks), answer, origin);
      else swift(req, decodeURIComponent(pathname), searchParams, Buffer.concat(chunks), answer);
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v3`, // no pipe
    token: (projectId) => tokenFor({ userId: 'owner', projectId, isOperator: true }),
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

type Answer = (status: number, body?: object, headers?: object) => void;

function answerer(req: IncomingMessage, res: ServerResponse): Answer {
  return (status, body, headers = {}) => {
    const bytes = body === undefined ? Buffer.alloc(0) : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    res.writeHead(status, { ...(status === 204 ? {} : { 'content-length': bytes.length }), 'content-type': Buffer.isBuffer(body) ? 'application/octet-stream' : 'application/json', 'x-trans-id': 'stub', ...headers });
    res.end(req.method === 'HEAD' ? undefined : bytes);
  };
}
