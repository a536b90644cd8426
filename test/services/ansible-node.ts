/**
 * A node as Ansible finds it: a user who is not root, sudo, podman by the name of docker, and services that are stand-ins, since
 * there is no systemd here to ask. See the script `ansible-node`.
 */
import { createHash } from 'node:crypto';
import { cp, lstat, mkdir, readFile, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, run, type CommandResult } from './command.ts';

const SCRIPT = join(import.meta.dirname, 'ansible-node');
/** A number and a name that nobody has. */
const UID = '21473';
const USER = 'umbra-job';

export class AnsibleNode {
  readonly root: string;
  /** The user's. */
  readonly home: string;

  private constructor(root: string) {
    this.root = root;
    this.home = join(root, 'home', USER);
  }

  /** @param root made here. @param services that run on it */
  static async create(root: string, services: readonly string[]): Promise<AnsibleNode> {
    const node = new AnsibleNode(root);
    for (const folder of ['bin', 'run/systemd/system', `run/user/${USER}`, 'var/lib/containers', `home/${USER}`]) await mkdir(join(root, folder), { recursive: true });
    await run('cp', ['-a', '/etc', root]);
    await rm(join(root, 'etc/sudoers.d'), { recursive: true, force: true });
    for (const folder of ['containers', 'docker', 'buildkit', 'containerd', 'crio', 'ansible']) await rm(join(root, 'etc', folder), { recursive: true, force: true });
    for (const [file, line] of [['passwd', `${USER}:x:${UID}:${UID}::/home/${USER}:/bin/sh`], ['group', `${USER}:x:${UID}:`], ['shadow', `${USER}:*:19000:0:99999:7:::`]] as const) {
      await node.put(`etc/${file}`, `${await readFile(join(root, 'etc', file), 'utf8')}${line}\n`);
    }
    await node.put('etc/sudoers', `Defaults secure_path="${join(root, 'bin')}:/usr/sbin:/usr/bin:/sbin:/bin"\nroot ALL=(ALL) NOPASSWD: ALL\n${USER} ALL=(ALL) NOPASSWD: ALL\n`, 0o440);
    await node.put('etc/hosts', '127.0.0.1 localhost\n::1 localhost\n');
    await node.put('etc/containers/policy.json', '{ "default": [{ "type": "insecureAcceptAnything" }] }');
    await node.put('etc/containers/storage.conf', '[storage]\ndriver = "vfs"\ngraphroot = "/var/lib/containers/storage"\nrunroot = "/run/containers/storage"\n');
    await cp(join(import.meta.dirname, 'containers.conf'), join(root, 'etc/containers/containers.conf'));
    // As for a member of docker's group.
    await node.put('bin/docker', '#!/bin/sh\nexec sudo -n podman "$@"\n', 0o755);
    await node.put('bin/systemctl', systemctl(services, node.#told), 0o755);
    await run('chown', ['-R', `${UID}:${UID}`, node.home, join(root, 'run/user', USER)]);
    return node;
  }

  /** Runs it as the user. */
  attempt(command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<CommandResult> {
    return attempt(SCRIPT, [this.root, USER, 'env', ...Object.entries(env).map(([name, value]) => `${name}=${value}`), ...command], { timeoutMs: 540_000 });
  }

  /** What systemd was told to do, in order: `restart docker`. */
  async told(): Promise<readonly string[]> {
    return (await readFile(this.#told, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
  }

  async put(path: string, text: string, mode = 0o644): Promise<void> {
    await mkdir(join(this.root, path, '..'), { recursive: true });
    await rm(join(this.root, path), { force: true });
    await writeFile(join(this.root, path), text, { mode });
  }

  /** Owner, mode and content of everything in its /etc and in the user's home, but for what Ansible and skopeo keep there. */
  async snapshot(): Promise<Readonly<Record<string, string>>> {
    const all: Record<string, string> = {};
    for (const top of ['etc', `home/${USER}`]) {
      for (const path of await readdir(join(this.root, top), { recursive: true })) {
        if (/^\.(?:ansible|cache|local)(?:\/|$)/.test(path)) continue;
        const at = join(this.root, top, path);
        const stat = await lstat(at);
        const what = stat.isSymbolicLink() ? await readlink(at) : stat.isFile() ? createHash('sha256').update(await readFile(at)).digest('hex') : '';
        all[`${top}/${path}`] = `${stat.uid} ${(stat.mode & 0o7777).toString(8)} ${what}`;
      }
    }
    return all;
  }

  get #told(): string {
    return join(this.root, 'run/told');
  }
}

/** As much of systemctl as Ansible's modules ask of it. */
function systemctl(services: readonly string[], told: string): string {
  const known = services.join('|');
  return `#!/bin/sh
case $1 in
  list-units) for one in ${services.join(' ')}; do echo "  $one.service loaded active running a stand-in"; done ;;
  list-unit-files) for one in ${services.join(' ')}; do echo "$one.service enabled enabled"; done ;;
  show) case $2 in ${known}) echo LoadState=loaded; echo ActiveState=active ;; *) echo LoadState=not-found; echo ActiveState=inactive ;; esac ;;
  restart | reload | start | stop) echo "$1 $2" >>${told} ;;
  *) echo "systemctl $*: not played here" >&2; exit 1 ;;
esac
`;
}
