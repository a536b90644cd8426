/**
 * What the runtimes of a node are told, as whole files that are good on any node (`umbra client-config` knows the words);
 * what has to be put beside other people's words, the install script has that command do on the node.
 */
import { plan } from '../../client-config/plan.ts';
import { ANY_MACHINE, CONTAINERD_CONFIG } from '../../client-config/request.ts';
import type { ClientName, Request } from '../../client-config/request.ts';
import { OURS, list, quoted } from '../../client-config/toml-words.ts';
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
  const ours = changes.filter(({ path }) => path !== CONTAINERD_CONFIG);
  return [...ours.map(({ path, content, mode }) => nodeFile(path, content, { mode })), ...(model.cluster.coe === 'kubernetes' ? [defaultHosts(model)] : [])];
}

/** For upstreams that have no file: containerd says in `?ns=` which one it means. For those that Umbra has not either, it says 404. */
function defaultHosts(model: NodeModel): NodeFile {
  const url = quoted(`http://${registryAddress(model)}`);
  const capabilities = `capabilities = ${list(['pull', 'resolve'])}\n`;
  const only = model.fallback === 'none' ? `server = ${url}\n${capabilities}\n` : '';
  return nodeFile(`${ANY_MACHINE.hostsDir}/_default/hosts.toml`, `${OURS}${only}[host.${url}]\n  ${capabilities}`);
}

function requestOf(model: NodeModel): Request {
  return {
    registry: { scheme: 'http', host: registryAddress(model) },
    view: undefined,
    registryOfView: undefined,
    upstreams: model.upstreams,
    insecure: model.insecureRegistries,
    searchRegistries: undefined,
    strict: model.fallback === 'none',
    ca: undefined,
    proxy: undefined,
    login: undefined,
    machine: ANY_MACHINE,
  };
}
