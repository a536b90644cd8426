/** A cluster's row as its life changes it: every change is on condition that the status is still the one that was acted on. */
import { sql } from 'kysely';
import type { ClusterDatabase } from '../database/database.ts';
import type { ClusterTable } from '../database/schema.ts';
import type { SealedSecrets, Writer } from '../database/sealed.ts';
import type { ClusterStatus, RegistrySettings } from '../words.ts';
import { CALLER_TOKEN, clusterOwner, generationOwner, PUSH_USER, type Remote, type Subject } from '../credentials/credential.ts';

export interface ClusterRow extends Subject {
  /** What is asked for: `settings`, which are in force, or others. */
  readonly wanted: RegistrySettings;
  readonly status: ClusterStatus;
  readonly isEnabled: boolean;
  readonly generation: number;
}

export interface CredentialRow {
  readonly generation: number;
  readonly state: 'creating' | 'active' | 'retiring' | 'undoing';
  readonly createdMs: number;
  readonly remote: Remote;
}

export interface ClusterRows {
  find(uuid: string): Promise<ClusterRow | undefined>;
  credentials(uuid: string): Promise<readonly CredentialRow[]>;
  /** What comes after all that any node may have, and after what is being undone: a number that was used is never given to another credential. */
  nextGeneration(cluster: ClusterRow): Promise<number>;
  /** A generation is begun, for what is wanted. */
  begin(cluster: ClusterRow, generation: number): Promise<void>;
  /** It is what nodes are to have now, and what was wanted is in force; those before go when nodes have it. False: the row was changed meanwhile. */
  complete(cluster: ClusterRow, generation: number, remote: Remote, status: ClusterStatus): Promise<boolean>;
  /** What was begun is to be undone. False: the row was changed meanwhile. */
  fail(cluster: ClusterRow, status: 'CREATE_FAILED' | 'UPDATE_FAILED', reason: string): Promise<boolean>;
  /** False: the row was changed meanwhile. */
  setStatus(cluster: ClusterRow, status: ClusterStatus, reason: string | null, more?: { readonly registry_status?: string | null }): Promise<boolean>;
  /** Nothing of that generation is left elsewhere. */
  forget(uuid: string, generation: number): Promise<void>;
  /** Its credentials are gone elsewhere; `nextGeneration` remembers by its nodes that there were some. False: the row was changed meanwhile. */
  withoutRegistry(cluster: ClusterRow): Promise<boolean>;
  /** The cluster, and all that is kept for it; nodes' rows stay, so that nodes learn of it. */
  remove(cluster: ClusterRow): Promise<boolean>;
  /** Whether no node has an older credential than that. */
  allNodesHave(uuid: string, generation: number): Promise<boolean>;
  /** Unless something else was asked for meanwhile. */
  dropCallerToken(cluster: ClusterRow): Promise<void>;
  /** Not to be tried again before: the wait doubles, unless it is given. */
  putOff(uuid: string, random: () => number, fixedMs?: number): Promise<void>;
  /** Uuids of clusters with something to do now. */
  due(limit: number): Promise<readonly string[]>;
}

const FIRST_WAIT_MS = 10_000;
const LONGEST_WAIT_MS = 3_600_000;
const RETRY = 'retry';
/** Of rows of ours that are no thing elsewhere. */
const NO_GENERATION = -1;

export function clusterRows(database: ClusterDatabase, secrets: SealedSecrets): ClusterRows {
  const { db, nowMs } = database;

  const setStatus = async (writer: Writer, cluster: ClusterRow, values: Pick<ClusterTable, 'status' | 'status_reason'> & Partial<Pick<ClusterTable, 'generation' | 'registry_status' | 'settings' | 'wanted_settings'>>): Promise<boolean> => {
    const { numUpdatedRows } = await writer.updateTable('clusters').set({ ...values, updated_ms: nowMs }).where('uuid', '=', cluster.uuid).where('status', '=', cluster.status).executeTakeFirst();
    return numUpdatedRows > 0n;
  };

  /** What was asked for is done. */
  const endAsking = async (writer: Writer, { uuid }: ClusterRow): Promise<void> => {
    await secrets.remove(writer, { owner: clusterOwner(uuid), kind: CALLER_TOKEN });
    await writer.deleteFrom('intents').where('cluster_uuid', '=', uuid).where('generation', '=', NO_GENERATION).execute();
  };

  return {
    async find(uuid) {
      const row = await db.selectFrom('clusters').selectAll().where('uuid', '=', uuid).executeTakeFirst();
      if (row === undefined) return undefined;
      const [settings, wanted] = [row.settings, row.wanted_settings ?? row.settings].map((text) => JSON.parse(text) as RegistrySettings /* checked by the API */) as [RegistrySettings, RegistrySettings];
      return { uuid, projectId: row.project_id, settings, wanted, status: row.status, isEnabled: row.registry_enabled === 1, generation: row.generation };
    },
    async credentials(uuid) {
      const rows = await db.selectFrom('credentials').selectAll().where('cluster_uuid', '=', uuid).orderBy('generation').execute();
      return rows.map((row) => ({ generation: row.generation, state: row.state, createdMs: row.created_ms, remote: JSON.parse(row.remote) as Remote /* written below */ }));
    },
    async nextGeneration({ uuid, generation }) {
      const ofNodes = await db.selectFrom('nodes').select((select) => select.fn.max('generation').as('last')).where('cluster_uuid', '=', uuid).executeTakeFirst();
      const undoing = await db.selectFrom('credentials').select((select) => select.fn.max('generation').as('last')).where('cluster_uuid', '=', uuid).where('state', '=', 'undoing').executeTakeFirst();
      return Math.max(generation, ofNodes?.last ?? 0, undoing?.last ?? 0) + 1;
    },
    async begin({ uuid, wanted }, generation) {
      await db.insertInto('credentials').values({ cluster_uuid: uuid, generation, mode: wanted.credentialMode, state: 'creating', remote: '{}', created_ms: nowMs })
        .onConflict((conflict) => conflict.columns(['cluster_uuid', 'generation']).doNothing()).execute();
    },
    async complete(cluster, generation, remote, status) {
      return await db.transaction().execute(async (transaction) => {
        if (!(await setStatus(transaction, cluster, { status, status_reason: null, generation, registry_status: 'ACTIVE', settings: JSON.stringify(cluster.wanted), wanted_settings: null }))) return false;
        await transaction.updateTable('credentials').set({ state: 'retiring' }).where('cluster_uuid', '=', cluster.uuid).where('state', '=', 'active').execute();
        await transaction.updateTable('credentials').set({ state: 'active', remote: JSON.stringify(remote), created_ms: nowMs }).where('cluster_uuid', '=', cluster.uuid).where('generation', '=', generation).execute();
        if (cluster.wanted.write !== 'all') await secrets.remove(transaction, { owner: clusterOwner(cluster.uuid), kind: PUSH_USER });
        await endAsking(transaction, cluster);
        return true;
      });
    },
    async fail(cluster, status, reason) {
      return await db.transaction().execute(async (transaction) => {
        const isFirst = cluster.generation === 0;
        if (!(await setStatus(transaction, cluster, { status, status_reason: reason, ...(isFirst && { registry_status: null }) }))) return false;
        await transaction.updateTable('credentials').set({ state: 'undoing' }).where('cluster_uuid', '=', cluster.uuid).where('state', '=', 'creating').execute();
        return true;
      });
    },
    setStatus: async (cluster, status, reason, more = {}) => await setStatus(db, cluster, { status, status_reason: reason, ...more }),
    async forget(uuid, generation) {
      await db.transaction().execute(async (transaction) => {
        await transaction.deleteFrom('credentials').where('cluster_uuid', '=', uuid).where('generation', '=', generation).execute();
        await secrets.remove(transaction, { owner: generationOwner(uuid, generation) });
      });
    },
    async withoutRegistry(cluster) {
      const { uuid, generation } = cluster;
      return await db.transaction().execute(async (transaction) => {
        if (!(await setStatus(transaction, cluster, { status: 'UPDATE_COMPLETE', status_reason: null, generation: 0, registry_status: null }))) return false;
        await transaction.updateTable('nodes').set({ generation }).where('cluster_uuid', '=', uuid).where('generation', '<', generation).execute();
        await transaction.deleteFrom('credentials').where('cluster_uuid', '=', uuid).execute();
        await secrets.remove(transaction, { prefix: `${clusterOwner(uuid)}/` });
        await secrets.remove(transaction, { owner: clusterOwner(uuid), kind: PUSH_USER });
        await endAsking(transaction, cluster);
        return true;
      });
    },
    async remove(cluster) {
      const { uuid } = cluster;
      return await db.transaction().execute(async (transaction) => {
        const { numDeletedRows } = await transaction.deleteFrom('clusters').where('uuid', '=', uuid).where('status', '=', cluster.status).executeTakeFirst();
        if (numDeletedRows === 0n) return false;
        for (const table of ['credentials', 'intents'] as const) await transaction.deleteFrom(table).where('cluster_uuid', '=', uuid).execute();
        await secrets.remove(transaction, { owner: clusterOwner(uuid) });
        await secrets.remove(transaction, { prefix: `${clusterOwner(uuid)}/` });
        return true;
      });
    },
    async allNodesHave(uuid, generation) {
      const behind = db.selectFrom('nodes').select('id').where('cluster_uuid', '=', uuid).where('generation', '<', generation)
        // One whose machine joined anew, since its disk was lost, is nobody any more.
        .where((node) => node.not(node.exists(node.selectFrom('nodes as later').select('later.id')
          .whereRef('later.cluster_uuid', '=', 'nodes.cluster_uuid').whereRef('later.name', '=', 'nodes.name').whereRef('later.role', '=', 'nodes.role').whereRef('later.joined_ms', '>', 'nodes.seen_ms'))));
      return (await behind.limit(1).executeTakeFirst()) === undefined;
    },
    async dropCallerToken({ uuid, status }) {
      await db.transaction().execute(async (transaction) => {
        // It is written with a status, by whoever asks: here nobody does until this is over.
        const { numUpdatedRows } = await transaction.updateTable('clusters').set({ status }).where('uuid', '=', uuid).where('status', '=', status).executeTakeFirst();
        if (numUpdatedRows > 0n) await secrets.remove(transaction, { owner: clusterOwner(uuid), kind: CALLER_TOKEN });
      });
    },
    async putOff(uuid, random, fixedMs) {
      const known = await db.selectFrom('intents').select('detail').where('cluster_uuid', '=', uuid).where('generation', '=', NO_GENERATION).where('step', '=', RETRY).executeTakeFirst();
      const attempts = Number(known?.detail ?? 0) + (fixedMs === undefined ? 1 : 0);
      const waitMs = fixedMs ?? Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempts - 1)) * (0.75 + random() / 2);
      const values = { detail: String(attempts), created_ms: sql<number>`${nowMs} + cast(${Math.round(waitMs)} as bigint)` };
      await db.insertInto('intents').values({ cluster_uuid: uuid, generation: NO_GENERATION, step: RETRY, state: 'intended', ...values })
        .onConflict((conflict) => conflict.columns(['cluster_uuid', 'generation', 'step']).doUpdateSet(values)).execute();
    },
    async due(limit) {
      const rows = await db.selectFrom('clusters')
        .leftJoin('intents', (join) => join.onRef('intents.cluster_uuid', '=', 'clusters.uuid').on('intents.generation', '=', NO_GENERATION).on('intents.step', '=', RETRY))
        .select(['clusters.uuid', 'clusters.id'])
        .where((where) => where.or([
          where('clusters.status', 'in', ['CREATE_IN_PROGRESS', 'UPDATE_IN_PROGRESS', 'DELETE_IN_PROGRESS']),
          where.and([
            where.or([where('intents.created_ms', 'is', null), where('intents.created_ms', '<=', nowMs)]),
            where.or([
              where('clusters.status', '=', 'DELETE_FAILED'),
              // The registry was to go, and a part of it did not.
              where.and([where('clusters.status', '=', 'UPDATE_FAILED'), where('clusters.registry_enabled', '=', 0)]),
              where.exists(where.selectFrom('credentials').select('credentials.generation').whereRef('credentials.cluster_uuid', '=', 'clusters.uuid').where('credentials.state', 'in', ['creating', 'retiring', 'undoing'])),
            ]),
          ]),
        ]))
        .orderBy('clusters.id').limit(limit).execute();
      return rows.map(({ uuid }) => uuid);
    },
  };
}
