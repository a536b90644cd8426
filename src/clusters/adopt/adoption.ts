/**
 * Clusters of a Magnum elsewhere get registries: every interval one instance reads them all, and makes of each with
 * `registry_enabled` a cluster here, which the lifecycle then treats as any other. Only what Magnum says is gone goes;
 * while it does not answer, or not as it should, everything stays.
 */
import type { ClustersConfig } from '../../config/config.ts';
import type { Timers } from '../../workers/timers.ts';
import { bodyOf, settingsOf, type ClusterRow } from '../api/cluster-rows.ts';
import { hasOneOf } from '../api/policy.ts';
import type { ClusterDatabase } from '../database/database.ts';
import { laterBy, leases as openLeases } from '../database/leases.ts';
import type { Cloud } from '../keystone/cloud.ts';
import { connection as openConnection } from '../keystone/connection.ts';
import { describeReference } from '../keystone/logins.ts';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import { described, describedTemplate, type Described, type DescribedTemplate, type Describing } from './described.ts';
import { MAX_ANSWER_BYTES, openMagnum, uuidOf } from './magnum.ts';
import { adoptedRows, changeOf } from './rows.ts';

/** For the log. */
export type AdoptionEvent =
  | { readonly kind: 'adopted' | 'adopted anew'; readonly cluster: string; readonly problem: string | undefined }
  | { readonly kind: 'let go'; readonly cluster: string; readonly why: string }
  | { readonly kind: 'failed'; readonly what: string; readonly error: string };

export interface AdoptionDeps {
  readonly database: ClusterDatabase;
  readonly config: Pick<ClustersConfig, 'defaults' | 'allowPrivateUpstreams'> & { readonly roles: Pick<ClustersConfig['roles'], 'operator'> };
  readonly adopt: { readonly magnumUrl: string; readonly intervalMs: number };
  readonly cloud: Cloud;
  readonly lifecycle: Pick<Lifecycle, 'wake'>;
  readonly timers: Timers;
  /** From 0 to less than 1. */
  readonly random: () => number;
  readonly report: (event: AdoptionEvent) => void;
  readonly pageSize?: number;
  /** How long after a failure a cluster is tried again. */
  readonly restMs?: number;
}

export interface Adoption {
  close(): Promise<void>;
}

const LEASE = 'adopt';
const LEASE_MS = 30_000;
/** When it was last read, by whichever instance: no cluster's. */
const READ = { cluster_uuid: 'adopt', generation: -1, step: 'read' } as const;
/** Of the interval, after which a reading is due: instances do not wake at the same moment. */
const DUE = 0.8;

export function startAdoption(deps: AdoptionDeps): Adoption {
  const { database, adopt: { magnumUrl, intervalMs }, cloud, timers, random, report } = deps;
  const { settings } = cloud;
  const connection = openConnection({ settings, timers, random, expected: 'Magnum', maxBytes: MAX_ANSWER_BYTES });
  const magnum = openMagnum({ url: magnumUrl, connection, logins: cloud.logins, user: describeReference(settings.service.user), ...(deps.pageSize !== undefined && { pageSize: deps.pageSize }) });
  const leases = openLeases({ database, timers, ttlMs: LEASE_MS });
  const rows = adoptedRows(database);
  const closing = new AbortController();
  const { signal } = closing;
  let complained: string | undefined;
  let cancel = (): void => undefined;

  async function isDue(): Promise<boolean> {
    const { numInsertedOrUpdatedRows } = await database.db.insertInto('intents').values({ ...READ, state: 'done', detail: '', created_ms: database.nowMs })
      .onConflict((conflict) => conflict.columns(['cluster_uuid', 'generation', 'step']).doUpdateSet({ created_ms: database.nowMs }).where('intents.created_ms', '<=', laterBy(database, -Math.round(intervalMs * DUE))))
      .executeTakeFirst();
    return (numInsertedOrUpdatedRows ?? 0n) > 0n;
  }

  async function read(held: AbortSignal): Promise<void> {
    await magnum.mustSeeAll(held);
    const templates = new Map<string, DescribedTemplate>();
    for await (const page of magnum.pages('clustertemplates', held)) {
      for (const document of page) {
        const template = describedTemplate(document);
        if (template !== undefined) templates.set(...template);
      }
    }
    const describing: Describing = { config: deps.config, cloud: settings, magnumUrl, templates };
    const seen = new Set<string>();
    const unfit: string[] = [];
    for await (const page of magnum.pages('clusters', held)) {
      for (const document of page) {
        held.throwIfAborted();
        const uuid = uuidOf(document);
        // The first of two that call themselves the same.
        if (uuid !== undefined && seen.has(uuid)) continue;
        if (uuid !== undefined) seen.add(uuid);
        const cluster = described(document, describing);
        if (cluster === 'unknown template') continue;
        const problem = 'unfit' in cluster ? cluster.unfit : await follow(cluster, held);
        if (problem !== undefined) unfit.push(problem);
      }
    }
    complain(unfit);
    await letGo(seen, held);
  }

  /** @returns why there is no place for it here */
  async function follow(cluster: Described, held: AbortSignal): Promise<string | undefined> {
    const { uuid } = cluster;
    const row = await rows.find(uuid);
    if (row !== undefined && row.is_adopted === 0) return `cluster ${uuid}, since this service has made one with this id`;
    if (row !== undefined && row.project_id !== cluster.projectId) return `cluster ${uuid}, which was of another project before`;
    if (row === undefined) {
      if (!cluster.isEnabled || cluster.isGoing) return undefined;
      const problem = cluster.problem ?? (await containerProblem(cluster, undefined, held));
      if (await rows.adopt({ ...cluster, problem })) done({ kind: 'adopted', cluster: uuid, problem });
      return undefined;
    }
    if (row.status.endsWith('_IN_PROGRESS') || row.status === 'DELETE_FAILED') return undefined;
    if (!cluster.isEnabled) {
      await leave(row, 'registry_enabled is off');
      return undefined;
    }
    const problem = cluster.problem ?? (await containerProblem(cluster, row, held));
    const change = changeOf(row, cluster, problem, deps.restMs);
    if (change !== undefined && (await rows.change(row, change))) done({ kind: 'adopted anew', cluster: uuid, problem });
    return undefined;
  }

  /** A label opens no container that the cluster's owner could not open: who may label clusters is Magnum's matter, who may open containers Swift's. */
  async function containerProblem({ settings: { container }, userId, projectId }: Described, row: ClusterRow | undefined, held: AbortSignal): Promise<string | undefined> {
    if (container === undefined || (row !== undefined && row.generation > 0 && settingsOf(row).container === container)) return undefined;
    const operators = deps.config.roles.operator;
    const has = await cloud.users.rolesOf(userId, projectId, held);
    if (has === undefined) return 'registry_container needs to know what the owner of the cluster may do, and this service may not look for roles: give its user the role admin, or leave the label out';
    return hasOneOf({ roles: has }, operators) ? undefined : `registry_container is for owners who may open containers, and whoever made this cluster has none of the roles ${operators.join(', ')} in its project: leave the label out`;
  }

  /** Clusters that were not in the list, where Magnum says so of each. */
  async function letGo(seen: ReadonlySet<string>, held: AbortSignal): Promise<void> {
    for (let page = await rows.after(0); page.length > 0; page = await rows.after(page.at(-1)?.id ?? Number.MAX_SAFE_INTEGER)) {
      for (const row of page) {
        // Of another Magnum, which was configured before: nobody says that they are gone.
        if (seen.has(row.uuid) || row.status.startsWith('DELETE') || row.status.endsWith('_IN_PROGRESS') || bodyOf(row).adopted?.magnumUrl !== magnumUrl) continue;
        if (await magnum.isGone(row.uuid, held)) await leave(row, 'Magnum has it no more');
      }
    }
  }

  async function leave(row: ClusterRow, why: string): Promise<void> {
    if (await rows.change(row, { status: 'DELETE_IN_PROGRESS', status_reason: null })) done({ kind: 'let go', cluster: row.uuid, why });
  }

  function done(event: AdoptionEvent): void {
    report(event);
    deps.lifecycle.wake();
  }

  /** Of what has no place here: once, not with every reading. */
  function complain(unfit: readonly string[]): void {
    const [first] = unfit;
    const error = first === undefined ? undefined : `there is no place for ${first}${unfit.length > 1 ? `, nor for ${unfit.length - 1} more` : ''}`;
    if (error !== undefined && error !== complained) report({ kind: 'failed', what: `adopt clusters of ${magnumUrl}`, error });
    complained = error;
  }

  async function run(): Promise<void> {
    try {
      if (await isDue()) await leases.under(LEASE, read, signal);
    } catch (error) {
      if (!signal.aborted) report({ kind: 'failed', what: `adopt clusters of ${magnumUrl}; those adopted stay as they are`, error: error instanceof Error ? error.message : String(error) });
    }
    if (!signal.aborted) cancel = timers.after(intervalMs * (0.9 + random() / 5), () => void (running = run()));
  }
  let running = run();

  return {
    async close() {
      closing.abort(new Error('the clusters service is closed'));
      cancel();
      await running;
      cancel();
      await connection.close();
    },
  };
}
