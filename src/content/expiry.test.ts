import { beforeEach, describe, expect, test } from 'vitest';
import { memoryDriver } from '../drivers/memory/memory.ts';
import type { Driver } from '../drivers/driver.ts';
import { digestOf } from '../oci/digest.ts';
import { MEDIA_TYPES, readManifest } from '../oci/manifest.ts';
import type { Name } from '../oci/name.ts';
import { content, type Content } from './content.ts';
import { keys, type Repo, type ViewUid } from './keys.ts';

const MAIN = 'main' as ViewUid;
const repo = (name: string, view = MAIN): Repo => ({ view, name: name as Name });
const APP = repo('docker.io/org/app');

let driver: Driver;
let nowMs: number;
let ids: number;
let store: Content;
beforeEach(() => {
  nowMs = 1_000_000;
  ids = 0;
  driver = memoryDriver({ clock: () => nowMs });
  store = open();
});

function open(clock = (): number => nowMs): Content {
  return content({ driver, nowMs: clock, newId: () => `id${String(++ids).padStart(18, '0')}`, staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1024 });
}

async function push(tag: string, into = APP, by = store): Promise<void> {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] }));
  await by.manifests.commit({ repo: into, digest: digestOf(bytes), bytes, facts: readManifest(bytes, ''), blobs: [], children: [], absent: [], tags: [tag] });
}

/** As `umbra prune` does. */
async function expire(ageMs: number): Promise<void> {
  await store.expiry.expire(MAIN, await store.expiry.cutoffMs(ageMs));
}

const tagsOf = async (from = APP): Promise<readonly string[]> => store.manifests.tagNames(from);

describe('tags that are too old', () => {
  test('do not hold, and their manifest stays; the younger ones hold', async () => {
    await push('old');
    nowMs += 1000;
    await push('new');
    nowMs += 1000;
    await expire(1000);
    expect(await tagsOf()).toEqual(['new']);
    expect(await store.manifests.tagged(APP, 'old')).toBeUndefined();
    const { tag } = (await store.manifests.tagged(APP, 'new')) ?? {};
    expect(tag && (await store.manifests.find(APP, tag.digest))).toBeDefined();
  });

  test('are those of one view', async () => {
    const other = repo('docker.io/org/app', 'staging' as ViewUid);
    await push('old', other);
    nowMs += 5000;
    await expire(1000);
    expect(await tagsOf(other)).toEqual(['old']);
  });

  test('hold again once they are pushed again, however old the manifest', async () => {
    await push('old');
    nowMs += 5000;
    await expire(1000);
    await push('old');
    expect(await tagsOf()).toEqual(['old']);
    await expire(1000);
    expect(await tagsOf()).toEqual(['old']);
  });

  test('a push that comes between looking for old tags and removing them is not lost', async () => {
    await push('old');
    nowMs += 5000;
    const cutoffMs = await store.expiry.cutoffMs(1000);
    await push('old', APP, open());
    await store.expiry.expire(MAIN, cutoffMs);
    expect(await tagsOf()).toEqual(['old']);
  });

  test('a push by a node whose clock is far behind holds', async () => {
    await expire(0);
    await push('slow', APP, open(() => nowMs - 500_000));
    expect(await tagsOf()).toEqual(['slow']);
  });

  test('do not come back with a lower mark', async () => {
    await push('old');
    nowMs += 5000;
    await expire(1000);
    await expire(5000);
    expect(await tagsOf()).toEqual([]);
  });
});

test('the names that have tags, whatever they look like', async () => {
  for (const name of ['docker.io/org/app', 'docker.io/org/app/more', 'docker.io/org', 'localhost:5000/x']) await push('1', repo(name));
  await push('1', repo('docker.io/other', 'staging' as ViewUid));
  const names: string[] = [];
  for await (const name of store.expiry.names(MAIN)) names.push(name);
  expect(names.toSorted()).toEqual(['docker.io/org', 'docker.io/org/app', 'docker.io/org/app/more', 'localhost:5000/x']);
  expect(await driver.head(keys.expired(MAIN))).toBeUndefined();
});
