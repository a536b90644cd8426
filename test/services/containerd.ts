/**
 * A private containerd (see the script `containerd`), driven with ctr and, as a kubelet would, through its CRI plugin.
 */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, run, type CommandResult } from './command.ts';
import { pullImage } from './cri.ts';
import { Daemon } from './daemon.ts';
import { hasFile, onMachine } from './machine.ts';

export class Containerd implements AsyncDisposable {
  /** The registry configuration that the CRI plugin reads, and ctr with --hosts-dir. */
  readonly hostsDir: string;
  readonly #daemon: Daemon;
  readonly #socket: string;

  private constructor(daemon: Daemon, dir: string) {
    this.#daemon = daemon;
    this.#socket = join(dir, 'containerd.sock');
    this.hostsDir = join(dir, 'hosts');
  }

  /**
   * `dir` is a short path: see the script. Made if absent. `machine` is the root of one whose /etc it sees instead of this
   * one's, config.toml included where it has one, and `wrapper` what runs programs there; `caFile` holds the authorities that it trusts instead of the system's.
   */
  static async start(dir: string, { machine, wrapper = onMachine(machine), caFile }: { readonly machine?: string; readonly wrapper?: readonly string[]; readonly caFile?: string } = {}): Promise<Containerd> {
    await mkdir(dir, { recursive: true });
    if (hasFile(machine, '/etc/containerd/config.toml')) await symlink('/etc/containerd/config.toml', join(dir, 'config.toml'));
    const daemon = await Daemon.start({
      command: [...wrapper, join(import.meta.dirname, 'containerd'), dir],
      ...(caFile !== undefined && { env: { SSL_CERT_FILE: caFile } }),
      ready: (output) => output.includes('containerd successfully booted'),
    });
    return new Containerd(daemon, dir);
  }

  /** Writes NAME/hosts.toml; `_default` stands for every registry without its own. */
  async configure(name: string, toml: string): Promise<void> {
    await mkdir(join(this.hostsDir, name), { recursive: true });
    await writeFile(join(this.hostsDir, name, 'hosts.toml'), toml);
  }

  /** ctr with these arguments; gives its stdout. */
  ctr(args: readonly string[]): Promise<string> {
    return run('ctr', ['--address', this.#socket, ...args]);
  }

  /** As `ctr`, for a call that may fail. */
  attempt(args: readonly string[]): Promise<CommandResult> {
    return attempt('ctr', ['--address', this.#socket, ...args]);
  }

  /** Pulls through the CRI plugin; gives the image's id. Rejects with the plugin's message. */
  pullByCri(reference: string): Promise<string> {
    return pullImage(this.#socket, reference);
  }

  get output(): string {
    return this.#daemon.output;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon.stop();
  }
}
