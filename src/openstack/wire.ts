/**
 * One small exchange with an authentication service: connections, TLS, and what their failures mean. Redirects are
 * answers: a password is never sent to where another server points.
 */
import type { Agent, request as undiciRequest } from 'undici';
import { handshakeProblem, trusting } from '../tls/trust.ts';
import type { MakeFailure } from './failure.ts';

export interface WireOptions {
  /** PEM text of authorities trusted beside those that Node trusts. */
  readonly ca: string | undefined;
  /** Certificates are not checked. */
  readonly insecure: boolean;
  readonly failed: MakeFailure;
  /** The key of the configuration that gives `ca`, for messages. */
  readonly caKey?: string;
  /** Who is expected to answer, for messages. */
  readonly expected?: string;
  /** The most that an answer may have. */
  readonly maxBytes?: number;
}

export interface WireRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface WireAnswer {
  readonly status: number;
  /** By lower-case name; the first where there are several. */
  readonly header: (name: string) => string | undefined;
  readonly text: string;
}

export interface Wire {
  /** Rejects with a failure that names the URL, or with the signal's reason. */
  send(request: WireRequest, signal: AbortSignal): Promise<WireAnswer>;
  close(): Promise<void>;
}

/** A catalogue of a large cloud is under 100 KiB. */
const MAX_BYTES = 4 * 1024 * 1024;
const CONNECT_MS = 10_000;
const KEEP_ALIVE_MS = 4_000;

export function wire({ ca, insecure, failed, caKey = 'storage.ca', expected = 'Keystone', maxBytes = MAX_BYTES }: WireOptions): Wire {
  // Loaded with the first request: 85 ms, 20 MiB.
  let loaded: Promise<{ readonly agent: Agent; readonly request: typeof undiciRequest }> | undefined;

  async function load(): Promise<Awaited<NonNullable<typeof loaded>>> {
    const undici = await import('undici');
    const agent = new undici.Agent({ connections: 4, keepAliveTimeout: KEEP_ALIVE_MS, connect: { timeout: CONNECT_MS, rejectUnauthorized: !insecure, ...trusting(ca) } });
    return { agent, request: undici.request };
  }

  return {
    async send({ method, url, headers, body }, signal) {
      signal.throwIfAborted();
      const { agent, request } = await (loaded ??= load());
      try {
        const answer = await request(url, { dispatcher: agent, method, headers, signal, ...(body === undefined ? {} : { body }) });
        const chunks: Buffer[] = [];
        let size = 0;
        for await (const chunk of answer.body as AsyncIterable<Buffer> /* undici gives Buffers */) {
          size += chunk.length;
          if (size > maxBytes) throw failed('permanent', `${url} answered more than ${maxBytes} bytes; expected ${expected} there`);
          chunks.push(chunk);
        }
        return {
          status: answer.statusCode,
          header: (name) => {
            const value = answer.headers[name];
            return typeof value === 'object' ? value[0] : value;
          },
          text: Buffer.concat(chunks).toString('utf8'),
        };
      } catch (error) {
        signal.throwIfAborted();
        throw connectionFailure(url, error, failed, caKey);
      }
    },

    async close() {
      await (await loaded?.catch(() => undefined /* who asked was told */))?.agent.destroy();
    },
  };
}

function connectionFailure(url: string, error: unknown, failed: MakeFailure, caKey: string): unknown {
  const { code, message } = error as { readonly code?: unknown; readonly message?: string }; // undici and node throw Errors
  if (typeof code !== 'string') return error;
  const { host, protocol } = new URL(url);
  const problem = handshakeProblem(error, host, caKey);
  if (problem !== undefined) return failed('permanent', problem, { cause: error });
  if (code === 'ERR_INVALID_URL') return failed('permanent', `${url} is not a URL`, { cause: error });
  // Either side hangs up on what it cannot understand.
  const other = protocol === 'http:' ? 'https' : 'http';
  const hint = code === 'UND_ERR_SOCKET' || message?.includes('before secure TLS') === true ? `; expected ${other}:// in the URL?` : '';
  return failed('retryable', `${host} cannot be reached: ${code === 'UND_ERR_SOCKET' ? 'the connection broke' : (message ?? code)}${hint}`, { cause: error });
}
