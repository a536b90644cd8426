/** Puts the parts of content storage together over one driver. */
import type { Driver } from '../drivers/driver.ts';
import { blobs, type Blobs } from './blobs.ts';
import { CachedRecords } from './cached.ts';
import { expiry, type Expiry } from './expiry.ts';
import { links, type Links } from './links.ts';
import { manifests, type Manifests } from './manifests.ts';
import type { ExpiredRecord, GoneRecord, LinkRecord, ManifestRecord, ReferrerRecord, TagRecord } from './records.ts';
import { tags, type Tags } from './tags.ts';
import { uploads, type Uploads } from './uploads.ts';

export interface Content {
  readonly blobs: Blobs;
  readonly links: Links;
  readonly tags: Tags;
  readonly manifests: Manifests;
  readonly uploads: Uploads;
  readonly expiry: Expiry;
  /**
   * Removes uploads that nobody touched for so long, by the store's clock, and what other attempts left. An aborted
   * signal ends it early.
   */
  sweepUploads(untouchedMs: number, signal?: AbortSignal): Promise<{ readonly removed: number; readonly kept: number }>;
  /** What it would remove and keep, of sessions. */
  countUploads(untouchedMs: number): Promise<{ readonly removed: number; readonly kept: number }>;
  /** Whether answers are what the store said last, since it says nothing now. */
  isAway(): boolean;
  /** Another worker wrote at this key: what memory has of it is not believed any more. */
  forget(key: string): void;
}

export interface ContentDeps {
  readonly driver: Driver;
  readonly nowMs: () => number;
  /** A fresh identity, never given twice, of 16 to 64 of [a-z0-9]. */
  readonly newId: () => string;
  /** How long a record is believed that nobody said was written over. */
  readonly staleMs: number;
  /** Makes the other workers of this machine `forget` a key; resolves when they have. */
  readonly tell: (key: string) => Promise<void>;
  /** Bytes of manifests kept in memory, and as much of small blobs. */
  readonly manifestCacheBytes: number;
  /** Told of an upload session that could not be swept. */
  readonly unswept?: ((id: string, error: unknown) => void) | undefined;
}

export function content(deps: ContentDeps): Content {
  const { driver, nowMs, newId, staleMs } = deps;
  const cached = { driver, nowMs, staleMs, tell: deps.tell };
  const blobStore = blobs(driver, deps.manifestCacheBytes);
  const linkRecords = new CachedRecords<LinkRecord>(cached, 'record');
  const tagRecords = new CachedRecords<TagRecord>(cached, 'tag');
  const manifestRecords = new CachedRecords<ManifestRecord>(cached, 'record');
  const referrerRecords = new CachedRecords<ReferrerRecord>(cached, 'record');
  const gone = new CachedRecords<GoneRecord>(cached, 'flag');
  const linkStore = links(linkRecords, blobStore);
  const expired = new CachedRecords<ExpiredRecord>(cached, 'flag');
  const expiries = expiry(driver, expired, nowMs);
  const tagStore = tags(driver, tagRecords, expiries);
  const manifestStore = manifests({
    driver, blobs: blobStore, links: linkStore, tags: tagStore, nowMs, newId,
    records: manifestRecords, gone, referrers: referrerRecords,
    cacheBytes: deps.manifestCacheBytes,
  });
  const uploadStore = uploads({ driver, blobs: blobStore, links: linkStore, newId, nowMs, unswept: deps.unswept });
  return {
    blobs: blobStore, links: linkStore, tags: tagStore, manifests: manifestStore, uploads: uploadStore, expiry: expiries,
    sweepUploads: async (untouchedMs, signal) => {
      const now = (await driver.clock?.(signal === undefined ? {} : { signal })) ?? nowMs();
      return await uploadStore.sweep(now - untouchedMs, signal);
    },
    countUploads: async (untouchedMs) => await uploadStore.count(((await driver.clock?.()) ?? nowMs()) - untouchedMs),
    isAway: () => driver.lastSeen?.away ?? false,
    forget: (key) => {
      for (const records of [linkRecords, tagRecords, manifestRecords, referrerRecords, gone, expired]) records.forget(key);
    },
  };
}
