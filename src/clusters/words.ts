/**
 * The words of the cluster service: Magnum's, with the registry's own beside them. What stands in its database is
 * `database/schema.ts`; how clients spell it is `api/`.
 */

/** Container orchestration engines for which nodes are rendered; Magnum's `coe`. */
export const COES = ['kubernetes', 'swarm', 'swarm-mode'] as const;
export type Coe = (typeof COES)[number];

/** Of a node in its cluster: managers of Swarm are masters. */
export const ROLES = ['master', 'worker'] as const;
export type Role = (typeof ROLES)[number];

/** How a cluster's nodes are let into the object store (docs: threat model of each). */
export const CREDENTIAL_MODES = ['acl', 'trust', 'app_cred'] as const;
export type CredentialMode = (typeof CREDENTIAL_MODES)[number];

/** What nodes may write: nothing; the view `upstream`, in a container of its own; everything. */
export const WRITES = ['none', 'cache', 'all'] as const;
export type Write = (typeof WRITES)[number];

/** Where a client of a node turns when the node's registry does not answer. */
export const FALLBACKS = ['none', 'upstream'] as const;
export type Fallback = (typeof FALLBACKS)[number];

export const POLICIES = ['proxy', 'approved', 'local'] as const;
export type RegistryPolicy = (typeof POLICIES)[number];

/** Of a node's registry: one that no privileges are needed for. */
export const FIRST_FREE_PORT = 1_024;
export const LAST_PORT = 65_535;
/** And whose they are: what nodes or masters have of themselves. */
export const TAKEN_PORTS: ReadonlyMap<number, string> = new Map([[2379, 'etcd'], [2380, 'etcd'], [6443, 'the API of Kubernetes'], [10250, 'kubelet'], [2376, 'Docker'], [2377, 'Swarm']]);

/** Magnum's, those that a cluster can have here. */
export type ClusterStatus =
  | 'CREATE_IN_PROGRESS' | 'CREATE_COMPLETE' | 'CREATE_FAILED'
  | 'UPDATE_IN_PROGRESS' | 'UPDATE_COMPLETE' | 'UPDATE_FAILED'
  | 'DELETE_IN_PROGRESS' | 'DELETE_FAILED';

/** What the registry of a cluster's nodes is to be: the labels `registry_*` over the service's defaults, checked. */
export interface RegistrySettings {
  readonly port: number;
  readonly policy: RegistryPolicy;
  /** Hosts as in names, e.g. `docker.io`; empty: those that Umbra has by default. */
  readonly upstreams: readonly string[];
  readonly fallback: Fallback;
  readonly write: Write;
  readonly credentialMode: CredentialMode;
  /** Of the images; undefined: `registry-<uuid>`. */
  readonly container: string | undefined;
  /** Bytes of the container, by Swift's container quota; undefined: no bound. */
  readonly quotaBytes: number | undefined;
  /** Whether the containers go with the cluster. */
  readonly purge: boolean;
}

/** Magnum's UUIDs are what clients name things by. */
export const UUID: RegExp = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
