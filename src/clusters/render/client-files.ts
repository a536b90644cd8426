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

/** Those that a node of its kind always has. */
export function clientsOf({ cluster }: NodeModel): readonly ClientName[] {
  return cluster.coe === 'kubernetes' ? ['kubernetes', 'containers'] : ['containers'];
}

/** dockerd asks mirrors for Docker Hub's images only. */
export function tellsDocker({ upstreams }: NodeModel): boolean {
  return upstreams.includes('docker.io');
}

export function clientFiles(model: NodeModel): readonly NodeFile[] {
  if (model.upstreams.length === 0) return [];
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
    strict: model.fallback === 'none',
    ca: undefined,
    proxy: undefined,
    login: undefined,
    machine: ANY_MACHINE,
  };
}
