/**
 * Canonical names and tags (distribution-spec 1.1, "Pulling manifests": <name> and <reference>).
 * A name is `host/path`; how a client's spelling becomes a name is `registry/names.ts`.
 */
import { RegistryError } from './errors.ts';

/** Canonical `host/path`, e.g. `docker.io/library/nginx`. */
export type Name = string & { readonly __brand: 'Name' };
/** A view's name as people use it: a DNS label. */
export type ViewId = string & { readonly __brand: 'ViewId' };

/**
 * The longest name taken, host included. The spec sets no bound; 512 keeps every key of the storage tree
 * within the 1024 bytes that Swift and S3 allow for one (the longest is a back-reference under sha512).
 */
export const MAX_NAME_LENGTH = 512;

const PATH = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const HOST = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const VIEW = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** Does `text` fit the spec's grammar of a repository path (without a host)? */
export function isPath(text: string): boolean {
  return text.length <= MAX_NAME_LENGTH && PATH.test(text);
}

/** Is `text` a registry host as written in names: labels or an IPv6 literal, with an optional port? */
export function isHost(text: string): boolean {
  return text.length <= 255 && HOST.test(text);
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** @throws RegistryError TAG_INVALID */
export function parseTag(text: string): string {
  if (TAG.test(text)) return text;
  throw new RegistryError('TAG_INVALID', `invalid tag ${JSON.stringify(text.slice(0, 200))}: expected up to 128 of [A-Za-z0-9_.-], not beginning with . or -`);
}

/** @throws RegistryError NAME_INVALID */
export function parseViewId(text: string): ViewId {
  if (VIEW.test(text)) return text as ViewId;
  throw new RegistryError('NAME_INVALID', `invalid view ${JSON.stringify(text.slice(0, 200))}: expected a DNS label of [a-z0-9-], at most 63 long`);
}

/** @throws RegistryError NAME_INVALID, naming the part at fault */
export function makeName(host: string, path: string): Name {
  if (!isHost(host)) throw new RegistryError('NAME_INVALID', `invalid registry host ${JSON.stringify(host.slice(0, 200))} in a name`);
  if (host.length + 1 + path.length > MAX_NAME_LENGTH) {
    throw new RegistryError('NAME_INVALID', `name of ${host.length + 1 + path.length} characters is too long: at most ${MAX_NAME_LENGTH}, registry host included`);
  }
  if (!PATH.test(path)) {
    throw new RegistryError('NAME_INVALID', `invalid repository name ${JSON.stringify(path.slice(0, 200))}: expected lower-case components of [a-z0-9] joined by . _ __ or -, separated by /`);
  }
  return `${host}/${path}` as Name;
}

export function hostOf(name: Name): string {
  return name.slice(0, name.indexOf('/'));
}

/** The name without its host. */
export function pathOf(name: Name): string {
  return name.slice(name.indexOf('/') + 1);
}
