/** Cluster templates: what may be asked of them, and what stands in the database and in answers. */
import { randomUUID } from 'node:crypto';
import { sql, type Selectable } from 'kysely';
import type { ClustersConfig } from '../../config/config.ts';
import type { ClusterDatabase } from '../database/database.ts';
import type { Writer } from '../database/sealed.ts';
import type { TemplateTable } from '../database/schema.ts';
import { UUID, type Coe, type RegistrySettings } from '../words.ts';
import { resourceLinks } from './discovery.ts';
import type { Labels } from './field.ts';
import { registrySettings } from './labels.ts';
import { after, pageOf, picked, readList, type ListKinds, type ListRequest } from './listing.ts';
import { madeName } from './made-name.ts';
import { mustChange, mustOwn, mustPublish, type Access } from './policy.ts';
import { ApiProblem, shown } from './problem.ts';
import { patched, readBody, timestamp, type Patchable, type Values } from './resource.ts';
import { CHANGEABLE_IN_USE, TEMPLATE_FIELDS, TEMPLATE_READ_ONLY } from './template-fields.ts';

export type TemplateRow = Selectable<TemplateTable>;
export type Document = Readonly<Record<string, unknown>>;

export interface TemplatesDeps {
  readonly database: ClusterDatabase;
  readonly config: Pick<ClustersConfig, 'publicUrl' | 'defaults' | 'allowPrivateUpstreams'>;
  readonly random: () => number;
  /** Whether this service and its cloud can do it at all. @throws ApiProblem */
  readonly mustBePossible: (settings: RegistrySettings, access: Access) => void;
}

/** By the name that a template has in paths; a baymodel is the same. */
export type TemplateResource = 'clustertemplates' | 'baymodels';

export interface Templates {
  list(access: Access, query: URLSearchParams, resource: TemplateResource, detail: boolean): Promise<Document>;
  /** @param ident UUID or name. @throws ApiProblem where there is none that the caller sees, or several */
  find(access: Access, ident: string): Promise<TemplateRow>;
  /** The same within a transaction. @param lock keeps others from changing it until that ends */
  within(writer: Writer, access: Access, ident: string, lock: boolean): Promise<TemplateRow>;
  create(access: Access, body: unknown): Promise<TemplateRow>;
  change(access: Access, ident: string, patch: unknown): Promise<TemplateRow>;
  remove(access: Access, ident: string): Promise<void>;
  /** Of a cluster, whoever sees it. */
  byUuid(uuid: string): Promise<TemplateRow>;
  document(row: TemplateRow, resource: TemplateResource): Document;
}

const READ_ONLY: ReadonlySet<string> = new Set(TEMPLATE_READ_ONLY.map(({ name }) => name));
const PATCHABLE: Patchable = { fields: TEMPLATE_FIELDS, internal: new Set([...READ_ONLY, 'id', 'registry_address', 'registry_trust_id', 'trust_id', 'trustee_username', 'trustee_user_id', 'trustee_password']) };
/** Fields that are columns; the others stand in `body`. */
const COLUMNS: ReadonlySet<string> = new Set(['name', 'coe', 'registry_enabled', 'public', 'hidden']);

const LIST: ListKinds = {
  sortKeys: {
    id: { column: sql.ref('id') },
    uuid: { column: sql.ref('uuid') },
    name: { column: sql.ref('name') },
    coe: { column: sql.ref('coe') },
    project_id: { column: sql.ref('project_id') },
    user_id: { column: sql.ref('user_id') },
    registry_enabled: { column: sql.ref('registry_enabled') },
    public: { column: sql.ref('is_public') },
    hidden: { column: sql.ref('is_hidden') },
    created_at: { column: sql.ref('created_ms') },
    updated_at: { column: sql`coalesce(updated_ms, 0)` },
  },
  filters: {
    uuid: { column: sql.ref('uuid'), kind: 'text' },
    name: { column: sql.ref('name'), kind: 'text' },
    coe: { column: sql.ref('coe'), kind: 'text' },
    project_id: { column: sql.ref('project_id'), kind: 'text' },
    user_id: { column: sql.ref('user_id'), kind: 'text' },
    registry_enabled: { column: sql.ref('registry_enabled'), kind: 'flag' },
    public: { column: sql.ref('is_public'), kind: 'flag' },
    hidden: { column: sql.ref('is_hidden'), kind: 'flag' },
  },
  fields: new Set([...READ_ONLY, ...TEMPLATE_FIELDS.map(({ name }) => name)]),
};

export function createTemplates({ database, config, random, mustBePossible }: TemplatesDeps): Templates {
  const { db, nowMs } = database;
  const lock = database.engine === 'postgres';

  /** @param listed hidden ones of others are left out */
  function seenBy(writer: Writer, { caller, isAdmin }: Access, listed: boolean) { // eslint-disable-line typescript/explicit-function-return-type -- a query, of a type that only kysely can spell
    return writer.selectFrom('templates').selectAll().$if(!isAdmin, (query) =>
      query.where((where) => where.or([where('project_id', '=', caller.projectId), listed ? where.and([where('is_public', '=', 1), where('is_hidden', '=', 0)]) : where('is_public', '=', 1)])),
    );
  }

  async function find(writer: Writer, access: Access, ident: string, forUpdate = false): Promise<TemplateRow> {
    const rows = await seenBy(writer, access, false).where(UUID.test(ident) ? 'uuid' : 'name', '=', ident).limit(2).$if(forUpdate && lock, (query) => query.forUpdate()).execute();
    const [row] = rows;
    if (row === undefined) throw new ApiProblem('not found', `ClusterTemplate ${shown(ident)} could not be found.`);
    if (rows.length > 1) throw new ApiProblem('conflict', 'Multiple cluster templates exist with same name. Please use the cluster template uuid instead.');
    return row;
  }

  async function marked(access: Access, request: ListRequest, uuid: string): Promise<{ readonly value: unknown; readonly id: number }> {
    const row = UUID.test(uuid) ? await seenBy(db, access, false).select(request.sort.column.as('value')).where('uuid', '=', uuid).executeTakeFirst() : undefined;
    if (row === undefined) throw new ApiProblem(UUID.test(uuid) ? 'not found' : 'invalid', UUID.test(uuid) ? `ClusterTemplate ${uuid} could not be found.` : `Expected a uuid but received ${shown(uuid)}.`);
    return row;
  }

  function check(values: Values, access: Access): void {
    const settings = registrySettings(values['labels'] as Labels, config, apiServerPort(values)); // the field's type reads labels
    if (values['registry_enabled'] === true) mustBePossible(settings, access);
  }

  async function isUsed(writer: Writer, uuid: string): Promise<boolean> {
    return (await writer.selectFrom('clusters').select('uuid').where('template_uuid', '=', uuid).limit(1).executeTakeFirst()) !== undefined;
  }

  return {
    async list(access, query, resource, detail) {
      const request = readList(query, LIST);
      const marker = request.marker === undefined ? undefined : await marked(access, request, request.marker);
      let wanted = seenBy(db, access, true);
      for (const filter of request.filters) wanted = wanted.where(filter);
      if (marker !== undefined) wanted = wanted.where(after(request, marker));
      const found = await wanted.orderBy(request.sort.column, request.sortDir).orderBy('id', request.sortDir).limit(request.limit + 1).execute();
      const { rows, next } = pageOf(request, found, `${config.publicUrl}/v1/${resource}${detail ? '/detail' : ''}`);
      const documents = rows.map((row) => picked(this.document(row, resource), request));
      return { [resource]: documents, ...(next === undefined ? {} : { next }) };
    },

    find: (access, ident) => find(db, access, ident),
    within: find,

    byUuid: (uuid) => db.selectFrom('templates').selectAll().where('uuid', '=', uuid).executeTakeFirstOrThrow(),

    async create(access, body) {
      mustChange(access, 'clustertemplate:create');
      const values = readBody(body, TEMPLATE_FIELDS, READ_ONLY);
      check(values, access);
      if (values['public'] === true || values['hidden'] === true) mustPublish(access);
      const { caller } = access;
      const uuid = randomUUID();
      return await db.insertInto('templates')
        .values({ uuid, project_id: caller.projectId, user_id: caller.userId, created_ms: nowMs, updated_ms: null, ...columnsOf({ ...values, name: values['name'] ?? madeName('template', random) }) })
        .returningAll().executeTakeFirstOrThrow();
    },

    change: (access, ident, patch) =>
      db.transaction().execute(async (transaction) => {
        const row = await find(transaction, access, ident, true);
        mustOwn(access, row.project_id, 'clustertemplate:update');
        const before = valuesOf(row);
        const values = patched(before, patch, PATCHABLE);
        const changed = Object.keys(values).filter((name) => JSON.stringify(values[name]) !== JSON.stringify(before[name]));
        if (changed.length === 0) return row;
        if (changed.includes('public') || changed.includes('hidden')) mustPublish(access);
        if (changed.some((name) => !CHANGEABLE_IN_USE.has(name))) {
          check(values, access);
          if (await isUsed(transaction, row.uuid)) throw referenced(row);
        }
        return await transaction.updateTable('templates').set({ ...columnsOf({ ...values, name: values['name'] ?? row.name }), updated_ms: nowMs }).where('uuid', '=', row.uuid).returningAll().executeTakeFirstOrThrow();
      }),

    remove: (access, ident) =>
      db.transaction().execute(async (transaction) => {
        const row = await find(transaction, access, ident, true);
        mustOwn(access, row.project_id, 'clustertemplate:delete');
        if (await isUsed(transaction, row.uuid)) throw referenced(row);
        await transaction.deleteFrom('templates').where('uuid', '=', row.uuid).execute();
      }),

    document: (row, resource) => ({
      uuid: row.uuid,
      ...valuesOf(row),
      project_id: row.project_id,
      user_id: row.user_id,
      created_at: timestamp(row.created_ms),
      updated_at: timestamp(row.updated_ms),
      links: resourceLinks(config.publicUrl, resource, row.uuid),
    }),
  };
}

/** Where there is a registry that cannot have it. */
export function apiServerPort(template: Values): number | undefined {
  const port = template['apiserver_port'];
  return template['registry_enabled'] === true && typeof port === 'number' ? port : undefined;
}

function referenced({ uuid }: TemplateRow): ApiProblem {
  return new ApiProblem('invalid', `ClusterTemplate ${uuid} is referenced by one or multiple clusters.`);
}

/** All fields, null where there is nothing. */
export function valuesOf(row: TemplateRow): Values {
  const body = JSON.parse(row.body) as Values; // columnsOf wrote it
  const columns: Values = { name: row.name, coe: row.coe, registry_enabled: row.registry_enabled === 1, public: row.is_public === 1, hidden: row.is_hidden === 1 };
  return Object.fromEntries(TEMPLATE_FIELDS.map(({ name, fallback = null }) => [name, columns[name] ?? body[name] ?? fallback]));
}

function columnsOf(values: Values): Pick<TemplateTable, 'name' | 'coe' | 'registry_enabled' | 'is_public' | 'is_hidden' | 'body'> {
  const kept = Object.entries(values).filter(([name, value]) => !COLUMNS.has(name) && value !== null);
  return {
    name: values['name'] as string, // the field's type reads nothing else
    coe: values['coe'] as Coe, // the field's type reads nothing else
    registry_enabled: values['registry_enabled'] === true ? 1 : 0,
    is_public: values['public'] === true ? 1 : 0,
    is_hidden: values['hidden'] === true ? 1 : 0,
    body: JSON.stringify(Object.fromEntries(kept)),
  };
}
