/**
 * Connections to one upstream and to wherever it redirects: pools, the private authority, proxies. undici is loaded with
 * the first request (85 ms, 20 MiB), so that a server that nobody pulls through stays small.
 */
import type { buildConnector, Dispatcher } from 'undici';
import { exchange, type Answer } from '../drivers/exchange.ts';
import { trusting } from '../tls/trust.ts';
import { connectPlain } from './plain-socket.ts';
import { proxyFor, type Environment } from './proxy.ts';

export interface TransportSettings {
  /** PEM text of authorities trusted beside those that Node trusts. */
  readonly ca: string | undefined;
  /** Bounds connecting, waiting for headers and waiting for more of a body, each. */
  readonly timeoutMs: number;
  readonly userAgent: string;
  readonly env: Environment;
}

export interface Request {
  readonly method: 'GET' | 'HEAD';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Transport {
  /** One exchange; redirects are answers. Rejects with the signal's reason or with undici's error. The signal governs the body too. */
  send(request: Request, signal: AbortSignal): Promise<Answer>;
  /** Ends everything under way. */
  close(): Promise<void>;
}

/** Connections per origin. Requests beyond wait their turn, within their deadline. */
const MAX_CONNECTIONS = 128;
const KEEP_ALIVE_MS = 30_000;
/** The connection broke: typically one kept alive that the server closed as we wrote. */
const BROKEN: ReadonlySet<unknown> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

export function transport(settings: TransportSettings): Transport {
  let pools: Promise<Pools> | undefined;
  let closed = false;

  async function once({ method, url, headers }: Request, signal: AbortSignal): Promise<Answer> {
    signal.throwIfAborted();
    if (closed) throw new Error('this client is closed');
    pools ??= loadPools(settings);
    const request: Dispatcher.DispatchOptions = {
      origin: url.origin,
      path: url.pathname + url.search,
      method,
      // What is compressed on the way would fit neither its digest nor its length.
      headers: { 'user-agent': settings.userAgent, 'accept-encoding': 'identity', ...headers },
      headersTimeout: settings.timeoutMs,
      bodyTimeout: settings.timeoutMs,
    };
    return await exchange((await pools).dispatcherFor(url), request, signal);
  }

  return {
    async send(request, signal) {
      try {
        return await once(request, signal);
      } catch (error) {
        // RFC 9110 section 9.2.2: a client may repeat an idempotent request on its own when the connection failed before any answer.
        if (signal.aborted || !BROKEN.has((error as { code?: unknown }).code)) throw error;
        return await once(request, signal);
      }
    },

    async close() {
      closed = true;
      await (await pools?.catch(() => undefined /* who asked was told */))?.close();
    },
  };
}

interface Pools {
  dispatcherFor(url: URL): Dispatcher;
  close(): Promise<void>;
}

async function loadPools({ ca, timeoutMs, env }: TransportSettings): Promise<Pools> {
  const undici = await import('undici');
  const secure: buildConnector.BuildOptions = { timeout: timeoutMs, ...trusting(ca) };
  const limits = { connections: MAX_CONNECTIONS, keepAliveTimeout: KEEP_ALIVE_MS };
  const connectSecure = undici.buildConnector(secure);
  const direct = new undici.Agent({
    ...limits,
    connect: (options, callback) => {
      if (options.protocol === 'https:') connectSecure(options, callback);
      else connectPlain(options, timeoutMs, callback);
    },
  });
  const proxies = new Map<string, Dispatcher>();

  return {
    dispatcherFor(url) {
      const uri = proxyFor(url, env);
      if (uri === undefined) return direct;
      let proxy = proxies.get(uri);
      if (proxy === undefined) {
        // Not left to undici, whose error would carry the text, password included.
        if (!URL.canParse(uri)) throw new Error('the proxy that the environment names is not a URL');
        // Without a tunnel for plain http: proxies commonly refuse CONNECT to any port but 443.
        proxy = new undici.ProxyAgent({ ...limits, uri, requestTls: secure, proxyTls: secure, proxyTunnel: false, headersTimeout: timeoutMs });
        proxies.set(uri, proxy);
      }
      return proxy;
    },
    async close() {
      await Promise.all([direct, ...proxies.values()].map((dispatcher) => dispatcher.destroy()));
    },
  };
}
