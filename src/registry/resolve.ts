/**
 * Resolving: which view answers for a name, or upstream (DESIGN section 4). The walk is the view, then its parents,
 * then what the policy of the name's host says.
 */
import type { Policy } from '../config/config.ts';
import type { Content } from '../content/content.ts';
import type { Repo } from '../content/keys.ts';
import type { LinkRecord, ManifestRecord } from '../content/records.ts';
import type { Digest } from '../oci/digest.ts';
import { hasCode } from '../oci/errors.ts';
import type { ManifestFacts } from '../oci/manifest.ts';
import { hostOf, type Name } from '../oci/name.ts';
import type { FillReader } from '../upstream/fill.ts';
import type { View, Views } from '../views/views.ts';
import { warning, type Answer, type Asker } from './answer.ts';
import { isFillReader, type CachedManifest, type PullThrough } from './pull-through.ts';
import type { Stores } from './stores.ts';

export interface ResolvedManifest {
  readonly digest: Digest;
  readonly facts: ManifestFacts;
  readonly bytes: Buffer;
  readonly answer: Answer;
  /** A `Warning` header's value. */
  readonly warning?: string;
}

export type ResolvedBlob =
  | { readonly kind: 'stored'; readonly repo: Repo; readonly link: LinkRecord; readonly answer: Answer }
  | { readonly kind: 'fill'; readonly reader: FillReader; readonly answer: Answer };

export interface Resolver {
  policyOf(name: Name): Policy;
  /** Views that are looked into for this name, in order; the last may be the policy's. */
  places(view: View, name: Name): readonly View[];
  tag(view: View, name: Name, tag: string, asker: Asker): Promise<ResolvedManifest | undefined>;
  manifest(view: View, name: Name, digest: Digest, asker: Asker): Promise<ResolvedManifest | undefined>;
  /** The first link in the walk and the policy's view; upstream is not asked. */
  link(view: View, name: Name, digest: Digest): Promise<{ readonly repo: Repo; readonly link: LinkRecord; readonly answer: Answer } | undefined>;
  blob(view: View, name: Name, digest: Digest, asker: Asker): Promise<ResolvedBlob | undefined>;
  /** What HEAD needs: the size, and nothing is fetched. */
  blobSize(view: View, name: Name, digest: Digest, asker: Asker): Promise<{ readonly size: number | undefined; readonly answer: Answer } | undefined>;
}

export interface ResolverDeps {
  readonly stores: Stores;
  readonly views: Views;
  readonly pullThrough: PullThrough;
  readonly policies: ReadonlyMap<string, Policy>;
}

export function resolver(deps: ResolverDeps): Resolver {
  const { stores, views, pullThrough } = deps;
  const contentOf = (place: View): Content => stores.of(place.uid).content;

  const policyOf = (name: Name): Policy => deps.policies.get(hostOf(name)) ?? 'local';

  function places(view: View, name: Name): readonly View[] {
    const policy = policyOf(name);
    // What was cached while the host was proxied is no way around a policy that came later.
    const walk = policy === 'proxy' ? views.walk(view) : views.walk(view).filter((place) => place !== views.upstream);
    const last = policy === 'proxy' ? views.upstream : policy === 'approved' ? views.approved : undefined;
    return last === undefined || walk.includes(last) ? walk : [...walk, last];
  }

  /** Does asking for this name in this place mean asking upstream? */
  const isProxied = (place: View, name: Name): boolean => place === views.upstream && policyOf(name) === 'proxy';

  async function own(place: View, name: Name, digest: Digest, record: ManifestRecord): Promise<ResolvedManifest> {
    const bytes = await contentOf(place).manifests.bytes({ view: place.uid, name }, digest, record);
    return { digest, facts: record, bytes, answer: answerOf(place, name), ...lastSeen(place) };
  }

  const lastSeen = (place: View): Pick<ResolvedManifest, 'warning'> =>
    contentOf(place).isAway() ? { warning: warning('the storage of the registry does not answer; this is what this node saw last') } : {};

  const answerOf = (place: View, name: Name): Answer =>
    isProxied(place, name) ? { from: 'upstream', host: hostOf(name), cache: 'hit' } : { from: 'view', view: place.id };

  function cached(name: Name, { digest, facts, bytes, cache, warning: said }: CachedManifest): ResolvedManifest {
    return { digest, facts, bytes, answer: { from: 'upstream', host: hostOf(name), cache }, ...(said === undefined ? lastSeen(views.upstream) : { warning: said }) };
  }

  async function link(view: View, name: Name, digest: Digest): Promise<{ repo: Repo; link: LinkRecord; answer: Answer } | undefined> {
    for (const place of places(view, name)) {
      const repo = { view: place.uid, name };
      const found = await contentOf(place).links.find(repo, digest);
      if (found !== undefined) return { repo, link: found, answer: answerOf(place, name) };
    }
    return undefined;
  }

  return {
    policyOf,
    places,
    link,

    async tag(view, name, tag, asker) {
      for (const place of places(view, name)) {
        if (isProxied(place, name)) {
          const found = await pullThrough.tag(name, tag, asker);
          if (found !== undefined) return cached(name, found);
          continue;
        }
        const found = await contentOf(place).manifests.tagged({ view: place.uid, name }, tag);
        if (found !== undefined) return await own(place, name, found.tag.digest, found.record);
      }
      return undefined;
    },

    async manifest(view, name, digest, asker) {
      for (const place of places(view, name)) {
        if (isProxied(place, name)) continue; // asked below, with upstream behind it
        const record = await contentOf(place).manifests.find({ view: place.uid, name }, digest);
        if (record !== undefined) return await own(place, name, digest, record);
      }
      if (policyOf(name) !== 'proxy') return undefined;
      const found = await pullThrough.manifest(name, digest, asker);
      return found === undefined ? undefined : cached(name, found);
    },

    async blob(view, name, digest, asker) {
      const found = await link(view, name, digest);
      const ours = found?.answer.from === 'view';
      // What was cached may have been lost with the power: then upstream is asked again.
      if (found !== undefined && (ours || (await stores.of(found.repo.view).content.blobs.readable(digest, found.link)))) return { kind: 'stored', ...found };
      if (policyOf(name) !== 'proxy') return undefined;
      const fetched = await pullThrough.blob(name, digest, asker);
      if (fetched === undefined) return undefined;
      const host = hostOf(name);
      if (isFillReader(fetched)) return { kind: 'fill', reader: fetched, answer: { from: 'upstream', host, cache: 'fill' } };
      return { kind: 'stored', repo: { view: views.upstream.uid, name }, link: fetched, answer: { from: 'upstream', host, cache: 'hit' } };
    },

    async blobSize(view, name, digest, asker) {
      const found = await link(view, name, digest);
      if (found !== undefined) {
        // To a pusher a blob that is about to go is absent, here and in every parent: it must be uploaded again.
        return (await stores.of(found.repo.view).content.blobs.going(digest, found.link.generation)) ? undefined : { size: found.link.size, answer: found.answer };
      }
      if (policyOf(name) !== 'proxy') return undefined;
      const remote = await pullThrough.blobSize(name, digest, asker).catch((error: unknown) => {
        // A pusher asks for every layer it has: an upstream that is down must not stop a push.
        if (hasCode(error, 'UPSTREAM_FAILED', 'UPSTREAM_TIMEOUT', 'TOOMANYREQUESTS')) return undefined;
        throw error;
      });
      return remote === undefined ? undefined : { size: remote.size, answer: { from: 'upstream', host: hostOf(name), cache: 'revalidated' } };
    },
  };
}
