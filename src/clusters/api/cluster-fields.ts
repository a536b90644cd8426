/** The fields of a cluster: Magnum's, with those of its registry, which can only be read. */
import { boolean, integer, labels, text, type Field, type ReadOnlyField } from './field.ts';

const MAX_NAME = 242;
const DEFAULT_TIMEOUT_MINUTES = 60;

export const CLUSTER_FIELDS: readonly Field[] = [
  { name: 'name', type: text({ max: MAX_NAME, pattern: /^[a-zA-Z][a-zA-Z0-9_.-]*$/ }), description: 'What it is called: a letter, then letters, digits and any of `_.-`. Where none is given, one is made up.' },
  { name: 'cluster_template_id', type: text(), mandatory: true, description: 'The template, by UUID or name; answers have the UUID.' },
  { name: 'labels', type: labels, description: "Instead of the template's, or over them with `merge_labels`. Not given: the template's." },
  { name: 'merge_labels', type: boolean, fallback: false, description: "The labels given are put over the template's." },
  { name: 'node_count', type: integer(0), fallback: 1, description: 'How many workers there are to be. No machine is started; the only field that PATCH changes.' },
  { name: 'master_count', type: integer(1), fallback: 1, description: 'How many masters there are to be.' },
  { name: 'create_timeout', type: integer(0), fallback: DEFAULT_TIMEOUT_MINUTES, description: 'In minutes. Kept, not used.' },
  { name: 'keypair', type: text(), description: 'Kept, not used.' },
  { name: 'docker_volume_size', type: integer(1), description: 'Kept, not used.' },
  { name: 'flavor_id', type: text(), description: 'Kept, not used.' },
  { name: 'master_flavor_id', type: text(), description: 'Kept, not used.' },
  { name: 'discovery_url', type: text({ min: 0 }), description: 'Kept, not used.' },
  { name: 'fixed_network', type: text(), description: 'Kept, not used.' },
  { name: 'fixed_subnet', type: text(), description: 'Kept, not used.' },
  { name: 'floating_ip_enabled', type: boolean, description: 'Kept, not used.' },
  { name: 'master_lb_enabled', type: boolean, description: 'Kept, not used.' },
];

/** Where a cluster says nothing, the template does; by what it is called there. */
export const FROM_TEMPLATE: Readonly<Record<string, string>> = {
  keypair: 'keypair_id',
  docker_volume_size: 'docker_volume_size',
  flavor_id: 'flavor_id',
  master_flavor_id: 'master_flavor_id',
  fixed_network: 'fixed_network',
  fixed_subnet: 'fixed_subnet',
  floating_ip_enabled: 'floating_ip_enabled',
  master_lb_enabled: 'master_lb_enabled',
};

export const CLUSTER_READ_ONLY: readonly ReadOnlyField[] = [
  { name: 'uuid', words: 'a UUID', description: 'Its id.' },
  { name: 'status', words: '`CREATE_IN_PROGRESS`, `CREATE_COMPLETE`, `CREATE_FAILED`, `UPDATE_…`, `DELETE_IN_PROGRESS`, `DELETE_FAILED`', description: '`CREATE_COMPLETE`: the credential of the nodes was proved by use, and their artifacts can be fetched.' },
  { name: 'status_reason', words: 'text', description: 'Why it failed, and what to do; else null.' },
  { name: 'registry_address', words: '`localhost:<port>`', description: 'What users put before names of images on every node; null where there is no registry.' },
  { name: 'registry_status', words: '`ACTIVE`, `PENDING`, `DEGRADED: …`', description: 'Whether the credential of the nodes works, or why not and what to do; null where there is no registry.' },
  { name: 'registry_container', words: 'text', description: 'Where its images are; null where there is no registry.' },
  { name: 'registry_credential_mode', words: '`acl`, `trust`, `app_cred`', description: 'How its nodes are let into the object store; null where there is no registry.' },
  { name: 'project_id', words: 'an id', description: 'Whose it is.' },
  { name: 'user_id', words: 'an id', description: 'Who made it.' },
  { name: 'created_at', words: 'a time', description: 'When it was made.' },
  { name: 'updated_at', words: 'a time', description: 'When it was last changed; null: never.' },
  { name: 'labels_overridden', words: 'a map', description: "The template's labels that have another value here." },
  { name: 'labels_added', words: 'a map', description: 'Labels that the template does not have.' },
  { name: 'labels_skipped', words: 'a map', description: "The template's labels that are not here." },
  { name: 'links', words: 'a list', description: 'Where it is: `self` and `bookmark`.' },
  { name: 'stack_id', words: 'null', description: 'Magnum has it; here it is always null.' },
  { name: 'api_address', words: 'null', description: 'Magnum has it; here it is always null.' },
  { name: 'coe_version', words: 'null', description: 'Magnum has it; here it is always null.' },
  { name: 'container_version', words: 'null', description: 'Magnum has it; here it is always null.' },
  { name: 'health_status', words: 'null', description: 'Magnum has it; here it is always null.' },
  { name: 'health_status_reason', words: 'a map', description: 'Magnum has it; here it is always empty.' },
  { name: 'node_addresses', words: 'a list', description: 'Magnum has it; here it is always empty.' },
  { name: 'master_addresses', words: 'a list', description: 'Magnum has it; here it is always empty.' },
  { name: 'faults', words: 'a map', description: 'Magnum has it; here it is always empty.' },
];

/** What stands in lists that are not `detail`. */
export const LISTED: ReadonlySet<string> = new Set([
  'uuid', 'name', 'cluster_template_id', 'keypair', 'docker_volume_size', 'labels', 'node_count', 'status', 'master_flavor_id', 'flavor_id', 'create_timeout', 'master_count', 'stack_id', 'health_status', 'links',
  'registry_address', 'registry_status',
]);

/** What a bay calls what a cluster has (microversions up to 1.10). */
export const BAY_WORDS: Readonly<Record<string, string>> = { cluster_template_id: 'baymodel_id', create_timeout: 'bay_create_timeout', faults: 'bay_faults' };
