/**
 * skopeo, podman and buildah on a machine of their own (see the script `containers`): private configuration, storage
 * and caches under one folder.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, run, type CommandOptions, type CommandResult } from './command.ts';

const SCRIPT = join(import.meta.dirname, 'containers');

export class Containers {
  readonly dir: string;
  /** That runs what is given after it. */
  readonly #command: readonly string[];

  private constructor(dir: string, wrapper: readonly string[]) {
    this.dir = dir;
    this.#command = [...wrapper, SCRIPT];
  }

  /** `registries` is the text of registries.conf. `dir` is made if absent. `wrapper` is a command that runs what is given after it (job-node.ts). */
  static async create(dir: string, registries = '', wrapper: readonly string[] = []): Promise<Containers> {
    const containers = new Containers(dir, wrapper);
    await mkdir(join(dir, 'etc'), { recursive: true });
    await containers.configure(registries);
    return containers;
  }

  /** Replaces registries.conf. */
  async configure(registries: string): Promise<void> {
    await writeFile(join(this.dir, 'etc', 'registries.conf'), `short-name-mode = "permissive"\n${registries}`);
  }

  /** Trusts an authority for one registry, as /etc/containers/certs.d does. */
  async trust(host: string, pem: string): Promise<void> {
    const certs = join(this.dir, 'etc', 'certs.d', host);
    await mkdir(certs, { recursive: true });
    await writeFile(join(certs, 'ca.crt'), pem);
  }

  /** Forgets which registry was seen to have which blob: else a push may mount one across repositories. */
  async forgetBlobs(): Promise<void> {
    await rm(join(this.dir, 'lib', 'cache'), { recursive: true, force: true });
  }

  skopeo(args: readonly string[], options?: CommandOptions): Promise<string> {
    return this.#run('skopeo', args, options);
  }

  podman(args: readonly string[], options?: CommandOptions): Promise<string> {
    return this.#run('podman', args, options);
  }

  buildah(args: readonly string[], options?: CommandOptions): Promise<string> {
    return this.#run('buildah', args, options);
  }

  /** As the three above, for a call that may fail. */
  attempt(program: 'skopeo' | 'podman' | 'buildah', args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const [command = SCRIPT, ...before] = this.#command;
    return attempt(command, [...before, this.dir, program, ...args], this.#options(options));
  }

  #run(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const [command = SCRIPT, ...before] = this.#command;
    return run(command, [...before, this.dir, program, ...args], this.#options(options));
  }

  #options(options: CommandOptions): CommandOptions {
    // Logins are kept in HOME or under /run, both private.
    return { ...options, env: { HOME: this.dir, ...options.env } };
  }
}
