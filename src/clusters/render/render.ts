/** A node's bootstrap in a format: which formats there are, and what each needs. */
import { createHash } from 'node:crypto';
import { tellsDocker } from './client-files.ts';
import { prepareScript, undoScript } from './daemon-set-scripts.ts';
import { filesOf, ownFiles } from './files.ts';
import { butane } from './formats/butane.ts';
import { cloudInit } from './formats/cloud-init.ts';
import { daemonSet, removal } from './formats/daemon-set.ts';
import { hotFragment, hotServer } from './formats/hot.ts';
import { ignition } from './formats/ignition.ts';
import { kubeadm } from './formats/kubeadm.ts';
import { shell } from './formats/shell.ts';
import { tar } from './formats/tar.ts';
import { registryAddress } from './node-model.ts';
import type { NodeModel } from './node-model.ts';
import { TOKEN_FILE } from './places.ts';
import { removeScript } from './remove-script.ts';

export interface Artefact {
  /** E.g. `worker.cloud-init.yaml`. */
  readonly fileName: string;
  readonly mediaType: string;
  readonly body: Buffer;
}

export const FORMATS = [
  'cloud-init', 'ignition', 'butane', 'kubeadm', 'shell', 'hot', 'hot-server', 'daemonset', 'tar',
  // Of nodes that have a registry already; without secrets.
  'upgrade', 'remove', 'daemonset-upgrade', 'daemonset-remove',
] as const;
export type FormatName = (typeof FORMATS)[number];

interface Format {
  readonly extension: string;
  readonly mediaType: string;
  /** What it cannot do without, besides what every node has. */
  readonly needs: 'tarballs' | 'image' | 'nothing';
  readonly onlyKubernetes?: boolean;
  /** Not given: for a node to be. */
  readonly purpose?: 'upgrade' | 'removal';
  readonly render: (model: NodeModel, about: string) => string | Buffer;
}

const YAML = 'application/yaml';
const SCRIPT = 'text/x-shellscript';

const BY_NAME: Readonly<Record<FormatName, Format>> = {
  'cloud-init': { extension: 'cloud-init.yaml', mediaType: 'text/cloud-config', needs: 'tarballs', render: (model, about) => cloudInit(filesOf(model), about) },
  ignition: { extension: 'ign', mediaType: 'application/vnd.coreos.ignition+json', needs: 'tarballs', render: (model) => ignition(filesOf(model)) },
  butane: { extension: 'bu', mediaType: YAML, needs: 'tarballs', render: (model, about) => butane(filesOf(model), about) },
  kubeadm: { extension: 'kubeadm.yaml', mediaType: YAML, needs: 'tarballs', onlyKubernetes: true, render: (model, about) => kubeadm(filesOf(model), about) },
  shell: { extension: 'sh', mediaType: SCRIPT, needs: 'tarballs', render: (model, about) => shell(filesOf(model), about) },
  hot: { extension: 'hot.yaml', mediaType: YAML, needs: 'tarballs', render: (model, about) => hotFragment(filesOf(model), about, registryAddress(model)) },
  'hot-server': { extension: 'hot-server.yaml', mediaType: YAML, needs: 'tarballs', render: (model, about) => hotServer(filesOf(model), about, registryAddress(model)) },
  daemonset: { extension: 'daemonset.yaml', mediaType: YAML, needs: 'image', onlyKubernetes: true, render: (model, about) => daemonSet(model, partsOf(model), about) },
  tar: { extension: 'tar', mediaType: 'application/x-tar', needs: 'tarballs', render: (model) => tar(filesOf(model)) },
  upgrade: { extension: 'upgrade.sh', mediaType: SCRIPT, needs: 'tarballs', purpose: 'upgrade', render: (model, about) => shell(filesOf(model).filter(({ secret }) => !secret), `${about}\nFor a node that has a registry already: its secrets stay as they are.`) },
  remove: { extension: 'remove.sh', mediaType: SCRIPT, needs: 'nothing', purpose: 'removal', render: (model, about) => removeScript(model, filesOf(model), about) },
  'daemonset-upgrade': { extension: 'daemonset-upgrade.yaml', mediaType: YAML, needs: 'image', onlyKubernetes: true, purpose: 'upgrade', render: (model, about) => daemonSet(model, partsOf(model), about, false) },
  'daemonset-remove': { extension: 'daemonset-remove.yaml', mediaType: YAML, needs: 'image', onlyKubernetes: true, purpose: 'removal', render: (model, about) => removal(model, undoScript(), about) },
};

/** What it is for. `new node`: with how that logs in, token or credential; the others hold no secret, and whichever token the model has is of no matter. */
export function purposeOf(format: FormatName): 'new node' | 'upgrade' | 'removal' {
  return BY_NAME[format].purpose ?? 'new node';
}

/** Why there is no such format of such a node; undefined: there is. */
export function problemOf({ cluster, program }: NodeModel, format: FormatName): string | undefined {
  const { needs, onlyKubernetes = false } = BY_NAME[format];
  if (onlyKubernetes && cluster.coe !== 'kubernetes') return `coe: ${cluster.coe} has no ${format}, which is Kubernetes'`;
  if (needs === 'image' && program.image === undefined) return `program.image: missing: ${format} runs Umbra's container image, from a registry that nodes reach without it`;
  if (needs === 'tarballs' && Object.keys(program.tarballs).length === 0) return `program: missing: amd64, arm64 or both, with url and sha256 of a tarball of \`make dist\`, for ${format}`;
  return undefined;
}

/** @throws Error where `problemOf` says why */
export function render(model: NodeModel, format: FormatName): Artefact {
  const problem = problemOf(model, format);
  if (problem !== undefined) throw new Error(problem);
  const { extension, mediaType, render: say } = BY_NAME[format];
  return { fileName: `${model.role}.${extension}`, mediaType, body: Buffer.from(say(model, about(model))) };
}

/** What whoever uses it should know. */
export function warningsOf(model: NodeModel): readonly string[] {
  const { login, fallback, write, cluster } = model;
  return [
    ...(login.kind === 'literal' ? ['the credential stands in what is rendered, for everybody who can read user data; it can be changed by rendering again only. A bootstrap token has neither fault'] : []),
    ...(fallback === 'none' && tellsDocker(model) && cluster.coe !== 'kubernetes' ? ['docker has no way to be kept from Docker Hub where the registry fails: its mirrors fall back, whatever fallback says'] : []),
    ...(write === 'all' && login.kind === 'literal' && login.pushUser === undefined ? ['write: all without a pushUser: nobody can push'] : []),
  ];
}

function partsOf(model: NodeModel): Parameters<typeof daemonSet>[1] {
  const own = ownFiles(model);
  // A new token is of no interest to a node that has used one.
  const fingerprint = createHash('sha256').update(JSON.stringify(own.filter(({ path }) => path !== TOKEN_FILE))).digest('hex');
  return { own, prepare: prepareScript(model), fingerprint };
}

function about({ cluster, role, program }: NodeModel): string {
  return `Umbra ${program.version} for a ${role} of the ${cluster.coe} cluster ${cluster.name} (${cluster.uuid}).`;
}
