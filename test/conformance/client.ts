/**
 * The suite's HTTP client: sends a path exactly as written (no URL normalising, so that malformed ones arrive) and
 * gives the whole answer. Knows nothing of registries.
 */
import { connect } from 'node:net';
import { Pool } from 'undici';

export interface Answer {
  readonly status: number;
  readonly body: Buffer;
  /** The header's value, several joined by `, `; undefined where there is none. */
  header(name: string): string | undefined;
  json(): unknown;
}

export type Body = Uint8Array | string | AsyncIterable<Uint8Array>;

export interface SendOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** An iterable is sent with `Transfer-Encoding: chunked`. */
  readonly body?: Body;
}

export interface Client {
  readonly origin: string;
  /** @param target a path with query, as it shall stand on the wire, or a URL (a `Location`) of the same origin */
  send(method: string, target: string, options?: SendOptions): Promise<Answer>;
  close(): Promise<void>;
}

export function openClient(origin: string): Client {
  const pool = new Pool(origin, { connections: 8 });
  return {
    origin,
    async send(method, target, { headers = {}, body } = {}) {
      const path = target.startsWith('/') ? target : pathOf(origin, target);
      const answer = await pool.request({ method: method as 'GET', path, headers, body: toBody(body) });
      const bytes = Buffer.from(await answer.body.arrayBuffer());
      return toAnswer(answer.statusCode, answer.headers, bytes);
    },
    close: () => pool.close(),
  };
}

/**
 * Writes bytes to a fresh connection and gives everything that comes back until the far side closes; for requests that
 * no proper client would send. Ask for `Connection: close`.
 */
export function exchange(origin: string, bytes: string | Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(origin);
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ''), () => socket.write(bytes));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // A server may reset a connection that it has answered and will not read further.
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') resolve(Buffer.concat(chunks).toString('latin1'));
      else reject(error);
    });
  });
}

/** A `Location` may be absolute or relative (spec, "Pushing blobs"); either way it must lead to the same registry. */
function pathOf(origin: string, location: string): string {
  const url = new URL(location, origin);
  if (url.origin !== new URL(origin).origin) throw new Error(`location ${location} leads away from ${origin}`);
  return url.pathname + url.search;
}

// undici's type for bodies names Node's Readable, but it takes any async iterable of bytes as well.
function toBody(body: Body | undefined): string | Uint8Array | null {
  return (body ?? null) as string | Uint8Array | null;
}

function toAnswer(status: number, headers: Readonly<Record<string, string | string[] | undefined>>, body: Buffer): Answer {
  return {
    status,
    body,
    header: (name) => {
      const value = headers[name.toLowerCase()];
      return Array.isArray(value) ? value.join(', ') : value;
    },
    json: () => JSON.parse(body.toString('utf8')) as unknown,
  };
}
