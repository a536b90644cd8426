/**
 * The configuration file as its schema gives it: in the file's words, valid key by key, durations in milliseconds and
 * sizes in bytes, static defaults filled in. What needs other keys, files or the machine is `resolve.ts`.
 */
import type { ViewId } from '../oci/name.ts';
import type { AuthWords } from '../openstack/auth-words.ts';
import type { Action, AnonymousAccess, ClusterDefaults, ClusterRoles, Policy, UserAccess } from './config.ts';

export interface ListenerSettings {
  readonly address: string;
  readonly publicUrl?: string | undefined;
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  readonly view: ViewId;
  readonly upstream: string;
  readonly mirror: boolean;
  readonly proxy: boolean;
  readonly tunnel: readonly string[];
}

export interface UpstreamSettings {
  readonly url?: string | undefined;
  readonly policy: Policy;
  readonly ttl: number;
  readonly negativeTtl: number;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
  /** A path, or PEM text. */
  readonly ca?: string | undefined;
  readonly timeout: number;
}

export interface UserSettings {
  readonly name: string;
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly passwordHash?: string | undefined;
  readonly passwordHashFile?: string | undefined;
  readonly access: UserAccess;
}

export interface GrantSettings {
  readonly names: readonly string[];
  readonly views?: readonly string[] | undefined;
  readonly may: readonly Action[];
}

export interface RuleSettings extends GrantSettings {
  readonly who: string;
}

export interface OidcSettings {
  readonly issuer: string;
  readonly audience: readonly string[];
  /** A path, or PEM text. */
  readonly ca?: string | undefined;
  readonly rules: readonly (GrantSettings & { readonly claims: Readonly<Record<string, readonly string[]>> })[];
}

export interface KeystoneSettings {
  readonly url: string;
  /** A path, or PEM text. */
  readonly ca?: string | undefined;
  readonly insecure: boolean;
  readonly cacheFor: number;
  readonly domain: string;
  readonly rules: readonly (GrantSettings & { readonly [Attribute in KeystoneAttribute]?: readonly string[] | undefined })[];
}

/** What Keystone says of somebody who logs in. */
export type KeystoneAttribute = 'user' | 'domain' | 'project' | 'projectDomain' | 'role';

export interface OpenStackSettings extends AuthWords {
  /** Instead of all else here. */
  readonly credentialFile?: string | undefined;
  readonly passwordFile?: string | undefined;
  readonly applicationCredentialSecretFile?: string | undefined;
}

export interface DiskSettings {
  readonly root: string;
  readonly maxBytes: number;
}

export interface StorageSettings {
  readonly driver: 'filesystem' | 'memory' | 'swift' | 's3';
  readonly root?: string | undefined;
  readonly maxBytes?: number | undefined;
  readonly container?: string | undefined;
  readonly account?: string | undefined;
  readonly bucket?: string | undefined;
  readonly prefix?: string | undefined;
  readonly region?: string | undefined;
  readonly interface?: 'public' | 'internal' | undefined;
  readonly auth?: OpenStackSettings | undefined;
  readonly cloud?: string | undefined;
  readonly segmentSize?: number | undefined;
  readonly tempUrlKey?: string | undefined;
  readonly tempUrlKeyFile?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly accessKeyId?: string | undefined;
  readonly secretAccessKey?: string | undefined;
  readonly secretAccessKeyFile?: string | undefined;
  readonly pathStyle?: boolean | undefined;
  readonly claims?: 'strict' | 'settle' | undefined;
  readonly redirect?: boolean | readonly string[] | undefined;
  /** A path, or PEM text. */
  readonly ca?: string | undefined;
  readonly insecure?: boolean | undefined;
  readonly disk?: DiskSettings | undefined;
}

export interface ClustersSettings {
  readonly address: string;
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  readonly publicUrl: string;
  readonly database?: string | undefined;
  readonly databaseFile?: string | undefined;
  readonly encryptionKey?: readonly string[] | undefined;
  readonly encryptionKeyFile?: readonly string[] | undefined;
  readonly keystone: {
    readonly url: string;
    readonly username: string;
    readonly password?: string | undefined;
    readonly passwordFile?: string | undefined;
    readonly userDomain: string;
    readonly project: string;
    readonly projectDomain?: string | undefined;
    readonly region?: string | undefined;
    readonly interface: 'public' | 'internal' | 'admin';
    /** A path, or PEM text. */
    readonly ca?: string | undefined;
    readonly insecure: boolean;
    readonly cacheFor: number;
  };
  readonly trusteeDomain?: { readonly name: string; readonly adminUsername: string; readonly adminPassword?: string | undefined; readonly adminPasswordFile?: string | undefined } | undefined;
  readonly serviceProject?: string | undefined;
  readonly serviceProjectDomain?: string | undefined;
  readonly roles: ClusterRoles;
  readonly defaults: {
    readonly credentialMode: ClusterDefaults['credentialMode'];
    readonly write: ClusterDefaults['write'];
    readonly policy: Policy;
    readonly port: number;
    readonly upstreams: readonly string[];
    readonly fallback?: ClusterDefaults['fallback'] | undefined;
  };
  readonly nodes: {
    readonly image?: string | undefined;
    /** A path, or PEM text. */
    readonly ca?: string | undefined;
    readonly disk: number;
    readonly renew: number;
  };
  readonly openProject: boolean;
  readonly accessRules: boolean;
  readonly allowPrivateUpstreams: boolean;
  readonly programs?: string | undefined;
  readonly adopt?: { readonly magnumUrl: string; readonly interval: number } | undefined;
}

export interface NodeSettings {
  readonly clusters: string;
  /** A path, or PEM text. */
  readonly ca?: string | undefined;
  readonly tokenFile: string;
  readonly state: string;
  readonly role: 'master' | 'worker';
  readonly storage?: string | undefined;
  readonly name?: string | undefined;
}

export interface Settings {
  readonly workers: number | 'auto';
  readonly listeners: readonly ListenerSettings[];
  readonly proxyCa?: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly trustedProxies: readonly string[];
  readonly storage: StorageSettings;
  readonly upstreamStorage?: StorageSettings | undefined;
  readonly coordination?: { readonly driver: 'postgres'; readonly url?: string | undefined; readonly urlFile?: string | undefined } | undefined;
  readonly views: {
    readonly hostSuffix?: string | undefined;
    readonly define: Readonly<Record<string, { readonly parents: readonly ViewId[] }>>;
  };
  readonly tagStaleness: number;
  readonly tagExpiry?: number | undefined;
  readonly upstreams: Readonly<Record<string, UpstreamSettings>>;
  readonly fillDetached: number;
  readonly readOnly?: string | undefined;
  readonly auth: {
    readonly keyFile: string;
    readonly secret?: string | undefined;
    readonly secretFile?: string | undefined;
    readonly anonymous?: AnonymousAccess | undefined;
    readonly users?: readonly UserSettings[] | undefined;
    readonly htpasswd?: string | undefined;
    readonly rules?: readonly RuleSettings[] | undefined;
    readonly oidc?: readonly OidcSettings[] | undefined;
    readonly keystone?: KeystoneSettings | undefined;
  };
  readonly limits: {
    readonly memory: number;
    readonly manifestBytes: number;
    readonly blobBytes: number;
    readonly uploads: number;
    readonly stall: number;
    readonly drain: number;
  };
  readonly clusters?: ClustersSettings | undefined;
  readonly node?: NodeSettings | undefined;
}
