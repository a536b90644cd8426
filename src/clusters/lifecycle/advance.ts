/** What is to be done for one cluster, by whoever holds its lease: from whatever state it is found in to an end. */
import { Secret } from '../../config/config.ts';
import { CALLER_TOKEN, clusterOwner } from '../credentials/credential.ts';
import { makeCredential, type CredentialDeps } from '../credentials/make.ts';
import type { Caller } from '../credentials/operator.ts';
import { unmake } from '../credentials/unmake.ts';
import { isCloudError, type CloudError } from '../keystone/cloud-error.ts';
import type { ClusterRow, ClusterRows } from './cluster.ts';
import type { LifecycleEvent } from './lifecycle.ts';

export interface AdvanceDeps extends CredentialDeps {
  readonly rows: ClusterRows;
  readonly random: () => number;
  readonly graceMs: number;
  readonly report: (event: LifecycleEvent) => void;
}

/** How soon to look again whether nodes have renewed. */
const LOOK_AGAIN_MS = 30_000;

/** @throws the signal's reason where the lease was lost or the service ends: another goes on from there */
export async function advance(deps: AdvanceDeps, uuid: string, signal: AbortSignal): Promise<void> {
  const cluster = await deps.rows.find(uuid);
  if (cluster === undefined) return;
  switch (cluster.status) {
    case 'CREATE_IN_PROGRESS': return await make(deps, cluster, { complete: 'CREATE_COMPLETE', failed: 'CREATE_FAILED' }, signal);
    case 'UPDATE_IN_PROGRESS': return await (cluster.isEnabled ? make(deps, cluster, { complete: 'UPDATE_COMPLETE', failed: 'UPDATE_FAILED' }, signal) : disable(deps, cluster, signal));
    case 'DELETE_IN_PROGRESS': case 'DELETE_FAILED': return await remove(deps, cluster, signal);
    case 'CREATE_FAILED': case 'UPDATE_FAILED': return await undo(deps, cluster, signal);
    case 'CREATE_COMPLETE': case 'UPDATE_COMPLETE': return await retire(deps, cluster, signal);
  }
}

async function make(deps: AdvanceDeps, cluster: ClusterRow, ends: { readonly complete: 'CREATE_COMPLETE' | 'UPDATE_COMPLETE'; readonly failed: 'CREATE_FAILED' | 'UPDATE_FAILED' }, signal: AbortSignal): Promise<void> {
  const { rows } = deps;
  if (!cluster.isEnabled) {
    await rows.dropCallerToken(cluster.uuid);
    return await settle(deps, cluster, ends.complete, null, { registry_status: null });
  }
  const generation = await rows.nextGeneration(cluster);
  await rows.begin(cluster, generation);
  try {
    const caller = await callerOf(deps, cluster, signal);
    const remote = await makeCredential(deps, cluster, generation, caller, signal);
    if (ends.complete === 'UPDATE_COMPLETE') await payDebts(deps, cluster, caller, signal);
    if (await rows.complete(cluster, generation, remote, ends.complete)) deps.report({ kind: 'status', cluster: cluster.uuid, status: ends.complete, reason: undefined });
  } catch (error) {
    signal.throwIfAborted();
    const reason = reasonOf(deps, cluster, error);
    // First, so that whoever takes over goes on undoing rather than making.
    await settle(deps, cluster, ends.failed, reason, ends.failed === 'CREATE_FAILED' ? { registry_status: null } : {});
    await undo(deps, { ...cluster, status: ends.failed }, signal);
  }
}

/** What a failed attempt left goes, in reverse. */
async function undo(deps: AdvanceDeps, cluster: ClusterRow, signal: AbortSignal): Promise<void> {
  const { rows, ledger } = deps;
  const { uuid } = cluster;
  const unfinished = (await rows.credentials(uuid)).filter(({ state }) => state === 'creating');
  if (unfinished.length === 0) return await retire(deps, cluster, signal);
  const caller = await callerOf(deps, cluster, signal);
  for (const { generation } of unfinished) {
    const entries = (await ledger.of(uuid)).filter((entry) => entry.generation === generation || (cluster.generation === 0 && entry.generation === 0));
    const problems = await unmake(deps, entries, { caller, fate: 'unused', signal });
    if (problems.length > 0) return await later(deps, cluster, problems);
    await rows.forget(uuid, generation);
  }
  await rows.dropCallerToken(uuid);
}

async function disable(deps: AdvanceDeps, cluster: ClusterRow, signal: AbortSignal): Promise<void> {
  const { rows, ledger } = deps;
  const { uuid } = cluster;
  const caller = await callerOf(deps, cluster, signal);
  const entries = (await ledger.of(uuid)).filter(({ thing }) => thing.kind !== 'container');
  const problems = await unmake(deps, entries, { caller, fate: 'kept', signal });
  if (problems.length > 0) return await settle(deps, cluster, 'UPDATE_FAILED', joined(problems));
  await rows.outdateNodes(cluster);
  for (const { generation } of await rows.credentials(uuid)) await rows.forget(uuid, generation);
  await rows.dropCallerToken(uuid);
  await settle(deps, cluster, 'UPDATE_COMPLETE', null, { generation: 0, registry_status: null });
}

async function remove(deps: AdvanceDeps, cluster: ClusterRow, signal: AbortSignal): Promise<void> {
  const { rows, ledger } = deps;
  const { uuid } = cluster;
  try {
    const caller = await callerOf(deps, cluster, signal);
    const problems = await unmake(deps, await ledger.of(uuid), { caller, fate: cluster.settings.purge ? 'purged' : cluster.generation === 0 ? 'unused' : 'kept', signal });
    if (problems.length > 0) {
      await settle(deps, cluster, 'DELETE_FAILED', joined(problems));
      return await rows.putOff(uuid, deps.random);
    }
  } catch (error) {
    signal.throwIfAborted();
    await settle(deps, cluster, 'DELETE_FAILED', reasonOf(deps, cluster, error));
    return await rows.putOff(uuid, deps.random);
  }
  if (await rows.remove(cluster)) deps.report({ kind: 'status', cluster: uuid, status: 'deleted', reason: undefined });
}

/** Credentials before the last rotation, once every node has the new one, or has had long enough. */
async function retire(deps: AdvanceDeps, cluster: ClusterRow, signal: AbortSignal): Promise<void> {
  const { rows, ledger, database } = deps;
  const { uuid, generation } = cluster;
  const all = await rows.credentials(uuid);
  const retiring = all.filter(({ state }) => state === 'retiring');
  const current = all.find((credential) => credential.generation === generation);
  if (retiring.length === 0 || current === undefined) return;
  const isOver = (await rows.allNodesHave(uuid, generation)) || (await database.clock()) >= current.createdMs + deps.graceMs;
  if (!isOver) return await rows.putOff(uuid, deps.random, LOOK_AGAIN_MS);
  for (const credential of retiring) {
    const problems = await unmake(deps, await ledger.of(uuid, credential.generation), { caller: undefined, fate: 'kept', signal });
    const left = await ledger.of(uuid, credential.generation);
    // An entry for a user that is gone opens nothing; it goes with the next rotation or with the cluster, whose caller may change the list.
    if (left.some(({ thing }) => thing.kind !== 'access')) return await later(deps, cluster, problems);
    await rows.forget(uuid, credential.generation);
    deps.report({ kind: 'retired', cluster: uuid, generation: credential.generation });
  }
}

/** Entries of access lists that nobody could remove when their credential went. */
async function payDebts(deps: AdvanceDeps, { uuid }: ClusterRow, caller: Caller | undefined, signal: AbortSignal): Promise<void> {
  const living = new Set((await deps.rows.credentials(uuid)).map(({ generation }) => generation));
  const debts = (await deps.ledger.of(uuid)).filter(({ generation }) => generation > 0 && !living.has(generation));
  await unmake(deps, debts, { caller, fate: 'kept', signal });
}

/** Undefined: no token is kept, or it has ended. */
async function callerOf({ secrets, database, cloud }: AdvanceDeps, { uuid }: ClusterRow, signal: AbortSignal): Promise<Caller | undefined> {
  const token = await secrets.find(database.db, clusterOwner(uuid), CALLER_TOKEN);
  const holder = token === undefined ? undefined : await cloud.logins.holder(token.reveal(), signal);
  return token === undefined || holder === undefined ? undefined : { token: new Secret(token.reveal()), holder };
}

async function settle({ rows, report }: AdvanceDeps, cluster: ClusterRow, status: ClusterRow['status'], reason: string | null, more: { readonly generation?: number; readonly registry_status?: string | null } = {}): Promise<void> {
  if (await rows.setStatus(cluster, status, reason, more)) report({ kind: 'status', cluster: cluster.uuid, status, reason: reason ?? undefined });
}

/** Something could not be removed: its entry stays, and is tried again. */
async function later({ rows, random, report }: AdvanceDeps, { uuid }: ClusterRow, problems: readonly CloudError[]): Promise<void> {
  report({ kind: 'failed', what: `clear up after cluster ${uuid}`, error: joined(problems) });
  await rows.putOff(uuid, random);
}

function joined(problems: readonly CloudError[]): string {
  return [...new Set(problems.map(({ message }) => message))].join('; ');
}

/** For whoever asked. What is not the cloud's word is for the log alone. */
function reasonOf({ report }: AdvanceDeps, { uuid }: ClusterRow, error: unknown): string {
  if (isCloudError(error)) return error.message;
  report({ kind: 'failed', what: `cluster ${uuid}`, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  return 'the service failed; its log says why';
}
