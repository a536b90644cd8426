/**
 * What becomes of clusters after the API accepted what a client asked: their credentials are made, rotated and removed in
 * Keystone and Swift, by whichever instance takes the lease of the cluster.
 *
 * The API writes rows and calls `wake()` after it committed; it never waits for the work. In one transaction each:
 *
 * - create: the row with `CREATE_IN_PROGRESS`, `registry_status` `PENDING` (null where the registry is disabled),
 *   `generation` 0, and the caller's token (below). Becomes `CREATE_COMPLETE`, or `CREATE_FAILED` with `status_reason`.
 * - rotate, another registry, and one for a cluster that has none: `UPDATE_IN_PROGRESS`, `wanted_settings` where they are
 *   others, and the caller's token. Becomes `UPDATE_COMPLETE` with a `generation` higher than any before, its settings now in
 *   force; or `UPDATE_FAILED`, where the old credential goes on working, and the settings that it was made for.
 * - no registry any more: the same with `registry_enabled` 0. The credentials are removed; `UPDATE_FAILED` says which cannot be
 *   yet, and is tried again with backoff.
 * - delete: `DELETE_IN_PROGRESS` and the caller's token. The row goes, with its secrets (nodes' rows stay, and tell nodes); or
 *   `DELETE_FAILED` with the reason, tried again with backoff, and at once when it is set to `DELETE_IN_PROGRESS` again.
 *   With the label `registry_purge` (in `settings.purge`) the containers go too.
 *
 * The caller's token (`putCallerToken`) is wanted in every mode where the registry is enabled: in `trust` and `app_cred`
 * it makes the credential, in all of them it makes the container in the caller's project and changes its access list. It
 * is removed once used, and used for nothing but this cluster.
 *
 * Nodes find what they are given under `cluster/<uuid>/<generation>`: kinds `node-credential` and `push-user`.
 * For `storage` of a node's configuration see `nodeStorage` in ../credentials/node-storage.ts.
 */
import type { Timers } from '../../workers/timers.ts';
import type { Secret } from '../../config/config.ts';
import { CALLER_TOKEN, clusterOwner } from '../credentials/credential.ts';
import type { ClusterDatabase } from '../database/database.ts';
import type { SealedSecrets, Writer } from '../database/sealed.ts';
import type { Cloud } from '../keystone/cloud.ts';

export interface Lifecycle {
  /** There is work in the database: look now rather than at the next interval. Returns at once, never throws. */
  wake(): void;
  /** Ends: calls under way are aborted, leases given up; what was begun is taken over by another instance or the next start. */
  close(): Promise<void>;
}

/** Told of what happened, for the log; never with a secret. */
export type LifecycleEvent =
  | { readonly kind: 'status'; readonly cluster: string; readonly status: string; readonly reason: string | undefined }
  | { readonly kind: 'registry-status'; readonly cluster: string; readonly status: string }
  | { readonly kind: 'retired'; readonly cluster: string; readonly generation: number }
  | { readonly kind: 'swept'; readonly what: string }
  /** Of the loop itself: the database or the sweep; it goes on. */
  | { readonly kind: 'failed'; readonly what: string; readonly error: string };

export interface LifecycleDeps {
  readonly database: ClusterDatabase;
  readonly secrets: SealedSecrets;
  readonly cloud: Cloud;
  readonly timers: Timers;
  readonly nowMs: () => number;
  /** From 0 to less than 1. */
  readonly random: () => number;
  readonly report: (event: LifecycleEvent) => void;
  /** Why no node could be made of a cluster now, for whoever asked; undefined: one can. */
  readonly missing?: () => Promise<string | undefined>;
  /** What else is tidied with each sweep, by one instance. */
  readonly tidy?: () => Promise<void>;
  readonly intervals?: Partial<LifecycleIntervals>;
}

export interface LifecycleIntervals {
  /** How often to look for work that another instance left, and for what is to be tried again. */
  readonly pollMs: number;
  /** How often each cluster's credential is tried. */
  readonly healthMs: number;
  readonly sweepMs: number;
  /** How long a lease outlives an instance that died. */
  readonly leaseMs: number;
  /** How long the credential before a rotation works on where some node has not renewed. */
  readonly graceMs: number;
}

/** Keeps the token of whoever asked until the work is done: in the transaction that asks for it. */
export async function putCallerToken(secrets: SealedSecrets, writer: Writer, clusterUuid: string, token: Secret): Promise<void> {
  await secrets.put(writer, clusterOwner(clusterUuid), CALLER_TOKEN, token);
}
