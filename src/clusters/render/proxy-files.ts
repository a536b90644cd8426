/** How the programs of a node reach the world where there is a proxy between. Loopback, where the registry is, never through it. */
import { nodeFile } from './node-file.ts';
import type { NodeFile } from './node-file.ts';
import type { NodeProxies } from './node-model.ts';
import { UNITS_FOLDER } from './places.ts';
import { environmentLine } from './systemd-words.ts';

const LOOPBACK = ['localhost', '127.0.0.1', '::1'];

/** A drop-in for each service that may be there. A name that sorts late: what the image's own say before is overridden. */
export const PROXY_PATHS: readonly string[] = ['docker', 'containerd', 'crio', 'kubelet'].map((service) => `${UNITS_FOLDER}/${service}.service.d/90-umbra-proxy.conf`);

/** At all of `PROXY_PATHS`, or none. */
export function proxyFiles(proxies: NodeProxies | undefined): readonly NodeFile[] {
  if (proxies === undefined) return [];
  const content = `[Service]\n${proxyEnvironment(proxies).map(([name, value]) => `${environmentLine(name, value)}\n`).join('')}`;
  return PROXY_PATHS.map((path) => nodeFile(path, content));
}

/** In both spellings, since curl reads HTTP_PROXY in lower case alone, and Go prefers the upper. */
export function proxyEnvironment({ http, https, none }: NodeProxies): readonly (readonly [name: string, value: string])[] {
  const direct = [...new Set([...LOOPBACK, ...none])].join(',');
  return [['HTTP_PROXY', http], ['HTTPS_PROXY', https], ['NO_PROXY', direct]].flatMap(([name, value]) =>
    name === undefined || value === undefined ? [] : [[name, value] as const, [name.toLowerCase(), value] as const],
  );
}
