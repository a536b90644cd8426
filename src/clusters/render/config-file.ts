/**
 * `umbra.yaml` of a node. What it names beside itself (token, certificates, a literal credential) it names without a folder,
 * so that it holds where systemd or Kubernetes hands all of it to the program: in a folder that is theirs to choose.
 */
import { literally } from '../../config/substitution.ts';
import { registryAddress } from './node-model.ts';
import type { NodeModel } from './node-model.ts';
import { CACHE_FOLDER, CLUSTERS_CA_FILE, CREDENTIAL_FILE, PUSH_PASSWORD_FILE, STATE_FOLDER, STORAGE_CA_FILE, TOKEN_FILE } from './places.ts';
import { printYaml } from './yaml-text.ts';

export function configFile(model: NodeModel): string {
  return printYaml(literalTexts(configOf(model)), `The registry of a ${model.role} of the cluster ${model.cluster.uuid}. Rendered: change the cluster, not this file.`);
}

/** As an object of the configuration's words; files beside it are relative. */
export function configOf(model: NodeModel): Readonly<Record<string, unknown>> {
  const { policy, upstreams, write, login } = model;
  const shares = diskShares(model);
  const readOnly = readOnlyReason(model);
  return {
    workers: 1,
    listeners: [{ address: registryAddress(model) }],
    storage: { ...swift(model, model.storage.container), disk: { root: `${CACHE_FOLDER}/blobs`, maxBytes: shares.images } },
    upstreamStorage: write === 'none'
      ? { driver: 'filesystem', root: `${CACHE_FOLDER}/upstream`, maxBytes: shares.upstream || model.diskBytes }
      : { ...swift(model, `${model.storage.container}-upstream`), ...(shares.upstream > 0 && { disk: { root: `${CACHE_FOLDER}/upstream-blobs`, maxBytes: shares.upstream } }) },
    upstreams: Object.fromEntries(upstreams.map((host) => [host, { policy }])),
    ...(readOnly !== undefined && { readOnly }),
    // Whatever is on the node reaches its loopback, so that without any auth everybody there could push.
    auth: {
      keyFile: `${STATE_FOLDER}/tokens.key`,
      anonymous: 'pull',
      ...(write === 'all' && login.kind === 'literal' && login.pushUser !== undefined && {
        users: [{ name: login.pushUser.name, passwordFile: beside(PUSH_PASSWORD_FILE), access: 'push' }],
      }),
    },
    ...(login.kind === 'bootstrap' && {
      node: {
        clusters: login.url,
        role: model.role,
        ...(login.ca !== undefined && { ca: beside(CLUSTERS_CA_FILE) }),
        tokenFile: beside(TOKEN_FILE),
        state: STATE_FOLDER,
        ...(login.storage !== undefined && { storage: login.storage }),
      },
    }),
  };
}

/** Bytes for each of the two stores; nothing is kept of upstreams that are never asked. */
function diskShares({ diskBytes, policy }: NodeModel): { readonly images: number; readonly upstream: number } {
  const upstream = policy === 'proxy' ? Math.floor(diskBytes / 2) : 0;
  return { images: diskBytes - upstream, upstream };
}

/** What whoever pushes to a node is told, where nodes take no images. */
function readOnlyReason({ cluster, write, storage }: NodeModel): string | undefined {
  if (write === 'all') return undefined;
  const written = write === 'none' ? 'write nothing to the object store' : 'keep there what they pull, and write nothing else';
  return `nodes of the cluster ${JSON.stringify(cluster.name)} ${written} (registry_write: ${write}); push to a registry that may write the container ${storage.container}, or make a cluster with registry_write: all`;
}

function swift({ storage, login }: NodeModel, container: string): Readonly<Record<string, unknown>> {
  return {
    driver: 'swift',
    container,
    ...(storage.account !== undefined && { account: storage.account }),
    ...(storage.region !== undefined && { region: storage.region }),
    interface: storage.interface,
    ...(storage.ca !== undefined && { ca: beside(STORAGE_CA_FILE) }),
    auth: { credentialFile: login.kind === 'bootstrap' ? `${STATE_FOLDER}/credential.json` : beside(CREDENTIAL_FILE) },
  };
}

function beside(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** `${` in a value is that, and no variable of the environment. */
function literalTexts(value: unknown): unknown {
  if (typeof value === 'string') return literally(value);
  if (Array.isArray(value)) return value.map(literalTexts);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, literalTexts(inner)]));
}
