/**
 * One node's registry, in Umbra's words: all that a bootstrap says, whichever format it is said in. The clusters service
 * makes it of a row, `umbra cluster render` of a file.
 */
import type { AuthWords } from '../../openstack/auth-words.ts';
import type { Coe, Fallback, RegistryPolicy, Role, Write } from '../words.ts';

export const ARCHITECTURES = ['amd64', 'arm64'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];
export interface NodeModel {
  readonly cluster: { readonly uuid: string; readonly name: string; readonly coe: Coe };
  readonly role: Role;
  /** On both loopback addresses of the node. */
  readonly port: number;
  readonly policy: RegistryPolicy;
  /** Hosts of the registries that are pulled from, e.g. `docker.io`. */
  readonly upstreams: readonly string[];
  /** Other registries, `host[:port]`, that its runtimes reach over plain HTTP. */
  readonly insecureRegistries: readonly string[];
  readonly fallback: Fallback;
  readonly write: Write;
  /** The bound of the cache on the node's disk. */
  readonly diskBytes: number;
  readonly storage: NodeStorage;
  readonly login: NodeLogin;
  readonly program: NodeProgram;
  /** How programs of the node reach the world; undefined: directly. */
  readonly proxies: NodeProxies | undefined;
}

export interface NodeStorage {
  readonly container: string;
  /** Whose account the container is in, as in Swift's URLs; undefined: that of the credential's project. */
  readonly account: string | undefined;
  readonly region: string | undefined;
  readonly interface: 'public' | 'internal';
  /** PEM of authorities that Keystone and Swift are trusted by, besides the usual ones. */
  readonly ca: string | undefined;
}

/** How a node comes by its credential. */
export type NodeLogin =
  /** It exchanges a one-time token for it; `ca` is PEM of authorities that the service is trusted by. */
  /** `storage`: what the service calls the storage that this is for. */
  | { readonly kind: 'bootstrap'; readonly url: string; readonly ca: string | undefined; readonly token: string; readonly storage?: string | undefined }
  /** It is handed over in clear, which cannot be rotated: only where somebody asks for that. */
  | { readonly kind: 'literal'; readonly credential: AuthWords; readonly pushUser: { readonly name: string; readonly password: string } | undefined };

export interface NodeProgram {
  /** As `umbra version` says. */
  readonly version: string;
  /** A tarball of `make dist` for each architecture that nodes may have. */
  readonly tarballs: { readonly [A in Architecture]?: Tarball };
  /** The container image, for the DaemonSet alone. */
  readonly image: string | undefined;
}

export interface Tarball {
  readonly url: string;
  /** Hexadecimal. */
  readonly sha256: string;
}

export interface NodeProxies {
  readonly http: string | undefined;
  readonly https: string | undefined;
  /** Hosts, domains and networks that are reached directly; loopback is always among them. */
  readonly none: readonly string[];
}

/** What users put before the names of images. */
export function registryAddress({ port }: Pick<NodeModel, 'port'>): string {
  return `localhost:${port}`;
}
