/**
 * Entries of containers' access lists. Swift replaces whole lists, so whoever changes one holds a lease: of several
 * clusters that share a container none loses its entry. What others put there stays.
 */
import { pause, type Timers } from '../../workers/timers.ts';
import type { Leases } from '../database/leases.ts';
import type { Cloud } from '../keystone/cloud.ts';
import type { AccessList } from '../keystone/containers.ts';
import type { Operator } from './operator.ts';

export interface Access {
  readonly projectId: string;
  /** Of the container. */
  readonly name: string;
  /** `<project>:<user>`, by ids. */
  readonly grantee: string;
}

export interface AccessDeps {
  readonly cloud: Cloud;
  readonly leases: Leases;
  readonly timers: Timers;
  readonly random: () => number;
}

const WAIT_MS = 250;

/** Lets the grantee read, and write where it shall. @throws CloudError where nobody may change the list */
export async function grantAccess(deps: AccessDeps, operator: Operator, access: Access, mayWrite: boolean, signal: AbortSignal): Promise<void> {
  const { grantee } = access;
  await change(deps, operator, access, ({ read, write }) => ({ read: withEntry(read, grantee), write: mayWrite ? withEntry(write, grantee) : write }), signal);
}

/** A container that is gone: no error. */
export async function revokeAccess(deps: AccessDeps, operator: Operator, access: Access, signal: AbortSignal): Promise<void> {
  const { grantee } = access;
  const without = (list: readonly string[]): readonly string[] => list.filter((entry) => entry !== grantee);
  await change(deps, operator, access, ({ read, write }) => ({ read: without(read), write: without(write) }), signal);
}

async function change({ cloud, leases, timers, random }: AccessDeps, operator: Operator, { projectId, name }: Access, next: (list: AccessList) => AccessList, signal: AbortSignal): Promise<void> {
  const work = async (held: AbortSignal): Promise<void> =>
    await operator.as(`change the access list of container ${name}`, projectId, async (place) => {
      const before = await cloud.containers.look(place, name, held);
      if (before === undefined) return;
      const after = next(before);
      if (after.read.length !== before.read.length || after.write.length !== before.write.length) await cloud.containers.setAccess(place, name, after, held);
    }, held);
  while (!(await leases.under(`access/${projectId}/${name}`, work, signal))) await pause(WAIT_MS * (0.5 + random()), timers, signal);
}

function withEntry(list: readonly string[], entry: string): readonly string[] {
  return list.includes(entry) ? list : [...list, entry];
}
