/** The real program as a zuul-registry: `bin/zuul-registry` with a file of that registry's, on a free port of loopback. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { DEBIAN_PATH, run } from '../services/command.ts';
import { Daemon } from '../services/daemon.ts';
import { freePort } from '../services/ports.ts';
import { watchSaid } from '../support/secret-watch.ts';
import { pagesOf } from './pages.ts';

const PROGRAM = join(import.meta.dirname, '../../bin/zuul-registry');

export interface ZuulRegistryOptions {
  /** For the file and the storage; made if absent. */
  readonly dir: string;
  /** Below `registry:`, besides address, port, secret, a folder, and a public URL that is not what tests call it. */
  readonly registry?: Readonly<Record<string, unknown>>;
  /** Beside `registry:`; default: none. */
  readonly upstreams?: Readonly<Record<string, unknown>>;
  /** Default: a free one. */
  readonly port?: number;
  readonly env?: Readonly<Record<string, string>>;
}

export class ZuulRegistry implements AsyncDisposable {
  readonly configFile: string;
  /** `localhost:PORT`. */
  readonly host: string;
  readonly secret: string;
  readonly root: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #daemon: Daemon;
  readonly #scheme: 'http' | 'https';

  private constructor(fields: Pick<ZuulRegistry, 'configFile' | 'host' | 'secret' | 'root'>, env: Readonly<Record<string, string>>, daemon: Daemon, scheme: 'http' | 'https') {
    this.configFile = fields.configFile;
    this.host = fields.host;
    this.secret = fields.secret;
    this.root = fields.root;
    this.#env = env;
    this.#daemon = daemon;
    this.#scheme = scheme;
  }

  static async start({ dir, registry = {}, upstreams = {}, port: wanted, env = {} }: ZuulRegistryOptions): Promise<ZuulRegistry> {
    const port = wanted ?? (await freePort());
    const fields = { configFile: join(dir, 'registry.yaml'), host: `localhost:${port}`, secret: 'the secret of a zuul-registry', root: join(dir, 'storage') };
    const { storage, ...more } = registry;
    await mkdir(dir, { recursive: true });
    const file = { registry: { address: '::', port, 'public-url': `http://127.0.0.1:${port}`, secret: fields.secret, storage: { driver: 'filesystem', root: fields.root, ...(storage as object | undefined) }, ...more }, upstreams };
    await writeFile(fields.configFile, stringify(file));
    const daemon = await Daemon.start({
      command: [PROGRAM, '-c', fields.configFile, '-d'],
      env: { PATH: `${dirname(process.execPath)}:${DEBIAN_PATH}`, HOME: dir, ...env },
      ready: (output) => /^umbra: ready\b/m.test(output),
    });
    return new ZuulRegistry(fields, env, daemon, 'tls-key' in registry ? 'https' : 'http');
  }

  /** All that it printed. */
  get output(): string {
    return this.#daemon.output;
  }

  /** `zuul-registry prune`, beside the server. Gives its lines. */
  async prune(...options: readonly string[]): Promise<readonly string[]> {
    const printed = await run(PROGRAM, ['-c', this.configFile, 'prune', ...options], { env: { PATH: `${dirname(process.execPath)}:${DEBIAN_PATH}`, ...this.#env } });
    return printed.trim().split('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    watchSaid('its pages', await pagesOf(`${this.#scheme}://${this.host}`));
    await this.#daemon.stop();
  }
}
