/**
 * A real OpenID Connect issuer (panva's oidc-provider) on loopback: discovery, keys, and JWTs with claims of our choice
 * by the client credentials grant.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

export type Algorithm = 'RS256' | 'PS256' | 'ES256' | 'EdDSA';

export interface TokenOptions {
  readonly audience: string;
  readonly algorithm?: Algorithm;
}

const CLIENT = { client_id: 'ci', client_secret: 'of no use elsewhere' };
const ALGORITHMS: readonly Algorithm[] = ['RS256', 'PS256', 'ES256', 'EdDSA'];

export class OidcProvider implements AsyncDisposable {
  readonly issuer: string;
  /** What tokens say besides the standard claims. */
  claims: Readonly<Record<string, unknown>> = {};
  readonly #server: Server;
  #algorithm: Algorithm = 'RS256';

  private constructor(issuer: string, server: Server) {
    this.issuer = issuer;
    this.#server = server;
  }

  static async start(): Promise<OidcProvider> {
    const keys = await Promise.all(ALGORITHMS.map(async (alg) => {
      const { privateKey } = await generateKeyPair(alg, { extractable: true });
      return { ...(await exportJWK(privateKey)), alg, kid: `key-${alg}`, use: 'sig' };
    }));
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`; // not a pipe
    const self = new OidcProvider(issuer, server);
    const provider = new Provider(issuer, {
      clients: [{ ...CLIENT, grant_types: ['client_credentials'], redirect_uris: [], response_types: [], token_endpoint_auth_method: 'client_secret_post' }],
      jwks: { keys },
      ttl: { ClientCredentials: 3600 },
      extraTokenClaims: () => self.claims,
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo: (_: unknown, audience: string) => ({ audience, scope: '', accessTokenFormat: 'jwt', accessTokenTTL: 3600, jwt: { sign: { alg: self.#algorithm } } }),
        },
      },
    });
    server.on('request', provider.callback());
    return self;
  }

  /** @param options its audience is a URI, as RFC 8707 wants it */
  async token({ audience, algorithm = 'RS256' }: TokenOptions): Promise<string> {
    this.#algorithm = algorithm;
    const answer = await fetch(`${this.issuer}/token`, { method: 'POST', body: new URLSearchParams({ grant_type: 'client_credentials', ...CLIENT, resource: audience }) });
    const { access_token: token } = (await answer.json()) as { readonly access_token?: string }; // RFC 6749 section 5.1
    if (token === undefined) throw new Error(`the issuer answered ${answer.status}`);
    return token;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
