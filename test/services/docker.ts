/** A private docker daemon (see the script `dockerd`) and Docker's own CLI talking to it. */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, run, type CommandOptions, type CommandResult } from './command.ts';
import { Daemon } from './daemon.ts';
import { hasFile, onMachine } from './machine.ts';

export interface DockerOptions {
  /** A short path: see the script. Made if absent. */
  readonly dir: string;
  /** URLs that it asks for Docker Hub's images first. */
  readonly mirrors?: readonly string[];
  /** The root of a machine whose /etc it sees instead of this one's, daemon.json included where it has one. */
  readonly machine?: string;
  /** Runs what is given after it, on that machine; default: `with-machine`. */
  readonly wrapper?: readonly string[];
  /** Authorities that it trusts instead of the system's. */
  readonly caFile?: string;
  /** The URL of a proxy, as its environment names it. */
  readonly proxy?: string;
  /** What its unit sets besides. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Authorities that it trusts for one registry, as PEM by the registry's host: what /etc/docker/certs.d has. */
  readonly registryCas?: Readonly<Record<string, string>>;
  /** The user's logins, by registry: for Docker Hub `https://index.docker.io/v1/`. */
  readonly logins?: Readonly<Record<string, { readonly username: string; readonly password: string }>>;
}

export class Docker implements AsyncDisposable {
  readonly #daemon: Daemon;
  readonly #socket: string;
  readonly #home: string;

  private constructor(daemon: Daemon, socket: string, home: string) {
    this.#daemon = daemon;
    this.#socket = socket;
    this.#home = home;
  }

  static async start(options: DockerOptions): Promise<Docker> {
    const home = join(options.dir, 'home');
    const socket = join(options.dir, 'docker.sock');
    await mkdir(home, { recursive: true });
    const config = join(options.dir, 'daemon.json');
    if (!hasFile(options.machine, '/etc/docker/daemon.json')) await writeFile(config, JSON.stringify({ 'registry-mirrors': options.mirrors ?? [], 'max-download-attempts': 1 }));
    else await symlink('/etc/docker/daemon.json', config);
    const auths = Object.entries(options.logins ?? {}).map(([registry, { username, password }]) => [
      registry,
      { auth: Buffer.from(`${username}:${password}`).toString('base64') },
    ]);
    await writeFile(join(home, 'config.json'), JSON.stringify({ auths: Object.fromEntries(auths) }));
    for (const [host, pem] of Object.entries(options.registryCas ?? {})) {
      await mkdir(join(options.dir, 'certs.d', host), { recursive: true });
      await writeFile(join(options.dir, 'certs.d', host, 'ca.crt'), pem);
    }
    const daemon = await Daemon.start({
      command: [...(options.wrapper ?? onMachine(options.machine)), join(import.meta.dirname, 'dockerd'), options.dir],
      env: {
        ...(options.caFile !== undefined && { SSL_CERT_FILE: options.caFile }),
        ...(options.proxy !== undefined && { HTTPS_PROXY: options.proxy, HTTP_PROXY: options.proxy }),
        ...options.environment,
      },
      ready: (output) => output.includes('API listen on'),
    });
    return new Docker(daemon, socket, home);
  }

  get output(): string {
    return this.#daemon.output;
  }

  /** The CLI with these arguments; gives its stdout. */
  run(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    return run('docker', args, this.#options(options));
  }

  /** As `run`, for a call that may fail. */
  attempt(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return attempt('docker', args, this.#options(options));
  }

  #options(options: CommandOptions): CommandOptions {
    return { ...options, env: { DOCKER_HOST: `unix://${this.#socket}`, DOCKER_CONFIG: this.#home, HOME: this.#home, ...options.env } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.stop();
  }
}
