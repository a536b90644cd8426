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
}

export class DockerRegistry implements AsyncDisposable {
  /** `https://localhost:PORT` */
  readonly url: string;
  readonly configFile: string;
  readonly #port: number;
  #daemon: Daemon | undefined;
  #pastOutput = '';

  private constructor(configFile: string, port: number) {
    this.url = `https://localhost:${port}`;
    this.configFile = configFile;
    this.#port = port;
  }

  static async start(options: DockerRegistryOptions): Promise<DockerRegistry> {
    const port = await freePort();
    const leaf = await options.authority.issue(`docker-registry-${port}`);
    await mkdir(options.dir, { recursive: true });
    const configFile = join(options.dir, 'config.yml');
    await writeFile(
      configFile,
      stringify({
        version: 0.1,
        log: { level: 'info', accesslog: { disabled: false } },
        storage: { ...(options.storage ?? { filesystem: { rootdirectory: join(options.dir, 'data') } }), delete: { enabled: true } },
        http: { addr: `127.0.0.1:${port}`, secret: 'a test secret', tls: { certificate: leaf.certFile, key: leaf.keyFile } },
        ...(options.auth && { auth: await authConfig(options.auth, options.dir) }),
      }),
    );
    const registry = new DockerRegistry(configFile, port);
    await registry.restart();
    return registry;
  }

  /** Starts it again after `stop`. */
  async restart(): Promise<void> {
    this.#daemon = await Daemon.start({
      command: ['docker-registry', 'serve', this.configFile],
      ready: (output) => output.includes(`listening on 127.0.0.1:${this.#port}`),
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
  await writeFile(path, `${auth.username}:${await hash(auth.password, { cost: 5 })}\n`);
  return { htpasswd: { realm: 'docker-registry', path } };
}
