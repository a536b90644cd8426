/**
 * Debian's docker-registry, posing as an upstream such as docker.io: TLS under an authority of our own, and no, Basic
 * or Bearer authentication. It can be stopped and started again on the same port with what it stored.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hash } from '@node-rs/bcrypt';
import { stringify } from 'yaml';
import type { Authority } from './certificates.ts';
import { Daemon } from './daemon.ts';
import { freePort } from './ports.ts';
import type { TokenServer } from './token-server.ts';

export type DockerRegistryAuth =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  | { readonly kind: 'bearer'; readonly tokens: TokenServer };

export interface DockerRegistryOptions {
  /** For configuration and content; made if absent. */
  readonly dir: string;
  readonly authority: Authority;
  readonly auth?: DockerRegistryAuth;
  /** What stands under `storage:` for the driver. Default: a folder of `dir`. */
  readonly storage?: Readonly<Record<string, unknown>>;
  /** At port 443 of an address of its own, with a certificate for these names: for clients whose hosts file leads there. */
  readonly poses?: { readonly address: string; readonly hosts: readonly string[] };
}

export class DockerRegistry implements AsyncDisposable {
  /** `https://localhost:PORT`, or that of the address that it poses at. */
  readonly url: string;
  readonly configFile: string;
  readonly #address: string;
  #daemon: Daemon | undefined;
  #pastOutput = '';

  private constructor(configFile: string, address: string, url: string) {
    this.url = url;
    this.configFile = configFile;
    this.#address = address;
  }

  static async start(options: DockerRegistryOptions): Promise<DockerRegistry> {
    const { poses } = options;
    const port = poses === undefined ? await freePort() : 443;
    const address = `${poses?.address ?? '127.0.0.1'}:${port}`;
    const leaf = await options.authority.issue(`docker-registry-${port}`, poses && [`IP:${poses.address}`, ...poses.hosts.map((host) => `DNS:${host}`)]);
    await mkdir(options.dir, { recursive: true });
    const configFile = join(options.dir, 'config.yml');
    await writeFile(
      configFile,
      stringify({
        version: 0.1,
        log: { level: 'info', accesslog: { disabled: false } },
        storage: { ...(options.storage ?? { filesystem: { rootdirectory: join(options.dir, 'data') } }), delete: { enabled: true } },
        http: { addr: address, secret: 'a test secret', tls: { certificate: leaf.certFile, key: leaf.keyFile } },
        ...(options.auth && { auth: await authConfig(options.auth, options.dir) }),
      }),
    );
    const registry = new DockerRegistry(configFile, address, poses === undefined ? `https://localhost:${port}` : `https://${poses.address}`);
    await registry.restart();
    return registry;
  }

  /** Starts it again after `stop`. */
  async restart(): Promise<void> {
    this.#daemon = await Daemon.start({
      command: ['docker-registry', 'serve', this.configFile],
      ready: (output) => output.includes(`listening on ${this.#address}`),
    });
  }

  /** From now on connections are refused; what is stored stays. */
  async stop(): Promise<void> {
    this.#pastOutput = this.output;
    const daemon = this.#daemon;
    this.#daemon = undefined;
    await daemon?.stop();
  }

  get output(): string {
    return this.#pastOutput + (this.#daemon?.output ?? '');
  }

  /** Every request so far as `METHOD /path STATUS`, in the order in which they ended. */
  get requests(): string[] {
    return Array.from(
      this.output.matchAll(/"([A-Z]+) (\S+) HTTP\/[\d.]+" (\d{3}) /g),
      ([, method, path, status]) => `${method} ${path} ${status}`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

async function authConfig(auth: DockerRegistryAuth, dir: string): Promise<object> {
  if (auth.kind === 'bearer') {
    return {
      token: { realm: auth.tokens.realm, service: auth.tokens.service, issuer: auth.tokens.issuer, rootcertbundle: auth.tokens.certFile },
    };
  }
  const path = join(dir, 'htpasswd');
  await writeFile(path, `${auth.username}:${await hash(auth.password, 5)}\n`);
  return { htpasswd: { realm: 'docker-registry', path } };
}
