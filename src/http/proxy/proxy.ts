/**
 * A listener that is an HTTP proxy too. For a host that is an upstream it is that registry itself: it ends TLS, and hands
 * what is asked to the ordinary handler, to whom a name without a host then means that upstream. To other hosts it leads
 * where `listeners[].tunnel` says so. What is asked of the listener itself is answered as on any other.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Authority as Signing } from '../../certificates/authority.ts';
import type { ListenerConfig } from '../../config/config.ts';
import { RegistryError } from '../../oci/errors.ts';
import { canonicalHost } from '../../registry/names.ts';
import type { Connects, Handle } from '../listener.ts';
import { absoluteTarget, DEFAULT_PORTS, parseAuthority, spellAuthority, type Authority, type Scheme } from './authority.ts';
import { createPermission, type Lookup } from './permission.ts';
import { tlsEnd, type TlsEnd } from './tls-ends.ts';
import { connectTo, joinEnds, type Tunnel } from './tunnel.ts';

/** How one CONNECT that was not handed on ended. */
export interface ConnectFacts {
  readonly req: IncomingMessage;
  readonly status: number;
  readonly ms: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface ProxyDeps {
  /** Hosts as in names. */
  readonly upstreams: readonly string[];
  readonly authority: Signing;
  /** What is asked of the listener itself. */
  readonly own: Handle;
  /** Answers for an upstream, as `listener` says. */
  readonly handlerOf: (listener: ListenerConfig) => Handle;
  readonly lookup: Lookup;
  /** After so long without a byte a tunnel ends. */
  readonly idleMs: number;
  readonly nowMs: () => number;
  readonly elapsedMs: () => number;
  /** Told once for each CONNECT that was refused, and for each tunnel when it is over. */
  readonly ended: (facts: ConnectFacts) => void;
  /** A client broke off while TLS began: most likely one that does not trust the authority. */
  readonly distrusted: (fields: { readonly host: string; readonly error: string }) => void;
}

export interface Proxy {
  readonly handle: Handle;
  /** The CONNECTs of one server. `serve` takes connections on which HTTP is spoken to it. */
  attach(serve: (socket: Duplex) => void): Connects;
}

/** An upstream that we stand for, by one of its names. */
interface Site {
  readonly host: string;
  readonly port: number;
  readonly scheme: Scheme;
  readonly handle: Handle;
}

const CONNECT_MS = 10_000;
const MAX_TUNNELS = 1_000;
/** After a refusal. */
const LINGER_MS = 1_000;
/** A tunnel that moved nothing for so long is let go of when the server stops. */
const QUIET_MS = 1_000;

export function createProxy(listener: ListenerConfig, deps: ProxyDeps): Proxy {
  const { own, handlerOf, elapsedMs } = deps;
  const upstreams = new Set(deps.upstreams);
  const permit = createPermission(listener.tunnel, deps.lookup);
  /** As many as there are upstreams, and names of docker.io. */
  const sites = new Map<string, Site>();
  const siteOfSocket = new WeakMap<Duplex, Site>();

  function siteOf({ host, port }: Authority, scheme: Scheme): Site | undefined {
    const spelled = spellAuthority({ host, port }, scheme);
    const known = sites.get(`${scheme}://${spelled}`);
    if (known !== undefined) return known;
    const upstream = [canonicalHost(spelled), spellAuthority({ host, port })].find((name) => upstreams.has(name));
    if (upstream === undefined) return undefined;
    const site = { host, port, scheme, handle: handlerOf({ ...listener, upstream, publicUrl: `${scheme}://${spelled}` }) };
    sites.set(`${scheme}://${spelled}`, site);
    return site;
  }

  /** Which host a request within a connection to `site` is for, whatever its Host header says, is settled. */
  function inside(site: Site, req: IncomingMessage): RegistryError | undefined {
    const absolute = absoluteTarget(req.url ?? '');
    const named = absolute === undefined ? (req.headers.host === undefined ? site : parseAuthority(req.headers.host, DEFAULT_PORTS[site.scheme])) : absolute.authority;
    if (named?.host === site.host && named.port === site.port) return undefined;
    return new RegistryError('MISDIRECTED', `this connection is to ${spellAuthority(site, site.scheme)}, and the request is for another host`);
  }

  function handle(req: IncomingMessage, res: ServerResponse, expectsContinue: boolean): void {
    const site = siteOfSocket.get(req.socket);
    if (site !== undefined) return site.handle(req, res, expectsContinue, inside(site, req));
    const absolute = absoluteTarget(req.url ?? '');
    if (absolute === undefined) return own(req, res, expectsContinue);
    const { scheme, authority } = absolute;
    const asked = authority && siteOf(authority, scheme);
    if (authority === undefined || asked === undefined) return own(req, res, expectsContinue, new RegistryError('DENIED', 'this proxy speaks plain HTTP for the upstreams of its configuration only'));
    req.headers.host = spellAuthority(authority, scheme); // RFC 9112 section 3.2.2: what it was does not count
    asked.handle(req, res, expectsContinue);
  }

  function attach(serve: (socket: Duplex) => void): Connects {
    const ends = new Map<Site, TlsEnd>();
    const connected = new Set<Duplex>();
    const tunnels = new Map<Tunnel, { moved: number; atMs: number }>();

    function endOf(site: Site): TlsEnd {
      const known = ends.get(site);
      if (known !== undefined) return known;
      const end = tlsEnd({
        host: site.host,
        authority: deps.authority,
        nowMs: deps.nowMs,
        secured(socket) {
          siteOfSocket.set(socket, site);
          serve(socket);
        },
        failed: ({ message }) => deps.distrusted({ host: site.host, error: message }),
      });
      ends.set(site, end);
      return end;
    }

    async function open(req: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
      const startedMs = elapsedMs();
      const tell = (status: number, bytes = { bytesIn: 0, bytesOut: 0 }): void => deps.ended({ req, status, ms: elapsedMs() - startedMs, ...bytes });
      const refuse = (status: keyof typeof PHRASES, reason: string): void => {
        tell(status);
        socket.end(refusal(status, reason));
        // What it still says is not heard: it gets to see the answer, and is not waited for.
        socket.resume();
        const gone = setTimeout(() => socket.destroy(), LINGER_MS);
        socket.once('close', () => clearTimeout(gone));
      };
      const to = parseAuthority(req.url ?? '');
      if (to === undefined) return refuse(400, 'CONNECT takes host:port');
      const around = siteOfSocket.get(socket);
      if (around !== undefined) return refuse(403, `this connection is to ${around.host} already`);
      const site = siteOf(to, 'https');
      if (site !== undefined) {
        socket.write(ESTABLISHED);
        if (head.length > 0) socket.unshift(head);
        // Else one that goes without a word of TLS would be held for good.
        socket.allowHalfOpen = false;
        return endOf(site).take(socket);
      }
      const permission = await permit(to);
      if ('reason' in permission) return refuse(permission.status, permission.reason);
      if (tunnels.size >= MAX_TUNNELS) return refuse(503, `${MAX_TUNNELS} tunnels are open already`);
      const left = new AbortController();
      const leave = (): void => left.abort();
      socket.once('close', leave);
      let remote: Socket;
      try {
        remote = await connectTo(to, permission.addresses, CONNECT_MS, left.signal);
      } catch (error) {
        const { code = 'failed' } = error as NodeJS.ErrnoException; // of a socket
        return refuse(code === 'ETIMEDOUT' ? 504 : 502, `no connection to ${spellAuthority(to)}: ${code}`);
      } finally {
        socket.off('close', leave);
      }
      socket.write(ESTABLISHED);
      const tunnel = joinEnds(socket, remote, head, deps.idleMs);
      tunnels.set(tunnel, { moved: 0, atMs: elapsedMs() });
      const bytes = await tunnel.ended;
      tunnels.delete(tunnel);
      tell(200, bytes);
    }

    return {
      connect(req, socket, head) {
        // In the middle of an answer, whatever is said now would be taken for part of it.
        if ((socket as Duplex & { readonly _httpMessage?: unknown })._httpMessage != null) return void socket.destroy(); // as node:http itself looks
        connected.add(socket);
        socket.once('close', () => connected.delete(socket));
        socket.on('error', () => socket.destroy());
        open(req, socket as Socket, head).catch((error: Error) => socket.destroy(error)); // node:http has no other here
      },
      letGo() {
        for (const [tunnel, seen] of tunnels) {
          const moved = tunnel.moved();
          if (moved !== seen.moved) Object.assign(seen, { moved, atMs: elapsedMs() });
          else if (elapsedMs() - seen.atMs >= QUIET_MS) tunnel.end();
        }
      },
      end() {
        for (const socket of connected) socket.destroy();
      },
    };
  }

  return { handle, attach };
}

const ESTABLISHED = 'HTTP/1.1 200 Connection established\r\n\r\n';
const PHRASES = { 400: 'Bad Request', 403: 'Forbidden', 502: 'Bad Gateway', 503: 'Service Unavailable', 504: 'Gateway Timeout' } as const;

/** Go's HTTP client, which docker has, shows nothing but the words behind the status. @param reason of hosts and words of ours */
function refusal(status: keyof typeof PHRASES, reason: string): string {
  const body = `umbra: ${reason}\n`;
  return `HTTP/1.1 ${status} ${PHRASES[status]}: umbra: ${reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`;
}
