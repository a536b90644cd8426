/** Puts the parts of content storage together over one driver. */
import type { Driver } from '../drivers/driver.ts';
import { blobs, type Blobs } from './blobs.ts';
import { CachedRecords } from './cached.ts';
import { links, type Links } from './links.ts';
import { manifests, type Manifests } from './manifests.ts';
import type { LinkRecord, ManifestRecord, ReferrerRecord, TagRecord } from './records.ts';
import { tags, type Tags } from './tags.ts';
import { uploads, type Uploads } from './uploads.ts';

export interface Content {
  readonly blobs: Blobs;
  readonly links: Links;
  readonly tags: Tags;
  readonly manifests: Manifests;
  readonly uploads: Uploads;
}

export interface ContentDeps {
  readonly driver: Driver;
  readonly nowMs: () => number;
  /** A fresh identity, never given twice, of 16 to 64 of [a-z0-9]. */
  readonly newId: () => string;
  /** How long a record read is believed where the driver has no `stampNow`. */
  readonly staleMs: number;
  /** Bytes of manifests kept in memory. */
  readonly manifestCacheBytes: number;
}

export function content(deps: ContentDeps): Content {
  const { driver, nowMs, newId, staleMs } = deps;
  const cached = { driver, nowMs, staleMs };
  const blobStore = blobs(driver);
  const linkStore = links(new CachedRecords<LinkRecord>(cached), blobStore);
  const tagStore = tags(driver, new CachedRecords<TagRecord>(cached));
  const manifestStore = manifests({
    driver, blobs: blobStore, links: linkStore, tags: tagStore, nowMs, newId,
    records: new CachedRecords<ManifestRecord>(cached),
    gone: new CachedRecords<object>(cached),
    referrers: new CachedRecords<ReferrerRecord>(cached),
    cacheBytes: deps.manifestCacheBytes,
  });
  return { blobs: blobStore, links: linkStore, tags: tagStore, manifests: manifestStore, uploads: uploads({ driver, blobs: blobStore, links: linkStore, newId }) };
}
