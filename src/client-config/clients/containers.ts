/**
 * podman, buildah, skopeo and CRI-O: a drop-in of containers-registries.conf(5). Read at each pull. The last file that
 * speaks of a prefix wins, so ours has a name that comes late.
 */
import type { ClientPlan, ServiceNeed } from '../change.ts';
import { loginOfUser } from '../login.ts';
import { wholeFile } from '../merge/whole.ts';
import { Refused, pathOf } from '../request.ts';
import type { Request } from '../request.ts';
import { OURS, list, quoted } from '../toml-words.ts';

export const REGISTRIES = '/etc/containers/registries.conf.d/900-umbra.conf';

export function containers(request: Request): ClientPlan {
  return { changes: [...registries(request), ...loginOfUser('.config/containers/auth.json', request)], notes: [] };
}

export function registries(request: Request, needs?: ServiceNeed): ClientPlan['changes'] {
  const { registry, upstreams, strict, ca } = request;
  const ported = upstreams.find((host) => host.includes(':'));
  if (ported !== undefined) throw new Refused(`podman and its kind cannot ask for images of ${ported} behind a path, which has no colons: leave it out of --upstreams`);
  const insecure = registry.scheme === 'http' ? ['insecure = true'] : [];
  const tables = upstreams.map((host) => {
    const location = quoted(`${registry.host}/${pathOf(request, host)}`);
    if (strict) return ['[[registry]]', `prefix = ${quoted(host)}`, `location = ${location}`, ...insecure];
    return ['[[registry]]', `prefix = ${quoted(host)}`, `location = ${quoted(host)}`, '[[registry.mirror]]', `location = ${location}`, ...insecure];
  });
  // Pushes, and pulls by Umbra's own name.
  if (registry.scheme === 'http') tables.push(['[[registry]]', `location = ${quoted(registry.host)}`, ...insecure]);
  tables.push(...request.insecure.map((host) => ['[[registry]]', `location = ${quoted(host)}`, 'insecure = true']));
  const search = unqualified(request);
  const content = OURS + [...search, ...tables.map((lines) => `${lines.join('\n')}\n`)].join('\n');
  const certificate = ca === undefined || registry.scheme === 'http' ? [] : [wholeFile({ path: `/etc/containers/certs.d/${registry.host}/umbra.crt`, content: ca })];
  return [wholeFile({ path: REGISTRIES, content, ...(needs && { needs }) }), ...certificate];
}

function unqualified({ searchRegistries, upstreams, machine }: Request): readonly string[] {
  const hosts = searchRegistries ?? (upstreams.includes('docker.io') && !machine.hasSearchRegistries ? ['docker.io'] : undefined);
  return hosts === undefined ? [] : [`unqualified-search-registries = ${list(hosts)}\n`];
}
