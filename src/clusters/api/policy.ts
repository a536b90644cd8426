/** Who may do what: a project's members with what is their project's, readers only look, administrators everything; nodes nothing. */
import type { ClusterRoles } from '../../config/config.ts';
import type { Caller } from '../keystone/tokens.ts';
import { ApiProblem } from './problem.ts';

/** Somebody who asks, and what is known of their rights. */
export interface Access {
  readonly caller: Caller;
  readonly isAdmin: boolean;
}

const READER = 'reader';

export function accessOf(caller: Caller, roles: ClusterRoles): Access {
  return { caller, isAdmin: hasOneOf(caller, roles.admin) };
}

export function hasOneOf({ roles }: Pick<Caller, 'roles'>, wanted: readonly string[]): boolean {
  const has = new Set(roles.map((role) => role.toLowerCase())); // as Keystone compares them
  return wanted.some((role) => has.has(role.toLowerCase()));
}

/** @throws ApiProblem where they may only look, or not even that */
export function mustChange({ caller: { roles } }: Access, what: string): void {
  if (roles.every((role) => role.toLowerCase() === READER)) throw new ApiProblem('forbidden', `Policy doesn't allow ${what} to be performed: whoever has but the role ${READER} changes nothing; ask for the role member in this project`);
}

/** @param owner project of the object, which the caller sees. @throws ApiProblem */
export function mustOwn(access: Access, owner: string, what: string): void {
  mustChange(access, what);
  if (!access.isAdmin && owner !== access.caller.projectId) throw new ApiProblem('forbidden', `Policy doesn't allow ${what} to be performed: it belongs to another project`);
}

/** @throws ApiProblem */
export function mustPublish({ isAdmin }: Access): void {
  if (!isAdmin) throw new ApiProblem('forbidden', 'Not authorized to set public or hidden flag for cluster template.');
}
