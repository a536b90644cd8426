/** What a machine's clients are to be told, in Umbra's words: what each client's file of this folder is made from. */
import type { ViewId } from '../oci/name.ts';

export const CLIENTS = ['docker', 'buildkit', 'containers', 'containerd', 'cri-o', 'kubernetes'] as const;
export type ClientName = (typeof CLIENTS)[number];

export interface Request {
  /** Umbra, as the clients reach it. */
  readonly registry: RegistryAddress;
  /** The view that they are to see; undefined: what Umbra's listener says. */
  readonly view: ViewId | undefined;
  /** Where that view answers without being named in the path, if it does. */
  readonly registryOfView: RegistryAddress | undefined;
  /** Hosts of the registries whose images are asked of Umbra, e.g. `docker.io`. */
  readonly upstreams: readonly string[];
  /** Images of all other registries are asked of Umbra too, which says 404 for those it has no upstream for: where the client has a way to say so, and not of a view. */
  readonly others: boolean;
  /** Other registries, `host[:port]`, to which clients speak over plain HTTP. None of them is Umbra or an upstream. */
  readonly insecure: readonly string[];
  /** Where podman and its kind look for names without a host; undefined: Docker Hub, unless the machine says something. */
  readonly searchRegistries: readonly string[] | undefined;
  /** Where Umbra fails, the pull fails: nobody goes to upstream instead. */
  readonly strict: boolean;
  /** PEM of the authorities that Umbra's certificate, or its proxy's certificates, come from. */
  readonly ca: string | undefined;
  /** URL of Umbra's proxy listener, for docker. */
  readonly proxy: string | undefined;
  /** Base64 of `user:password`, for Umbra itself. */
  readonly login: string | undefined;
  /** What the machine already has. */
  readonly machine: MachineFacts;
}

export interface RegistryAddress {
  readonly scheme: 'http' | 'https';
  /** With its port, an IPv6 address in brackets. */
  readonly host: string;
}

export interface MachineFacts {
  /** Home of the user whose logins are written. */
  readonly home: string;
  /** Where containerd looks for hosts.toml. */
  readonly hostsDir: string;
  /** What says so to its CRI plugin; undefined: a file that is not ours to add to says it already. */
  readonly criFile: CriFile | undefined;
  /** Somebody else says where names without a host are looked for by podman and its kind. */
  readonly hasSearchRegistries: boolean;
  readonly runtimes: readonly ('containerd' | 'cri-o')[];
}

/** A file of containerd's configuration. */
export interface CriFile {
  readonly path: string;
  /** Of the format, where the file itself does not say. */
  readonly version: number;
  /** It is a drop-in of ours alone. */
  readonly ours: boolean;
}

export const CONTAINERD_CONFIG = '/etc/containerd/config.toml';

/** What is assumed where files are only printed. */
export const ANY_MACHINE: MachineFacts = {
  home: '/root',
  hostsDir: '/etc/containerd/certs.d',
  criFile: { path: CONTAINERD_CONFIG, version: 2, ours: false },
  hasSearchRegistries: false,
  runtimes: ['containerd', 'cri-o'],
};

/** It cannot be done as asked, or not without touching what is somebody else's. The message says what to do instead. */
export class Refused extends Error {}

export function parseRegistry(url: string): RegistryAddress {
  const { protocol, host } = new URL(url);
  return { scheme: protocol === 'https:' ? 'https' : 'http', host };
}

export function urlOf({ scheme, host }: RegistryAddress): string {
  return `${scheme}://${host}`;
}

/** The path behind Umbra's host under which it serves an upstream's images (docs/views.md, registry/names.ts). */
export function pathOf(request: Request, upstream: string): string {
  return request.view === undefined ? upstream : `${request.view}.view/${upstream}`;
}
