/**
 * Manifests of a repository: records, the order of a commit and of a delete (PROTOCOL "Committing"). A manifest
 * lives while `_gone/<its record's incarnation>` is absent.
 */
import { LRUCache } from 'lru-cache';
import { isDriverError, type Driver } from '../drivers/driver.ts';
import { algorithmOf, digestOf, type Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Descriptor, ManifestFacts } from '../oci/manifest.ts';
import { bytesMissing, type Blobs, type Stored } from './blobs.ts';
import type { CachedRecords } from './cached.ts';
import { eachOf, STORE_CONCURRENCY } from './each.ts';
import { digestAtEnd, keys, manifestReference, type Generation, type Incarnation, type Repo } from './keys.ts';
import type { Links } from './links.ts';
import { livingTags } from './living-tags.ts';
import { RecentKeys } from './recent-keys.ts';
import type { GoneRecord, ManifestRecord, ReferrerRecord, TagRecord } from './records.ts';
import type { Tags } from './tags.ts';

/** A blob or child that a commit relies on. */
export interface Need extends Stored {
  readonly digest: Digest;
}

export interface Commit {
  readonly repo: Repo;
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly facts: ManifestFacts;
  /** Blobs found readable: linked into the repository, and looked at again before the commit counts. */
  readonly blobs: readonly Need[];
  /** Children that live in this repository: looked at again likewise. */
  readonly children: readonly Need[];
  /** What the manifest names but is not here (a cached manifest's blobs, sparse children): referenced only. */
  readonly absent: readonly Digest[];
  readonly tags: readonly string[];
  readonly by?: string | undefined;
  /** In the upstream view: when upstream gave this answer. */
  readonly checkedMs?: number;
}

export interface Tagged {
  readonly tag: TagRecord;
  readonly record: ManifestRecord;
}

export interface Manifests {
  /** The record, where the manifest lives. */
  find(repo: Repo, digest: Digest): Promise<ManifestRecord | undefined>;
  /** What a tag names, where both live. */
  tagged(repo: Repo, tag: string): Promise<Tagged | undefined>;
  /** The bytes of a record; from memory where they were read before. @throws RegistryError UNAVAILABLE */
  bytes(repo: Repo, digest: Digest, record: ManifestRecord): Promise<Buffer>;
  /** @throws RegistryError MANIFEST_BLOB_UNKNOWN where something it relies on is being removed: the client uploads it again */
  commit(commit: Commit): Promise<ManifestRecord>;
  /** False where no such manifest lives here. Durable. */
  remove(repo: Repo, digest: Digest): Promise<boolean>;
  /** Living tags in byte order. */
  tagNames(repo: Repo): Promise<readonly string[]>;
  /** Descriptors of living manifests with this subject, in byte order of their digests. */
  referrers(repo: Repo, subject: Digest): Promise<readonly Descriptor[]>;
}

export interface ManifestsDeps {
  readonly driver: Driver;
  readonly blobs: Blobs;
  readonly links: Links;
  readonly tags: Tags;
  readonly records: CachedRecords<ManifestRecord>;
  readonly gone: CachedRecords<GoneRecord>;
  readonly referrers: CachedRecords<ReferrerRecord>;
  readonly nowMs: () => number;
  readonly newId: () => string;
  /** Bytes of manifests kept in memory. */
  readonly cacheBytes: number;
}

export function manifests(deps: ManifestsDeps): Manifests {
  const { driver, blobs, links, tags, records, gone, nowMs, newId } = deps;
  const recentReferrers = new RecentKeys(driver.listingLagSeconds);
  const livingNames = livingTags({ driver, tags, records, gone });
  const cache = new LRUCache<Digest, Buffer>({ maxSize: deps.cacheBytes, sizeCalculation: (b) => b.length + 128 });

  const isGone = async (repo: Repo, incarnation: Incarnation, fresh = false): Promise<boolean> => {
    const key = keys.gone(repo, incarnation);
    return (await (fresh ? gone.readFresh(key) : gone.read(key))) !== undefined;
  };

  async function living(repo: Repo, digest: Digest, fresh = false): Promise<ManifestRecord | undefined> {
    const key = keys.manifest(repo, digest);
    const record = await (fresh ? records.readFresh(key) : records.read(key));
    return record === undefined || (await isGone(repo, record.incarnation, fresh)) ? undefined : record;
  }

  // Below, who finds nothing looks past memory: what was deleted, and pushed again on another node, is there at once, as what never was.

  async function found(repo: Repo, digest: Digest): Promise<ManifestRecord | undefined> {
    return (await living(repo, digest)) ?? (records.forget(keys.manifest(repo, digest)) ? await living(repo, digest) : undefined);
  }

  async function tagged(repo: Repo, name: string): Promise<Tagged | undefined> {
    return (await taggedNow(repo, name)) ?? (tags.forget(repo, name) ? await taggedNow(repo, name) : undefined);
  }

  async function taggedNow(repo: Repo, name: string): Promise<Tagged | undefined> {
    const tag = await tags.find(repo, name);
    if (tag === undefined) return undefined;
    const record = await found(repo, tag.digest);
    if (record === undefined || (record.incarnation !== tag.incarnation && (await isGone(repo, tag.incarnation)))) return undefined;
    return { tag, record };
  }

  /** The manifest's own bytes, under a generation that can be relied on once its reference is written. */
  async function ownBytes(commit: Commit, avoid: Generation | undefined): Promise<{ stored: Stored; written: string[] }> {
    const shared = await blobs.shareable(commit.digest, commit.bytes.length);
    if (shared !== undefined && shared.generation !== avoid) {
      // The bytes are in hand: whatever went wrong before, nobody else's are taken for them.
      const there = await blobs.read(commit.digest, shared.generation, shared.size);
      if (there?.generation === shared.generation && there.bytes.equals(commit.bytes)) return { stored: shared, written: [] };
    }
    const generation = newId() as Generation;
    const written = await blobs.storeBytes(commit.digest, generation, commit.bytes);
    return { stored: { generation, size: commit.bytes.length }, written };
  }

  async function unreliable(needs: readonly Need[]): Promise<Digest[]> {
    const held = await eachOf(needs, STORE_CONCURRENCY, (need) => blobs.holds(need.digest, need));
    return needs.filter((_, i) => held[i] !== true).map((need) => need.digest);
  }

  async function rescue(digests: readonly Digest[]): Promise<void> {
    const condemned = await eachOf(digests, STORE_CONCURRENCY, async (digest) => ((await blobs.condemned(digest)) ? [keys.condemned(digest)] : []));
    if (condemned.some((c) => c.length > 0)) await driver.delete(condemned.flat());
  }

  async function commitOnce(commit: Commit): Promise<ManifestRecord> {
    const { repo, digest, facts } = commit;
    const before = await living(repo, digest, true);
    const incarnation = before?.incarnation ?? (newId() as Incarnation);
    const who = manifestReference(digest, incarnation);
    const needs = [...commit.blobs, ...commit.children];

    // References first: a collector that dooms after this point must see them.
    const referenced = [...new Set([digest, ...needs.map((n) => n.digest), ...commit.absent])];
    const [referenceKeys, linkKeys, ownStored] = await Promise.all([
      eachOf(referenced, STORE_CONCURRENCY, (d) => blobs.reference(d, repo, who)),
      eachOf(commit.blobs, STORE_CONCURRENCY, (need) => links.ensure(repo, need.digest, need)),
      ownBytes(commit, undefined),
    ]);
    let own = ownStored;
    // The first barrier: all that the record will promise.
    const dataKeys = [...needs.map((n) => keys.data(n.digest, n.generation)), keys.data(digest, own.stored.generation)];
    await driver.sync([...referenceKeys, ...linkKeys, ...dataKeys]);

    const recordKey = keys.manifest(repo, digest);
    // Annotations are the client's, of any size, and in the bytes: the record does without.
    const { annotations: _, ...held } = facts;
    const makeRecord = (generation: Generation): ManifestRecord => ({ ...held, incarnation, size: commit.bytes.length, generation, pushedMs: nowMs() });
    let record = makeRecord(own.stored.generation);
    // Two first pushes at once must not each believe in an incarnation of their own.
    if (!(await writeRecord(recordKey, record, before))) return await commitOnce(commit);

    // Only now may the flags of the collector be looked at, and only after them the bytes.
    const lost = await unreliable(needs);
    if (lost.length > 0) {
      if (before === undefined) await markGone(repo, incarnation);
      throw new RegistryError('MANIFEST_BLOB_UNKNOWN', `${lost.length} of the blobs of ${digest} are being removed: upload ${lost.slice(0, 3).join(', ')} again, then the manifest`, {
        detail: { digests: lost },
      });
    }
    while (!(await blobs.holds(digest, own.stored))) {
      own = await ownBytes(commit, own.stored.generation);
      await driver.sync([keys.data(digest, own.stored.generation)]);
      record = makeRecord(own.stored.generation);
      await records.write(recordKey, record, 'later');
    }
    await rescue(referenced);

    const last = [recordKey];
    if (facts.subject !== undefined) last.push(await writeReferrer(commit, facts.subject, incarnation));
    for (const tag of commit.tags) last.push(await tags.write(repo, tag, tagRecord(commit, incarnation)));
    await driver.sync(last);
    // A deletion of this very incarnation may have come between: what was pushed must live, so it is pushed as a new one.
    if (await isGone(repo, incarnation, true)) return await commitOnce(commit);
    cache.set(digest, commit.bytes);
    return record;
  }

  /** False: somebody else's record stands there by now. A dead one is written over. */
  async function writeRecord(key: string, record: ManifestRecord, before: ManifestRecord | undefined): Promise<boolean> {
    if (before === undefined && (await records.readFresh(key)) === undefined) {
      try {
        await records.write(key, record, 'later', 'absent');
        return true;
      } catch (error) {
        if (isDriverError(error, 'exists')) return false;
        throw error;
      }
    }
    await records.write(key, record, 'later');
    return true;
  }

  async function writeReferrer(commit: Commit, subject: Descriptor, incarnation: Incarnation): Promise<string> {
    const { repo, digest, facts, bytes } = commit;
    const key = keys.referrer(repo, subject.digest, digest);
    const descriptor = {
      mediaType: facts.mediaType, digest, size: bytes.length,
      ...(facts.artifactType === undefined ? {} : { artifactType: facts.artifactType }),
      ...(facts.annotations === undefined || JSON.stringify(facts.annotations).length > MAX_LISTED_ANNOTATIONS ? {} : { annotations: facts.annotations }),
    };
    await deps.referrers.write(key, { descriptor, incarnation }, 'later');
    recentReferrers.wrote(keys.referrers(repo, subject.digest), key);
    return key;
  }

  function tagRecord(commit: Commit, incarnation: Incarnation): TagRecord {
    return {
      digest: commit.digest, incarnation, mediaType: commit.facts.mediaType, size: commit.bytes.length, taggedMs: nowMs(),
      after: NO_ENTRY,
      ...(commit.by === undefined ? {} : { by: commit.by }),
      ...(commit.checkedMs === undefined ? {} : { checkedMs: commit.checkedMs }),
    };
  }

  async function markGone(repo: Repo, incarnation: Incarnation): Promise<void> {
    await gone.write(keys.gone(repo, incarnation), { goneMs: nowMs() }, 'now');
  }

  return {
    find: found,
    tagged,

    async bytes(repo, digest, record) {
      const held = cache.get(digest);
      if (held !== undefined) return held;
      const found = await blobs.read(digest, record.generation, record.size);
      if (found === undefined || digestOf(found.bytes, algorithmOf(digest)) !== digest) throw bytesMissing(digest, repo);
      cache.set(digest, found.bytes);
      return found.bytes;
    },

    commit: commitOnce,

    async remove(repo, digest) {
      const record = await living(repo, digest, true);
      if (record === undefined) return false;
      await markGone(repo, record.incarnation);
      const who = manifestReference(digest, record.incarnation);
      const referenced = [digest, ...record.blobs.map((b) => b.digest), ...record.manifests.map((m) => m.digest)];
      await driver.delete([...new Set(referenced)].map((d) => keys.backReference(d, repo, who)));
      return true;
    },

    tagNames: (repo) => livingNames.names(repo),

    async referrers(repo, subject) {
      const prefix = keys.referrers(repo, subject);
      const found = await recentReferrers.merge(prefix, driver.list(prefix));
      const listed = await eachOf(found, STORE_CONCURRENCY, async ({ key }) => {
        const entry = await deps.referrers.read(key);
        const digest = digestAtEnd(key);
        if (entry === undefined || digest === undefined || (await isGone(repo, entry.incarnation))) return [];
        return (await living(repo, digest)) === undefined ? [] : [entry.descriptor];
      });
      return listed.flat();
    },
  };
}

/** Characters of annotations that a list of referrers repeats. */
const MAX_LISTED_ANNOTATIONS = 16 * 1024;

/** The newest entry of a view's log. Promotion is not here yet, so every log is empty. */
const NO_ENTRY = 0;
