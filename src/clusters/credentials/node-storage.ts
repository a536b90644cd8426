/** Where a cluster's images are, in the words of `storage` of the nodes' configuration. */
import { createHash } from 'node:crypto';
import type { ClusterTable } from '../database/schema.ts';
import type { RegistrySettings } from '../words.ts';

export interface NodeStorage {
  /** Of images that are pushed; what the nodes may do there follows from `registry_write`. */
  readonly container: string;
  /** Of what is filled from upstreams; undefined: on the nodes' own disks (`registry_write: none`). */
  readonly upstreamContainer: string | undefined;
  /** `storage.account` of both: whose account it is, where that is not the credential's own. */
  readonly account: string | undefined;
}

/** Known from the row alone, before anything is made. */
export function nodeStorage({ uuid, project_id }: Pick<ClusterTable, 'uuid' | 'project_id'>, { container: named, write, credentialMode }: Pick<RegistrySettings, 'container' | 'write' | 'credentialMode'>): NodeStorage {
  const container = named ?? `registry-${uuid}`;
  return {
    container,
    upstreamContainer: write === 'none' ? undefined : `${container}-upstream`,
    // Users of `acl` are in the service project; the others act in the owner's.
    account: credentialMode === 'acl' ? `AUTH_${project_id}` : undefined,
  };
}

/** Nodes tell for which they are configured, since a credential opens only that of its time. */
export function storageFingerprint({ container, upstreamContainer, account }: NodeStorage): string {
  return createHash('sha256').update(JSON.stringify([container, upstreamContainer ?? null, account ?? null])).digest('hex').slice(0, 32);
}
