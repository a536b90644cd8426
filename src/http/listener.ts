/**
 * Opens the sockets of one listener and hands requests on: plain or TLS (HTTP/1.1 only, no ALPN h2), both loopback
 * addresses for `localhost`, certificates reloaded when their files change, and a close that drains with a bound.
 */
import { readFileSync, statSync, unwatchFile, watchFile } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer, type ServerOptions as TlsServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createSecureContext } from 'node:tls';
import type { ListenerConfig } from '../config/config.ts';
import type { RegistryError } from '../oci/errors.ts';

export interface OpenListener {
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  /** Accepts nothing more and lets idle connections go; resolves when the last request is done or `drainMs` are over. */
  close(drainMs: number): Promise<void>;
}

/** @param refusal what to answer instead, where that is settled */
export type Handle = (req: IncomingMessage, res: ServerResponse, expectsContinue: boolean, refusal?: RegistryError) => void;

/** The connections that clients of one server, a proxy, asked for with CONNECT. */
export interface Connects {
  connect(req: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Asked again and again while the server drains: ends those that are not in use. */
  letGo(): void;
  /** Ends them all. */
  end(): void;
}

export interface ListenerDeps {
  readonly handle: Handle;
  /** Where the listener is a proxy. `serve` takes connections on which HTTP is spoken to it. */
  readonly attach?: (serve: (socket: Duplex) => void) => Connects;
  /** Something went wrong beside any request: a certificate that does not load again, say. */
  readonly warn: (event: string, fields: Record<string, unknown>) => void;
}

/** How often certificate files are looked at. */
const CERTIFICATE_POLL_MS = 2_000;
/** Longer than the idle time of the load balancers and clients in use, so that they close first. */
const KEEP_ALIVE_MS = 75_000;
/** How often a draining listener looks for connections that became idle. */
const IDLE_LOOK_MS = 50;
/** Time for a request's headers. Bodies are watched by their readers, by progress. */
const HEADERS_MS = 30_000;

/** @throws Error naming the address, where it cannot be bound */
export async function openListener(config: Pick<ListenerConfig, 'address' | 'binds' | 'tls'>, deps: ListenerDeps): Promise<OpenListener> {
  const servers: Opened[] = [];
  const addresses: { host: string; port: number }[] = [];
  const tls = config.tls === undefined ? undefined : watchCertificate(config.tls, deps);
  try {
    let shared: number | undefined;
    for (const [index, bind] of config.binds.entries()) {
      const opened = makeServer(tls, deps, config.address);
      // `localhost:0` means one free port on both addresses.
      const port = bind.port === 0 && shared !== undefined ? shared : bind.port;
      const bound = await listen(opened.server, bind.host, port, config.address).catch((error: unknown) => {
        // A machine without IPv6 still has its IPv4 loopback.
        if (index > 0 && isNodeError(error, 'EADDRNOTAVAIL', 'EAFNOSUPPORT')) return undefined;
        throw new Error(`cannot listen on ${config.address} (${bind.host}): ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      });
      if (bound === undefined) continue;
      servers.push(opened);
      shared = bound.port;
      addresses.push({ host: bind.host, port: bound.port });
    }
  } catch (error) {
    tls?.stop();
    await Promise.all(servers.map((server) => closeServer(server, 0)));
    throw error;
  }
  return {
    addresses,
    close: async (drainMs) => {
      tls?.stop();
      await Promise.all(servers.map((server) => closeServer(server, drainMs)));
    },
  };
}

interface Opened {
  readonly server: Server | TlsServer;
  readonly connects: Connects | undefined;
}

function makeServer(tls: Certificate | undefined, { handle, attach }: ListenerDeps, address: string): Opened {
  const onRequest: RequestListener = (req, res) => handle(req, res, false);
  const options: ServerOptions = {
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: HEADERS_MS,
    requestTimeout: 0,
    noDelay: true,
    highWaterMark: 256 * 1024,
  };
  const server = tls === undefined ? createServer(options, onRequest) : makeTlsServer({ ...options, ...tls.read(), ALPNProtocols: ['http/1.1'] }, onRequest, address);
  server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => handle(req, res, true));
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => refuse(error, socket));
  keepUnsent(server);
  if (tls !== undefined) tls.onChange((context) => (server as TlsServer).setSecureContext(context));
  // The event after which node:http reads requests: with TLS, when that stands.
  const connects = attach?.((socket) => void server.emit(tls === undefined ? 'connection' : 'secureConnection', socket));
  if (connects !== undefined) server.on('connect', (req, socket, head) => connects.connect(req, socket, head));
  return { server, connects };
}

/**
 * Node takes a connection for idle as soon as its answer was given to it whole, though much of that may still wait for a
 * client that reads slowly: letting go of idle connections, as closing does too, would cut it off.
 */
function keepUnsent(server: Server | TlsServer): void {
  const answers = new Set<ServerResponse>();
  for (const event of ['request', 'checkContinue']) {
    server.prependListener(event, (_: IncomingMessage, res: ServerResponse) => {
      answers.add(res);
      res.once('close', () => answers.delete(res));
    });
  }
  const closeIdle = server.closeIdleConnections.bind(server);
  server.closeIdleConnections = () => {
    for (const res of answers) if (res.writableEnded && !res.writableFinished && !res.destroyed) return; // there will be another look
    closeIdle();
  };
}

function makeTlsServer(options: TlsServerOptions, onRequest: RequestListener, address: string): TlsServer {
  try {
    return createTlsServer(options, onRequest);
  } catch (error) {
    throw new Error(`listener ${address}: the files of tls.cert and tls.key are no pair: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** What the HTTP parser could not make sense of. */
function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  // In the middle of an answer these words would be taken for part of its body.
  const answering = (socket as Socket & { readonly _httpMessage?: unknown })._httpMessage != null; // as node:http itself looks
  if (answering || socket.destroyed || !socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, message] =
    error.code === 'HPE_HEADER_OVERFLOW' ? ['431 Request Header Fields Too Large', 'the request headers are too large']
    : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? ['408 Request Timeout', 'the request headers took too long']
    : ['400 Bad Request', 'the request is not valid HTTP'];
  const body = JSON.stringify({ errors: [{ code: 'UNSUPPORTED', message }] });
  socket.end(`HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
}

async function listen(server: Server | TlsServer, host: string, port: number, address: string): Promise<AddressInfo> {
  return await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: 1024, ipv6Only: host.includes(':') && host !== '::' }, () => {
      server.removeListener('error', reject);
      const bound = server.address();
      if (bound === null || typeof bound === 'string') reject(new Error(`${address} is no address of a network`));
      else resolve(bound);
    });
  });
}

async function closeServer({ server, connects }: Opened, drainMs: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const giveUp = setTimeout(() => {
      server.closeAllConnections();
      connects?.end();
    }, drainMs);
    // A connection whose last answer is out would wait for another request until its keep-alive ends.
    const letGo = setInterval(() => {
      server.closeIdleConnections();
      connects?.letGo();
    }, IDLE_LOOK_MS);
    server.close(() => {
      clearTimeout(giveUp);
      clearInterval(letGo);
      resolve();
    });
    server.closeIdleConnections();
  });
}

interface Certificate {
  read(): { cert: Buffer; key: Buffer };
  onChange(listener: (context: { cert: Buffer; key: Buffer }) => void): void;
  stop(): void;
}

function watchCertificate(files: NonNullable<ListenerConfig['tls']>, deps: ListenerDeps): Certificate {
  const listeners: ((context: { cert: Buffer; key: Buffer }) => void)[] = [];
  const read = (): { cert: Buffer; key: Buffer } => ({ cert: readFileSync(files.certFile), key: readFileSync(files.keyFile) });
  const reload = (): void => {
    try {
      const pair = read();
      createSecureContext(pair); // throws where they do not belong together, as while only one has been replaced
      for (const listener of listeners) listener(pair);
    } catch (error) {
      deps.warn('certificate not reloaded', { cert: files.certFile, error: error instanceof Error ? error.message : String(error) });
    }
  };
  // Polling follows renames and symlinked mounts, which watching an inode does not.
  for (const file of [files.certFile, files.keyFile]) {
    statSync(file);
    watchFile(file, { interval: CERTIFICATE_POLL_MS, persistent: false }, reload);
  }
  return {
    read,
    onChange: (listener) => void listeners.push(listener),
    stop: () => {
      for (const file of [files.certFile, files.keyFile]) unwatchFile(file, reload);
    },
  };
}

function isNodeError(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
