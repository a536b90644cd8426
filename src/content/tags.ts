/**
 * Tags of a repository (`_tags/`): small records that the last writer wins. A tag holds while neither it nor the
 * incarnation it was given is deleted, and it was not written before what its view has expired up to (`expiry.ts`); the
 * manifest it names must live too, which `manifests.ts` knows.
 */
import type { Driver } from '../drivers/driver.ts';
import { parseTag } from '../oci/name.ts';
import type { CachedRecords } from './cached.ts';
import { eachOf, STORE_CONCURRENCY } from './each.ts';
import type { Expiry } from './expiry.ts';
import { keys, type Repo } from './keys.ts';
import { RecentKeys } from './recent-keys.ts';
import type { TagRecord } from './records.ts';

export interface Tags {
  /** As written; whether its manifest lives is not looked at. */
  find(repo: Repo, tag: string): Promise<TagRecord | undefined>;
  /** What memory has of it is not believed any more; whether it had anything. */
  forget(repo: Repo, tag: string): boolean;
  /** Durable after `sync` of the key it returns. */
  write(repo: Repo, tag: string, record: TagRecord): Promise<string>;
  /** Leaves a tombstone; durable. */
  remove(repo: Repo, tag: string): Promise<void>;
  /** Tags with their records, in byte order, those deleted left out. */
  list(repo: Repo): Promise<readonly (readonly [tag: string, record: TagRecord])[]>;
}

export function tags(driver: Driver, records: CachedRecords<TagRecord>, expiry: Expiry): Tags {
  const recent = new RecentKeys(driver.listingLagSeconds);
  return {
    async find(repo, tag) {
      const [record, beforeMs] = await Promise.all([records.read(keys.tag(repo, tag)), expiry.beforeMs(repo.view)]);
      return record !== undefined && holds(record, beforeMs) ? record : undefined;
    },

    forget: (repo, tag) => records.forget(keys.tag(repo, tag)),

    async write(repo, tag, record) {
      const key = keys.tag(repo, parseTag(tag));
      // A clock that is far behind must not make a tag that was never there.
      const taggedMs = Math.max(record.taggedMs, await expiry.beforeMs(repo.view));
      await records.write(key, { ...record, taggedMs }, 'later');
      recent.wrote(keys.tags(repo), key);
      return key;
    },

    async remove(repo, tag) {
      const key = keys.tag(repo, tag);
      const record = await records.readFresh(key);
      if (record !== undefined) await records.write(key, { ...record, deleted: true }, 'now');
    },

    async list(repo) {
      const prefix = keys.tags(repo);
      const entries = await recent.merge(prefix, driver.list(prefix));
      const beforeMs = await expiry.beforeMs(repo.view);
      const found = await eachOf(entries, STORE_CONCURRENCY, async (entry) => records.readListed(entry));
      return entries.flatMap(({ key }, i) => {
        const record = found[i];
        return record !== undefined && holds(record, beforeMs) ? [[key.slice(prefix.length), record] as const] : [];
      });
    },
  };
}

function holds({ deleted, taggedMs }: TagRecord, beforeMs: number): boolean {
  return deleted !== true && taggedMs >= beforeMs;
}
