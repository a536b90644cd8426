/**
 * A node of a cluster: a machine on which lies what the cluster service rendered, unpacked from its tar, installed by its script
 * and run as its unit says, for there is no systemd.
 */
import { mkdir, copyFile, readdir, readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Digest } from '../../src/oci/digest.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { knowKeys } from '../support/secret-watch.ts';
import { DEBIAN_PATH, run } from './command.ts';
import { Daemon } from './daemon.ts';
import type { NodeMachine } from './node-machine.ts';

export interface NodeAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Of the body. */
  readonly digest: Digest;
}

export interface AskOptions {
  readonly method?: string;
  readonly body?: string;
  /** `name:password` */
  readonly user?: string;
  /** Whom the request goes to; default: `localhost`. */
  readonly host?: string;
}

export class ClusterNode implements AsyncDisposable {
  readonly machine: NodeMachine;
  readonly port: number;
  #daemon: Daemon | undefined;
  #past = '';

  /** @param port where the registry is to listen */
  constructor(machine: NodeMachine, port: number) {
    this.machine = machine;
    this.port = port;
  }

  /** As users on the node spell it. */
  get host(): string {
    return `localhost:${this.port}`;
  }

  /** All that the program printed so far. */
  get output(): string {
    return this.#past + (this.#daemon?.output ?? '');
  }

  /** @param artifacts of the format `tar` */
  async install(artifacts: Uint8Array): Promise<void> {
    const { root } = this.machine;
    await run('tar', ['-xpf', '-', '-C', root, '--no-same-owner'], { input: artifacts });
    // In the image of a node, before it is one: nothing is started. The program comes from the service.
    await this.machine.run('sh', [join(root, 'etc/umbra/install')], { env: { UMBRA_ROOT: root } });
  }

  async start(): Promise<void> {
    this.#daemon = await Daemon.start({ ...(await this.#command()), ready: (output) => /^umbra: ready\b/m.test(output) });
  }

  /** How it ends where it is not to start; with all that it printed. */
  async startsNot(): Promise<string> {
    return await Daemon.start({ ...(await this.#command()), ready: () => false }).then(async (daemon) => await daemon.stop(), (error: unknown) => String(error));
  }

  async stop(): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    if (daemon === undefined) return;
    // Who it is by now.
    const state = join(this.machine.root, 'var/lib/umbra');
    for (const entry of await readdir(state, { withFileTypes: true }).catch(() => [])) if (entry.isFile()) knowKeys(join(state, entry.name));
    const how = await daemon.stop();
    this.#past += daemon.output;
    if (how !== 'exit code 0') throw new Error(`the registry of ${this.machine.name} ended with ${how}\n${daemon.output.slice(-4000)}`);
  }

  /** Its cache, and who it is; what was installed stays. */
  async wipe(): Promise<void> {
    for (const folder of ['var/lib/umbra', 'var/cache/umbra']) await rm(join(this.machine.root, folder), { recursive: true, force: true });
  }

  /** Who may push, as root on the node reads it. */
  async pushUser(): Promise<{ readonly username: string; readonly password: string }> {
    const { name, password } = JSON.parse(await readFile(join(this.machine.root, 'var/lib/umbra/push-user.json'), 'utf8')) as { readonly name: string; readonly password: string }; // the node wrote it
    return { username: name, password };
  }

  /** Asks the registry, on the node. */
  async ask(path: string, { method = 'GET', body, user, host = 'localhost' }: AskOptions = {}): Promise<NodeAnswer> {
    const args = ['-s', '-i', '--noproxy', '*', '--max-time', '100', '-X', method, ...(method === 'HEAD' ? ['-I'] : []), ...(user === undefined ? [] : ['-u', user]), ...(body === undefined ? [] : ['--data-binary', '@-']), `http://${host}:${this.port}${path}`];
    const { code, stdout, stderr } = await this.machine.attempt('curl', ['-H', 'Accept: application/vnd.oci.image.manifest.v1+json', ...args], body === undefined ? {} : { input: body });
    if (code !== 0) throw new Error(`curl on ${this.machine.name}: exit code ${code} ${stderr}`);
    const end = stdout.indexOf('\r\n\r\n');
    const [first = '', ...lines] = stdout.slice(0, end).split('\r\n');
    const text = stdout.slice(end + 4);
    return { status: Number(first.split(' ')[1]), headers: new Headers(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()])), text, digest: digestOf(Buffer.from(text)) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** What systemd does: `LoadCredential=` hands files over in a folder, which `ExecStart=` names. */
  async #command(): Promise<{ readonly command: readonly string[]; readonly env: Readonly<Record<string, string>> }> {
    const { root, wrapper, caFile } = this.machine;
    const unit = await readFile(join(root, 'etc/systemd/system/umbra.service'), 'utf8');
    const all = (key: string): readonly string[] => Array.from(unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm')), ([, value = '']) => value);
    const credentials = join(root, 'run/credentials');
    await rm(credentials, { recursive: true, force: true });
    await mkdir(credentials, { recursive: true, mode: 0o700 });
    for (const line of all('LoadCredential')) {
      const [name = '', path = ''] = line.split(':');
      await copyFile(join(root, path), join(credentials, name));
      knowKeys(join(credentials, name));
    }
    for (const [kind, at] of [['State', 'var/lib'], ['Cache', 'var/cache']] as const) {
      for (const name of all(`${kind}Directory`)) await mkdir(join(root, at, basename(name)), { recursive: true, mode: 0o700 });
    }
    const [program = '', ...args] = (all('ExecStart')[0] ?? '').split(' ');
    const environment = Object.fromEntries(all('Environment').map((line) => line.replaceAll('"', '').split('=', 2)) as [string, string][]);
    return {
      command: [...wrapper, join(root, program), ...args.map((arg) => arg.replace('${CREDENTIALS_DIRECTORY}', credentials))],
      env: { ...environment, PATH: `${dirname(process.execPath)}:${DEBIAN_PATH}`, NODE_EXTRA_CA_CERTS: caFile },
    };
  }
}
