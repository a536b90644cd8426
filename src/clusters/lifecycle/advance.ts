/** What is to be done for one cluster, by whoever holds its lease: from whatever state it is found in to an end. */
import { Secret } from '../../config/config.ts';
import { CALLER_TOKEN, clusterOwner } from '../credentials/credential.ts';
import { makeCredential, type CredentialDeps } from '../credentials/make.ts';
import type { Entry } from '../credentials/ledger.ts';
import { nodeStorage } from '../credentials/node-storage.ts';
import type { Caller } from '../credentials/operator.ts';
import { unmake, type ContainerFate } from '../credentials/unmake.ts';
import { SealError } from '../database/sealed.ts';
import { CloudError, isCloudError } from '../keystone/cloud-error.ts';
import type { ClusterRow, ClusterRows, CredentialRow } from './cluster.ts';
import type { LifecycleDeps, LifecycleEvent } from './lifecycle.ts';

export interface AdvanceDeps extends CredentialDeps {
  readonly rows: ClusterRows;
  readonly random: () => number;
  readonly graceMs: number;
  readonly missing: LifecycleDeps['missing'];
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
    case 'UPDATE_FAILED': return await (cluster.isEnabled ? clear(deps, cluster, signal) : disable(deps, cluster, signal));
    case 'CREATE_FAILED': case 'CREATE_COMPLETE': case 'UPDATE_COMPLETE': return await clear(deps, cluster, signal);
  }
}

async function make(deps: AdvanceDeps, cluster: ClusterRow, ends: { readonly complete: 'CREATE_COMPLETE' | 'UPDATE_COMPLETE'; readonly failed: 'CREATE_FAILED' | 'UPDATE_FAILED' }, signal: AbortSignal): Promise<void> {
  const { rows } = deps;
  if (!cluster.isEnabled) {
    await rows.dropCallerToken(cluster);
    return await settle(deps, cluster, ends.complete, null, { registry_status: null });
  }
  const generation = await rows.nextGeneration(cluster);
  await rows.begin(cluster, generation);
  try {
    const missing = cluster.generation === 0 ? await deps.missing?.() : undefined;
    if (missing !== undefined) throw new CloudError('permanent', missing);
    const caller = await callerOf(deps, cluster, signal);
    const remote = await makeCredential(deps, { ...cluster, settings: cluster.wanted }, generation, caller, signal);
    if (ends.complete === 'UPDATE_COMPLETE') await payDebts(deps, cluster, caller, signal);
    if (await rows.complete(cluster, generation, remote, ends.complete)) deps.report({ kind: 'status', cluster: cluster.uuid, status: ends.complete, reason: undefined });
  } catch (error) {
    signal.throwIfAborted();
    const reason = reasonOf(deps, cluster, error);
    // First, so that whoever takes over goes on undoing rather than making.
    if (!(await rows.fail(cluster, ends.failed, reason))) return;
    deps.report({ kind: 'status', cluster: cluster.uuid, status: ends.failed, reason });
    await clear(deps, { ...cluster, status: ends.failed }, signal);
  }
}

async function disable(deps: AdvanceDeps, cluster: ClusterRow, signal: AbortSignal): Promise<void> {
  const { rows, ledger } = deps;
  const { uuid } = cluster;
  const entries = (await ledger.of(uuid)).filter(({ thing }) => thing.kind !== 'container');
  if (!(await tryUnmake(deps, cluster, entries, { fate: 'kept', failed: 'UPDATE_FAILED' }, signal))) return;
  if (await rows.withoutRegistry(cluster)) deps.report({ kind: 'status', cluster: uuid, status: 'UPDATE_COMPLETE', reason: undefined });
}

async function remove(deps: AdvanceDeps, cluster: ClusterRow, signal: AbortSignal): Promise<void> {
  const { rows, ledger } = deps;
  const { uuid, projectId, settings, wanted, generation, isEnabled } = cluster;
  const hadNone = generation === 0 && isEnabled; // what it was to have was never in force
  const { container, upstreamContainer } = nodeStorage({ uuid, project_id: projectId }, settings);
  const purged = new Set([container, ...(upstreamContainer === undefined ? [] : [upstreamContainer])]);
  // Of images nothing goes that whoever asked last wanted kept, nor what the cluster had before: the label was not said of that.
  const fate = settings.purge && wanted.purge && !hadNone ? { purged } : generation === 0 ? 'unused' : 'kept';
  if (!(await tryUnmake(deps, cluster, await ledger.of(uuid), { fate, failed: 'DELETE_FAILED' }, signal))) return;
  if (await rows.remove(cluster)) deps.report({ kind: 'status', cluster: uuid, status: 'deleted', reason: undefined });
}

/** What is not shows in the status, and is tried again later. */
async function tryUnmake(deps: AdvanceDeps, cluster: ClusterRow, entries: readonly Entry[], { fate, failed }: { readonly fate: ContainerFate; readonly failed: 'UPDATE_FAILED' | 'DELETE_FAILED' }, signal: AbortSignal): Promise<boolean> {
  let reason: string;
  try {
    const problems = await unmake(deps, entries, { caller: await callerOf(deps, cluster, signal), fate, signal });
    if (problems.length === 0) return true;
    reason = joined(problems);
  } catch (error) {
    signal.throwIfAborted();
    reason = reasonOf(deps, cluster, error);
  }
  await settle(deps, cluster, failed, reason);
  await deps.rows.putOff(cluster.uuid, deps.random);
  return false;
}

/** What a failed attempt left goes, and what was before the last rotation. What cannot go yet is tried again later. */
async function clear(deps: AdvanceDeps, cluster: ClusterRow, signal: AbortSignal): Promise<void> {
  try {
    const all = await deps.rows.credentials(cluster.uuid);
    const failed = all.filter(({ state }) => state === 'undoing' || state === 'creating');
    if (await tryUndo(deps, cluster, failed, signal)) await retire(deps, cluster, all, signal);
  } catch (error) {
    signal.throwIfAborted();
    await later(deps, cluster, reasonOf(deps, cluster, error));
  }
}

async function tryUndo(deps: AdvanceDeps, cluster: ClusterRow, failed: readonly CredentialRow[], signal: AbortSignal): Promise<boolean> {
  if (failed.length === 0) return true;
  const caller = await callerOf(deps, cluster, signal);
  const { container, upstreamContainer } = nodeStorage({ uuid: cluster.uuid, project_id: cluster.projectId }, cluster.settings);
  const isInUse = (name: string): boolean => cluster.generation > 0 && (name === container || name === upstreamContainer);
  for (const { generation } of failed) {
    const isOfIt = ({ generation: of, thing }: Entry): boolean => of === generation || (thing.kind === 'container' && !isInUse(thing.name));
    if (!(await tryForget(deps, cluster, generation, { entries: (await deps.ledger.of(cluster.uuid)).filter(isOfIt), caller }, signal))) return false;
  }
  await deps.rows.dropCallerToken(cluster);
  return true;
}

/** Once every node has the new credential, or has had long enough. */
async function retire(deps: AdvanceDeps, cluster: ClusterRow, all: readonly CredentialRow[], signal: AbortSignal): Promise<void> {
  const { rows, ledger, database } = deps;
  const { uuid, generation } = cluster;
  const retiring = all.filter(({ state }) => state === 'retiring');
  const current = all.find((credential) => credential.generation === generation);
  if (retiring.length === 0 || current === undefined) return;
  const isOver = (await rows.allNodesHave(uuid, generation)) || (await database.clock()) >= current.createdMs + deps.graceMs;
  if (!isOver) return await rows.putOff(uuid, deps.random, LOOK_AGAIN_MS);
  for (const { generation: old } of retiring) {
    if (!(await tryForget(deps, cluster, old, { entries: await ledger.of(uuid, old), caller: undefined }, signal))) return;
    deps.report({ kind: 'retired', cluster: uuid, generation: old });
  }
}

async function tryForget(deps: AdvanceDeps, cluster: ClusterRow, generation: number, { entries, caller }: { readonly entries: readonly Entry[]; readonly caller: Caller | undefined }, signal: AbortSignal): Promise<boolean> {
  const { rows, ledger } = deps;
  const problems = await unmake(deps, entries, { caller, fate: 'unused', signal });
  const left = await ledger.of(cluster.uuid, generation);
  // An entry of an access list that nobody may remove lets nobody in without a credential; whoever next asks for one, or deletes the cluster, may.
  if (left.some(({ thing }) => thing.kind !== 'access') || problems.some(({ failure }) => failure === 'retryable')) {
    await later(deps, cluster, joined(problems));
    return false;
  }
  await rows.forget(cluster.uuid, generation);
  return true;
}

/** Entries of access lists that nobody could remove when their credential went. */
async function payDebts(deps: AdvanceDeps, { uuid }: ClusterRow, caller: Caller | undefined, signal: AbortSignal): Promise<void> {
  const living = new Set((await deps.rows.credentials(uuid)).map(({ generation }) => generation));
  const debts = (await deps.ledger.of(uuid)).filter(({ generation }) => generation > 0 && !living.has(generation));
  await unmake(deps, debts, { caller, fate: 'kept', signal });
}

/** Undefined: no token is kept, it cannot be opened, or it has ended. */
async function callerOf({ secrets, database, cloud }: AdvanceDeps, { uuid }: ClusterRow, signal: AbortSignal): Promise<Caller | undefined> {
  const token = await secrets.find(database.db, clusterOwner(uuid), CALLER_TOKEN).catch((error: unknown) => {
    if (error instanceof SealError) return undefined;
    throw error;
  });
  const holder = token === undefined ? undefined : await cloud.logins.holder(token.reveal(), signal);
  return token === undefined || holder === undefined ? undefined : { token: new Secret(token.reveal()), holder };
}

async function settle({ rows, report }: AdvanceDeps, cluster: ClusterRow, status: ClusterRow['status'], reason: string | null, more: { readonly registry_status?: string | null } = {}): Promise<void> {
  if (await rows.setStatus(cluster, status, reason, more)) report({ kind: 'status', cluster: cluster.uuid, status, reason: reason ?? undefined });
}

/** Something could not be removed: its entry stays, and is tried again. */
async function later({ rows, random, report }: AdvanceDeps, { uuid }: ClusterRow, error: string): Promise<void> {
  report({ kind: 'failed', what: `clear up after cluster ${uuid}`, error });
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
