import { describe, expect, test } from 'vitest';
import type { Driver } from '../drivers/driver.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { digestOf } from '../oci/digest.ts';
import { MEDIA_TYPES, readManifest } from '../oci/manifest.ts';
import type { Name } from '../oci/name.ts';
import { content, type Content } from './content.ts';
import type { Repo, ViewUid } from './keys.ts';
import { RecentKeys } from './recent-keys.ts';

const repo: Repo = { view: 'main' as ViewUid, name: 'docker.io/library/app' as Name };
const subject = { mediaType: MEDIA_TYPES.ociManifest, digest: digestOf(Buffer.from('subject')), size: 7 };

/** A store whose listings show nothing yet. */
function lagging(): Driver {
  const driver = memoryDriver();
  return new Proxy<Driver>(driver, {
    get(target, name) {
      if (name === 'listingLagSeconds') return 60;
      if (name === 'list') return async function* () {};
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

function over(driver: Driver): Content {
  let ids = 0;
  return content({ driver, nowMs: () => 0, newId: () => `id${String(++ids).padStart(18, '0')}`, staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1024 });
}

describe('where listings lag', () => {
  test('the node that took a tag or a referrer lists it, until it is deleted', async () => {
    const store = over(lagging());
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [], subject }));
    const digest = digestOf(bytes);
    await store.manifests.commit({ repo, digest, bytes, facts: readManifest(bytes, ''), blobs: [], children: [], absent: [], tags: ['b', 'a'] });
    expect(await store.manifests.tagNames(repo)).toEqual(['a', 'b']);
    expect((await store.manifests.referrers(repo, subject.digest)).map((descriptor) => descriptor.digest)).toEqual([digest]);
    await store.tags.remove(repo, 'a');
    expect(await store.manifests.tagNames(repo)).toEqual(['b']);
    await store.manifests.remove(repo, digest);
    expect(await store.manifests.tagNames(repo)).toEqual([]);
    expect(await store.manifests.referrers(repo, subject.digest)).toEqual([]);
  });

  test('a key is listed once, in order, and the oldest are forgotten beyond a bound', async () => {
    const recent = new RecentKeys(60);
    for (let i = 0; i < 1_500; i++) recent.wrote('p/', `p/${String(i).padStart(4, '0')}`);
    const listing = async function* (): AsyncGenerator<{ key: string; stamp: string; size: number; modifiedMs: number }> {
      yield { key: 'p/0700', stamp: 's', size: 1, modifiedMs: 1 };
    };
    const merged = await recent.merge('p/', listing());
    expect(merged.length).toBe(1_000);
    expect(merged[0]?.key).toBe('p/0500');
    expect(merged.filter(({ key }) => key === 'p/0700')).toEqual([{ key: 'p/0700', stamp: 's' }]);
    expect(merged.map(({ key }) => key)).toEqual(merged.map(({ key }) => key).toSorted());
    expect(await recent.merge('q/', listing())).toEqual([{ key: 'p/0700', stamp: 's' }]);
  });
});
