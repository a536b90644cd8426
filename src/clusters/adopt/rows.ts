/**
 * Adopted clusters as rows: what a description makes of the row that is there. The lifecycle does the rest, as for any
 * other cluster, but with no token of anybody: as the service's own user.
 */
import type { Kysely } from 'kysely';
import { bodyOf, settingsOf, wantedOf, wanting, type ClusterRow } from '../api/cluster-rows.ts';
import type { ClusterDatabase } from '../database/database.ts';
import { laterBy } from '../database/leases.ts';
import type { Schema } from '../database/schema.ts';
import type { RegistrySettings } from '../words.ts';
import type { Described } from './described.ts';

export interface AdoptedRows {
  find(uuid: string): Promise<ClusterRow | undefined>;
  /** False: there is one meanwhile. */
  adopt(cluster: Described): Promise<boolean>;
  /** False: the row was changed meanwhile, and is looked at again with the next reading. */
  change(row: ClusterRow, change: Change): Promise<boolean>;
  /** Adopted ones with ids above, in their order. */
  after(id: number): Promise<readonly ClusterRow[]>;
}

export type Change = Partial<Pick<ClusterRow, 'name' | 'user_id' | 'template_uuid' | 'coe' | 'settings' | 'wanted_settings' | 'status' | 'status_reason' | 'registry_status' | 'body'>> & {
  /** Only where the row is as it is for so long. */
  readonly restedMs?: number;
};

const PAGE = 100;

export function adoptedRows(database: ClusterDatabase): AdoptedRows {
  const { nowMs } = database;
  const db: Kysely<Schema> = database.db;
  return {
    find: async (uuid) => await db.selectFrom('clusters').selectAll().where('uuid', '=', uuid).executeTakeFirst(),
    async adopt({ uuid, name, projectId, userId, templateUuid, coe, settings, problem, body }) {
      const { numInsertedOrUpdatedRows } = await db.insertInto('clusters').values({
        uuid, name, project_id: projectId, user_id: userId, template_uuid: templateUuid, coe, registry_enabled: 1,
        ...beginning(problem), settings: JSON.stringify(settings), wanted_settings: null, generation: 0, is_adopted: 1, created_ms: nowMs, updated_ms: null, body: body(problem),
      }).onConflict((conflict) => conflict.column('uuid').doNothing()).executeTakeFirst();
      return (numInsertedOrUpdatedRows ?? 0n) > 0n;
    },
    async change({ uuid, status }, { restedMs, ...values }) {
      let update = db.updateTable('clusters').set({ ...values, updated_ms: nowMs }).where('uuid', '=', uuid).where('status', '=', status).where('is_adopted', '=', 1);
      if (restedMs !== undefined) update = update.where('updated_ms', '<=', laterBy(database, -restedMs));
      return (await update.executeTakeFirst()).numUpdatedRows > 0n;
    },
    after: async (id) => await db.selectFrom('clusters').selectAll().where('is_adopted', '=', 1).where('id', '>', id).orderBy('id').limit(PAGE).execute(),
  };
}

function beginning(problem: string | undefined): Pick<ClusterRow, 'status' | 'status_reason' | 'registry_status'> {
  return problem === undefined
    ? { status: 'CREATE_IN_PROGRESS', status_reason: null, registry_status: 'PENDING' }
    : { status: 'CREATE_FAILED', status_reason: problem, registry_status: null };
}

/** How long after a failure it is tried again. */
const REST_MS = 300_000;

/**
 * What is to be changed in a row that nothing is being done to. Undefined: nothing.
 * @param problem of the description, or found since
 */
export function changeOf(row: ClusterRow, cluster: Described, problem: string | undefined, restMs: number = REST_MS): Change | undefined {
  const [body, before] = [cluster.body(problem), bodyOf(row)];
  const told: Change = {
    ...(body !== row.body && { body }),
    ...(cluster.name !== row.name && { name: cluster.name }),
    ...(cluster.userId !== row.user_id && { user_id: cluster.userId }),
    ...(cluster.templateUuid !== row.template_uuid && { template_uuid: cluster.templateUuid }),
    ...(cluster.coe !== row.coe && { coe: cluster.coe }),
    ...asked(row, cluster.settings, problem, before.adopted?.problem),
  };
  if (Object.keys(told).length > 0) return told;
  const again = retry(row);
  return problem === undefined && again !== undefined ? { ...again, restedMs: restMs } : undefined;
}

function asked(row: ClusterRow, settings: RegistrySettings, problem: string | undefined, before: string | undefined): Change {
  const isNone = row.generation === 0;
  if (problem !== undefined) return isNone && row.status_reason !== problem ? beginning(problem) : {};
  const isSame = JSON.stringify(settings) === JSON.stringify(wantedOf(row));
  if (isNone) return before === undefined && isSame ? {} : { ...wanting(row, settings), ...beginning(undefined) };
  if (isSame) return {};
  if (!isOfCredential(settingsOf(row), settings)) return { settings: JSON.stringify(settings), wanted_settings: null, ...(row.wanted_settings !== null && { status: 'UPDATE_COMPLETE', status_reason: null }) }; // what failed is not asked for any more
  return { ...wanting(row, settings), status: 'UPDATE_IN_PROGRESS', status_reason: null };
}

/** Whether what nodes were given does no more. Of the rest their next artifacts tell. */
function isOfCredential(old: RegistrySettings, next: RegistrySettings): boolean {
  return old.container !== next.container || old.write !== next.write || old.credentialMode !== next.credentialMode || old.quotaBytes !== next.quotaBytes;
}

function retry({ status }: ClusterRow): Change | undefined {
  switch (status) {
    case 'CREATE_FAILED': return beginning(undefined);
    case 'UPDATE_FAILED': return { status: 'UPDATE_IN_PROGRESS', status_reason: null };
    default: return undefined;
  }
}
