/**
 * The labels `registry_*` of a template or cluster over the service's defaults: the one place where they are read, checked
 * and described. Whether a caller may have what they ask for is decided elsewhere.
 */
import { BlockList, isIP } from 'node:net';
import type { ClusterDefaults } from '../../config/config.ts';
import { parseSize } from '../../config/quantity.ts';
import { containerProblem, registryHostProblem } from '../../config/words.ts';
import { CREDENTIAL_MODES, FALLBACKS, FIRST_FREE_PORT, LAST_PORT, POLICIES, TAKEN_PORTS, WRITES, type RegistrySettings } from '../words.ts';
import { readBoolean, type Labels } from './field.ts';
import { ApiProblem, shown } from './problem.ts';

export interface LabelRules {
  readonly defaults: ClusterDefaults;
  readonly allowPrivateUpstreams: boolean;
}

interface Label {
  readonly name: string;
  readonly words: string;
  readonly description: string;
}

/** The second container is named after the first. */
const MAX_CONTAINER_BYTES = 256 - '-upstream'.length;
const MAX_UPSTREAMS = 50;

export const LABELS: readonly Label[] = [
  { name: 'registry_port', words: `a port from ${FIRST_FREE_PORT} to ${LAST_PORT} that nothing else has`, description: 'Where the registry listens on each node.' },
  { name: 'registry_policy', words: POLICIES.map((word) => `\`${word}\``).join(', '), description: 'What nodes pull that the registry does not have: `proxy` asks the upstream, `approved` gives what was approved, `local` gives nothing.' },
  { name: 'registry_upstreams', words: 'hosts with commas between them', description: 'The registries that it stands for, such as `docker.io,quay.io`. HTTPS only.' },
  { name: 'registry_container', words: 'the name of a container', description: 'Where images are, in the project of the cluster. Not set: `registry-<uuid>`. Clusters with the same one share images.' },
  { name: 'registry_fallback', words: FALLBACKS.map((word) => `\`${word}\``).join(', '), description: "Where clients on a node turn while the node's registry does not answer. Only the policy `proxy` may have `upstream`." },
  { name: 'registry_credential_mode', words: CREDENTIAL_MODES.map((word) => `\`${word}\``).join(', '), description: 'How nodes are let into the object store.' },
  { name: 'registry_write', words: WRITES.map((word) => `\`${word}\``).join(', '), description: 'What nodes may write: nothing (what they fetch stays on their disks), the view `upstream`, everything (pushing works from every node).' },
  { name: 'registry_quota', words: 'a size such as `500GiB`', description: 'The most that the container of pushed images may hold; that of what is fetched from upstreams has no bound.' },
  { name: 'registry_purge', words: 'true or false', description: 'The containers go with the cluster. Not set: false.' },
];
const PREFIX = 'registry_';
const NAMES: ReadonlySet<string> = new Set(LABELS.map(({ name }) => name));

/**
 * @param apiServerPort of a cluster with a registry, which that cannot have
 * @throws ApiProblem naming the label
 */
export function registrySettings(labels: Labels, { defaults, allowPrivateUpstreams }: LabelRules, apiServerPort?: number): RegistrySettings {
  const unknown = Object.keys(labels).find((name) => name.startsWith(PREFIX) && !NAMES.has(name));
  if (unknown !== undefined) throw labelProblem(unknown, labels[unknown], `there is no such label; expected one of ${[...NAMES].join(', ')}`);
  const policy = word(labels, 'registry_policy', POLICIES) ?? defaults.policy;
  const fallback = word(labels, 'registry_fallback', FALLBACKS);
  if (fallback === 'upstream' && policy !== 'proxy') throw labelProblem('registry_fallback', fallback, `expected none: clients would go past registry_policy ${policy} while a node's registry is away`);
  return {
    port: port(labels, defaults.port, apiServerPort),
    policy,
    upstreams: upstreams(labels, allowPrivateUpstreams) ?? defaults.upstreams,
    fallback: policy === 'proxy' ? (fallback ?? defaults.fallback ?? 'upstream') : 'none',
    write: word(labels, 'registry_write', WRITES) ?? defaults.write,
    credentialMode: word(labels, 'registry_credential_mode', CREDENTIAL_MODES) ?? defaults.credentialMode,
    container: container(labels),
    quotaBytes: quota(labels),
    purge: purge(labels),
  };
}

function labelProblem(name: string, value: unknown, why: string): ApiProblem {
  return new ApiProblem('invalid', `Invalid label ${name}, '${shown(value)}': ${why}`);
}

function word<const Word extends string>(labels: Labels, name: string, words: readonly Word[]): Word | undefined {
  const value = labels[name];
  const found = words.find((each) => each === value);
  if (value !== undefined && found === undefined) throw labelProblem(name, value, `expected one of ${words.join(', ')}`);
  return found;
}

function port(labels: Labels, fallback: number, apiServerPort: number | undefined): number {
  const { registry_port: value = String(fallback) } = labels;
  const number = /^\d{1,5}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= FIRST_FREE_PORT && number <= LAST_PORT)) throw labelProblem('registry_port', value, `expected a port from ${FIRST_FREE_PORT} to ${LAST_PORT}`);
  const taken = number === apiServerPort ? 'the API of Kubernetes (apiserver_port)' : TAKEN_PORTS.get(number);
  if (taken !== undefined) throw labelProblem('registry_port', value, `expected another port: this is that of ${taken}`);
  return number;
}

function upstreams(labels: Labels, allowPrivate: boolean): readonly string[] | undefined {
  const { registry_upstreams: value } = labels;
  if (value === undefined) return undefined;
  const hosts = value.split(',').map((part) => part.trim()).filter((part) => part !== '');
  if (hosts.length === 0) throw labelProblem('registry_upstreams', value, 'expected hosts such as docker.io,quay.io; for none at all there is registry_policy local');
  if (hosts.length > MAX_UPSTREAMS) throw labelProblem('registry_upstreams', value, `expected at most ${MAX_UPSTREAMS} hosts`);
  return [...new Set(hosts.map((written) => upstream(written, allowPrivate)))];
}

function upstream(written: string, allowPrivate: boolean): string {
  const [, scheme, rest = ''] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(written) ?? [];
  if (scheme !== undefined && scheme.toLowerCase() !== 'https') throw labelProblem('registry_upstreams', written, 'expected https: nodes must know whom they pull from');
  const host = rest.replace(/\/$/, '');
  // A literal that JavaScript reads as an address, 0x7f.1 say, is one for the node's resolver too.
  const { hostname = '' } = URL.parse(`https://${host}`) ?? {};
  if (!allowPrivate && isPrivate(hostname)) throw labelProblem('registry_upstreams', written, 'expected a public registry: addresses of private networks are reached only where clusters.allowPrivateUpstreams lets them');
  const problem = registryHostProblem(host);
  if (problem !== undefined) throw labelProblem('registry_upstreams', written, problem);
  return host;
}

/** RFC 6890 and what is like it. */
const PRIVATE = new BlockList();
for (const network of ['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24', '192.168.0.0/16', '198.18.0.0/15', '224.0.0.0/3']) {
  const [address = '', prefix] = network.split('/');
  PRIVATE.addSubnet(address, Number(prefix), 'ipv4');
}
for (const [address, prefix] of [['::', 127], ['64:ff9b::', 96], ['fc00::', 7], ['fe80::', 10], ['ff00::', 8]] as const) PRIVATE.addSubnet(address, prefix, 'ipv6');

function isPrivate(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  const family = isIP(host);
  return family === 0 ? host === 'localhost' || host.endsWith('.localhost') : PRIVATE.check(host, family === 6 ? 'ipv6' : 'ipv4');
}

function container(labels: Labels): string | undefined {
  const { registry_container: value } = labels;
  if (value === undefined) return undefined;
  const problem = containerProblem(value) ?? (Buffer.byteLength(value) > MAX_CONTAINER_BYTES ? `expected at most ${MAX_CONTAINER_BYTES} bytes` : undefined);
  if (problem !== undefined) throw labelProblem('registry_container', value, problem);
  return value;
}

function quota(labels: Labels): number | undefined {
  const { registry_quota: value } = labels;
  if (value === undefined) return undefined;
  const bytes = parseSize(value);
  if (bytes === undefined || bytes < 1) throw labelProblem('registry_quota', value, 'expected a size such as 500GiB');
  return bytes;
}

function purge(labels: Labels): boolean {
  const { registry_purge: value } = labels;
  const yes = value === undefined ? false : readBoolean(value);
  if (yes === undefined) throw labelProblem('registry_purge', value, 'expected true or false');
  return yes;
}
