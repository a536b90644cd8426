/**
 * A machine with a real systemd as its first process, files of its own, and no more units than it takes to boot: so that it
 * boots at once, and so that whatever else runs on it is a test's.
 */
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, run, type CommandOptions, type CommandResult } from './command.ts';
import { Daemon } from './daemon.ts';

const UP = /^up (\d+)$/m;
/** What the units of a distribution stand on. */
const BASE: Readonly<Record<string, string>> = {
  'sysinit.target': 'Wants=systemd-journald.service\nAfter=systemd-journald.service',
  'basic.target': 'Requires=sysinit.target\nAfter=sysinit.target',
  'multi-user.target': 'Requires=basic.target\nAfter=basic.target',
  'network-online.target': '',
  'shutdown.target': 'DefaultDependencies=no',
};

export class SystemdMachine implements AsyncDisposable {
  /** What it sees at /etc, /opt, /var and /tmp lies below. */
  readonly root: string;
  #daemon: Daemon | undefined;

  private constructor(root: string) {
    this.root = root;
  }

  /** @param root made if absent. The machine is off. */
  static async create(root: string): Promise<SystemdMachine> {
    for (const folder of ['opt', 'tmp', 'var/lib', 'var/cache', 'var/log', 'var/tmp']) await mkdir(join(root, folder), { recursive: true });
    await symlink('../run', join(root, 'var/run'));
    await run('cp', ['-a', '/etc', root]);
    for (const one of ['docker', 'containerd', 'containers', 'crio', 'umbra', 'systemd', 'fstab', 'machine-id']) await rm(join(root, 'etc', one), { recursive: true, force: true });
    for (const one of ['base', 'system']) await mkdir(join(root, 'etc/systemd', one), { recursive: true });
    await run('sh', ['-c', 'cp -a /lib/systemd/system/systemd-journald.* /lib/systemd/system/systemd-journald-dev-log.socket "$0"', join(root, 'etc/systemd/base')]);
    for (const [name, lines] of Object.entries(BASE)) await writeFile(join(root, 'etc/systemd/base', name), `[Unit]\n${lines}\n`);
    return new SystemdMachine(root);
  }

  /** A service that the machine has besides, which is there once its command has ended well, and begins at boot. */
  async addService(name: string, command: string): Promise<void> {
    const folder = join(this.root, 'etc/systemd/system');
    await mkdir(join(folder, 'multi-user.target.wants'), { recursive: true });
    await writeFile(join(folder, name), `[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=${command}\n`);
    await symlink(`../${name}`, join(folder, 'multi-user.target.wants', name));
  }

  /** Until nothing more is to be started. */
  async boot(): Promise<void> {
    this.#daemon = await Daemon.start({
      command: [join(import.meta.dirname, 'systemd-machine'), this.root],
      ready: async (output) => UP.test(output) && /^(?:running|degraded)$/m.test((await attempt('nsenter', [...wrapper(output), 'systemctl', 'is-system-running'])).stdout),
    });
  }

  /** As a loss of power does. */
  async off(): Promise<void> {
    await this.#daemon?.stop();
    this.#daemon = undefined;
  }

  /** A program on it; gives its stdout. */
  async run(program: string, args: readonly string[], options?: CommandOptions): Promise<string> {
    return await run('nsenter', [...this.#wrapper, program, ...args], options);
  }

  /** As `run`, for a call that may fail. */
  async attempt(program: string, args: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return await attempt('nsenter', [...this.#wrapper, program, ...args], options);
  }

  /** A property of a unit, as `systemctl show` prints it. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.run('systemctl', ['show', '--value', '--property', name, unit])).trim();
  }

  get #wrapper(): readonly string[] {
    return wrapper(this.#daemon?.output ?? '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.off();
  }
}

function wrapper(output: string): readonly string[] {
  return ['--mount', '--pid', '--uts', '--ipc', '--target', UP.exec(output)?.[1] ?? '', '--'];
}
