/**
 * Lists: tags and referrers, as unions over the views walked and, under `proxy`, upstream's (DESIGN section 4;
 * distribution-spec "Listing Tags", "Listing Referrers").
 */
import { keys } from '../content/keys.ts';
import { isDigest, type Digest } from '../oci/digest.ts';
import { hasCode, RegistryError } from '../oci/errors.ts';
import type { Descriptor } from '../oci/manifest.ts';
import { hostOf, isTag, type Name } from '../oci/name.ts';
import type { View, Views } from '../views/views.ts';
import { warning, type Asker } from './answer.ts';
import type { PullThrough } from './pull-through.ts';
import type { Resolver } from './resolve.ts';
import type { Stores } from './stores.ts';

export interface Listing<T> {
  readonly items: readonly T[];
  /** A `Warning` header's value: upstream could not be asked, so something may be missing. */
  readonly warning?: string;
}

/** One page of a sorted list; `more` where another follows. */
export interface Page<T> extends Listing<T> {
  readonly more: boolean;
}

export interface PageRequest {
  /** At most so many; all where absent. */
  readonly n: number | undefined;
  /** From after this one. */
  readonly last: string | undefined;
}

export interface Lists {
  /** In the spec's order (case-insensitive). @throws RegistryError NAME_UNKNOWN where nothing of that name is known */
  tags(view: View, name: Name, page: PageRequest, asker: Asker): Promise<Page<string>>;
  referrers(view: View, name: Name, subject: Digest, asker: Asker): Promise<Listing<Descriptor>>;
}

export interface ListsDeps {
  readonly stores: Stores;
  readonly views: Views;
  readonly resolver: Resolver;
  readonly pullThrough: PullThrough;
}

export function lists(deps: ListsDeps): Lists {
  const { stores, views, resolver, pullThrough } = deps;

  /** What upstream lists; on failure the warning, and why. */
  async function ask<T>(name: Name, work: () => Promise<readonly T[] | undefined>): Promise<{ items: readonly T[] | undefined; warning?: string; failure?: unknown }> {
    if (resolver.policyOf(name) !== 'proxy') return { items: undefined };
    try {
      return { items: await work() };
    } catch (error) {
      if (!hasCode(error, 'UPSTREAM_FAILED', 'UPSTREAM_TIMEOUT', 'TOOMANYREQUESTS')) throw error;
      return { items: undefined, failure: error, warning: warning(`${hostOf(name)} could not be asked; the list holds only what is stored here`) };
    }
  }

  async function hasManifests(view: View, name: Name): Promise<boolean> {
    const repo = { view: view.uid, name };
    const { driver, content } = stores.of(view.uid);
    for await (const { key } of driver.list(keys.manifests(repo))) {
      const [algorithm, hex] = key.split('/').slice(-2);
      if ((await content.manifests.find(repo, `${algorithm}:${hex}` as Digest /* keys.manifest wrote it */)) !== undefined) return true;
    }
    return false;
  }

  return {
    async tags(view, name, page, asker) {
      const upstream = await ask(name, () => pullThrough.tags(name, asker));
      const all = new Set(upstream.items?.filter(isTag));
      const places = resolver.places(view, name);
      for (const place of places) {
        // Where upstream answered, its own list is the truth about it, not what was cached.
        if (place === views.upstream && upstream.items !== undefined) continue;
        for (const tag of await stores.of(place.uid).content.manifests.tagNames({ view: place.uid, name })) all.add(tag);
      }
      if (all.size === 0 && upstream.items === undefined) {
        let known = false;
        for (const place of places) known ||= await hasManifests(place, name);
        if (!known && upstream.failure !== undefined) throw upstream.failure; // nobody knows: that is no absence
        if (!known) throw new RegistryError('NAME_UNKNOWN', `no repository ${name}`, { detail: { name } });
      }
      const sorted = [...all].toSorted(tagOrder);
      return { ...cut(sorted, page), ...(upstream.warning === undefined ? {} : { warning: upstream.warning }) };
    },

    async referrers(view, name, subject, asker) {
      const found = new Map<Digest, Descriptor>();
      for (const place of resolver.places(view, name)) {
        for (const descriptor of await stores.of(place.uid).content.manifests.referrers({ view: place.uid, name }, subject)) {
          if (!found.has(descriptor.digest)) found.set(descriptor.digest, descriptor);
        }
      }
      const upstream = await ask(name, () => pullThrough.referrers(name, subject, asker));
      for (const item of upstream.items ?? []) {
        if (isDescriptor(item) && !found.has(item.digest)) found.set(item.digest, item);
      }
      return { items: [...found.values()], ...(upstream.warning === undefined ? {} : { warning: upstream.warning }) };
    },
  };
}

/** "Lexical order (i.e. case-insensitive alphanumeric order)", ties in byte order. */
export function tagOrder(a: string, b: string): number {
  const [x, y] = [a.toLowerCase(), b.toLowerCase()];
  if (x !== y) return x < y ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

function cut(sorted: readonly string[], { n, last }: PageRequest): Page<string> {
  const from = last === undefined ? sorted : sorted.filter((tag) => tagOrder(tag, last) > 0);
  const items = n === undefined ? from : from.slice(0, n);
  return { items, more: items.length < from.length };
}

function isDescriptor(value: unknown): value is Descriptor {
  if (typeof value !== 'object' || value === null) return false;
  const { digest, mediaType, size } = value as Partial<Record<'digest' | 'mediaType' | 'size', unknown>>;
  return typeof digest === 'string' && isDigest(digest) && typeof mediaType === 'string' && typeof size === 'number';
}
