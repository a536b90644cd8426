/** The far side of a socket: a Swift of one container in memory, as much of it as the driver speaks, which writes down what it was asked. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  readonly method: string;
  /** Of the object; '' for the container. */
  readonly name: string;
  readonly query: URLSearchParams;
  /** The newest of all replicas was asked for. */
  readonly newest: boolean;
  readonly status: number;
}

interface Held {
  readonly bytes: Buffer;
  readonly type: string;
  readonly etag: string;
  /** Of an SLO: the objects that it is made of. */
  readonly segments?: readonly string[];
}

export class FakeSwift {
  readonly asked: Asked[] = [];
  readonly #objects = new Map<string, Held>();
  readonly #server = createServer((req, res) => void this.#answer(req, res));

  static async start(): Promise<FakeSwift> {
    const fake = new FakeSwift();
    fake.#server.listen(0, '127.0.0.1');
    await once(fake.#server, 'listening');
    return fake;
  }

  /** Of the account. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo /* it listens */).port}/v1/AUTH_test`;
  }

  get names(): string[] {
    return [...this.#objects.keys()].toSorted();
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const body = Buffer.concat(await req.toArray() as Buffer[]);
    const { pathname, searchParams: query } = new URL(req.url ?? '', 'http://swift');
    const [, , , , ...rest] = pathname.split('/');
    const name = rest.map(decodeURIComponent).join('/');
    const answer = pathname === '/info' ? { status: 404 } : name === '' ? this.#container(req, query) : this.#object(req, name, query, body);
    this.asked.push({ method: req.method ?? '', name, query, newest: req.headers['x-newest'] === 'true', status: answer.status });
    const { status, headers = {}, bytes = Buffer.alloc(0) } = answer;
    res.writeHead(status, { 'content-length': bytes.length, ...headers });
    res.end(req.method === 'HEAD' ? undefined : bytes);
  }

  #container({ method }: IncomingMessage, query: URLSearchParams): Answer {
    if (method !== 'GET') return { status: 204 };
    const [prefix, marker, limit] = [query.get('prefix') ?? '', query.get('marker') ?? '', Number(query.get('limit'))];
    const found = this.names.filter((name) => name.startsWith(prefix) && name > marker).slice(0, limit);
    const rows = found.map((name) => ({ name, bytes: this.#bytesOf(name).length, hash: '', content_type: this.#objects.get(name)?.type, last_modified: '2026-01-01T00:00:00.000000' }));
    return { status: 200, bytes: Buffer.from(JSON.stringify(rows)) };
  }

  #object(req: IncomingMessage, name: string, query: URLSearchParams, body: Buffer): Answer {
    const held = this.#objects.get(name);
    if (req.method === 'PUT') {
      if (req.headers['if-none-match'] === '*' && held !== undefined) return { status: 412 };
      const put = made(body, req.headers['content-type'] ?? '', query.get('multipart-manifest') === 'put');
      this.#objects.set(name, put);
      return { status: 201, headers: { etag: put.etag, 'last-modified': MODIFIED } };
    }
    if (held === undefined) return { status: 404 };
    if (req.method === 'DELETE') {
      this.#objects.delete(name);
      return { status: 204 };
    }
    const slo = held.segments === undefined ? {} : { 'x-static-large-object': 'True' };
    const headers = { etag: held.etag, 'content-type': held.type, 'last-modified': MODIFIED, ...slo };
    if (query.get('multipart-manifest') === 'get') {
      const rows = Buffer.from(JSON.stringify((held.segments ?? []).map((segment) => ({ name: `/images/${segment}`, bytes: this.#bytesOf(segment).length, hash: this.#objects.get(segment)?.etag }))));
      return { status: 200, headers: { ...headers, etag: md5(rows) }, bytes: rows };
    }
    const bytes = this.#bytesOf(name);
    const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(req.headers.range ?? '') ?? [];
    if (start === undefined) return { status: 200, headers: { ...headers, 'content-length': String(bytes.length) }, bytes };
    if (Number(start) >= bytes.length) return { status: 416 };
    const part = bytes.subarray(Number(start), Number(end) + 1);
    return { status: 206, headers: { ...headers, 'content-length': String(part.length), 'content-range': `bytes ${start}-${Number(start) + part.length - 1}/${bytes.length}` }, bytes: part };
  }

  #bytesOf(name: string): Buffer {
    const held = this.#objects.get(name);
    return held?.segments === undefined ? (held?.bytes ?? Buffer.alloc(0)) : Buffer.concat(held.segments.map((segment) => this.#bytesOf(segment)));
  }
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly bytes?: Buffer;
}

const MODIFIED = 'Thu, 01 Jan 2026 00:00:00 GMT';
const md5 = (bytes: Buffer | string): string => createHash('md5').update(bytes).digest('hex');

function made(body: Buffer, type: string, isManifest: boolean): Held {
  if (!isManifest) return { bytes: body, type, etag: md5(body) };
  const rows = JSON.parse(body.toString('utf8')) as readonly { readonly path: string; readonly etag: string }[]; // as Swift's API reference has it
  return { bytes: body, type, etag: `"${md5(rows.map(({ etag }) => etag).join(''))}"`, segments: rows.map(({ path }) => path.replace(/^\/images\//, '')) };
}
