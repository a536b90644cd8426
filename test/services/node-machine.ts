/**
 * Machines beside this one: namespaces with names, files and loopbacks of their own, which reach each other and this machine over a
 * bridge and nothing else. For nodes of a cluster that is made here.
 */
import { randomInt, randomBytes } from 'node:crypto';
import { appendFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, run, type CommandOptions, type CommandResult } from './command.ts';
import { Daemon } from './daemon.ts';

const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt';

export class MachineNetwork implements AsyncDisposable {
  /** This machine's, by which the others reach it. */
  readonly address: string;
  readonly #bridge: string;
  #machines = 0;

  private constructor(bridge: string, address: string) {
    this.#bridge = bridge;
    this.address = address;
  }

  static async start(): Promise<MachineNetwork> {
    // 198.18.0.0/15 is for tests (RFC 2544): nobody has an address in it.
    const network = new MachineNetwork(`um${randomBytes(4).toString('hex')}`, `198.${18 + randomInt(2)}.${randomInt(256)}.1`);
    await ip('link', 'add', 'name', network.#bridge, 'type', 'bridge');
    await ip('addr', 'add', `${network.address}/24`, 'dev', network.#bridge);
    await ip('link', 'set', network.#bridge, 'up');
    return network;
  }

  /** @param pid of a process of the machine */
  async connect(pid: number): Promise<{ readonly address: string; readonly link: string }> {
    this.#machines++;
    const [link, address] = [`${this.#bridge}.${this.#machines}`, this.address.replace(/\d+$/, String(this.#machines + 1))];
    await ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid));
    await ip('link', 'set', link, 'master', this.#bridge, 'up');
    const inside = async (...words: readonly string[]): Promise<void> => void (await run('nsenter', ['--net', '--target', String(pid), 'ip', ...words]));
    await inside('addr', 'add', `${address}/24`, 'dev', 'eth0');
    await inside('link', 'set', 'eth0', 'up');
    return { address, link };
  }

  /** The kernel keeps a network as long as it waits for the last word of a connection. */
  async disconnect(link: string): Promise<void> {
    await ip('link', 'del', link);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await ip('link', 'del', this.#bridge);
  }
}

export interface MachineOptions {
  /** A short path, of its files and of the daemons' on it; made if absent. */
  readonly dir: string;
  readonly name: string;
  readonly network: MachineNetwork;
  /** What stands in its /etc/hosts, by name. */
  readonly hosts?: Readonly<Record<string, string>>;
  /** PEM of an authority that it trusts besides the usual ones. */
  readonly ca?: string;
}

export class NodeMachine implements AsyncDisposable {
  readonly name: string;
  readonly dir: string;
  /** What it sees at /etc, /var/lib and /var/cache lies below. */
  readonly root: string;
  /** Of its authorities, on it. */
  readonly caFile: string = AUTHORITIES;
  readonly address: string;
  /** Runs what is given after it there. */
  readonly wrapper: readonly string[];
  readonly #holder: Daemon;
  readonly #leave: () => Promise<void>;

  private constructor({ dir, name, network }: MachineOptions, holder: Daemon, { address, link }: Awaited<ReturnType<MachineNetwork['connect']>>) {
    this.name = name;
    this.#leave = async () => await network.disconnect(link);
    this.dir = dir;
    this.root = join(dir, 'root');
    this.address = address;
    this.#holder = holder;
    this.wrapper = ['nsenter', '--net', '--mount', '--uts', '--target', String(holder.pid), '--'];
  }

  static async start(options: MachineOptions): Promise<NodeMachine> {
    const { dir, name, network, hosts = {}, ca } = options;
    const root = join(dir, 'root');
    await mkdir(root, { recursive: true });
    await run('cp', ['-a', '/etc', root]);
    // As of a machine on which nothing of this was configured.
    for (const one of ['docker', 'containerd', 'containers', 'umbra', 'systemd']) await rm(join(root, 'etc', one), { recursive: true, force: true });
    await writeFile(join(root, 'etc/hosts'), `127.0.0.1 localhost ${name}\n::1 localhost\n${Object.entries(hosts).map(([host, address]) => `${address} ${host}\n`).join('')}`);
    await writeFile(join(root, 'etc/resolv.conf'), '');
    if (ca !== undefined) await appendFile(join(root, AUTHORITIES), `\n${ca}`);
    const holder = await Daemon.start({ command: [join(import.meta.dirname, 'node-machine'), root, name], ready: (output) => output.includes('up') });
    try {
      return new NodeMachine(options, holder, await network.connect(holder.pid));
    } catch (error) {
      await holder.kill();
      throw error;
    }
  }

  /** A program of this machine there; gives its stdout. */
  run(program: string, args: readonly string[], options?: CommandOptions): Promise<string> {
    const [command = '', ...before] = this.wrapper;
    return run(command, [...before, program, ...args], options);
  }

  /** As `run`, for a call that may fail. */
  attempt(program: string, args: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    const [command = '', ...before] = this.wrapper;
    return attempt(command, [...before, program, ...args], options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#leave();
    await this.#holder.stop();
  }
}

async function ip(...words: readonly string[]): Promise<void> {
  await run('ip', words);
}
