/**
 * One HTTP request and its answer, as the endpoints see it: the parsed target, who asks, and what the log will say.
 * Knows nothing of registries beyond the names of things to report.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ListenerConfig } from '../config/config.ts';
import { RegistryError } from '../oci/errors.ts';
import type { RouteKind } from './route.ts';

/** Facts gathered on the way, for the request's log line and metrics. */
export interface Report {
  route: RouteKind;
  /** Canonical. */
  name: string | undefined;
  view: string | undefined;
  user: string | undefined;
  /** As `Umbra-Source`. */
  source: string | undefined;
  /** Body bytes given and taken. */
  bytesOut: number;
  bytesIn: number;
}

const NO_QUERY = new URLSearchParams();

export class Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly listener: ListenerConfig;
  readonly startedMs: number;
  /** The client's address, behind proxies that are trusted. */
  readonly client: string;
  /** How long a body that must fit in memory may take. */
  readonly patienceMs: number;
  readonly report: Report = { route: 'unknown', name: undefined, view: undefined, user: undefined, source: undefined, bytesOut: 0, bytesIn: 0 };
  /** The target as the client sent it, without scheme and authority. */
  readonly target: string;
  readonly #rawPath: string;
  readonly #rawQuery: string;
  #path: string | undefined;
  #query: URLSearchParams | undefined;
  #abort: AbortController | undefined;
  #expectsContinue: boolean;
  /** Headers that every answer of this exchange carries, flat name, value, …. */
  readonly #common: string[] = ['Docker-Distribution-Api-Version', 'registry/2.0'];

  constructor(req: IncomingMessage, res: ServerResponse, listener: ListenerConfig, startedMs: number, patienceMs: number, client: string, expectsContinue = false) {
    this.req = req;
    this.res = res;
    this.listener = listener;
    this.startedMs = startedMs;
    this.patienceMs = patienceMs;
    this.client = client;
    this.#expectsContinue = expectsContinue;
    const target = originForm(req.url ?? '/');
    this.target = target;
    const mark = target.indexOf('?');
    this.#rawPath = mark === -1 ? target : target.slice(0, mark);
    this.#rawQuery = mark === -1 ? '' : target.slice(mark + 1);
  }

  get method(): string {
    return this.req.method ?? 'GET';
  }

  /** Percent-decoded, without the query. @throws RegistryError NAME_INVALID */
  get path(): string {
    return (this.#path ??= decodePath(this.#rawPath));
  }

  get query(): URLSearchParams {
    return (this.#query ??= this.#rawQuery === '' ? NO_QUERY : new URLSearchParams(this.#rawQuery));
  }

  header(name: string): string | undefined {
    const value = this.req.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  /** Aborts when the client leaves before it was answered. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      const abort = new AbortController();
      this.#abort = abort;
      const left = (): void => {
        if (!this.res.writableFinished) abort.abort(new ClientLeft('the client closed the connection'));
      };
      if (this.res.destroyed) left();
      else this.res.once('close', left);
    }
    return this.#abort.signal;
  }

  /** Tells a client that waits with `Expect: 100-continue` to send its body; before it is read. */
  allowBody(): void {
    if (this.#expectsContinue) this.res.writeContinue();
    this.#expectsContinue = false;
  }

  /** Adds headers (name, value, …) to whatever will be answered. */
  also(...headers: string[]): void {
    this.#common.push(...headers);
  }

  /** Status line and headers; `headers` flat: name, value, …. */
  begin(status: number, headers: readonly string[]): void {
    this.res.writeHead(status, [...this.#common, ...headers]);
  }

  /** A whole answer. Without a body for HEAD, whose Content-Length is still that of the body. */
  send(status: number, headers: readonly string[], body?: Buffer | string): void {
    if (body === undefined) {
      this.res.writeHead(status, status === 204 || status === 304 ? [...this.#common, ...headers] : [...this.#common, ...headers, 'Content-Length', '0']);
      this.res.end();
      return;
    }
    const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
    this.res.writeHead(status, [...this.#common, ...headers, 'Content-Length', String(length)]);
    if (this.method === 'HEAD') {
      this.res.end();
      return;
    }
    this.report.bytesOut += length;
    this.res.end(body);
  }

  sendJson(status: number, value: unknown, headers: readonly string[] = []): void {
    this.send(status, [...headers, 'Content-Type', 'application/json'], JSON.stringify(value));
  }
}

/** Not an error of ours: the client is gone, nobody is answered. */
export class ClientLeft extends Error {
  override readonly name = 'ClientLeft';
}

/** What proxies are asked by, and servers must take too (RFC 9112 section 3.2.2), without its scheme and authority. */
function originForm(target: string): string {
  const absolute = /^https?:\/\/[^/?#]*/i.exec(target);
  return absolute === null ? target : target.slice(absolute[0].length) || '/';
}

function decodePath(raw: string): string {
  if (!raw.includes('%')) return raw;
  try {
    return decodeURIComponent(raw);
  } catch (error) {
    throw new RegistryError('NAME_INVALID', `the path ${JSON.stringify(raw.slice(0, 200))} is not valid percent-encoding`, { cause: error });
  }
}
