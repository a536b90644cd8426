/**
 * Which tags of a repository live: neither they nor the manifests that they name were deleted. Where there are many,
 * the listings of the repository's records tell, and only what changed since the last time is read.
 */
import { LRUCache } from 'lru-cache';
import type { Driver } from '../drivers/driver.ts';
import type { Digest } from '../oci/digest.ts';
import type { CachedRecords } from './cached.ts';
import { eachOf, STORE_CONCURRENCY } from './each.ts';
import { digestAtEnd, keys, type Incarnation, type Repo } from './keys.ts';
import type { GoneRecord, ManifestRecord, TagRecord } from './records.ts';
import type { Tags } from './tags.ts';

export interface LivingTagsDeps {
  readonly driver: Driver;
  readonly tags: Tags;
  readonly records: CachedRecords<ManifestRecord>;
  readonly gone: CachedRecords<GoneRecord>;
}

export interface LivingTags {
  /** In byte order. */
  names(repo: Repo): Promise<readonly string[]>;
}

/** So many manifests are looked up one by one; more of them cost less in listings. */
const FEW = 32;
const MAX_REMEMBERED = 50_000;

export function livingTags({ driver, tags, records, gone }: LivingTagsDeps): LivingTags {
  /** Of a record, by its key: what is needed of it here, in less room than the record. */
  const incarnations = new LRUCache<string, { readonly stamp: string; readonly incarnation: Incarnation }>({ max: MAX_REMEMBERED });

  async function names(repo: Repo): Promise<readonly string[]> {
    const all = await tags.list(repo);
    const digests = new Set(all.map(([, tag]) => tag.digest));
    const facts = digests.size <= FEW ? pointReads(repo) : await listings(repo, digests);
    const alive = await eachOf(all, STORE_CONCURRENCY, async ([, tag]) => lives(tag, await facts.incarnationOf(tag.digest), facts));
    return all.filter((_, i) => alive[i] === true).map(([name]) => name);
  }

  async function lives(tag: TagRecord, incarnation: Incarnation | undefined, facts: Facts): Promise<boolean> {
    if (incarnation === undefined || (await facts.isGone(incarnation))) return false;
    return tag.incarnation === incarnation || !(await facts.isGone(tag.incarnation));
  }

  function pointReads(repo: Repo): Facts {
    return {
      incarnationOf: async (digest) => (await records.read(keys.manifest(repo, digest)))?.incarnation,
      isGone: async (incarnation) => (await gone.read(keys.gone(repo, incarnation))) !== undefined,
    };
  }

  async function listings(repo: Repo, wanted: ReadonlySet<Digest>): Promise<Facts> {
    const dead = new Set<string>();
    for await (const { key } of driver.list(keys.allGone(repo))) dead.add(key.slice(keys.allGone(repo).length));
    const listed = new Map<Digest, Incarnation | undefined>();
    const reading: (() => Promise<void>)[] = [];
    for await (const entry of driver.list(keys.manifests(repo))) {
      const digest = digestAtEnd(entry.key);
      if (digest === undefined || !wanted.has(digest)) continue;
      const known = incarnations.get(entry.key);
      if (known?.stamp === entry.stamp) listed.set(digest, known.incarnation);
      else {
        reading.push(async () => {
          const record = await records.readListed(entry);
          if (record !== undefined) incarnations.set(entry.key, { stamp: entry.stamp, incarnation: record.incarnation });
          listed.set(digest, record?.incarnation);
        });
      }
    }
    await eachOf(reading, STORE_CONCURRENCY, (read) => read());
    const one = pointReads(repo);
    return {
      // A listing may miss what was just written.
      incarnationOf: async (digest) => (listed.has(digest) ? listed.get(digest) : one.incarnationOf(digest)),
      isGone: (incarnation) => dead.has(incarnation),
    };
  }

  return { names };
}

interface Facts {
  incarnationOf(digest: Digest): Promise<Incarnation | undefined>;
  isGone(incarnation: Incarnation): boolean | Promise<boolean>;
}
