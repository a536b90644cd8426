/**
 * A plain client of the distribution API, for filling registries and for looking at what they answer byte by byte.
 * Answers challenges as clients do; never retries and follows no redirects.
 */
import { Readable } from 'node:stream';
import { Agent, ProxyAgent, request, type Dispatcher } from 'undici';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { knowSecrets, watchSaid } from '../support/secret-watch.ts';
import type { Image } from './images.ts';

export interface ClientOptions {
  /** PEM; for a registry under an authority of our own. */
  readonly ca?: string;
  readonly username?: string;
  readonly password?: string;
  /** A proxy's URL; then `ca` is for what is behind it. */
  readonly proxy?: string;
  /** How long an answer may not begin, or a body not go on. */
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly bytes: Buffer;
  /** Of the bytes that came. */
  readonly digest: Digest;
}

export interface CallOptions {
  readonly method?: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  /** What comes in pieces is sent chunked, unless a length is given in the headers. */
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
}

const ACCEPT = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

export class RegistryClient implements AsyncDisposable {
  readonly url: string;
  readonly #options: ClientOptions;
  readonly #agent: Agent | ProxyAgent;
  readonly #authorizations = new Map<string, string>();

  constructor(url: string, options: ClientOptions = {}) {
    this.url = url;
    this.#options = options;
    knowSecrets(options);
    const timeouts = { headersTimeout: options.timeoutMs ?? 60_000, bodyTimeout: options.timeoutMs ?? 60_000 };
    const tls = options.ca !== undefined && { ca: options.ca };
    this.#agent =
      options.proxy === undefined
        ? new Agent({ ...timeouts, ...(tls && { connect: tls }) })
        : new ProxyAgent({ ...timeouts, uri: options.proxy, ...(tls && { requestTls: tls }) });
  }

  /** `path` begins with `/`, or is a whole URL as a Location header may give. */
  async call(path: string, options: CallOptions = {}): Promise<Answer> {
    // A token is for one repository and one kind of access.
    const repository = /\/v2\/[^?]+?(?=\/(?:manifests|blobs|tags|referrers)\/)/.exec(path)?.[0] ?? '';
    const scope = `${repository} ${options.method === 'DELETE' ? 'delete' : ['GET', 'HEAD'].includes(options.method ?? 'GET') ? 'pull' : 'push'}`;
    const authorization = this.#authorizations.get(scope);
    const answer = await this.#send(new URL(path, this.url), options, authorization);
    if (answer.status !== 401 || authorization !== undefined) return answer;
    const answered = await this.#authorize(answer.headers['www-authenticate'] ?? '');
    if (answered === undefined) return answer;
    this.#authorizations.set(scope, answered);
    return this.#send(new URL(path, this.url), options, answered);
  }

  getManifest(name: string, reference: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.call(`/v2/${name}/manifests/${reference}`, { headers: { accept: ACCEPT, ...headers } });
  }

  headManifest(name: string, reference: string): Promise<Answer> {
    return this.call(`/v2/${name}/manifests/${reference}`, { method: 'HEAD', headers: { accept: ACCEPT } });
  }

  getBlob(name: string, digest: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.call(`/v2/${name}/blobs/${digest}`, { headers });
  }

  /** Rejects unless the registry says 201. */
  async pushBlob(name: string, bytes: Buffer): Promise<Digest> {
    const digest = digestOf(bytes);
    const head = await this.call(`/v2/${name}/blobs/${digest}`, { method: 'HEAD' });
    if (head.status === 200) return digest;
    const location = expectStatus(await this.call(`/v2/${name}/blobs/uploads/`, { method: 'POST' }), 202).headers['location'];
    const target = new URL(location ?? '', this.url);
    target.searchParams.set('digest', digest);
    expectStatus(
      await this.call(target.pathname + target.search, {
        method: 'PUT',
        headers: { 'content-type': 'application/octet-stream' },
        body: bytes,
      }),
      201,
    );
    return digest;
  }

  /** Pushes all that belongs to the image, then its manifest under the tag. Rejects unless the registry takes all. */
  async push(name: string, tag: string, image: Image): Promise<void> {
    for (const child of image.children) await this.push(name, child.digest, child);
    for (const blob of image.blobs.values()) await this.pushBlob(name, blob);
    expectStatus(await this.putManifest(name, tag, image), 201);
  }

  putManifest(name: string, reference: string, image: Pick<Image, 'mediaType' | 'bytes'>): Promise<Answer> {
    return this.call(`/v2/${name}/manifests/${reference}`, {
      method: 'PUT',
      headers: { 'content-type': image.mediaType },
      body: image.bytes,
    });
  }

  async #authorize(challenge: string): Promise<string | undefined> {
    const { username, password } = this.#options;
    const basic = username === undefined ? undefined : `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    if (/^basic/i.test(challenge)) return basic;
    const parameters = Object.fromEntries(Array.from(challenge.matchAll(/(\w+)="([^"]*)"/g), ([, key = '', value = '']) => [key, value]));
    const { realm, ...query } = parameters;
    if (realm === undefined) return undefined;
    const url = new URL(realm);
    for (const key of ['service', 'scope']) if (query[key] !== undefined) url.searchParams.set(key, query[key]);
    const answer = await this.#send(url, {}, basic);
    if (answer.status !== 200) return undefined;
    // The token endpoint's answer: distribution, docs/spec/auth/token.md.
    const { token } = JSON.parse(answer.bytes.toString()) as { token: string };
    return `Bearer ${token}`;
  }

  async #send(url: URL, options: CallOptions, authorization: string | undefined): Promise<Answer> {
    const { body: sent = null } = options;
    const { statusCode, headers, body } = await request(url, {
      dispatcher: this.#agent,
      method: (options.method ?? 'GET') satisfies Dispatcher.HttpMethod,
      headers: { ...options.headers, ...(authorization !== undefined && { authorization }) },
      body: sent === null || sent instanceof Uint8Array ? sent : Readable.from(sent),
    });
    const bytes = Buffer.from(await body.arrayBuffer());
    const flat = Object.entries(headers).map(([key, value]) => [key, Array.isArray(value) ? value.join(', ') : value]);
    if (statusCode >= 400) watchSaid(`${options.method ?? 'GET'} ${url.pathname}, ${statusCode}`, `${JSON.stringify(headers)}\n${bytes.toString()}`);
    return { status: statusCode, headers: Object.fromEntries(flat), bytes, digest: digestOf(bytes) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }
}

/** Gives the answer back, or throws with what it said. */
export function expectStatus(answer: Answer, status: number): Answer {
  if (answer.status === status) return answer;
  throw new Error(`expected ${status}, got ${answer.status}: ${answer.bytes.toString('utf8', 0, 500)}`);
}
