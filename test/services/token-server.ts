/**
 * The token server that Debian's docker-registry needs beside it for Bearer authentication
 * (distribution, docs/spec/auth/token.md): one user, who may do anything; nobody else gets a token.
 */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { SignJWT } from 'jose';
import type { Authority } from './certificates.ts';

export interface TokenServerOptions {
  readonly authority: Authority;
  readonly username: string;
  readonly password: string;
}

export class TokenServer implements AsyncDisposable {
  readonly service = 'a test registry';
  readonly issuer = 'a test token server';
  readonly realm: string;
  /** What a registry verifies tokens with. */
  readonly certFile: string;
  /** The scopes of every token asked for, in order; empty for none. */
  readonly scopes: string[] = [];
  readonly #server: Server;

  private constructor(server: Server, port: number, certFile: string) {
    this.#server = server;
    this.realm = `https://localhost:${port}/token`;
    this.certFile = certFile;
  }

  static async start(options: TokenServerOptions): Promise<TokenServer> {
    const leaf = await options.authority.issue('token-server');
    const [cert, key] = await Promise.all([readFile(leaf.certFile, 'utf8'), readFile(leaf.keyFile, 'utf8')]);
    const signer = { key: createPrivateKey(key), x5c: [new X509Certificate(cert).raw.toString('base64')] };
    const expected = `Basic ${Buffer.from(`${options.username}:${options.password}`).toString('base64')}`;

    const server = createServer({ cert, key }, (request, response) => {
      const scopes = new URL(request.url ?? '/', 'https://localhost').searchParams.getAll('scope').flatMap((scope) => scope.split(' '));
      tokens.scopes.push(scopes.join(' '));
      if (request.headers.authorization !== expected) {
        response.writeHead(401).end();
        return;
      }
      void tokens
        .#sign(signer, scopes)
        .then((token) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ token })));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    // A listening TCP server has an address with a port.
    const tokens = new TokenServer(server, (server.address() as AddressInfo).port, leaf.certFile);
    return tokens;
  }

  #sign(signer: { key: ReturnType<typeof createPrivateKey>; x5c: string[] }, scopes: readonly string[]): Promise<string> {
    const access = scopes.map((scope) => {
      const [type, ...rest] = scope.split(':');
      const actions = rest.pop()?.split(',');
      return { type, name: rest.join(':'), actions };
    });
    return new SignJWT({ access })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT', x5c: signer.x5c })
      .setIssuer(this.issuer)
      .setAudience(this.service)
      .setIssuedAt()
      .setNotBefore('-1m')
      .setExpirationTime('5m')
      .sign(signer.key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }
}
