/**
 * The orders of PROTOCOL, by trying them out: a collector, a deleter or another pusher acts at every operation of a
 * commit, and the process dies at every one. What was answered 201 must be readable afterwards.
 */
import { describe, expect, it } from 'vitest';
import type { Driver } from '../drivers/driver.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { digestOf, type Digest } from '../oci/digest.ts';
import { hasCode } from '../oci/errors.ts';
import { MEDIA_TYPES, readManifest } from '../oci/manifest.ts';
import type { Name } from '../oci/name.ts';
import { atEveryCrash } from '../../test/support/every-crash.ts';
import { scriptedDriver, type Operation, type ScriptedDriver } from '../../test/support/scripted-driver.ts';
import { content, type Content } from './content.ts';
import { keys, uploadReference, type Generation, type Repo, type ViewUid } from './keys.ts';
import type { Commit, Need } from './manifests.ts';
import { upload } from './upload.fixture.ts';
import { SOAK } from '../../test/support/soak.ts';

/** One pair of so many is tried. */
const PAIRS = SOAK ? 1 : 6;

const repo: Repo = { view: 'main' as ViewUid, name: 'docker.io/library/app' as Name };
const other: Repo = { view: 'main' as ViewUid, name: 'docker.io/library/other' as Name };
const LAYER = Buffer.from('layer');
const CONFIG = Buffer.from('{"config":true}');
const layerDigest = digestOf(LAYER);
const configDigest = digestOf(CONFIG);

/** A worker over the store. Workers of one machine tell each other; caches would otherwise hold for a minute. */
function worker(driver: Driver, name: string, siblings: Content[] = []): Content {
  let ids = 0;
  const own: Content = content({
    driver, nowMs: () => 1_000_000, staleMs: 60_000, manifestCacheBytes: 1024 * 1024,
    newId: () => `${name}${String(++ids).padStart(18, '0')}`,
    tell: async (key) => siblings.filter((sibling) => sibling !== own).forEach((sibling) => sibling.forget(key)),
  });
  siblings.push(own);
  return own;
}

function manifestOf(extra: object = {}): Buffer {
  const descriptor = (bytes: Buffer): object => ({ mediaType: 'application/octet-stream', digest: digestOf(bytes), size: bytes.length });
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: descriptor(CONFIG), layers: [descriptor(LAYER)], ...extra }));
}

const subject = { mediaType: MEDIA_TYPES.ociManifest, digest: digestOf(Buffer.from('subject')), size: 7 };

function commitOf(bytes: Buffer, blobs: readonly Need[], tags: readonly string[], into: Repo = repo): Commit {
  return { repo: into, digest: digestOf(bytes), bytes, facts: readManifest(bytes, ''), blobs, children: [], absent: [], tags };
}

/** What a pusher that looks finds linked. */
async function needed(store: Content, into: Repo = repo): Promise<Need[]> {
  const found = await Promise.all([configDigest, layerDigest].map(async (digest) => ({ digest, link: await store.links.find(into, digest) })));
  return found.flatMap(({ digest, link }) => (link === undefined ? [] : [{ digest, generation: link.generation, size: link.size }]));
}

/** Reads everything a client would, through a worker that knows nothing yet. @throws where something is missing */
async function readWhole(driver: Driver, digest: Digest, from: Repo = repo): Promise<void> {
  const fresh = worker(driver, 'reader');
  const record = await fresh.manifests.find(from, digest);
  if (record === undefined) throw new Error('the manifest is gone');
  expect(digestOf(await fresh.manifests.bytes(from, digest, record))).toBe(digest);
  for (const blob of record.blobs) {
    const link = await fresh.links.find(from, blob.digest);
    if (link === undefined) throw new Error(`no link to ${blob.digest}`);
    const { source } = await fresh.links.open(from, blob.digest, link);
    expect(source.stat.size).toBe(blob.size);
    await source.close();
    expect(await driver.head(keys.backReference(blob.digest, from, `${digest}.${record.incarnation}`)), 'its reference').toBeDefined();
  }
}

/** Blobs that were uploaded so long ago that their uploads' references no longer count. */
async function agedStore(): Promise<{ driver: Driver; store: Content; siblings: Content[] }> {
  const driver = memoryDriver();
  const siblings: Content[] = [];
  const store = worker(driver, 'first', siblings);
  for (const bytes of [LAYER, CONFIG]) {
    const { digest, generation } = await upload(store, repo, bytes);
    await driver.delete([keys.backReference(digest, repo, uploadReference(generation))]);
  }
  return { driver, store, siblings };
}

async function referencesOf(driver: Driver, digest: Digest): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of driver.list(keys.generations(digest).replace(/data\/$/, 'by/'))) found.push(key);
  return found;
}

/** The collector of PROTOCOL, in its steps: the irrevocable mark, the deciding look, the bytes, the marker. */
function collector(driver: Driver, digest: Digest, generation: Generation): Record<'doom' | 'decide' | 'remove' | 'unmark', () => Promise<void>> {
  let doomed = false;
  let decided = false;
  let removed = false;
  return {
    async doom() {
      if ((await referencesOf(driver, digest)).length > 0) return;
      await driver.put(keys.doomed(digest, generation), new Uint8Array(0));
      doomed = true;
    },
    async decide() {
      decided = doomed && (await referencesOf(driver, digest)).length === 0;
    },
    // "None found: bytes first, marker last."
    async remove() {
      if (decided) await driver.delete([keys.data(digest, generation)]);
      removed = decided;
    },
    async unmark() {
      if (removed) await driver.delete([keys.doomed(digest, generation)]);
    },
  };
}

/** Runs `act` before operation `at`. */
function actAt(script: ScriptedDriver, at: number, act: () => Promise<void>): void {
  script.before('*', /^/, async (operation) => {
    if (operation.index === at) await act();
  });
}

/** What the push asks of the store when nobody disturbs it. */
async function undisturbed(push: (store: Content) => Promise<unknown>): Promise<readonly Operation[]> {
  const { driver } = await agedStore();
  const script = scriptedDriver(driver);
  await push(worker(script, 'pusher'));
  return script.journal;
}

async function lengthOf(push: (store: Content) => Promise<unknown>): Promise<number> {
  return (await undisturbed(push)).length;
}

/** Where it matters that another acts: after each write, which it may see, and before each look for the layer. */
function momentsOf(journal: readonly Operation[]): number[] {
  const writes = journal.filter(({ op }) => op === 'put' || op === 'delete' || op === 'assembly.complete').map(({ index }) => index + 1);
  const looks = journal.filter(({ op, keys: [key = ''] }) => op === 'head' && key.includes(layerDigest.slice(7))).map(({ index }) => index);
  return [...new Set([0, ...writes, ...looks, journal.length])].toSorted((a, b) => a - b);
}

describe('a collector that acts at any two operations of', () => {
  const bytes = manifestOf();
  const commit = async (store: Content): Promise<void> => void (await store.manifests.commit(commitOf(bytes, await needed(store), ['latest'])));
  const mountThenCommit = async (store: Content): Promise<void> => {
    for (const need of await needed(store)) {
      if (!(await store.uploads.mount(other, need.digest, need))) return await commitAfterUpload(store);
    }
    await store.manifests.commit(commitOf(bytes, await needed(store, other), ['latest'], other));
  };
  const commitAfterUpload = async (store: Content): Promise<void> => {
    const blobs = [await upload(store, other, CONFIG), await upload(store, other, LAYER)];
    await store.manifests.commit(commitOf(bytes, blobs, ['latest'], other));
  };

  it.each([
    ['a commit of blobs that were there', commit, repo],
    ['a mount and its commit', mountThenCommit, other],
    ['uploads and their commit', commitAfterUpload, other],
  ] as const)('%s loses nothing that was acknowledged', async (_, push, into) => {
    const journal = await undisturbed(push);
    const moments = momentsOf(journal);
    /** The collector's four steps, each before an operation. */
    const plans: [number, number, number, number][] = [];
    for (const first of moments) {
      // Of all pairs so many that each operation comes first and second several times; in the soak, all.
      for (const second of moments.filter((moment) => moment >= first && (first + moment) % PAIRS === 0)) plans.push([first, second, second, journal.length], [0, 0, first, second]);
    }

    let acknowledged = 0;
    for (const plan of plans) {
      const { driver, store } = await agedStore();
      const generation = (await store.links.find(repo, layerDigest))?.generation as Generation; // agedStore uploaded it
      const { doom, decide, remove, unmark } = collector(driver, layerDigest, generation);
      const script = scriptedDriver(driver);
      for (const [i, step] of [doom, decide, remove, unmark].entries()) actAt(script, plan[i] ?? 0, step);
      try {
        await push(worker(script, 'pusher'));
      } catch (error) {
        if (!hasCode(error, 'MANIFEST_BLOB_UNKNOWN', 'BLOB_UPLOAD_UNKNOWN', 'UNAVAILABLE')) throw error;
        continue; // not acknowledged: the client is told to upload again
      }
      await remove();
      acknowledged++;
      await readWhole(driver, digestOf(bytes), into).catch((error: unknown) => {
        throw new Error(`doomed, decided, removed and unmarked before operations ${plan.join()}`, { cause: error });
      });
    }
    expect(acknowledged).toBeGreaterThan(moments.length / PAIRS);
  }, 120_000);

  it('a commit that is told no leaves no living manifest', async () => {
    const { driver, store } = await agedStore();
    const blobs = await needed(store);
    const generation = blobs[1]?.generation as Generation; // of the layer
    await driver.put(keys.doomed(layerDigest, generation), new Uint8Array(0));
    await expect(store.manifests.commit(commitOf(bytes, blobs, ['latest']))).rejects.toMatchObject({ code: 'MANIFEST_BLOB_UNKNOWN' });
    expect(await store.manifests.find(repo, digestOf(bytes))).toBeUndefined();
    expect(await store.manifests.tagged(repo, 'latest')).toBeUndefined();
  });
});

describe('a deleter that acts at any operation of a push of the same manifest', () => {
  it('leaves the push whole, as a new incarnation', async () => {
    const bytes = manifestOf({ subject });
    const digest = digestOf(bytes);
    const repush = async (store: Content): Promise<void> => void (await store.manifests.commit(commitOf(bytes, await needed(store), ['latest'])));
    const operations = (await lengthOf(repush)) + 5;
    for (let at = 0; at <= operations; at++) {
      const { driver, store, siblings } = await agedStore();
      await repush(store);
      const script = scriptedDriver(driver);
      actAt(script, at, async () => void (await store.manifests.remove(repo, digest)));
      const pusher = worker(script, 'pusher', siblings);
      await repush(pusher);
      if (script.journal.length <= at) continue; // the deletion would have come after the 201
      await readWhole(driver, digest);
      for (const reader of [worker(driver, 'reader'), store, pusher]) {
        expect((await reader.manifests.tagged(repo, 'latest'))?.tag.digest, `deleted before operation ${at}`).toBe(digest);
        expect(await reader.manifests.referrers(repo, subject.digest)).toHaveLength(1);
      }
    }
  });
});

describe('two pushers of one tag', () => {
  it('end in one of the two states, whenever one overtakes the other', async () => {
    const [one, two] = [manifestOf({ annotations: { v: '1' } }), manifestOf({ annotations: { v: '2' } })];
    const push = (bytes: Buffer) => async (store: Content): Promise<void> => void (await store.manifests.commit(commitOf(bytes, await needed(store), ['latest'])));
    const operations = await lengthOf(push(one));
    for (let at = 0; at <= operations; at++) {
      const { driver, store, siblings } = await agedStore();
      const script = scriptedDriver(driver);
      actAt(script, at, () => push(two)(store));
      await push(one)(worker(script, 'pusher', siblings));
      const seen = await Promise.all(siblings.map(async (sibling) => (await sibling.manifests.tagged(repo, 'latest'))?.tag.digest));
      expect(new Set(seen).size).toBe(1);
      expect([digestOf(one), digestOf(two)]).toContain(seen[0]);
      await readWhole(driver, digestOf(one));
      if (script.journal.length > at) await readWhole(driver, digestOf(two));
    }
  });
});

describe('a process that dies at any operation', () => {
  it('of a push loses nothing that was acknowledged, and shows nothing half done', async () => {
    const bytes = manifestOf({ subject });
    const digest = digestOf(bytes);
    let told: { blobs: Need[]; manifest: boolean };
    const points = await atEveryCrash({
      store: async () => memoryDriver(),
      async scenario(driver) {
        told = { blobs: [], manifest: false };
        const store = worker(driver, 'pusher');
        for (const blob of [CONFIG, LAYER]) told.blobs.push(await upload(store, repo, blob));
        await store.manifests.commit(commitOf(bytes, told.blobs, ['latest']));
        told.manifest = true;
      },
      async survives(store) {
        const reader = worker(store, 'reader');
        for (const { digest: acknowledged, size } of told.blobs) {
          const link = await reader.links.find(repo, acknowledged);
          const found = link && (await reader.links.open(repo, acknowledged, link));
          expect(found?.source.stat.size).toBe(size);
        }
        const tagged = await reader.manifests.tagged(repo, 'latest');
        if (told.manifest) expect(tagged?.tag.digest).toBe(digest);
        if (tagged !== undefined || (await reader.manifests.find(repo, digest)) !== undefined) await readWhole(store, digest);
        // Whoever comes after can do it all again.
        const again = worker(store, 'again');
        const blobs = [await upload(again, repo, CONFIG), await upload(again, repo, LAYER)];
        await again.manifests.commit(commitOf(bytes, blobs, ['latest']));
        await readWhole(store, digest);
      },
    });
    expect(points).toBeGreaterThan(40);
  });

  it('of a deletion leaves the manifest whole or gone', async () => {
    const bytes = manifestOf();
    const digest = digestOf(bytes);
    let deleted = false;
    await atEveryCrash({
      async store() {
        const driver = memoryDriver();
        const store = worker(driver, 'pusher');
        const blobs = [await upload(store, repo, CONFIG), await upload(store, repo, LAYER)];
        await store.manifests.commit(commitOf(bytes, blobs, ['latest']));
        return driver;
      },
      async scenario(driver) {
        deleted = false;
        deleted = await worker(driver, 'deleter').manifests.remove(repo, digest);
      },
      async survives(store) {
        const reader = worker(store, 'reader');
        const found = await reader.manifests.find(repo, digest);
        if (deleted) expect(found).toBeUndefined();
        if (found !== undefined) await readWhole(store, digest);
        else expect(await reader.manifests.tagged(repo, 'latest')).toBeUndefined();
      },
    });
  });
});

describe('a loss of power', () => {
  /** Keys written and never made durable by the end of the journal. */
  function volatile(journal: readonly Operation[]): Set<string> {
    const left = new Set<string>();
    for (const { op, keys: about, durable } of journal) {
      if (op === 'put' && durable === 'later') for (const key of about) left.add(key);
      if (op === 'assembly.complete') for (const key of about.slice(1)) left.add(key);
      if (op === 'put' && durable !== 'later') for (const key of about) left.delete(key);
      if (op === 'sync' || op === 'delete') for (const key of about) left.delete(key);
    }
    return left;
  }

  it('after a manifest\'s 201 finds all that it needs durable, the blobs of another process included', async () => {
    const driver = memoryDriver();
    const script = scriptedDriver(driver);
    const store = worker(script, 'pusher');
    const blobs = [await upload(store, repo, CONFIG), await upload(store, repo, LAYER)];
    const bytes = manifestOf({ subject });
    await store.manifests.commit(commitOf(bytes, blobs, ['latest']));
    const left = [...volatile(script.journal)].filter((key) => !/\/current$|^uploads\//.test(key) && !/\/by\/.*\/_pusher\d+$/.test(key));
    expect(left).toEqual([]);
  });

  it('never finds a record before what it promises', async () => {
    const driver = memoryDriver();
    const script = scriptedDriver(driver);
    const store = worker(script, 'pusher');
    const blobs = [await upload(store, repo, CONFIG), await upload(store, repo, LAYER)];
    const bytes = manifestOf();
    const before = script.journal.length;
    await store.manifests.commit(commitOf(bytes, blobs, ['latest']));
    const journal = script.journal.slice(before);
    const first = (matches: (operation: Operation) => boolean): number => {
      const at = journal.findIndex(matches);
      expect(at).toBeGreaterThanOrEqual(0);
      return at;
    };
    const put = (pattern: RegExp) => first(({ op, keys: about }) => op === 'put' && pattern.test(about[0] ?? ''));
    const barrier = first(({ op }) => op === 'sync');
    const record = put(/\/_manifests\//);
    const doomed = first(({ op, keys: about }) => op === 'head' && /\/doomed\//.test(about[0] ?? ''));
    const tag = put(/\/_tags\//);
    expect([put(/\/by\//) < barrier, barrier < record, record < doomed, doomed < tag]).toEqual([true, true, true, true]);
    expect(journal.findLastIndex(({ op }) => op === 'sync')).toBeGreaterThan(tag);
    const needs = [layerDigest, configDigest].map((digest) => keys.link(repo, digest));
    expect(journal[barrier]?.keys).toEqual(expect.arrayContaining(needs));
  });
});
