/**
 * The tables of the cluster service. Columns are what is searched, sorted or raced for; what is only carried is JSON
 * text. Booleans are 0 and 1, times are milliseconds since the epoch by the database's own clock, and ids that clients see are UUIDs,
 * so that SQLite and PostgreSQL hold the same. No secret stands here in the clear: see `sealed_secrets`.
 */
import type { Generated } from 'kysely';
import type { ClusterStatus, Coe, CredentialMode, Role } from '../words.ts';

export interface Schema {
  templates: TemplateTable;
  clusters: ClusterTable;
  credentials: CredentialTable;
  sealed_secrets: SealedSecretTable;
  intents: IntentTable;
  leases: LeaseTable;
  bootstrap_tokens: BootstrapTokenTable;
  nodes: NodeTable;
}

export interface TemplateTable {
  /** In the order of creation, which is Magnum's default order. */
  id: Generated<number>;
  uuid: string;
  name: string;
  project_id: string;
  user_id: string;
  coe: Coe;
  registry_enabled: number;
  is_public: number;
  is_hidden: number;
  created_ms: number;
  updated_ms: number | null;
  /** JSON object: Magnum's other fields by their names there, labels and tags included, as the client gave them. */
  body: string;
}

export interface ClusterTable {
  id: Generated<number>;
  uuid: string;
  name: string;
  project_id: string;
  user_id: string;
  template_uuid: string;
  coe: Coe;
  registry_enabled: number;
  status: ClusterStatus;
  status_reason: string | null;
  /** `ACTIVE`, `PENDING`, or `DEGRADED: ` and what to do; null while the cluster has no registry. */
  registry_status: string | null;
  /** JSON of `RegistrySettings` in force: what its credential was made for, and what else nodes are given. */
  settings: string;
  /** JSON of those that were asked for since; null: no others. They become `settings` with the credential that is made for them. */
  wanted_settings: string | null;
  /** The credential that nodes are to have; 0 before there is one. */
  generation: number;
  /** 1: a cluster of a Magnum elsewhere, whose uuid it has. */
  is_adopted: number;
  created_ms: number;
  updated_ms: number | null;
  /** JSON object: Magnum's other fields by their names there. */
  body: string;
}

/** What opens the store to a cluster's nodes: one is active, another may be coming or going. */
export interface CredentialTable {
  cluster_uuid: string;
  /** From 1, counted up by each rotation. */
  generation: number;
  mode: CredentialMode;
  /** `undoing`: its making failed, and what there is of it goes. */
  state: 'creating' | 'active' | 'retiring' | 'undoing';
  /** JSON: ids of what Keystone and Swift hold for it that tell nobody anything; trust ids and secrets are sealed. */
  remote: string;
  created_ms: number;
}

/** AES-256-GCM; see `sealed.ts`. */
export interface SealedSecretTable {
  /** Whose: `cluster/<uuid>/…`. */
  owner: string;
  /** Which of the owner's: `password`, `trust`, `token`, … */
  kind: string;
  /** Names the key, tells nothing of it. */
  key_id: string;
  sealed: string;
  created_ms: number;
}

/** Written before each call that leaves something elsewhere, so that whoever takes over knows what to look for. */
export interface IntentTable {
  id: Generated<number>;
  cluster_uuid: string;
  generation: number;
  /** What is to be there: `user`, `role`, `container`, `acl`, `trust`, … */
  step: string;
  state: 'intended' | 'done';
  /** JSON: what names it elsewhere. */
  detail: string;
  created_ms: number;
}

export interface LeaseTable {
  name: string;
  holder: string;
  until_ms: number;
}

export interface BootstrapTokenTable {
  /** SHA-256 in hex: the token itself stands nowhere. */
  hash: string;
  cluster_uuid: string;
  role: Role;
  uses_left: number;
  expires_ms: number;
  created_ms: number;
}

export interface NodeTable {
  /** UUID. */
  id: string;
  cluster_uuid: string;
  name: string;
  role: Role;
  /** SHA-256 in hex of what the node shows when it renews. */
  key_hash: string;
  /** The bootstrap token that it came with; null: it came before this was noted. */
  token_hash: string | null;
  arch: string;
  version: string;
  /** The credential that it has. */
  generation: number;
  last_error: string | null;
  disk_used_bytes: number | null;
  disk_max_bytes: number | null;
  joined_ms: number;
  seen_ms: number;
}
