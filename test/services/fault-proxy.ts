/**
 * An HTTP proxy on loopback in front of one store (Swift, Keystone, s3api, radosgw) that spoils what its rules say and
 * passes everything else on byte for byte, headers as they were sent: S3 signatures cover `Host`. Bodies stream.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, createServer, request, type ClientRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Leaf } from './certificates.ts';
import { FaultRule, seededRandom, urlOf, type AskedFor, type Fault, type RuleOptions } from './fault-rules.ts';
import { ListingHistory, type ListingQuery, type SwiftEntry } from './listing-history.ts';

export interface FaultProxyOptions {
  /** Where the store listens: `http://127.0.0.1:PORT`. */
  readonly origin: string;
  /** The address to listen at; default: 127.0.0.1. */
  readonly host?: string;
  /** What the paths mean. Swift: `/v1/ACCOUNT/CONTAINER/OBJECT`; S3: `/BUCKET/KEY`. */
  readonly store: 'swift' | 's3' | 'keystone' | 'other';
  /** Clients speak TLS to the proxy, and the proxy none to the store. */
  readonly tls?: Leaf;
  /** Text replaced in JSON answers: Keystone's catalogue leads past the proxies in front of what it names. */
  readonly replace?: ReadonlyMap<string, string>;
  /** The faults that come by chance follow from it. */
  readonly seed?: number;
  /** Milliseconds, for listings that omit the newest. */
  readonly clock?: () => number;
}

/** Answers read whole, to be changed: listings and catalogues. */
const MAX_TEXT = 32 * 1024 * 1024;
const HOP_BY_HOP: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'proxy-connection']);

export class FaultProxy implements AsyncDisposable {
  readonly #options: FaultProxyOptions;
  readonly #origin: URL;
  readonly #server: Server;
  // Sockets that have lain idle are not used again: the store may be closing them just then, and that is no fault of ours.
  readonly #agent = new Agent({ keepAlive: true, timeout: 4_000, maxFreeSockets: 64 });
  readonly #random: () => number;
  readonly #history: ListingHistory;
  /** By method and URL: how many requests were spoiled one after the other. */
  readonly #inARow = new Map<string, number>();
  #rules: FaultRule[] = [];
  #requests = 0;

  private constructor(options: FaultProxyOptions) {
    this.#options = options;
    this.#origin = new URL(options.origin);
    this.#random = seededRandom(options.seed ?? 1);
    this.#history = new ListingHistory(options.clock);
    const limits = { keepAliveTimeout: 120_000, requestTimeout: 0, headersTimeout: 0, maxHeaderSize: 64 * 1024 };
    const listener = (asked: IncomingMessage, answer: ServerResponse): void => void this.#exchange(asked, answer);
    const { tls } = options;
    this.#server = tls === undefined ? createServer(limits, listener) : createSecureServer({ ...limits, cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) }, listener);
  }

  static async start(options: FaultProxyOptions): Promise<FaultProxy> {
    const proxy = new FaultProxy(options);
    proxy.#server.listen(0, proxy.#host);
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get #host(): string {
    return this.#options.host ?? '127.0.0.1';
  }

  /** Of the proxy; without a `/` at its end. */
  get url(): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://${this.#host}:${(this.#server.address() as AddressInfo).port}`; // a TCP server's address is none of a pipe
  }

  /** Requests that came, spoiled or not. */
  get requests(): number {
    return this.#requests;
  }

  get rules(): readonly FaultRule[] {
    return this.#rules;
  }

  /** From now on; earlier rules are asked first. */
  add(rule: RuleOptions): FaultRule {
    if (rule.fault.kind === 'stale listing' && this.#options.store !== 'swift') throw new Error('only Swift listings can be made stale: S3 promises that its are not');
    const added = new FaultRule(rule, this.#random);
    this.#rules.push(added);
    return added;
  }

  /** No rules any more; their counts are gone with them. */
  clear(): void {
    for (const rule of this.#rules.splice(0)) rule.stop();
  }

  /** How often each fault happened, one line each. */
  report(): string {
    return this.#rules.map(({ name, happened }) => `${String(happened).padStart(6)} × ${name}`).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agent.destroy();
    await closed;
  }

  async #exchange(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    this.#requests += 1;
    const gone = new AbortController();
    answer.once('close', () => gone.abort());
    const { socket } = asked; // a message that was destroyed has none
    try {
      await this.#serve(asked, socket, answer, gone.signal);
    } catch {
      // The store or the client broke off. The client is to see that, whatever it was.
      socket.destroy();
    }
  }

  async #serve(asked: IncomingMessage, socket: Socket, answer: ServerResponse, gone: AbortSignal): Promise<void> {
    const about = this.#about(asked);
    const url = urlOf(about);
    const inARow = this.#inARow.get(url) ?? 0;
    let rule: FaultRule | undefined;
    for (const candidate of this.#rules) {
      if (!candidate.strikes(about, inARow)) continue;
      if (candidate.fault.kind !== 'latency') {
        rule = candidate;
        break;
      }
      candidate.note();
      await delay(candidate.fault.ms, undefined, { signal: gone });
    }
    if (rule === undefined) this.#inARow.delete(url);
    else this.#inARow.set(url, inARow + 1);
    const fault = rule?.fault;
    const happened = (): void => rule?.note();

    if (fault?.kind === 'reset' && fault.at === 'request') {
      happened();
      socket.resetAndDestroy();
      return;
    }
    if (fault?.kind === 'status' && fault.done !== true) {
      happened();
      answerStatus(answer, fault);
      return;
    }
    if (fault?.kind === 'silence' && fault.at === 'answer') {
      happened();
      asked.resume();
      await forever(gone);
    }

    const key = this.#objectKey(about);
    const before = key === undefined || !this.#keepsBefore() ? undefined : await this.#listed(asked, about.path, key, gone);
    const forwarded = await this.#forward(asked, about, fault, happened, gone);
    if (forwarded === undefined) return;
    if (key !== undefined && (forwarded.statusCode ?? 500) < 300) this.#history.wrote(key, about.method !== 'DELETE', before);

    if (fault?.kind === 'lost' || (fault?.kind === 'status' && fault.done === true)) {
      forwarded.resume();
      await finished(forwarded); // what it answered is over now, and with it what it did
      happened();
      if (fault.kind === 'lost') socket.resetAndDestroy();
      else answerStatus(answer, fault);
      return;
    }
    await this.#answer(about, forwarded, socket, answer, fault, happened, gone);
  }

  /** Sends the request on; undefined where the fault ended it. */
  async #forward(asked: IncomingMessage, about: AskedFor, fault: Fault | undefined, happened: () => void, gone: AbortSignal): Promise<IncomingMessage | undefined> {
    // Swift answers with as many entries as were asked for, also when some of them are then left out here.
    const target = about.listing && isListingFault(fault) && this.#options.store === 'swift' ? moreOf(asked.url ?? '/') : (asked.url ?? '/');
    const onward = this.#request(asked.method ?? 'GET', target, keptHeaders(asked), gone);
    const answered = once(onward, 'response') as Promise<[IncomingMessage]>; // what node:http emits
    answered.catch(() => undefined);
    const length = Number(asked.headers['content-length'] ?? Number.NaN);
    if (fault?.kind === 'reset' && fault.at === 'request body' && !(length === 0)) {
      const { socket } = asked;
      await sendHalf(asked.iterator({ destroyOnReturn: false }), onward, length);
      happened();
      onward.destroy();
      socket.resetAndDestroy();
      return undefined;
    }
    const body = fault?.kind === 'corrupted' && fault.body === 'request' ? withOneBitFlipped(asked, length, happened) : asked;
    // A store may answer before it has read the whole body, and close: what it said counts, not that we could not go on.
    pipeline(body, onward).catch(() => undefined);
    const [response] = await answered;
    return response;
  }

  async #answer(about: AskedFor, from: IncomingMessage, socket: Socket, answer: ServerResponse, fault: Fault | undefined, happened: () => void, gone: AbortSignal): Promise<void> {
    const headers = keptHeaders(from);
    const json = /^application\/json\b/.test(from.headers['content-type'] ?? '');
    const listing = about.listing && isListingFault(fault) && from.statusCode === 200 && about.method === 'GET';
    if (listing || (this.#options.replace !== undefined && json && about.method !== 'HEAD')) {
      const text = Buffer.concat(await allOf(from)).toString();
      const changed = listing ? this.#spoiled(text, json, about, fault, happened) : this.#replaced(text);
      answer.sendDate = false;
      answer.writeHead(from.statusCode ?? 502, from.statusMessage ?? '', [...without(headers, 'content-length', 'transfer-encoding'), 'content-length', String(Buffer.byteLength(changed))]);
      answer.end(changed);
      return;
    }
    const length = Number(from.headers['content-length'] ?? Number.NaN);
    const hasBody = about.method !== 'HEAD' && from.statusCode !== 204 && from.statusCode !== 304 && length !== 0;
    answer.sendDate = false;
    const clean = fault?.kind === 'truncated' && fault.end === 'clean' && hasBody;
    answer.writeHead(from.statusCode ?? 502, from.statusMessage ?? '', clean ? [...without(headers, 'content-length', 'transfer-encoding'), 'transfer-encoding', 'chunked'] : headers);
    answer.flushHeaders();
    const halved = fault?.kind === 'truncated' || ((fault?.kind === 'reset' || fault?.kind === 'silence') && fault.at === 'response body');
    if (!hasBody || !halved) {
      const body = hasBody && fault?.kind === 'corrupted' && fault.body === 'response' ? withOneBitFlipped(from, length, happened) : from;
      await pipeline(body, answer);
      return;
    }
    happened();
    await pipeline(halfOf(from, length), answer, { end: clean });
    if (fault.kind === 'silence') await forever(gone);
    if (fault.kind === 'reset') socket.resetAndDestroy();
    if (fault.kind === 'truncated' && !clean) socket.end();
    from.destroy();
  }

  #spoiled(text: string, json: boolean, about: AskedFor, fault: Fault & { readonly kind: 'stale listing' | 'omitting listing' }, happened: () => void): string {
    if (!json) {
      const xml = fault.kind === 'omitting listing' ? this.#history.withoutNewestXml(fault.ms, text) : text;
      if (xml !== text) happened();
      return xml;
    }
    const query = listingQuery(about.query);
    const newest = JSON.parse(text) as SwiftEntry[]; // Swift's answer to a listing in JSON
    const entries = fault.kind === 'stale listing' ? this.#history.before(fault.writes, newest, query) : this.#history.withoutNewest(fault.ms, newest, query);
    const changed = JSON.stringify(entries);
    if (changed !== JSON.stringify(newest.slice(0, query.limit))) happened();
    return changed;
  }

  #replaced(text: string): string {
    let changed = text;
    for (const [from, to] of this.#options.replace ?? []) changed = changed.replaceAll(from, to);
    return changed;
  }

  #about(asked: IncomingMessage): AskedFor {
    const [path, query] = splitOnce(asked.url ?? '/', '?');
    const listing = asked.method === 'GET' && this.#isLevel(path) && !/(^|&)(uploads|uploadId|location|versioning|policy|acl)\b/.test(query);
    return { method: asked.method ?? 'GET', path, query, listing };
  }

  /** Whether the path is a container or bucket itself. */
  #isLevel(path: string): boolean {
    if (this.#options.store === 'swift') return /^(\/swift)?\/v1(\/[^/]+){1,2}\/?$/.test(path);
    return this.#options.store === 's3' && /^\/[^/]+\/?$/.test(path);
  }

  /** What a listing would show once this request is done: the name that it writes or deletes. */
  #objectKey({ method, path, query }: AskedFor): string | undefined {
    if (method !== 'PUT' && method !== 'DELETE' && !(method === 'POST' && /(^|&)uploadId=/.test(query))) return undefined;
    if (method === 'PUT' && /(^|&)partNumber=/.test(query)) return undefined;
    if (method === 'DELETE' && /(^|&)uploadId=/.test(query)) return undefined;
    const pattern = this.#options.store === 'swift' ? /^(?:\/swift)?\/v1\/[^/]+\/[^/]+\/(.+)$/ : this.#options.store === 's3' ? /^\/[^/]+\/(.+)$/ : undefined;
    const key = pattern?.exec(path)?.[1];
    return key === undefined ? undefined : decodeURIComponent(key);
  }

  #keepsBefore(): boolean {
    return this.#rules.some(({ fault }) => fault.kind === 'stale listing');
  }

  /** The entry of one object, asked of the store with the client's own credentials. */
  async #listed(asked: IncomingMessage, path: string, key: string, gone: AbortSignal): Promise<SwiftEntry | undefined> {
    const container = path.slice(0, path.length - path.replace(/^(\/swift)?\/v1\/[^/]+\/[^/]+\//, '').length - 1);
    const token = asked.headers['x-auth-token'];
    const onward = this.#request('GET', `${container}?format=json&limit=1&prefix=${encodeURIComponent(key)}`, ['host', this.#origin.host, ...(typeof token === 'string' ? ['x-auth-token', token] : [])], gone);
    onward.end();
    const [response] = (await once(onward, 'response')) as [IncomingMessage]; // what node:http emits
    const text = Buffer.concat(await allOf(response)).toString();
    if (response.statusCode !== 200) return undefined;
    const [entry] = JSON.parse(text) as SwiftEntry[]; // Swift's answer to a listing in JSON
    return entry !== undefined && 'name' in entry && entry.name === key ? entry : undefined;
  }

  #request(method: string, path: string, headers: string[], signal: AbortSignal): ClientRequest {
    const { hostname, port } = this.#origin;
    const onward = request({ hostname, port, method, path, headers, agent: this.#agent, signal, setHost: false });
    onward.on('error', () => undefined); // told by what waits for the answer
    return onward;
  }
}

function isListingFault(fault: Fault | undefined): fault is Fault & { readonly kind: 'stale listing' | 'omitting listing' } {
  return fault?.kind === 'stale listing' || fault?.kind === 'omitting listing';
}

function answerStatus(answer: ServerResponse, fault: Fault & { readonly kind: 'status' }): void {
  const body = `fault proxy: ${fault.status}\n`;
  answer.writeHead(fault.status, {
    'content-type': 'text/plain',
    'content-length': String(body.length),
    ...(fault.retryAfterSeconds !== undefined && { 'retry-after': String(fault.retryAfterSeconds) }),
  });
  answer.end(body);
}

async function forever(gone: AbortSignal): Promise<never> {
  if (!gone.aborted) await once(gone, 'abort');
  throw new Error('the client left');
}

async function allOf(body: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_TEXT) throw new Error('an answer that is to be changed is too large');
    chunks.push(chunk);
  }
  return chunks;
}

/** The first half of a body; of one that does not say its length, the first half of its first chunk. */
async function* halfOf(body: AsyncIterable<Buffer>, length: number): AsyncGenerator<Buffer> {
  let left = Number.isNaN(length) ? undefined : Math.floor(length / 2);
  for await (const chunk of body) {
    left ??= Math.floor(chunk.length / 2);
    if (left > 0) yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return;
  }
}

async function sendHalf(body: AsyncIterable<Buffer>, to: ClientRequest, length: number): Promise<void> {
  for await (const chunk of halfOf(body, length)) await new Promise<void>((resolve) => to.write(chunk, () => resolve()));
}

function withOneBitFlipped(body: AsyncIterable<Buffer>, length: number, happened: () => void): Readable {
  return Readable.from(flipping(body, length, happened), { objectMode: false });
}

async function* flipping(body: AsyncIterable<Buffer>, length: number, happened: () => void): AsyncGenerator<Buffer> {
  let left = Number.isNaN(length) ? 0 : Math.floor(length / 2);
  let done = false;
  for await (const chunk of body) {
    if (!done && left < chunk.length) {
      const changed = Buffer.from(chunk);
      changed.writeUInt8(changed.readUInt8(left) ^ 1, left);
      done = true;
      happened();
      yield changed;
    } else yield chunk;
    left -= chunk.length;
  }
}

function keptHeaders(message: IncomingMessage): string[] {
  return without(message.rawHeaders, ...HOP_BY_HOP);
}

/** Of names and values in turn. */
function without(headers: readonly string[], ...names: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < headers.length; at += 2) {
    const [name = '', value = ''] = headers.slice(at, at + 2);
    if (!names.includes(name.toLowerCase())) kept.push(name, value);
  }
  return kept;
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + separator.length)];
}

function listingQuery(query: string): ListingQuery {
  const asked = new URLSearchParams(query);
  const of = (name: string): string => asked.get(name) ?? '';
  return { prefix: of('prefix'), delimiter: of('delimiter'), marker: of('marker'), endMarker: of('end_marker'), limit: Number(asked.get('limit') ?? 10_000) };
}

/** The same listing with as many entries as Swift gives at once. */
function moreOf(url: string): string {
  const [path, query] = splitOnce(url, '?');
  const asked = new URLSearchParams(query);
  asked.set('limit', '10000');
  return `${path}?${asked.toString()}`;
}
