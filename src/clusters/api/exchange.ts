/** One HTTP request to the service and its answer. Knows nothing of resources. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ApiProblem } from './problem.ts';

export interface Answer {
  readonly status: number;
  /** Name, value, …. */
  readonly headers?: readonly string[];
  /** JSON. */
  readonly body?: unknown;
  /** Instead of JSON: a file of known length, or text. */
  readonly raw?: { readonly type: string; readonly bytes: Buffer } | undefined;
}

/** Facts gathered on the way, for the request's log line and metrics. */
export interface Report {
  /** One of the service's own names for its paths. */
  route: string;
  /** Id. */
  user: string | undefined;
  /** Body bytes given and taken. */
  bytesOut: number;
  bytesIn: number;
}

export function emptyReport(): Report {
  return { route: 'unknown', user: undefined, bytesOut: 0, bytesIn: 0 };
}

/** The client is gone, nobody is answered. */
export class ClientLeft extends Error {
  override readonly name = 'ClientLeft';
}

/** Larger than any template with all its labels. */
const MAX_BODY_BYTES = 256 * 1024;
const BODY_MS = 30_000;

export class Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** Parts of the path, decoded; without empty ones. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
  readonly requestId: string;
  readonly report: Report;
  #expectsContinue: boolean;
  #common: readonly string[] = [];

  /** @param base path under which the service is known, without a slash at the end. @throws ApiProblem where the path makes no sense */
  constructor(req: IncomingMessage, res: ServerResponse, { requestId, report = emptyReport(), base, expectsContinue }: { readonly requestId: string; readonly report?: Report; readonly base: string; readonly expectsContinue: boolean }) {
    this.req = req;
    this.res = res;
    this.requestId = requestId;
    this.report = report;
    this.#expectsContinue = expectsContinue;
    const target = (req.url ?? '/').replace(/^https?:\/\/[^/?#]*/i, '');
    const mark = target.indexOf('?');
    const path = mark === -1 ? target : target.slice(0, mark);
    const own = base !== '' && (path === base || path.startsWith(`${base}/`)) ? path.slice(base.length) : path;
    this.path = own.split('/').filter((part) => part !== '').map(decoded);
    this.query = new URLSearchParams(mark === -1 ? '' : target.slice(mark + 1));
    // PostgreSQL has no text with one, and fails.
    if ([...this.path, ...[...this.query].flat()].some((text) => text.includes('\0'))) throw new ApiProblem('invalid', 'The URL has a NUL character in it');
  }

  get method(): string {
    return this.req.method ?? 'GET';
  }

  header(name: string): string | undefined {
    const value = this.req.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  /** Headers of whatever will be answered. */
  also(headers: readonly string[]): void {
    this.#common = [...this.#common, ...headers];
  }

  /** @throws ApiProblem; ClientLeft where it did not arrive whole */
  async text(maxBytes: number = MAX_BODY_BYTES): Promise<string> {
    const tooLarge = (): ApiProblem => new ApiProblem('too large', `The body is too large: expected at most ${maxBytes} bytes`);
    if (Number(this.header('content-length') ?? 0) > maxBytes) throw tooLarge();
    if (this.#expectsContinue) this.res.writeContinue();
    this.#expectsContinue = false;
    const chunks: Buffer[] = [];
    let length = 0;
    const giveUp = setTimeout(() => this.req.destroy(new Error('the body took too long')), BODY_MS);
    try {
      for await (const chunk of this.req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        length += chunk.length;
        this.report.bytesIn += chunk.length;
        if (length > maxBytes) throw tooLarge();
        chunks.push(chunk);
      }
    } catch (error) {
      if (this.req.errored !== null && this.req.errored === error) throw new ClientLeft('the client left before its body was whole', { cause: error });
      throw error;
    } finally {
      clearTimeout(giveUp);
    }
    return Buffer.concat(chunks, length).toString('utf8');
  }

  /** @throws ApiProblem; ClientLeft */
  async json(): Promise<unknown> {
    const type = this.header('content-type');
    if (type !== undefined && !/^application\/(?:[\w.-]+\+)?json\b/i.test(type) && !/^application\/json-patch\b/i.test(type)) throw new ApiProblem('unsupported media type', 'The body must be JSON: expected Content-Type: application/json');
    const text = await this.text();
    try {
      return JSON.parse(text, (key, value: unknown) => (key === '__proto__' ? undefined : value));
    } catch (cause) {
      throw new ApiProblem('invalid', 'The body is not valid JSON', { cause });
    }
  }

  send({ status, headers = [], body, raw }: Answer): void {
    const bytes = raw?.bytes ?? (body === undefined ? undefined : Buffer.from(JSON.stringify(body)));
    const all = [...this.#common, 'X-OpenStack-Request-Id', this.requestId, ...headers];
    if (bytes === undefined) {
      this.res.writeHead(status, status === 204 ? all : [...all, 'Content-Length', '0']).end();
      return;
    }
    this.res.writeHead(status, [...all, 'Content-Type', raw?.type ?? 'application/json', 'Content-Length', String(bytes.length)]);
    if (this.method === 'HEAD') return void this.res.end();
    this.res.end(bytes);
    this.report.bytesOut += bytes.length;
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (cause) {
    throw new ApiProblem('invalid', 'The path is not valid percent-encoding', { cause });
  }
}
