/**
 * A remote registry for tests: a real HTTP or HTTPS server on loopback that speaks the pull half of the distribution API,
 * and misbehaves as told. Content is added through `content` (see fake-content.ts).
 *
 *     const upstream = await fakeUpstream();                      // options: auth, tls, content, pageSize, referrers
 *     const image = upstream.content.addImage('library/nginx', { tag: 'latest', layers: [1 << 20] });
 *     upstream.misbehave({ kind: 'blob' }, { breakAfter: 1000 }, 1);   // once; the latest matching rule counts
 *     upstream.misbehave({ kind: 'manifest' }, { status: 429, headers: { 'retry-after': '30' } });
 *     const release = Promise.withResolvers<void>();
 *     upstream.misbehave({ kind: 'blob' }, { stall: { after: 5000, until: release.promise } });
 *     await upstream.arrived({ kind: 'blob' }, 2);                // two blob requests have come in since the start
 *     upstream.count({ kind: 'manifest', method: 'HEAD' });       // how many so far
 *     upstream.requests;                                          // all of them, with headers; `closed` settles with each
 *     await upstream.close();
 *
 * A second fake over the same `content` plays the storage that blobs are redirected to: `{ redirectTo: storage.url }`.
 * With `auth: { kind: 'bearer' }` tokens come from its own `/token`; `revokeTokens()` makes those given so far worthless.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { FakeContent } from './fake-content.ts';

export type FakeKind = 'ping' | 'token' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'other';

export type FakeAuth =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  | {
    readonly kind: 'bearer';
    /** Where set, the realm wants this login and refuses others with 401. */
    readonly login?: { readonly username: string; readonly password: string };
    /** What the realm answers to those without a login; default: a token, or 401 where a login is set. */
    readonly anonymous?: number;
    readonly expiresIn?: number;
    /** Instead of the fake's own `/token`. */
    readonly realm?: string;
  };

export interface FakeOptions {
  readonly auth?: FakeAuth;
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Default: any port of 127.0.0.1. */
  readonly listen?: { readonly host: string; readonly port: number };
  readonly content?: FakeContent;
  /** Entries per page of tags and referrers; the rest by Link. */
  readonly pageSize?: number;
  /** False: no referrers endpoint. */
  readonly referrers?: boolean;
}

export interface FakeRequest {
  readonly kind: FakeKind;
  readonly method: string;
  readonly url: string;
  /** Of the repository; '' where the URL has none. */
  readonly path: string;
  /** Tag or digest. */
  readonly reference: string;
  readonly headers: IncomingMessage['headers'];
  /** Settles when the answer was sent whole (true) or the connection ended before (false). */
  readonly closed: Promise<boolean>;
  /** Numbers connections. */
  readonly connection: number;
}

export type Match = Partial<Pick<FakeRequest, 'kind' | 'method' | 'path' | 'reference'>>;

/** What is done instead of, or to, the right answer. Parts combine where that makes sense. */
export interface Misbehaviour {
  /** Waited for before anything is answered. */
  readonly hold?: Promise<unknown>;
  /** The connection ends without an answer. */
  readonly hangUp?: true;
  /** Answers this status, with `body`, instead. */
  readonly status?: number;
  readonly body?: string | Buffer;
  /** Added to the answer, or replacing what it has; '' takes a header away. */
  readonly headers?: Readonly<Record<string, string>>;
  /** 307 to the same path and query there. */
  readonly redirectTo?: string;
  /** The connection breaks after so many bytes of the body. */
  readonly breakAfter?: number;
  /** The body stops after so many bytes until the promise settles. */
  readonly stall?: { readonly after: number; readonly until: Promise<unknown> };
  /** The last byte of the body is wrong. */
  readonly corrupt?: true;
  /** 200 with everything. */
  readonly ignoreRange?: true;
  /** No Content-Length. */
  readonly chunked?: true;
  /** Waited for before each piece of 64 KiB, given the offset in this body. */
  readonly pace?: (offset: number) => Promise<unknown>;
}

export interface FakeUpstream {
  readonly content: FakeContent;
  /** Without a trailing slash. */
  readonly url: string;
  readonly port: number;
  readonly requests: readonly FakeRequest[];
  count(match: Match): number;
  /** Resolves with the latest once `count` (default 1) such requests have arrived since the start. */
  arrived(match: Match, count?: number): Promise<FakeRequest>;
  /** For the next `times` matching requests (default: all). Returns how to end it earlier. */
  misbehave(match: Match, how: Misbehaviour, times?: number): () => void;
  revokeTokens(): void;
  close(): Promise<void>;
}

interface Rule {
  readonly match: Match;
  readonly how: Misbehaviour;
  left: number;
}

interface Reply {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

const PIECE_BYTES = 64 * 1024;

export async function fakeUpstream({ auth, tls, listen = { host: '127.0.0.1', port: 0 }, content = new FakeContent(), pageSize = 1000, referrers = true }: FakeOptions = {}): Promise<FakeUpstream> {
  const requests: FakeRequest[] = [];
  const waiting: { readonly match: Match; readonly count: number; readonly resolve: (request: FakeRequest) => void }[] = [];
  const rules: Rule[] = [];
  const tokens = new Set<string>();
  const connections = new Map<Socket, number>();
  let issued = 0;
  const server = tls === undefined ? createServer() : createSecureServer(tls);
  server.on('request', (incoming: IncomingMessage, response: ServerResponse) => {
    serve(incoming, response).catch(() => response.destroy()); // the client left, or a test's promise rejected: either way this answer is over
  });
  server.listen(listen.port, listen.host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // listening on TCP
  const url = `${tls === undefined ? 'http' : 'https'}://${listen.host}:${port}`;

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const closed = new Promise<boolean>((resolve) => response.once('close', () => resolve(response.writableFinished)));
    const request: FakeRequest = { ...locate(incoming.url ?? ''), method: incoming.method ?? '', url: incoming.url ?? '', headers: incoming.headers, closed, connection: connectionOf(incoming.socket) };
    requests.push(request);
    for (const wait of waiting.filter(({ match, count }) => fits(request, match) && countOf(match) >= count)) {
      waiting.splice(waiting.indexOf(wait), 1);
      wait.resolve(request);
    }
    const how = behaviourFor(request);
    await how.hold;
    if (how.hangUp === true) return void incoming.socket.destroy();
    await send(request, replyTo(request, how), how, response);
  }

  function connectionOf(socket: Socket): number {
    const number = connections.get(socket) ?? connections.size + 1;
    connections.set(socket, number);
    return number;
  }

  function behaviourFor(request: FakeRequest): Misbehaviour {
    const rule = rules.findLast(({ match, left }) => left > 0 && fits(request, match));
    if (rule === undefined) return {};
    rule.left--;
    return rule.how;
  }

  function replyTo(request: FakeRequest, how: Misbehaviour): Reply {
    if (how.redirectTo !== undefined) return { status: 307, headers: { location: `${how.redirectTo}${request.url}` }, body: Buffer.alloc(0) };
    return how.status === undefined ? answer(request, how) : { status: how.status, headers: {}, body: Buffer.from(how.body ?? '') };
  }

  function answer(request: FakeRequest, how: Misbehaviour): Reply {
    const { kind, path, reference, headers } = request;
    if (kind === 'token') return token(headers.authorization);
    const refusal = kind === 'other' ? undefined : refuse(request);
    if (refusal !== undefined) return refusal;
    switch (kind) {
      case 'ping':
        return json(200, {});
      case 'manifest': {
        const found = content.manifest(path, reference);
        if (found === undefined) return failure(404, 'MANIFEST_UNKNOWN');
        return { status: 200, headers: { 'content-type': found.mediaType, 'docker-content-digest': found.digest }, body: found.bytes };
      }
      case 'blob': {
        const bytes = content.repositories.get(path)?.blobs.get(reference);
        return bytes === undefined ? failure(404, 'BLOB_UNKNOWN') : ranged(bytes, how.ignoreRange === true ? undefined : headers.range);
      }
      case 'tags': {
        const found = content.repositories.get(path);
        return found === undefined ? failure(404, 'NAME_UNKNOWN') : page(request, [...found.tags.keys()].toSorted(), (tags) => ({ name: path, tags }));
      }
      case 'referrers':
        if (!referrers) return { status: 404, headers: { 'content-type': 'text/plain' }, body: Buffer.from('404 page not found\n') };
        return page(request, content.referrers(path, reference), (manifests) => ({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests }));
      case 'other':
        return failure(404, 'NOT_FOUND');
    }
  }

  function refuse({ path, headers: { authorization } }: FakeRequest): Reply | undefined {
    if (auth === undefined) return undefined;
    if (auth.kind === 'basic') return authorization === basic(auth) ? undefined : challenge('Basic realm="fake"');
    if (authorization?.startsWith('Bearer ') === true && tokens.has(authorization.slice('Bearer '.length))) return undefined;
    return challenge(`Bearer realm="${auth.realm ?? `${url}/token`}",service="fake",scope="repository:${path}:pull"`);
  }

  function token(authorization: string | undefined): Reply {
    if (auth?.kind !== 'bearer') return failure(404, 'NOT_FOUND');
    const anonymous = auth.anonymous ?? (auth.login === undefined ? 200 : 401);
    if (authorization === undefined && anonymous !== 200) return failure(anonymous, 'DENIED');
    if (authorization !== undefined && (auth.login === undefined || authorization !== basic(auth.login))) return failure(401, 'UNAUTHORIZED');
    const fresh = `token-${++issued}`;
    tokens.add(fresh);
    return json(200, { token: fresh, ...(auth.expiresIn === undefined ? {} : { expires_in: auth.expiresIn }) });
  }

  function page<T>(request: FakeRequest, all: readonly T[], wrap: (items: readonly T[]) => unknown): Reply {
    const query = new URL(request.url, url).searchParams;
    const from = Number(query.get('from') ?? 0);
    const size = Math.min(Number(query.get('n') ?? pageSize), pageSize);
    const reply = json(200, wrap(all.slice(from, from + size)));
    const location = `${request.url.split('?')[0]}?n=${size}&from=${from + size}`;
    if (from + size < all.length) reply.headers['link'] = `<${location}>; rel="next"`;
    return reply;
  }

  function countOf(match: Match): number {
    return requests.filter((request) => fits(request, match)).length;
  }

  return {
    content, url, port, requests,
    count: countOf,
    async arrived(match, count = 1) {
      const latest = requests.findLast((request) => fits(request, match));
      if (latest !== undefined && countOf(match) >= count) return latest;
      return await new Promise((resolve) => waiting.push({ match, count, resolve }));
    },
    misbehave(match, how, times = Infinity) {
      const rule: Rule = { match, how, left: times };
      rules.push(rule);
      return () => { rule.left = 0; };
    },
    revokeTokens: () => tokens.clear(),
    async close() {
      const ended = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await ended;
    },
  };
}

function locate(url: string): Pick<FakeRequest, 'kind' | 'path' | 'reference'> {
  const pathname = url.split('?')[0] ?? '';
  if (pathname === '/token') return { kind: 'token', path: '', reference: '' };
  if (pathname === '/v2/') return { kind: 'ping', path: '', reference: '' };
  const [, path = '', kind, reference = ''] = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(pathname) ?? [];
  const kinds: Readonly<Record<string, FakeKind>> = { manifests: 'manifest', blobs: 'blob', tags: 'tags', referrers: 'referrers' };
  return { kind: kinds[kind ?? ''] ?? 'other', path, reference };
}

function fits(request: FakeRequest, match: Match): boolean {
  return (Object.keys(match) as (keyof Match)[]).every((key) => request[key] === match[key]); // keys of a literal
}

function ranged(bytes: Buffer, range: string | undefined): Reply {
  const headers = { 'content-type': 'application/octet-stream' };
  const [, start, end] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? [];
  if (start === undefined) return { status: 200, headers, body: bytes };
  const last = end === '' || end === undefined ? bytes.length - 1 : Math.min(Number(end), bytes.length - 1);
  if (Number(start) > last) return { status: 416, headers: { 'content-range': `bytes */${bytes.length}` }, body: Buffer.alloc(0) };
  return { status: 206, headers: { ...headers, 'content-range': `bytes ${start}-${last}/${bytes.length}` }, body: bytes.subarray(Number(start), last + 1) };
}

async function send({ method, closed }: FakeRequest, { status, headers, body }: Reply, how: Misbehaviour, response: ServerResponse): Promise<void> {
  const bytes = how.corrupt === true ? corrupted(body) : body;
  const all = { ...headers, ...(how.chunked === true ? {} : { 'content-length': String(bytes.length) }), ...how.headers };
  response.writeHead(status, Object.fromEntries(Object.entries(all).filter(([, value]) => value !== '')));
  if (method === 'HEAD') return void response.end();
  // Head and body apart, so that a body that never comes leaves an answer that has begun.
  response.flushHeaders();
  const marks = [how.stall?.after, how.breakAfter].filter((mark) => mark !== undefined);
  for (let at = 0; ;) {
    if (at === how.stall?.after) await how.stall.until;
    if (at === how.breakAfter) return response.socket?.destroySoon();
    if (at === bytes.length || response.destroyed) break;
    await how.pace?.(at);
    const end = Math.min(at + PIECE_BYTES, bytes.length, ...marks.filter((mark) => mark > at));
    // Until the kernel has it: a reader that takes nothing is felt here, and a break later cuts nothing off.
    await Promise.race([new Promise<void>((resolve) => response.write(bytes.subarray(at, end), () => resolve())), closed]);
    at = end;
  }
  response.end();
}

function corrupted(body: Buffer): Buffer {
  const copy = Buffer.from(body);
  if (copy.length > 0) copy.writeUInt8((copy.at(-1) ?? 0) ^ 0xff, copy.length - 1);
  return copy;
}

function json(status: number, value: unknown): Reply {
  return { status, headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(value)) };
}

function failure(status: number, code: string): Reply {
  return json(status, { errors: [{ code, message: code.toLowerCase() }] });
}

function challenge(text: string): Reply {
  const reply = failure(401, 'UNAUTHORIZED');
  reply.headers['www-authenticate'] = text;
  return reply;
}

function basic({ username, password }: { readonly username: string; readonly password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
