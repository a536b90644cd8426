/**
 * What the runtimes of a node are told, as whole files that are good on any node (`umbra client-config` knows the words);
 * what has to be put beside other people's words, the install script has that command do on the node.
 */
import { plan } from '../../client-config/plan.ts';
import { ANY_MACHINE, CONTAINERD_CONFIG } from '../../client-config/request.ts';
import type { ClientName, Request } from '../../client-config/request.ts';
import { nodeFile } from './node-file.ts';
import type { NodeFile } from './node-file.ts';
import { registryAddress } from './node-model.ts';
import type { NodeModel } from './node-model.ts';
import { shellWord } from './shell-words.ts';

/** Those that a node of its kind always has. */
export function clientsOf({ cluster }: NodeModel): readonly ClientName[] {
  return cluster.coe === 'kubernetes' ? ['kubernetes', 'containers'] : ['containers'];
}

/** dockerd asks mirrors for Docker Hub's images only. */
export function tellsDocker({ upstreams, insecureRegistries }: NodeModel): boolean {
  return upstreams.includes('docker.io') || insecureRegistries.length > 0;
}

/** Whether there is anything to tell them. */
export function tellsClients({ upstreams, insecureRegistries }: NodeModel): boolean {
  return upstreams.length + insecureRegistries.length > 0;
}

/** What `umbra client-config apply` is told on the node, as words of a shell. */
export function tellingWords(model: NodeModel): string {
  const { upstreams, insecureRegistries } = model;
  const insecure = insecureRegistries.length === 0 ? '' : ` --insecure-registries ${shellWord(insecureRegistries.join(','))}`;
  return `--registry http://${registryAddress(model)} --upstreams ${shellWord(upstreams.join(','))}${insecure}`;
}

export function clientFiles(model: NodeModel): readonly NodeFile[] {
  if (!tellsClients(model)) return [];
  const { changes } = plan(model.cluster.coe === 'kubernetes' ? ['containerd', 'containers'] : ['containers'], requestOf(model));
  return changes.filter(({ path }) => path !== CONTAINERD_CONFIG).map(({ path, content, mode }) => nodeFile(path, content, { mode }));
}

function requestOf(model: NodeModel): Request {
  return {
    registry: { scheme: 'http', host: registryAddress(model) },
    view: undefined,
    registryOfView: undefined,
    upstreams: model.upstreams,
    others: true,
    insecure: model.insecureRegistries,
    searchRegistries: undefined,
    strict: model.fallback === 'none',
    ca: undefined,
    proxy: undefined,
    login: undefined,
    machine: ANY_MACHINE,
  };
}
