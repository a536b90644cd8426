/**
 * Entries of containers' access lists. In `trust` and `app_cred` one owner is the grantee of several generations and
 * clusters, so that what a grantee may do follows from all entries of the ledger about it. Swift replaces whole lists:
 * whoever changes one, and says so in the ledger, holds a lease. What others put there stays.
 */
import { pause, type Timers } from '../../workers/timers.ts';
import type { Leases } from '../database/leases.ts';
import type { Cloud } from '../keystone/cloud.ts';
import type { AccessList } from '../keystone/containers.ts';
import type { Entry, Ledger, Thing } from './ledger.ts';
import type { Operator } from './operator.ts';

export type Access = Extract<Thing, { readonly kind: 'access' }>;
/** Whose an entry is. */
export type Holder = Pick<Entry, 'clusterUuid' | 'generation'>;

export interface AccessDeps {
  readonly cloud: Cloud;
  readonly leases: Leases;
  readonly ledger: Pick<Ledger, 'aboutContainer' | 'done' | 'gone'>;
  readonly timers: Timers;
  readonly random: () => number;
}

const WAIT_MS = 250;

/**
 * Lets the grantee in; takes nothing from it.
 * @returns whether another entry lets it write there
 * @throws CloudError where nobody may change the list
 */
export async function grantAccess(deps: AccessDeps, operator: Operator, holder: Holder, access: Access, signal: AbortSignal): Promise<boolean> {
  const { grantee, mayWrite } = access;
  await underLease(deps, access, async (held) =>
    await change(deps, operator, access, ({ read, write }) => ({ read: withEntry(read, grantee), write: mayWrite ? withEntry(write, grantee) : write }), held), signal);
  return (await entriesOf(deps, access)).some(({ clusterUuid, generation, access: other }) => other.mayWrite && !(clusterUuid === holder.clusterUuid && generation === holder.generation));
}

/**
 * Ends what earlier generations of the same cluster let the grantee do beyond this: they have the same grantee, and a
 * list knows no generations. @throws CloudError where nobody may change the list
 */
export async function narrowAccess(deps: AccessDeps, operator: Operator, holder: Holder, access: Access, signal: AbortSignal): Promise<void> {
  if (access.mayWrite) return;
  await underLease(deps, access, async (held) => {
    const entries = await entriesOf(deps, access);
    const before = entries.filter(({ clusterUuid, generation }) => clusterUuid === holder.clusterUuid && generation < holder.generation);
    if (before.length === 0) return;
    for (const { clusterUuid, generation, access: other } of before) await deps.ledger.done(clusterUuid, generation, { ...other, mayWrite: false });
    if (entries.some(({ clusterUuid, access: other }) => clusterUuid !== holder.clusterUuid && other.mayWrite)) return;
    await change(deps, operator, access, ({ read, write }) => ({ read, write: withoutEntry(write, access.grantee) }), held);
  }, signal);
}

/** What no other entry gives goes, and with it this entry of the ledger. A container that is gone: no error. @throws CloudError where nobody may change the list */
export async function revokeAccess(deps: AccessDeps, operator: Operator, entry: Entry, access: Access, signal: AbortSignal): Promise<void> {
  const { grantee } = access;
  await underLease(deps, access, async (held) => {
    const others = (await entriesOf(deps, access)).filter(({ id }) => id !== entry.id);
    const [stays, mayWrite] = [others.length > 0, others.some(({ access: other }) => other.mayWrite)];
    const isCovered = stays && (mayWrite || !access.mayWrite);
    if (!isCovered) await change(deps, operator, access, ({ read, write }) => ({ read: stays ? read : withoutEntry(read, grantee), write: withoutEntry(write, grantee) }), held);
    await deps.ledger.gone(entry);
  }, signal);
}

/** Of all clusters, those about the same grantee and container. */
async function entriesOf({ ledger }: AccessDeps, { projectId, name, grantee }: Access): Promise<readonly (Entry & { readonly access: Access })[]> {
  const entries = await ledger.aboutContainer('access', projectId, name);
  return entries.flatMap((entry) => (entry.thing.kind === 'access' && entry.thing.grantee === grantee ? [{ ...entry, access: entry.thing }] : []));
}

async function underLease({ leases, timers, random }: AccessDeps, { projectId, name }: Access, work: (held: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!(await leases.under(`access/${projectId}/${name}`, work, signal))) await pause(WAIT_MS * (0.5 + random()), timers, signal);
}

async function change({ cloud }: AccessDeps, operator: Operator, { projectId, name }: Access, next: (list: AccessList) => AccessList, signal: AbortSignal): Promise<void> {
  await operator.as(`change the access list of container ${name}`, projectId, async (place) => {
    const before = await cloud.containers.look(place, name, signal);
    if (before === undefined) return;
    const after = next(before);
    if (after.read.length !== before.read.length || after.write.length !== before.write.length) await cloud.containers.setAccess(place, name, after, signal);
  }, signal);
}

function withEntry(list: readonly string[], entry: string): readonly string[] {
  return list.includes(entry) ? list : [...list, entry];
}

function withoutEntry(list: readonly string[], entry: string): readonly string[] {
  return list.filter((each) => each !== entry);
}
