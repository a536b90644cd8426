/**
 * Clusters: what may be asked of them, and what that writes. Whatever has to happen in Keystone and Swift is left to the
 * lifecycle: here a row gets the status that asks for it, with the caller's token beside, in one transaction.
 */
import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import type { ClustersConfig } from '../../config/config.ts';
import type { ClusterDatabase } from '../database/database.ts';
import type { SealedSecrets, Writer } from '../database/sealed.ts';
import { putCallerToken, type Lifecycle } from '../lifecycle/lifecycle.ts';
import { UUID, type RegistrySettings } from '../words.ts';
import { BAY_WORDS, CLUSTER_FIELDS, FROM_TEMPLATE } from './cluster-fields.ts';
import { bodyOf, bodyText, clusterDocument, clusterValues, labelDiff, ownLabels, READ_ONLY_NAMES, settingsOf, wantedOf, wanting, type ClusterResource, type ClusterRow } from './cluster-rows.ts';
import type { Labels } from './field.ts';
import { registrySettings } from './labels.ts';
import { after, pageOf, picked, readList, type ListKinds, type ListRequest } from './listing.ts';
import { madeName } from './made-name.ts';
import { mustChange, mustOwn, type Access } from './policy.ts';
import { ApiProblem, fieldProblem, shown } from './problem.ts';
import { patched, readBody, type Patchable, type Values } from './resource.ts';
import { apiServerPort, valuesOf, type Document, type TemplateRow } from './templates.ts';

export interface ClustersDeps {
  readonly database: ClusterDatabase;
  readonly secrets: SealedSecrets;
  readonly config: Pick<ClustersConfig, 'publicUrl' | 'defaults' | 'allowPrivateUpstreams' | 'adopt'>;
  readonly random: () => number;
  readonly lifecycle: Pick<Lifecycle, 'wake'>;
  /** @param lock keeps others from changing it until the transaction ends. @throws ApiProblem where there is none that the caller sees */
  readonly template: (writer: Writer, access: Access, ident: string, lock: boolean) => Promise<TemplateRow>;
  /** Whether a registry may be had, by this caller. @throws ApiProblem */
  readonly mustBeAllowed: (settings: RegistrySettings, access: Access) => void;
}

export interface Clusters {
  list(access: Access, query: URLSearchParams, resource: ClusterResource, detail: boolean): Promise<Document>;
  /** @param ident UUID or name. @throws ApiProblem where there is none that the caller sees, or several */
  find(access: Access, ident: string): Promise<ClusterRow>;
  create(access: Access, body: unknown): Promise<ClusterRow>;
  change(access: Access, ident: string, patch: unknown): Promise<ClusterRow>;
  resize(access: Access, ident: string, body: unknown): Promise<ClusterRow>;
  /** To another template: with a registry, without, or with another. */
  upgrade(access: Access, ident: string, body: unknown): Promise<ClusterRow>;
  /** Nodes get another credential. */
  rotate(access: Access, ident: string): Promise<ClusterRow>;
  remove(access: Access, ident: string): Promise<void>;
  document(row: ClusterRow, resource: ClusterResource): Document;
}

const ROTATE = 'cluster:rotate';

type Change = Partial<Omit<ClusterRow, 'id' | 'uuid' | 'updated_ms'>>;

const PATCHABLE: Patchable = {
  fields: CLUSTER_FIELDS,
  internal: new Set([...READ_ONLY_NAMES, 'id', 'registry_trust_id', 'trust_id', 'trustee_username', 'trustee_user_id', 'trustee_password', 'ca_cert_ref', 'magnum_cert_ref', 'etcd_ca_cert_ref', 'front_proxy_ca_cert_ref']),
};
/** All that a cluster without machines of ours can have changed. */
const CHANGEABLE: ReadonlySet<string> = new Set(['node_count']);

const LIST: ListKinds = {
  sortKeys: {
    id: { column: sql.ref('id') },
    uuid: { column: sql.ref('uuid') },
    name: { column: sql.ref('name') },
    cluster_template_id: { column: sql.ref('template_uuid') },
    project_id: { column: sql.ref('project_id') },
    user_id: { column: sql.ref('user_id') },
    status: { column: sql.ref('status') },
    created_at: { column: sql.ref('created_ms') },
    updated_at: { column: sql`coalesce(updated_ms, 0)` },
  },
  filters: {
    uuid: { column: sql.ref('uuid'), kind: 'text' },
    name: { column: sql.ref('name'), kind: 'text' },
    cluster_template_id: { column: sql.ref('template_uuid'), kind: 'text' },
    project_id: { column: sql.ref('project_id'), kind: 'text' },
    user_id: { column: sql.ref('user_id'), kind: 'text' },
    status: { column: sql.ref('status'), kind: 'text' },
    registry_enabled: { column: sql.ref('registry_enabled'), kind: 'flag' },
  },
  fields: new Set([...READ_ONLY_NAMES, ...CLUSTER_FIELDS.map(({ name }) => name)]),
};

/** The same in the words of bays. */
const LISTS: Readonly<Record<ClusterResource, ListKinds>> = {
  clusters: LIST,
  bays: { sortKeys: inBayWords(LIST.sortKeys), filters: inBayWords(LIST.filters), fields: new Set([...LIST.fields].map((name) => BAY_WORDS[name] ?? name)) },
};

function inBayWords<Value>(byName: Readonly<Record<string, Value>>): Readonly<Record<string, Value>> {
  return Object.fromEntries(Object.entries(byName).map(([name, value]) => [BAY_WORDS[name] ?? name, value]));
}

export function createClusters({ database, secrets, config, random, lifecycle, template, mustBeAllowed }: ClustersDeps): Clusters {
  const { db, nowMs } = database;
  const lock = database.engine === 'postgres';

  function seenBy(writer: Writer, { caller, isAdmin }: Access) { // eslint-disable-line typescript/explicit-function-return-type -- a query, of a type that only kysely can spell
    return writer.selectFrom('clusters').selectAll().$if(!isAdmin, (query) => query.where('project_id', '=', caller.projectId));
  }

  async function find(writer: Writer, access: Access, ident: string, forUpdate = false): Promise<ClusterRow> {
    const rows = await seenBy(writer, access).where(UUID.test(ident) ? 'uuid' : 'name', '=', ident).limit(2).$if(forUpdate && lock, (query) => query.forUpdate()).execute();
    const [row] = rows;
    if (row === undefined) throw new ApiProblem('not found', `Cluster ${shown(ident)} could not be found.`);
    if (rows.length > 1) throw new ApiProblem('conflict', 'Multiple clusters exist with same name. Please use the cluster uuid instead.');
    return row;
  }

  async function marked(access: Access, request: ListRequest, uuid: string): Promise<{ readonly value: unknown; readonly id: number }> {
    if (!UUID.test(uuid)) throw new ApiProblem('invalid', `Expected a uuid but received ${shown(uuid)}.`);
    const row = await seenBy(db, access).select(request.sort.column.as('value')).where('uuid', '=', uuid).executeTakeFirst();
    if (row === undefined) throw new ApiProblem('not found', `Cluster ${uuid} could not be found.`);
    return row;
  }

  /** One change of a cluster that nothing is being done to, and what it asks of the lifecycle. */
  async function changing(access: Access, ident: string, what: string, change: (row: ClusterRow, writer: Writer) => Promise<Change>): Promise<ClusterRow> {
    const row = await db.transaction().execute(async (transaction) => {
      const found = await find(transaction, access, ident, true);
      mustOwn(access, found.project_id, what);
      // What its credential is, Magnum does not say.
      if (what !== ROTATE) mustBeOurs(found, config.adopt?.magnumUrl);
      mustBeIdle(found);
      // Its nodes were told that it is gone, and some of it is.
      if (found.status === 'DELETE_FAILED') throw new ApiProblem('conflict', `Cluster ${found.uuid} is being deleted, which failed and is tried again: it can only be deleted.`);
      const set = await change(found, transaction);
      if (Object.keys(set).length === 0) return found;
      if (set.status?.endsWith('_IN_PROGRESS') === true) await putCallerToken(secrets, transaction, found.uuid, access.caller.token);
      return await transaction.updateTable('clusters').set({ ...set, updated_ms: nowMs }).where('uuid', '=', found.uuid).returningAll().executeTakeFirstOrThrow();
    });
    if (row.status.endsWith('_IN_PROGRESS')) lifecycle.wake();
    return row;
  }

  const resized = (row: ClusterRow, values: Values): Change => ({
    body: bodyText(values, bodyOf(row).diff),
    ...(row.status.endsWith('_COMPLETE') ? { status: 'UPDATE_COMPLETE' } : {}),
  });

  return {
    async list(access, query, resource, detail) {
      const request = readList(query, LISTS[resource]);
      const marker = request.marker === undefined ? undefined : await marked(access, request, request.marker);
      let wanted = seenBy(db, access);
      for (const filter of request.filters) wanted = wanted.where(filter);
      if (marker !== undefined) wanted = wanted.where(after(request, marker));
      const found = await wanted.orderBy(request.sort.column, request.sortDir).orderBy('id', request.sortDir).limit(request.limit + 1).execute();
      const { rows, next } = pageOf(request, found, `${config.publicUrl}/v1/${resource}${detail ? '/detail' : ''}`);
      const documents = rows.map((row) => picked(clusterDocument(row, resource, config.publicUrl, detail || request.fields !== undefined), request));
      return { [resource]: documents, ...(next === undefined ? {} : { next }) };
    },

    find: (access, ident) => find(db, access, ident),

    async create(access, body) {
      mustChange(access, 'cluster:create');
      const given = readBody(body, CLUSTER_FIELDS, READ_ONLY_NAMES);
      const row = await db.transaction().execute(async (transaction) => {
        const from = await template(transaction, access, given['cluster_template_id'] as string, true).catch((error: unknown) => {
          // A body that names what there is not is wrong; the path is not.
          if (error instanceof ApiProblem && error.kind === 'not found') throw new ApiProblem('invalid', error.message);
          throw error;
        });
        const parent = valuesOf(from);
        const parentLabels = parent['labels'] as Labels; // the field's type reads labels
        const labels = labelsOf(given, parentLabels);
        const settings = registrySettings(labels, config, apiServerPort(parent));
        const has = from.registry_enabled === 1;
        if (has) mustBeAllowed(settings, access);
        const { caller } = access;
        const uuid = randomUUID();
        const inherited = Object.fromEntries(Object.entries(FROM_TEMPLATE).map(([own, theirs]) => [own, given[own] ?? parent[theirs] ?? null]));
        const made = await transaction.insertInto('clusters')
          .values({
            uuid,
            name: (given['name'] as string | null) ?? madeName('cluster', random), // the field's type reads text
            project_id: caller.projectId,
            user_id: caller.userId,
            template_uuid: from.uuid,
            coe: from.coe,
            registry_enabled: has ? 1 : 0,
            // Without a registry there is nothing to wait for.
            status: has ? 'CREATE_IN_PROGRESS' : 'CREATE_COMPLETE',
            status_reason: null,
            registry_status: has ? 'PENDING' : null,
            settings: JSON.stringify(settings),
            wanted_settings: null,
            generation: 0,
            is_adopted: 0,
            created_ms: nowMs,
            updated_ms: null,
            body: bodyText({ ...given, ...inherited, labels }, labelDiff(parentLabels, labels)),
          })
          .returningAll().executeTakeFirstOrThrow();
        if (has) await putCallerToken(secrets, transaction, uuid, caller.token);
        return made;
      });
      if (row.registry_enabled === 1) lifecycle.wake();
      return row;
    },

    change: (access, ident, patch) =>
      changing(access, ident, 'cluster:update', async (row) => {
        const before = clusterValues(row);
        const values = patched(before, patch, PATCHABLE);
        const changed = Object.keys(values).filter((name) => JSON.stringify(values[name]) !== JSON.stringify(before[name]));
        const fixed = changed.filter((name) => !CHANGEABLE.has(name));
        if (fixed.length > 0) throw new ApiProblem('invalid', `cannot change cluster property(ies) ${fixed.join(', ')}.`);
        return changed.length === 0 ? {} : resized(row, values);
      }),

    resize: (access, ident, body) =>
      changing(access, ident, 'cluster:resize', async (row) => {
        const { node_count: count } = wordsOf(body, ['node_count', 'nodes_to_remove', 'nodegroup']);
        const field = CLUSTER_FIELDS.find(({ name }) => name === 'node_count');
        const read = field?.type.read(count ?? 'None');
        if (read === undefined || 'problem' in read) throw fieldProblem('node_count', count ?? 'None', read?.problem ?? '');
        return resized(row, { ...clusterValues(row), node_count: read.value });
      }),

    upgrade: (access, ident, body) =>
      changing(access, ident, 'cluster:upgrade', async (row, writer) => {
        const { cluster_template: wanted } = wordsOf(body, ['cluster_template', 'max_batch_size', 'nodegroup']);
        if (typeof wanted !== 'string' || wanted === '') throw fieldProblem('cluster_template', wanted ?? 'None', 'Mandatory field missing.');
        const to = await template(writer, access, wanted, true);
        if (to.coe !== row.coe) throw new ApiProblem('invalid', `Cannot upgrade a cluster of ${row.coe} to a template of ${to.coe}.`);
        const parent = valuesOf(to);
        const parentLabels = parent['labels'] as Labels; // the field's type reads labels
        const labels = { ...parentLabels, ...ownLabels(row) };
        const settings = registrySettings(labels, config, apiServerPort(parent));
        const has = to.registry_enabled === 1;
        if (has) mustBeAllowed(settings, access);
        // What becomes of images when the cluster goes is as is said now, at once; but nothing was said of a container that is not named.
        const before = settingsOf(row);
        const isWork = has || row.registry_enabled === 1 || row.status === 'UPDATE_FAILED'; // something may be left of an attempt to do without
        return {
          template_uuid: to.uuid,
          registry_enabled: has ? 1 : 0,
          ...(has ? wanting(row, settings) : { settings: JSON.stringify({ ...before, purge: settings.purge && settings.container === before.container }), wanted_settings: null }),
          ...(has ? { registry_status: row.registry_status ?? 'PENDING' } : {}),
          status: isWork ? 'UPDATE_IN_PROGRESS' : 'UPDATE_COMPLETE',
          status_reason: null,
          body: bodyText({ ...clusterValues(row), labels }, labelDiff(parentLabels, labels)),
        };
      }),

    rotate: (access, ident) =>
      changing(access, ident, ROTATE, async (row) => {
        if (row.registry_enabled === 0) throw new ApiProblem('invalid', `Cluster ${row.uuid} has no registry, and so no credential to rotate.`);
        if (row.generation === 0) throw new ApiProblem('conflict', `Cluster ${row.uuid} has no credential yet: it is ${row.status}${row.status.endsWith('_FAILED') ? '; ask for its registry again, by an upgrade to its template' : ''}.`);
        mustBeAllowed(wantedOf(row), access);
        return { status: 'UPDATE_IN_PROGRESS', status_reason: null };
      }),

    async remove(access, ident) {
      const wake = await db.transaction().execute(async (transaction) => {
        const row = await find(transaction, access, ident, true);
        mustOwn(access, row.project_id, 'cluster:delete');
        // One whose Magnum is not read any more would stay for ever.
        if (bodyOf(row).adopted?.magnumUrl === config.adopt?.magnumUrl) mustBeOurs(row, config.adopt?.magnumUrl);
        if (row.status === 'DELETE_IN_PROGRESS') throw new ApiProblem('not found', `Cluster ${row.uuid} could not be found: it is being deleted.`);
        mustBeIdle(row);
        const isMade = await transaction.selectFrom('intents').select('id').where('cluster_uuid', '=', row.uuid).limit(1).executeTakeFirst();
        if (row.registry_enabled === 0 && row.generation === 0 && isMade === undefined) {
          await transaction.deleteFrom('clusters').where('uuid', '=', row.uuid).execute();
          return false;
        }
        await putCallerToken(secrets, transaction, row.uuid, access.caller.token);
        await transaction.updateTable('clusters').set({ status: 'DELETE_IN_PROGRESS', status_reason: null, updated_ms: nowMs }).where('uuid', '=', row.uuid).execute();
        return true;
      });
      if (wake) lifecycle.wake();
    },

    document: (row, resource) => clusterDocument(row, resource, config.publicUrl, true),
  };
}

/** @param magnumUrl of the Magnum that is read. @throws ApiProblem */
function mustBeOurs(row: ClusterRow, magnumUrl: string | undefined): void {
  if (row.is_adopted === 0) return;
  const theirs = bodyOf(row).adopted?.magnumUrl;
  throw new ApiProblem('conflict', `Cluster ${row.uuid} is one of the Magnum at ${theirs}: ${theirs === magnumUrl ? 'change or delete it there, and it is done here too' : 'that is not read any more, so that it can only be deleted here'}.`);
}

/** @throws ApiProblem */
function mustBeIdle({ uuid, status }: ClusterRow): void {
  if (status.endsWith('_IN_PROGRESS')) throw new ApiProblem('conflict', `Cluster ${uuid} already has an operation in progress: it is ${status}.`);
}

function labelsOf(given: Values, parent: Labels): Labels {
  const own = given['labels'] as Labels | null; // the field's type reads labels
  if (own === null) return parent;
  return given['merge_labels'] === true ? { ...parent, ...own } : own;
}

/** @throws ApiProblem */
function wordsOf(body: unknown, known: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new ApiProblem('invalid', 'Invalid input: expected a JSON object');
  const unknown = Object.keys(body).find((name) => !known.includes(name));
  if (unknown !== undefined) throw new ApiProblem('invalid', `Unknown attribute: ${shown(unknown)}`);
  return body as Readonly<Record<string, unknown>>; // an object, and no list
}
