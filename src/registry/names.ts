/**
 * Entrances: every spelling that a client may use leads to one canonical name and, where the spelling says so, to a
 * view (DESIGN section 3). Towards the client its own spelling is kept, in `Spelling`.
 */
import { RegistryError } from '../oci/errors.ts';
import { hostOf, isHost, makeName, parseViewId, pathOf, type Name, type ViewId } from '../oci/name.ts';

/** What the listener and the configuration contribute to the meaning of a name. */
export interface EntranceContext {
  /** What a name without a host means here. */
  readonly defaultUpstream: string;
  /** The Host header, for `<view>.<suffix>`. */
  readonly hostHeader: string | undefined;
  /** `views.hostSuffix`. */
  readonly viewHostSuffix: string | undefined;
}

export interface Entrance {
  readonly name: Name;
  /** The view that the path or the host name asks for; else the token's, the listener's or main. */
  readonly view: ViewId | undefined;
  /** The name as the client wrote it, view prefix included: what Location headers and bodies repeat. */
  readonly spelling: string;
  /** The `ns` parameter, where it took part. */
  readonly ns: string | undefined;
}

const DOCKER = 'docker.io';
const DOCKER_ALIASES: ReadonlySet<string> = new Set(['index.docker.io', 'registry-1.docker.io']);
const RESERVED = /\.view$/;
const VIEW_PREFIX = /^([^/]+)\.view\//;

/** Is the first component of a path a registry's host? As Docker's reference grammar decides; what can be none is a path. */
function looksLikeHost(component: string): boolean {
  return (component.includes('.') || component.includes(':') || component === 'localhost') && isHost(component);
}

/** Docker Hub answers by other names than that in names of images. */
export function canonicalHost(host: string): string {
  return DOCKER_ALIASES.has(host) ? DOCKER : host;
}

/** `nginx` on docker.io is `library/nginx`. */
function canonicalPath(host: string, path: string): string {
  return host === DOCKER && !path.includes('/') ? `library/${path}` : path;
}

function canonical(host: string, path: string): Name {
  const at = canonicalHost(host);
  return makeName(at, canonicalPath(at, path));
}

/**
 * @param spelling what stands between `/v2/` and the endpoint, percent-decoded
 * @param ns the `ns` query parameter (distribution-spec main, "Registry Proxying"); a host in the path outranks it
 * @throws RegistryError NAME_INVALID
 */
export function enter(spelling: string, ns: string | undefined, context: EntranceContext): Entrance {
  const prefix = VIEW_PREFIX.exec(spelling);
  const view = prefix === null ? viewOfHost(context) : parseViewId(prefix[1] as string /* the group always takes part */);
  const rest = prefix === null ? spelling : spelling.slice(prefix[0].length);
  const slash = rest.indexOf('/');
  const first = slash === -1 ? '' : rest.slice(0, slash);
  if (slash === -1 && RESERVED.test(rest)) {
    throw new RegistryError('NAME_INVALID', `invalid name ${JSON.stringify(spelling.slice(0, 200))}: a first component that ends in .view names a view; a repository must follow`);
  }
  if (looksLikeHost(first)) {
    if (RESERVED.test(first)) throw new RegistryError('NAME_INVALID', `invalid name ${JSON.stringify(spelling.slice(0, 200))}: only one view can be named`);
    return { name: canonical(first, rest.slice(slash + 1)), view, spelling, ns: undefined };
  }
  if (ns !== undefined) {
    const host = ns.toLowerCase();
    if (!isHost(host)) throw new RegistryError('NAME_INVALID', `invalid ns parameter ${JSON.stringify(ns.slice(0, 200))}: expected a registry host such as docker.io`);
    return { name: canonical(host, rest), view, spelling, ns };
  }
  return { name: canonical(context.defaultUpstream, rest), view, spelling, ns: undefined };
}

/** The view of `<view>.<suffix>` in the Host header. @throws RegistryError NAME_INVALID */
export function viewOfHost({ hostHeader, viewHostSuffix }: EntranceContext): ViewId | undefined {
  if (hostHeader === undefined || viewHostSuffix === undefined) return undefined;
  const host = hostHeader.replace(/:[0-9]+$/, '').toLowerCase();
  if (!host.endsWith(`.${viewHostSuffix}`)) return undefined;
  const label = host.slice(0, -viewHostSuffix.length - 1);
  return parseViewId(label);
}

/** A canonical name as a client of this entrance writes it (catalogue). */
export function spell(name: Name, context: { readonly defaultUpstream: string; readonly viewPrefix: ViewId | undefined }): string {
  const plain = hostOf(name) === context.defaultUpstream ? pathOf(name) : name;
  return context.viewPrefix === undefined ? plain : `${context.viewPrefix}.view/${plain}`;
}
