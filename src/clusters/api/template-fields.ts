/** The fields of a cluster template: Magnum's, of which the registry reads `coe`, `registry_enabled`, `insecure_registry` and `labels`. */
import { isIP } from 'node:net';
import { isHost } from '../../oci/name.ts';
import { COES } from '../words.ts';
import { boolean, checkedText, integer, labels, oneOf, text, type Field, type ReadOnlyField } from './field.ts';

const FIRST_FREE_PORT = 1_024;
const LAST_PORT = 65_535;

/** `host[:port]`; clients write a slash after it now and then. */
const insecureRegistry = checkedText(
  '`host[:port]`',
  (value) => (isHost(value.replace(/\/$/, '').toLowerCase()) ? undefined : 'Value should be host[:port], such as 10.0.0.1:5000'),
  (value) => value.replace(/\/$/, ''),
);
const nameservers = checkedText('addresses, with commas between them', (value) =>
  value.split(',').every((address) => isIP(address.trim()) !== 0) ? undefined : 'Value should be IP addresses, with commas between them',
);

export const TEMPLATE_FIELDS: readonly Field[] = [
  { name: 'name', type: text(), description: 'What it is called. Where none is given, one is made up.' },
  { name: 'coe', type: oneOf(COES), mandatory: true, description: 'What runs on the nodes.' },
  { name: 'registry_enabled', type: boolean, fallback: false, kept: true, description: 'Every node of every cluster made from this template has a registry.' },
  { name: 'insecure_registry', type: insecureRegistry, description: 'A registry that nodes reach over plain HTTP.' },
  { name: 'labels', type: labels, fallback: {}, description: 'Settings; those of the registry are below.' },
  { name: 'public', type: boolean, fallback: false, kept: true, description: 'Every project may use it. Only administrators set this.' },
  { name: 'hidden', type: boolean, fallback: false, kept: true, description: 'Other projects do not see it in lists. Only administrators set this.' },
  { name: 'tags', type: text({ min: 0 }), description: 'Words, with commas between them.' },
  { name: 'image_id', type: text(), mandatory: true, description: 'The image of the nodes. Kept, not used.' },
  { name: 'keypair_id', type: text(), description: 'Kept, not used.' },
  { name: 'flavor_id', type: text(), description: 'Kept, not used.' },
  { name: 'master_flavor_id', type: text(), description: 'Kept, not used.' },
  { name: 'external_network_id', type: text(), kept: true, description: 'Kept, not used.' },
  { name: 'fixed_network', type: text(), description: 'Kept, not used.' },
  { name: 'fixed_subnet', type: text(), description: 'Kept, not used.' },
  { name: 'network_driver', type: text(), kept: true, description: 'Kept, not used.' },
  { name: 'volume_driver', type: text(), description: 'Kept, not used.' },
  { name: 'docker_storage_driver', type: text(), description: 'Kept, not used.' },
  { name: 'docker_volume_size', type: integer(1), description: 'In GB. Kept, not used.' },
  { name: 'dns_nameserver', type: nameservers, description: 'Kept, not used.' },
  { name: 'apiserver_port', type: integer(FIRST_FREE_PORT, LAST_PORT), description: 'A port that the registry of the nodes cannot have.' },
  { name: 'cluster_distro', type: text(), kept: true, description: 'Kept, not used.' },
  { name: 'server_type', type: oneOf(['vm', 'bm']), fallback: 'vm', kept: true, description: 'Kept, not used.' },
  { name: 'http_proxy', type: text(), description: 'Through which nodes reach `http://` of upstreams, their container runtimes as their registry. The registry reaches Keystone, the object store and this service directly.' },
  { name: 'https_proxy', type: text(), description: 'The same for `https://`.' },
  { name: 'no_proxy', type: text(), description: 'What nodes reach without a proxy; loopback is added.' },
  { name: 'tls_disabled', type: boolean, fallback: false, kept: true, description: 'Kept, not used.' },
  { name: 'master_lb_enabled', type: boolean, fallback: false, description: 'Kept, not used.' },
  { name: 'floating_ip_enabled', type: boolean, fallback: true, description: 'Kept, not used.' },
  { name: 'driver', type: text({ min: 0 }), description: 'Kept, not used.' },
];

export const TEMPLATE_READ_ONLY: readonly ReadOnlyField[] = [
  { name: 'uuid', words: 'a UUID', description: 'Its id.' },
  { name: 'project_id', words: 'an id', description: 'Whose it is.' },
  { name: 'user_id', words: 'an id', description: 'Who made it.' },
  { name: 'created_at', words: 'a time', description: 'When it was made.' },
  { name: 'updated_at', words: 'a time', description: 'When it was last changed; null: never.' },
  { name: 'links', words: 'a list', description: 'Where it is: `self` and `bookmark`.' },
];

/** What a template in use may still have changed (Magnum's `ClusterTemplateReferenced`). */
export const CHANGEABLE_IN_USE: ReadonlySet<string> = new Set(['name', 'public', 'hidden', 'tags']);
