/**
 * Links: the right of a name in a view to read a blob (`_blobs/`). A deleted link is a tombstone; whoever has the
 * right again writes over it.
 */
import type { Digest } from '../oci/digest.ts';
import type { Blobs, FoundBlob, Stored } from './blobs.ts';
import { bytesMissing } from './blobs.ts';
import type { CachedRecords } from './cached.ts';
import { keys, type Repo } from './keys.ts';
import type { LinkRecord } from './records.ts';

export interface Links {
  /** The link, unless there is none or it was deleted. */
  find(repo: Repo, digest: Digest): Promise<LinkRecord | undefined>;
  /** Makes sure that the link stands and points at `stored`. Durable after `sync` of the key it returns. */
  ensure(repo: Repo, digest: Digest, stored: Stored): Promise<string>;
  /** Leaves a tombstone; false where there was nothing to delete. Durable. */
  remove(repo: Repo, digest: Digest): Promise<boolean>;
  /** Opens the linked bytes, and heals a link whose generation is gone. @throws RegistryError UNAVAILABLE where there are none */
  open(repo: Repo, digest: Digest, link: LinkRecord): Promise<FoundBlob>;
}

export function links(records: CachedRecords<LinkRecord>, blobs: Blobs): Links {
  const write = async (repo: Repo, digest: Digest, stored: Stored): Promise<string> => {
    const key = keys.link(repo, digest);
    await records.write(key, { generation: stored.generation, size: stored.size }, 'later');
    return key;
  };

  return {
    async find(repo, digest) {
      const link = await records.read(keys.link(repo, digest));
      return link === undefined || link.deleted === true ? undefined : link;
    },

    async ensure(repo, digest, stored) {
      const key = keys.link(repo, digest);
      const link = await records.readFresh(key);
      if (link !== undefined && link.deleted !== true && link.generation === stored.generation) return key;
      return await write(repo, digest, stored);
    },

    async remove(repo, digest) {
      const key = keys.link(repo, digest);
      const link = await records.readFresh(key);
      if (link === undefined || link.deleted === true) return false;
      await records.write(key, { ...link, deleted: true }, 'now');
      return true;
    },

    async open(repo, digest, link) {
      const found = await blobs.open(digest, link.generation, link.size);
      if (found === undefined) throw bytesMissing(digest, repo);
      // Healing is a courtesy to the next reader: a store that is full must not fail this one.
      if (found.generation !== link.generation) await write(repo, digest, { generation: found.generation, size: link.size }).catch(() => undefined);
      return found;
    },
  };
}
