/** A zuul-registry as `run-buildset-registry` of zuul-jobs starts it: with a certificate that signs itself, and one user. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../services/command.ts';
import { freePort } from '../services/ports.ts';
import { ZuulRegistry, type ZuulRegistryOptions } from './zuul-registry.ts';

/** What jobs call a buildset registry, since a reference cannot begin with an IPv6 address. */
export const ALIAS = 'zuul-jobs.buildset-registry';

/** What the role returns to the job, `cert` being PEM. */
export class BuildsetRegistry implements AsyncDisposable {
  readonly port: number;
  readonly username = 'zuul';
  readonly password = 'pw:of zuul';
  readonly cert: string;
  readonly #registry: ZuulRegistry;

  private constructor(port: number, cert: string, registry: ZuulRegistry) {
    this.port = port;
    this.cert = cert;
    this.#registry = registry;
  }

  static async start(options: Pick<ZuulRegistryOptions, 'dir' | 'upstreams' | 'port'>): Promise<BuildsetRegistry> {
    const port = options.port ?? (await freePort());
    await mkdir(options.dir, { recursive: true });
    const cert = await selfSigned(options.dir);
    const registry = await ZuulRegistry.start({ ...options, port, registry: registryYaml({ port, tls: options.dir }) });
    return new BuildsetRegistry(port, cert, registry);
  }

  get creds(): string {
    return `${this.username}:${this.password}`;
  }

  /** An entry of `auths` in a docker config.json. */
  get auth(): { readonly auth: string } {
    return { auth: Buffer.from(this.creds).toString('base64') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#registry[Symbol.asyncDispose]();
  }
}

/** As the role's template says it, but for the storage. */
export function registryYaml({ port, tls }: { readonly port: number; readonly tls: string }): Record<string, unknown> {
  return {
    address: '::',
    port,
    // The node's address, which the executor can reach too.
    'public-url': `https://127.0.0.1:${port}`,
    'tls-cert': join(tls, 'cert.pem'),
    'tls-key': join(tls, 'cert.key'),
    secret: 'a secret of thirty-two characters',
    users: [{ name: 'zuul', pass: 'pw:of zuul', access: 'write' }],
  };
}

/** Its PEM text; with the key it lies in `dir`. */
export async function selfSigned(dir: string): Promise<string> {
  await run('openssl', [
    'req', '-x509', '-newkey', 'rsa:2048', '-noenc', '-days', '7', '-batch', '-subj', '/C=US/ST=Anywhere/L=There/O=Zuul/CN=localhost',
    '-addext', `subjectAltName=DNS:${ALIAS},DNS:localhost,IP:127.0.0.1,IP:::1`,
    '-out', join(dir, 'cert.pem'), '-keyout', join(dir, 'cert.key'),
  ]);
  return await readFile(join(dir, 'cert.pem'), 'utf8');
}
