/** A node's bootstrap in a format. */
import { filesOf } from './files.ts';
import { cloudInit } from './formats/cloud-init.ts';
import { shell } from './formats/shell.ts';
import { tar } from './formats/tar.ts';
import type { NodeModel } from './node-model.ts';
import { tellsDocker } from './client-files.ts';

export interface Artefact {
  /** E.g. `worker.cloud-init.yaml`. */
  readonly fileName: string;
  readonly mediaType: string;
  readonly body: Buffer;
}

interface Format {
  readonly extension: string;
  readonly mediaType: string;
  readonly says: string;
  readonly render: (model: NodeModel, about: string) => string | Buffer;
}

export const FORMATS = ['cloud-init', 'shell', 'tar'] as const;
export type FormatName = (typeof FORMATS)[number];

const BY_NAME: Readonly<Record<FormatName, Format>> = {
  'cloud-init': { extension: 'cloud-init.yaml', mediaType: 'text/cloud-config', says: 'user data of cloud-init', render: (model, about) => cloudInit(filesOf(model), about) },
  shell: { extension: 'sh', mediaType: 'text/x-shellscript', says: 'a script, for a machine that is there already', render: (model, about) => shell(filesOf(model), about) },
  tar: { extension: 'tar', mediaType: 'application/x-tar', says: 'the files alone, to unpack at /; then run /etc/umbra/install', render: (model) => tar(filesOf(model)) },
};

/** What each is for, in a few words. */
export function describeFormat(format: FormatName): string {
  return BY_NAME[format].says;
}

export function render(model: NodeModel, format: FormatName): Artefact {
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

function about({ cluster, role, program }: NodeModel): string {
  return `Umbra ${program.version} for a ${role} of the ${cluster.coe} cluster ${cluster.name} (${cluster.uuid}).`;
}
