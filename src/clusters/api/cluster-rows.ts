/** A cluster as a row and as clients see it. No secret and no id of a trust is ever in either. */
import type { Selectable } from 'kysely';
import { nodeStorage } from '../credentials/node-storage.ts';
import type { ClusterTable } from '../database/schema.ts';
import type { RegistrySettings } from '../words.ts';
import { BAY_WORDS, CLUSTER_FIELDS, CLUSTER_READ_ONLY, LISTED } from './cluster-fields.ts';
import { resourceLinks } from './discovery.ts';
import type { Labels } from './field.ts';
import { timestamp, type Values } from './resource.ts';
import type { Document } from './templates.ts';

export type ClusterRow = Selectable<ClusterTable>;
/** By the name that a cluster has in paths; a bay is the same. */
export type ClusterResource = 'clusters' | 'bays';

/** What stands in `body`: fields that are no columns, and how labels differ from the template's. */
export interface ClusterBody {
  readonly values: Values;
  readonly diff: LabelDiff;
  readonly adopted?: Adopted | undefined;
}

/** Of a cluster of a Magnum elsewhere. */
export interface Adopted {
  /** Which it was read from. */
  readonly magnumUrl: string;
  /** Of its template, which is not one of ours: what artifacts are made from. */
  readonly template: Values;
  /** Why it does not have the registry that is asked for there. */
  readonly problem?: string;
}

export interface LabelDiff {
  readonly labels_overridden: Labels;
  readonly labels_added: Labels;
  readonly labels_skipped: Labels;
}

const COLUMNS: ReadonlySet<string> = new Set(['name', 'cluster_template_id']);

/** In force: what nodes are given. */
export function settingsOf({ settings }: Pick<ClusterRow, 'settings'>): RegistrySettings {
  return JSON.parse(settings) as RegistrySettings; // this service wrote it
}

/** What was asked for last, in force or not. */
export function wantedOf({ settings, wanted_settings }: Pick<ClusterRow, 'settings' | 'wanted_settings'>): RegistrySettings {
  return settingsOf({ settings: wanted_settings ?? settings });
}

/** Asks for these: where there is a credential, those that it was made for stay in force until there is one for these. */
export function wanting({ generation }: Pick<ClusterRow, 'generation'>, settings: RegistrySettings): Partial<Pick<ClusterRow, 'settings' | 'wanted_settings'>> {
  const text = JSON.stringify(settings);
  return generation === 0 ? { settings: text, wanted_settings: null } : { wanted_settings: text };
}

export function bodyOf({ body }: Pick<ClusterRow, 'body'>): ClusterBody {
  const { values = {}, diff = NO_DIFF, adopted } = JSON.parse(body) as Partial<ClusterBody>; // this service wrote it
  return { values, diff, adopted };
}

const NO_DIFF: LabelDiff = { labels_overridden: {}, labels_added: {}, labels_skipped: {} };

/** The text of `body`. */
export function bodyText(values: Values, diff: LabelDiff, adopted?: Adopted): string {
  return JSON.stringify({ values: Object.fromEntries(Object.entries(values).filter(([name, value]) => !COLUMNS.has(name) && value !== null)), diff, adopted } satisfies ClusterBody);
}

/** All fields, null where there is nothing. */
export function clusterValues(row: ClusterRow): Values {
  const { values } = bodyOf(row);
  const columns: Values = { name: row.name, cluster_template_id: row.template_uuid };
  return Object.fromEntries(CLUSTER_FIELDS.map(({ name, fallback = null }) => [name, columns[name] ?? values[name] ?? fallback]));
}

/** As Magnum compares them. */
export function labelDiff(parent: Labels, own: Labels): LabelDiff {
  const pick = (from: Labels, is: (key: string, value: string) => boolean): Labels => Object.fromEntries(Object.entries(from).filter(([key, value]) => is(key, value)));
  return {
    labels_overridden: pick(parent, (key, value) => Object.hasOwn(own, key) && own[key] !== value),
    labels_added: pick(own, (key) => !Object.hasOwn(parent, key)),
    labels_skipped: pick(parent, (key) => !Object.hasOwn(own, key)),
  };
}

/** Those that it was made with and its template does not have so. As in Magnum, an upgrade takes none of them away. */
export function ownLabels(row: ClusterRow): Labels {
  const { values: { labels }, diff: { labels_added: added, labels_overridden: overridden } } = bodyOf(row);
  return Object.fromEntries(Object.entries((labels ?? {}) as Labels /* the field's type reads labels */).filter(([name]) => Object.hasOwn(added, name) || Object.hasOwn(overridden, name)));
}

/** Magnum's fields of a cluster that has no machines known here. */
const NOTHING_KNOWN = { stack_id: null, api_address: null, coe_version: null, container_version: null, health_status: null, health_status_reason: {}, node_addresses: [], master_addresses: [], faults: {} } as const;

export function clusterDocument(row: ClusterRow, resource: ClusterResource, publicUrl: string, expanded: boolean): Document {
  const settings = settingsOf(row);
  const has = row.registry_enabled === 1;
  const all: Document = {
    uuid: row.uuid,
    ...clusterValues(row),
    ...bodyOf(row).diff,
    ...NOTHING_KNOWN,
    status: row.status,
    status_reason: row.status_reason,
    registry_address: has ? `localhost:${settings.port}` : null,
    registry_status: has ? registryStatus(row) : null,
    registry_container: has ? nodeStorage(row, settings).container : null,
    registry_credential_mode: has ? settings.credentialMode : null,
    project_id: row.project_id,
    user_id: row.user_id,
    created_at: timestamp(row.created_ms),
    updated_at: timestamp(row.updated_ms),
    links: resourceLinks(publicUrl, resource, row.uuid),
  };
  const shown = expanded ? all : Object.fromEntries(Object.entries(all).filter(([name]) => LISTED.has(name)));
  return resource === 'bays' ? Object.fromEntries(Object.entries(shown).map(([name, value]) => [BAY_WORDS[name] ?? name, value])) : shown;
}

/** What is wrong in Magnum is said before what became of the credential, which goes on as it was. */
function registryStatus(row: ClusterRow): string | null {
  const problem = bodyOf(row).adopted?.problem;
  return problem === undefined ? row.registry_status : `DEGRADED: ${problem.replace(/\.$/, '')}; it is to be corrected in Magnum, and ${row.generation === 0 ? 'there is no registry until then' : 'the registry stays as it was until then'}`;
}

/** A body in the words of bays becomes one of clusters. */
export function fromBay(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  return Object.fromEntries(Object.entries(body).map(([name, value]) => [clusterWord(name), value as unknown]));
}

/** A patch in the words of bays becomes one of clusters. */
export function patchFromBay(patch: unknown): unknown {
  if (!Array.isArray(patch)) return patch;
  return patch.map((operation: unknown) => {
    if (typeof operation !== 'object' || operation === null || !('path' in operation) || typeof operation.path !== 'string') return operation;
    return { ...operation, path: `/${clusterWord(operation.path.slice(1))}` };
  });
}

function clusterWord(word: string): string {
  return Object.entries(BAY_WORDS).find(([, bay]) => bay === word)?.[0] ?? word;
}

export const READ_ONLY_NAMES: ReadonlySet<string> = new Set(CLUSTER_READ_ONLY.map(({ name }) => name));
