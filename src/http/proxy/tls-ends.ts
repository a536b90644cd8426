/** Ends the TLS of connections that clients mean for an upstream, with a certificate for its host, made when it is first asked for and renewed in time. */
import type { Duplex } from 'node:stream';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Authority, Leaf } from '../../certificates/authority.ts';

export interface TlsEnd {
  /** Takes a connection on which the client is about to speak TLS. */
  take(socket: Duplex): void;
}

export interface TlsEndOptions {
  /** A name or an IP address. */
  readonly host: string;
  readonly authority: Authority;
  readonly nowMs: () => number;
  /** Has what the client says within TLS. */
  readonly secured: (socket: TLSSocket) => void;
  /** The client did not go on, as one that does not trust the authority. */
  readonly failed: (error: Error) => void;
}

const HANDSHAKE_MS = 10_000;
/** Before a certificate ends. */
const RENEW_MS = 30 * 86_400_000;

export function tlsEnd({ host, authority, nowMs, secured, failed }: TlsEndOptions): TlsEnd {
  let leaf: Leaf = authority.issue(host);
  // It never listens: connections are handed to it.
  const server: Server = createServer({ cert: leaf.cert, key: leaf.key, ALPNProtocols: ['http/1.1'], handshakeTimeout: HANDSHAKE_MS });
  server.on('secureConnection', secured);
  server.on('tlsClientError', failed);
  return {
    take(socket) {
      if (leaf.notAfterMs - nowMs() < RENEW_MS) {
        leaf = authority.issue(host);
        server.setSecureContext({ cert: leaf.cert, key: leaf.key });
      }
      server.emit('connection', socket);
    },
  };
}
