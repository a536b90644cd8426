/**
 * Tags of a repository (`_tags/`): small records that the last writer wins. A tag holds while neither it nor the
 * incarnation it was given is deleted; the manifest it names must live too, which `manifests.ts` knows.
 */
import type { Driver } from '../drivers/driver.ts';
import { parseTag } from '../oci/name.ts';
import type { CachedRecords } from './cached.ts';
import { eachOf, STORE_CONCURRENCY } from './each.ts';
import { keys, type Repo } from './keys.ts';
import { RecentKeys } from './recent-keys.ts';
import type { TagRecord } from './records.ts';

export interface Tags {
  /** As written; whether its manifest lives is not looked at. */
  find(repo: Repo, tag: string): Promise<TagRecord | undefined>;
  /** Durable after `sync` of the key it returns. */
  write(repo: Repo, tag: string, record: TagRecord): Promise<string>;
  /** Leaves a tombstone; durable. */
  remove(repo: Repo, tag: string): Promise<void>;
  /** Tags with their records, in byte order, those deleted left out. */
  list(repo: Repo): Promise<readonly (readonly [tag: string, record: TagRecord])[]>;
}

export function tags(driver: Driver, records: CachedRecords<TagRecord>): Tags {
  const recent = new RecentKeys(driver.listingLagSeconds);
  return {
    async find(repo, tag) {
      const record = await records.read(keys.tag(repo, tag));
      return record === undefined || record.deleted === true ? undefined : record;
    },

    async write(repo, tag, record) {
      const key = keys.tag(repo, parseTag(tag));
      await records.write(key, record, 'later');
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
      const found = await eachOf(entries, STORE_CONCURRENCY, async (entry) => records.readListed(entry));
      return entries.flatMap(({ key }, i) => {
        const record = found[i];
        return record === undefined || record.deleted === true ? [] : [[key.slice(prefix.length), record] as const];
      });
    },
  };
}
