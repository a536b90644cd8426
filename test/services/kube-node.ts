/**
 * A node of Kubernetes and what a kubelet does there with the pod of a workload: volumes as it lays them out, commands as it
 * expands them, containers with the rights that the pod says. systemd is a stand-in that notes what it is told.
 */
import { chmod, chown, lstat, mkdir, readFile, readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { daemonSetFiles, expanded } from '../../src/clusters/render/formats/decoded.fixture.ts';
import { attempt, type CommandResult } from './command.ts';
import { Daemon } from './daemon.ts';

const here = (name: string): string => join(import.meta.dirname, name);

/** As far as it is made use of here. */
interface Pod {
  readonly hostNetwork: boolean;
  readonly securityContext: { readonly fsGroup: number };
  readonly initContainers: readonly [Container];
  readonly containers: readonly [Container];
  readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string }; readonly projected?: { readonly defaultMode: number } }[];
}

interface Container {
  readonly command: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
  readonly securityContext: {
    readonly privileged?: boolean;
    readonly runAsUser: number;
    readonly runAsGroup: number;
    readonly readOnlyRootFilesystem?: boolean;
    readonly allowPrivilegeEscalation?: boolean;
    readonly capabilities?: { readonly drop: readonly string[] };
  };
}

export interface KubeNodeOptions {
  /** A short path; made if absent. */
  readonly dir: string;
  /** Files of an unpacked image, which nothing else writes to. */
  readonly rootfs: string;
  /** What the image says of its environment: `NAME=value`. */
  readonly env: readonly string[];
}

export class KubeNode implements AsyncDisposable {
  /** The folder that has its files. */
  readonly root: string;
  readonly #options: KubeNodeOptions;
  readonly #holder: Daemon;

  private constructor(options: KubeNodeOptions, root: string, holder: Daemon) {
    this.#options = options;
    this.root = root;
    this.#holder = holder;
  }

  /** @param active services that run */
  static async start(options: KubeNodeOptions, active: readonly string[]): Promise<KubeNode> {
    const root = join(options.dir, 'root');
    for (const folder of ['etc', 'run', 'var/lib', 'var/cache']) await mkdir(join(root, folder), { recursive: true });
    await writeFile(join(root, 'run/active'), active.map((name) => `${name}\n`).join(''));
    await writeFile(join(root, 'run/systemctl'), `#!/bin/sh\n[ "$1" != is-active ] || exec grep -qxF "$3" ${root}/run/active\necho "$*" >>${root}/run/told\n[ ! -e ${root}/run/broken ]\n`, { mode: 0o755 });
    const holder = await Daemon.start({ command: [here('kube-node'), root], ready: (output) => /^up \d+$/m.test(output) });
    return new KubeNode(options, root, holder);
  }

  async put(path: string, text: string, mode = 0o644): Promise<void> {
    await mkdir(dirname(join(this.root, path)), { recursive: true });
    await writeFile(join(this.root, path), text, { mode });
  }

  async read(path: string): Promise<string> {
    return await readFile(join(this.root, path), 'utf8');
  }

  /** What systemd was told to do since this was asked last. */
  async told(): Promise<readonly string[]> {
    const file = join(this.root, 'run/told');
    const text = await readFile(file, 'utf8').catch(() => '');
    await rm(file, { force: true });
    return text.split('\n').filter((line) => line !== '');
  }

  /** Whether systemd fails at what it is told. */
  async breakSystemd(broken: boolean): Promise<void> {
    if (broken) await this.put('run/broken', '');
    else await rm(join(this.root, 'run/broken'));
  }

  /** Owner, mode and content of everything that a boot leaves. */
  async snapshot(): Promise<Readonly<Record<string, string>>> {
    const all: Record<string, string> = {};
    for (const top of (await readdir(this.root)).filter((name) => name !== 'proc' && name !== 'run')) {
      for (const path of await readdir(join(this.root, top), { recursive: true })) {
        const at = join(this.root, top, path);
        const stat = await lstat(at);
        all[`/${top}/${path}`] = `${stat.uid}:${stat.gid} ${(stat.mode & 0o7777).toString(8)} ${stat.isSymbolicLink() ? await readlink(at) : stat.isFile() ? await readFile(at, 'utf8') : ''}`;
      }
    }
    return all;
  }

  /** Runs the init container of what `kubectl apply` is given, to its end. */
  async prepare(manifests: string): Promise<CommandResult> {
    const pod = podOf(manifests);
    const [program = '', ...args] = await this.#command(manifests, pod, pod.initContainers[0]);
    return await attempt(program, args);
  }

  /** Runs the other one. @param ready asked with what it printed so far */
  async serve(manifests: string, ready: (output: string) => boolean): Promise<Daemon> {
    const pod = podOf(manifests);
    return await Daemon.start({ command: await this.#command(manifests, pod, pod.containers[0]), ready });
  }

  async #command(manifests: string, pod: Pod, { command, env = [], volumeMounts = [], securityContext: rights }: Container): Promise<readonly string[]> {
    const { dir, rootfs, env: imageEnv } = this.#options;
    const variables: Record<string, string> = {};
    for (const { name, value } of env) variables[name] = expanded(value, variables);
    const mounts = await Promise.all(volumeMounts.map(async ({ name, mountPath, readOnly = false }) => {
      const volume = pod.volumes.find((one) => one.name === name);
      const from = volume?.hostPath === undefined ? await this.#project(manifests, name, volume?.projected?.defaultMode ?? 0o644, pod.securityContext.fsGroup) : join(this.root, volume.hostPath.path);
      return `--volume=${from}:${mountPath}:rbind${readOnly ? ',ro' : ''}`;
    }));
    return [
      'nsenter', '--mount', '--target', this.#pid, '--', here('containers'), join(dir, 'p'), 'podman', 'run', '--rm', '--workdir=/conf',
      pod.hostNetwork ? '--network=host' : '--network=none',
      `--user=${rights.runAsUser}:${rights.runAsGroup}`, `--group-add=${pod.securityContext.fsGroup}`,
      ...(rights.privileged === true ? ['--privileged'] : []),
      ...(rights.capabilities?.drop ?? []).map((name) => `--cap-drop=${name.toLowerCase()}`),
      ...(rights.allowPrivilegeEscalation === false ? ['--security-opt=no-new-privileges'] : []),
      ...(rights.readOnlyRootFilesystem === true ? ['--read-only', '--read-only-tmpfs=false'] : []),
      ...[...imageEnv, ...Object.entries(variables).map(([name, value]) => `${name}=${value}`)].map((each) => `--env=${each}`),
      ...mounts,
      '--rootfs', rootfs, ...command.map((word) => expanded(word, variables)),
    ];
  }

  get #pid(): string {
    return /^up (\d+)$/m.exec(this.#holder.output)?.[1] ?? '';
  }

  /** A folder as the kubelet fills it, so that all files change at once: https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter. */
  async #project(manifests: string, name: string, mode: number, group: number): Promise<string> {
    const folder = join(this.#options.dir, 'volumes', name);
    await rm(folder, { recursive: true, force: true });
    await mkdir(join(folder, '..2026'), { recursive: true });
    await symlink('..2026', join(folder, '..data'));
    for (const [file, content] of Object.entries(daemonSetFiles(manifests))) {
      const at = join(folder, '..2026', file);
      await writeFile(at, content);
      await chown(at, 0, group);
      await chmod(at, mode);
      await symlink(join('..data', file), join(folder, file));
    }
    return folder;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The first of its processes has no ear for SIGTERM.
    await this.#holder.kill();
  }
}

function podOf(manifests: string): Pod {
  const documents = parseAllDocuments(manifests, { version: '1.1' }).map((document) => document.toJS() as { readonly kind: string; readonly spec: { readonly template: { readonly spec: Pod } } });
  const workload = documents.find(({ kind }) => kind === 'DaemonSet');
  if (workload === undefined) throw new Error('there is no DaemonSet among the manifests');
  return workload.spec.template.spec;
}
