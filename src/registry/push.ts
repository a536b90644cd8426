/**
 * Accepting manifests: before the 201, every blob and child is readable through the view and name that it was pushed
 * to (DESIGN section 6). What a parent has is linked, what only upstream has is filled first.
 */
import type { Stored } from '../content/blobs.ts';
import { copyBlob } from '../content/copy.ts';
import { eachOf } from '../content/each.ts';
import type { Repo } from '../content/keys.ts';
import type { Need } from '../content/manifests.ts';
import type { ManifestRecord } from '../content/records.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Descriptor, ManifestFacts } from '../oci/manifest.ts';
import type { Name } from '../oci/name.ts';
import type { View, Views } from '../views/views.ts';
import type { Asker } from './answer.ts';
import type { PullThrough } from './pull-through.ts';
import type { Resolver } from './resolve.ts';
import type { Stores } from './stores.ts';

export interface ManifestPush {
  readonly view: View;
  readonly name: Name;
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly facts: ManifestFacts;
  readonly tags: readonly string[];
  readonly by: string | undefined;
}

export interface Pusher {
  /** @throws RegistryError UNSUPPORTED where nobody may push: the upstream view is filled by pulls only */
  refuseReadOnly(view: View): void;
  /**
   * @throws RegistryError MANIFEST_BLOB_UNKNOWN naming what is missing, SIZE_INVALID where a descriptor's size is not
   *   that of the blob
   */
  manifest(push: ManifestPush, asker: Asker): Promise<void>;
}

export interface PusherDeps {
  readonly stores: Stores;
  readonly views: Views;
  readonly resolver: Resolver;
  readonly pullThrough: PullThrough;
}

/** Fills that one push may have under way. */
const FILLS_AT_ONCE = 4;
/** How deep indexes may hold indexes when a parent's are adopted. */
const MAX_DEPTH = 8;

export function pusher(deps: PusherDeps): Pusher {
  const { stores, views, resolver, pullThrough } = deps;

  /** What stands in another store is copied into the view's own, which then needs no other. */
  async function inStoreOf(view: View, name: Name, digest: Digest, from: Repo, stored: Stored): Promise<Stored> {
    const [there, here] = [stores.of(from.view), stores.of(view.uid)];
    if (there === here) return stored;
    return await copyBlob(digest, { content: there.content, repo: from, link: stored }, here.content, { view: view.uid, name });
  }

  async function findBlob(view: View, name: Name, wanted: Descriptor, asker: Asker): Promise<Need | undefined> {
    const { digest } = wanted;
    const found = await resolver.link(view, name, digest);
    const stored = found?.link ?? (resolver.policyOf(name) === 'proxy' ? await pullThrough.ensureBlob(name, digest, wanted.size, asker) : undefined);
    if (stored === undefined) return undefined;
    if (stored.size !== wanted.size) {
      throw new RegistryError('SIZE_INVALID', `the manifest says that ${digest} has ${wanted.size} bytes, but it has ${stored.size}`, { detail: { digest, size: stored.size } });
    }
    const { generation, size } = await inStoreOf(view, name, digest, found?.repo ?? { view: views.upstream.uid, name }, stored);
    return { digest, generation, size };
  }

  async function blobsOf(view: View, name: Name, facts: ManifestFacts, asker: Asker): Promise<Need[]> {
    const wanted = [...new Map(facts.blobs.map((d) => [d.digest, d])).values()];
    const found = await eachOf(wanted, FILLS_AT_ONCE, (d) => findBlob(view, name, d, asker));
    const missing = wanted.filter((_, i) => found[i] === undefined);
    if (missing.length > 0) {
      const names = missing.slice(0, 3).map((d) => d.digest).join(', ');
      throw new RegistryError('MANIFEST_BLOB_UNKNOWN', `the manifest needs ${missing.length === 1 ? 'a blob' : `${missing.length} blobs`} that ${name} does not have: ${names}; upload ${missing.length === 1 ? 'it' : 'them'} first`, {
        detail: missing.slice(0, 100).map((d) => ({ digest: d.digest })),
      });
    }
    return found.flatMap((need) => need ?? []);
  }

  /**
   * Children that live here or in a view walked; those of a parent are adopted, so that this view needs nobody's. A
   * child that nobody pushed stays absent (sparse): upstream may still have it when it is asked for.
   */
  async function childrenOf(view: View, name: Name, facts: ManifestFacts, asker: Asker, depth: number): Promise<{ present: Need[]; absent: Digest[] }> {
    const present: Need[] = [];
    const absent: Digest[] = [];
    for (const digest of new Set(facts.manifests.map((m) => m.digest))) {
      const child = await adoptManifest(view, name, digest, asker, depth);
      if (child === undefined) absent.push(digest);
      else present.push(child);
    }
    return { present, absent };
  }

  async function adoptManifest(view: View, name: Name, digest: Digest, asker: Asker, depth: number): Promise<Need | undefined> {
    const repo: Repo = { view: view.uid, name };
    const here = await stores.of(view.uid).content.manifests.find(repo, digest);
    if (here !== undefined) return { digest, generation: here.generation, size: here.size };
    for (const place of resolver.places(view, name)) {
      if (place === view || place === views.upstream) continue;
      const from: Repo = { view: place.uid, name };
      const { manifests } = stores.of(place.uid).content;
      const record = await manifests.find(from, digest);
      if (record === undefined) continue;
      if (depth >= MAX_DEPTH) throw new RegistryError('MANIFEST_INVALID', `indexes are nested more than ${MAX_DEPTH} deep at ${digest}`);
      const bytes = await manifests.bytes(from, digest, record);
      const adopted = await commit({ view, name, digest, bytes, facts: record, tags: [], by: undefined }, asker, depth + 1);
      return { digest, generation: adopted.generation, size: adopted.size };
    }
    return undefined;
  }

  async function commit(push: ManifestPush, asker: Asker, depth: number): Promise<ManifestRecord> {
    const { view, name, digest, bytes, tags, by } = push;
    const facts = factsOnly(push.facts);
    const blobs = await blobsOf(view, name, facts, asker);
    const children = await childrenOf(view, name, facts, asker, depth);
    return await stores.of(view.uid).content.manifests.commit({
      repo: { view: view.uid, name }, digest, bytes, facts, blobs, children: children.present, absent: children.absent, tags, by,
    });
  }

  return {
    refuseReadOnly(view) {
      if (view === views.upstream) {
        throw new RegistryError('UNSUPPORTED', `the view upstream is filled by pulls only; push to main or to a view of your own`);
      }
    },

    async manifest(push, asker) {
      await commit(push, asker, 0);
    },
  };
}

/** A record's facts without the record's own fields, so that adopting a manifest does not copy its old incarnation. */
function factsOnly(facts: ManifestFacts): ManifestFacts {
  const { mediaType, kind, blobs, foreign, manifests, subject, artifactType, annotations } = facts;
  return {
    mediaType, kind, blobs, foreign, manifests,
    ...(subject === undefined ? {} : { subject }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

