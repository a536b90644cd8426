/**
 * The effective configuration, parsed and complete: what `load.ts` gives and everything else takes. Words as in the
 * file; durations in milliseconds and sizes in bytes, with the unit in the name.
 */
import type { ViewId } from '../oci/name.ts';
import type { OpenStackLogin } from '../openstack/auth.ts';

export type Policy = 'proxy' | 'approved' | 'local';
export type AnonymousAccess = 'none' | 'pull' | 'push';
export type UserAccess = 'pull' | 'push' | 'admin';
export type Action = 'pull' | 'push' | 'delete' | 'admin';

/** Text that is private to the instance (inspect shows nothing of it) and prints as `***` wherever it is logged, inspected or turned into JSON. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return '***';
  }

  toJSON(): string {
    return '***';
  }
}

export interface ListenerConfig {
  /** As written, e.g. `localhost:5000`. */
  readonly address: string;
  /** What to bind: `localhost` means both loopback addresses. Port 0 is any free one. */
  readonly binds: readonly { readonly host: string; readonly port: number }[];
  readonly publicUrl: string | undefined;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly view: ViewId;
  /** What a name without a host means. */
  readonly upstream: string;
  readonly mirror: boolean;
  /** Also an HTTP proxy that answers for the upstreams. */
  readonly proxy: boolean;
  /** Where else the proxy lets clients through: `host`, `*.domain`, an address or a network, each with an optional port. */
  readonly tunnel: readonly string[];
}

export interface UpstreamConfig {
  /** As in names, e.g. `docker.io`. */
  readonly host: string;
  readonly url: string;
  readonly policy: Policy;
  readonly ttlMs: number;
  readonly negativeTtlMs: number;
  readonly username: string | undefined;
  readonly password: Secret | undefined;
  /** PEM text of extra authorities. */
  readonly ca: string | undefined;
  readonly timeoutMs: number;
}

export interface ViewConfig {
  readonly id: ViewId;
  readonly parents: readonly ViewId[];
}

export interface UserConfig {
  readonly name: string;
  readonly password: Secret | undefined;
  /** bcrypt. */
  readonly passwordHash: Secret | undefined;
  readonly access: UserAccess;
}

/** Names and views, and what may be done there. */
export interface GrantConfig {
  /** Patterns of canonical names: `*` within and across components. */
  readonly names: readonly string[];
  /** Patterns of view ids; default: main and whatever is defined, see auth/rules.ts. */
  readonly views: readonly string[] | undefined;
  readonly may: readonly Action[];
}

export interface RuleConfig extends GrantConfig {
  /** A user name, `anonymous` or `*` (everybody who logged in). */
  readonly who: string;
}

/** A rule for whom another service vouches for. A view may hold `{attribute}`: the value of that attribute. */
export interface AttributeRuleConfig extends GrantConfig {
  /** By attribute (a claim, `project`, …): the patterns of which one must fit. All attributes named must. */
  readonly where: ReadonlyMap<string, readonly string[]>;
}

/** A Keystone whose users may log in. */
export interface KeystoneConfig {
  readonly url: string;
  /** PEM text of extra authorities. */
  readonly ca: string | undefined;
  /** Certificates are not checked. */
  readonly insecure: boolean;
  readonly cacheForMs: number;
  /** Of users who write none. */
  readonly domain: string;
  /** On `user`, `domain`, `project`, `projectDomain` and `role`. */
  readonly rules: readonly AttributeRuleConfig[];
}

/** An issuer of ID tokens. */
export interface OidcConfig {
  /** As in `iss`, to the letter. */
  readonly issuer: string;
  /** Any of these in `aud`. */
  readonly audience: readonly string[];
  /** PEM text of extra authorities. */
  readonly ca: string | undefined;
  readonly rules: readonly AttributeRuleConfig[];
}

/**
 * Whom a blob's bytes may be fetched from the store itself, by a signed URL: nobody, everybody, or clients in these
 * networks (`10.0.0.0/8`). A client that cannot reach the store must not be sent there.
 */
export type Redirect = 'never' | 'always' | readonly string[];

/** A cache of whole blobs on a local disk, before an object store. */
export interface DiskConfig {
  readonly root: string;
  readonly maxBytes: number;
}

export interface SwiftStorage {
  readonly driver: 'swift';
  readonly container: string;
  /** That the container is in; undefined: that of the project we log in to. */
  readonly account: string | undefined;
  /** Before every key; '' or ending in `/`. */
  readonly prefix: string;
  /** Undefined: the only one of the catalogue. */
  readonly region: string | undefined;
  readonly interface: 'public' | 'internal';
  readonly auth: OpenStackLogin;
  /** The most that one segment holds. */
  readonly segmentBytes: number;
  readonly tempUrlKey: Secret | undefined;
  readonly redirect: Redirect;
  /** PEM text of extra authorities, for Keystone and Swift. */
  readonly ca: string | undefined;
  /** Certificates are not checked. */
  readonly insecure: boolean;
  readonly disk: DiskConfig | undefined;
}

export interface S3Storage {
  readonly driver: 's3';
  /** Undefined: AWS, by region. */
  readonly endpoint: string | undefined;
  readonly region: string;
  readonly bucket: string;
  /** Before every key; '' or ending in `/`. */
  readonly prefix: string;
  /** Undefined: the default credential chain of AWS. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: Secret } | undefined;
  /** `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`. */
  readonly pathStyle: boolean;
  readonly redirect: Redirect;
  /** Undefined: found out at start. */
  readonly claims: 'strict' | 'settle' | undefined;
  readonly ca: string | undefined;
  readonly insecure: boolean;
  readonly disk: DiskConfig | undefined;
}

export interface FilesystemStorage {
  readonly driver: 'filesystem';
  readonly root: string;
  /** Of a store that is a cache alone. */
  readonly maxBytes?: number | undefined;
}

export type StorageConfig = FilesystemStorage | { readonly driver: 'memory' } | SwiftStorage | S3Storage;

/** Who the cluster service is to Keystone. */
export interface ClustersKeystoneConfig {
  readonly url: string;
  readonly username: string;
  readonly password: Secret;
  readonly userDomain: string;
  readonly project: string;
  readonly projectDomain: string;
  /** Of the object store; undefined: the only one of the catalogue. */
  readonly region: string | undefined;
  /** Of the endpoints that the service itself uses. */
  readonly interface: 'public' | 'internal' | 'admin';
  /** PEM text of extra authorities, for Keystone and Swift. */
  readonly ca: string | undefined;
  /** Certificates are not checked. */
  readonly insecure: boolean;
  /** Of tokens that were good. */
  readonly cacheForMs: number;
}

/** Names of roles. */
export interface ClusterRoles {
  /** One of them, in any project: everything. */
  readonly admin: readonly string[];
  /** One of them: may make containers in their project. */
  readonly operator: readonly string[];
  /** Of users of nodes, in the service project. */
  readonly node: string;
  /** All of them go to nodes, in the modes `trust` and `app_cred`. */
  readonly delegated: readonly string[];
}

/** What holds for registries of clusters where labels say nothing. */
export interface ClusterDefaults {
  readonly credentialMode: 'acl' | 'trust' | 'app_cred';
  readonly write: 'none' | 'cache' | 'all';
  readonly policy: Policy;
  readonly port: number;
  /** Empty: those that Umbra has by default. */
  readonly upstreams: readonly string[];
  /** Undefined: `upstream` with the policy `proxy`, else `none`. */
  readonly fallback: 'none' | 'upstream' | undefined;
}

/** The cluster service. */
export interface ClustersConfig {
  readonly address: string;
  readonly binds: ListenerConfig['binds'];
  readonly tls: ListenerConfig['tls'];
  /** Without a trailing slash. */
  readonly publicUrl: string;
  /** `sqlite:` and an absolute path, or `postgres://…`. */
  readonly database: Secret;
  /** The newest first; at least one. */
  readonly encryptionKeys: readonly Secret[];
  readonly keystone: ClustersKeystoneConfig;
  /** Where users of nodes are made, and by whom; undefined: the mode `trust` is not to be had. */
  readonly trusteeDomain: { readonly name: string; readonly adminUsername: string; readonly adminPassword: Secret } | undefined;
  /** Undefined: the mode `acl` is not to be had. */
  readonly serviceProject: { readonly name: string; readonly domain: string } | undefined;
  readonly roles: ClusterRoles;
  readonly defaults: ClusterDefaults;
  readonly nodes: {
    /** What a DaemonSet runs. */
    readonly image: string | undefined;
    /** PEM text of extra authorities, which nodes trust `publicUrl` by. */
    readonly ca: string | undefined;
    /** Bound of each node's cache. */
    readonly diskBytes: number;
    readonly renewMs: number;
  };
  /** Nodes may be lent a role that opens every container of the project. */
  readonly openProject: boolean;
  /** Application credentials are bound to the paths of their containers. */
  readonly accessRules: boolean;
  readonly allowPrivateUpstreams: boolean;
  /** A folder; undefined: beside the installation. */
  readonly programs: string | undefined;
  readonly adopt: { readonly magnumUrl: string; readonly intervalMs: number } | undefined;
}

/** A registry on a node of a cluster. */
export interface NodeConfig {
  /** The cluster service, without a trailing slash. */
  readonly clusters: string;
  /** PEM text of extra authorities. */
  readonly ca: string | undefined;
  /** Read when it is needed. */
  readonly tokenFile: string;
  /** The folder of what the node has of the service. */
  readonly state: string;
  readonly role: 'master' | 'worker';
  /** What the service calls the storage that this is configured for; undefined: it did not say. */
  readonly storage: string | undefined;
  /** Undefined: that of the machine. */
  readonly name: string | undefined;
}

export interface Config {
  /** Resolved: at least 1; memory storage always 1. */
  readonly workers: number;
  readonly listeners: readonly ListenerConfig[];
  /** Whose certificates the proxy shows. */
  readonly proxyCa: { readonly certFile: string; readonly keyFile: string };
  readonly trustedProxies: readonly string[];
  readonly storage: StorageConfig;
  /** Where the view `upstream` lives; undefined: in `storage` with the others. */
  readonly upstreamStorage: StorageConfig | undefined;
  /** Makes claims strict on a store that has no lock of its own. */
  readonly coordination: { readonly driver: 'postgres'; readonly url: Secret } | undefined;
  readonly views: { readonly hostSuffix: string | undefined; readonly define: readonly ViewConfig[] };
  readonly tagStalenessMs: number;
  /** Tags of `main` that were pushed longer ago go when they are pruned; undefined: none does. */
  readonly tagExpiryMs: number | undefined;
  readonly upstreams: readonly UpstreamConfig[];
  readonly fillDetachedMs: number;
  /** Why nothing is pushed or deleted by clients, and what to do instead; undefined: it is. */
  readonly readOnly: string | undefined;
  readonly auth: {
    /** False where nothing about auth is configured: loopback only, anybody there may push. */
    readonly configured: boolean;
    readonly keyFile: string;
    /** The signing key is derived from it, instead of read from `keyFile`. */
    readonly secret: Secret | undefined;
    readonly anonymous: AnonymousAccess;
    readonly users: readonly UserConfig[];
    readonly htpasswd: string | undefined;
    readonly rules: readonly RuleConfig[];
    readonly oidc: readonly OidcConfig[];
    readonly keystone: KeystoneConfig | undefined;
  };
  readonly limits: {
    /** Bound on the buffers of bodies in flight, in one process. */
    readonly memoryBytes: number;
    readonly manifestBytes: number;
    /** Bound on one blob. */
    readonly blobBytes: number;
    /** Uploads untouched for longer are swept. */
    readonly uploadsMs: number;
    /** A client that takes or gives no byte for so long is cut off. */
    readonly stallMs: number;
    /** How long a stopping server waits for requests in flight. */
    readonly drainMs: number;
  };
  /** Undefined: the cluster service does not run. */
  readonly clusters: ClustersConfig | undefined;
  /** Undefined: this is no node of a cluster. */
  readonly node: NodeConfig | undefined;
}
