import { beforeEach, describe, expect, it } from 'vitest';
import { pieceDriver } from '../drivers/contract/pieces.fixture.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import type { Appender, Driver } from '../drivers/driver.ts';
import { digestOf, type Digest } from '../oci/digest.ts';
import { MEDIA_TYPES, readManifest } from '../oci/manifest.ts';
import type { Name } from '../oci/name.ts';
import { scriptedDriver } from '../../test/support/scripted-driver.ts';
import { content, type Content } from './content.ts';
import { keys, type Repo, type ViewUid } from './keys.ts';
import type { RunningHash } from './running-hash.ts';
import type { Need } from './manifests.ts';
import type { Poured } from './uploads.ts';

const repo: Repo = { view: 'main' as ViewUid, name: 'docker.io/library/app' as Name };
const other: Repo = { view: 'main' as ViewUid, name: 'docker.io/library/other' as Name };

let driver: Driver;
let store: Content;
let unswept: string[];
let nowMs: number;
let ids: number;

beforeEach(() => {
  nowMs = 1_000_000;
  ids = 0;
  unswept = [];
  use(memoryDriver({ clock: () => nowMs }));
});

function use(given: Driver): void {
  driver = given;
  store = content({
    driver, nowMs: () => nowMs, newId: () => `id${String(++ids).padStart(18, '0')}`, staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1024 * 1024,
    unswept: (id) => void unswept.push(id),
  });
}

/** Gives a text to an upload, as a request would. */
function pour(text: string, poured: Poured = {}): (appender: Appender, hash: RunningHash) => Promise<Poured> {
  return async (appender, hash) => {
    const bytes = Buffer.from(text);
    hash.update(bytes);
    await appender.write(bytes);
    return poured;
  };
}

async function upload(text: string, into: Repo = repo): Promise<Need> {
  const digest = digestOf(Buffer.from(text));
  const session = await store.uploads.create(into, 'sha256');
  const poured = await store.uploads.append(session, pour(text));
  return { digest, ...(await store.uploads.finish(poured, digest)) };
}

function imageOf(config: Need, layers: readonly Need[], extra: object = {}): Buffer {
  const descriptor = (need: Need): object => ({ mediaType: 'application/octet-stream', digest: need.digest, size: need.size });
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: descriptor(config), layers: layers.map(descriptor), ...extra }));
}

async function push(bytes: Buffer, blobs: readonly Need[], tags: readonly string[], into: Repo = repo): Promise<Digest> {
  const digest = digestOf(bytes);
  await store.manifests.commit({ repo: into, digest, bytes, facts: readManifest(bytes, ''), blobs, children: [], absent: [], tags });
  return digest;
}

async function keysBelow(prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of driver.list(prefix)) found.push(key);
  return found;
}

describe('pushing', () => {
  it('a pushed image is found by tag and by digest, and its blobs through their links', async () => {
    const [config, layer] = [await upload('config'), await upload('layer')];
    const bytes = imageOf(config, [layer]);
    const digest = await push(bytes, [config, layer], ['latest']);
    const tagged = await store.manifests.tagged(repo, 'latest');
    expect(tagged?.tag.digest).toBe(digest);
    const record = await store.manifests.find(repo, digest);
    expect(record && (await store.manifests.bytes(repo, digest, record))).toEqual(bytes);
    const link = await store.links.find(repo, layer.digest);
    const found = link && (await store.links.open(repo, layer.digest, link));
    expect(found?.source.stat.size).toBe('layer'.length);
  });

  it('bytes in the store give another name no right', async () => {
    const layer = await upload('layer');
    expect(await store.links.find(other, layer.digest)).toBeUndefined();
  });

  it('the same blob pushed to two names is stored once', async () => {
    const first = await upload('layer');
    const second = await upload('layer', other);
    expect(second.generation).toBe(first.generation);
    expect(await keysBelow(keys.generations(first.digest))).toHaveLength(1);
    expect(await keysBelow(keys.uploads())).toEqual([]);
  });

  it('every needed blob and the manifest itself carry a back-reference of this incarnation', async () => {
    const [config, layer] = [await upload('config'), await upload('layer')];
    const digest = await push(imageOf(config, [layer]), [config, layer], []);
    const record = await store.manifests.find(repo, digest);
    for (const needed of [config.digest, layer.digest, digest]) {
      expect(await driver.head(keys.backReference(needed, repo, `${digest}.${record?.incarnation}`)), needed).toBeDefined();
    }
  });

  it('an empty blob can be pushed without a body', async () => {
    const session = await store.uploads.create(repo, 'sha256');
    const digest = digestOf(new Uint8Array(0));
    expect(await store.uploads.finish(session, digest)).toMatchObject({ size: 0 });
    const link = await store.links.find(repo, digest);
    expect(link?.size).toBe(0);
  });

  it('a wrong digest leaves the upload as it is', async () => {
    const session = await store.uploads.create(repo, 'sha256');
    const poured = await store.uploads.append(session, pour('bytes'));
    await expect(store.uploads.finish(poured, digestOf(Buffer.from('other')))).rejects.toMatchObject({ code: 'DIGEST_INVALID' });
    const again = await store.uploads.find(repo, session.id);
    expect(await store.uploads.finish(again, digestOf(Buffer.from('bytes')))).toMatchObject({ size: 5 });
  });

  it('a hash goes on only over the bytes it was made of, not over as many of others', async () => {
    const script = scriptedDriver(driver);
    const slow = content({ driver: script, nowMs: () => nowMs, newId: () => 'y'.repeat(20), staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1024 });
    const session = await slow.uploads.create(repo, 'sha256');
    // The one writes "good" and is held up before it says so; the other, from the same state, writes "evil" and is done.
    const held = script.hold('before', 'put', keys.uploadState(session.id));
    const first = slow.uploads.append(session, pour('good'));
    await held.reached;
    const evil = await store.uploads.append(session, pour('evil'));
    held.release();
    await first.catch(() => undefined);
    await driver.put(keys.uploadState(session.id), Buffer.from(JSON.stringify(evil)));
    const last = await slow.uploads.append(await slow.uploads.find(repo, session.id), pour('!'));
    await expect(slow.uploads.finish(last, digestOf(Buffer.from('good!')))).rejects.toMatchObject({ code: 'DIGEST_INVALID' });
  });

  it('chunks that another process took are hashed again at the end', async () => {
    const session = await store.uploads.create(repo, 'sha256');
    const first = await store.uploads.append(session, pour('one '));
    const elsewhere = content({ driver, nowMs: () => nowMs, newId: () => 'x'.repeat(20), staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1024 });
    const second = await elsewhere.uploads.append(first, pour('two '));
    expect(second.digest).toBeUndefined();
    const third = await store.uploads.append(second, pour('three'));
    expect(await store.uploads.finish(third, digestOf(Buffer.from('one two three')))).toMatchObject({ size: 13 });
  });

  it('who finishes an upload again, after the one who stored it died, gets its blob', async () => {
    const session = await store.uploads.create(repo, 'sha256');
    const poured = await store.uploads.append(session, pour('bytes'));
    const digest = digestOf(Buffer.from('bytes'));
    // As far as the dead one came: the state says so, and the bytes are the blob's.
    await driver.put(keys.uploadState(session.id), Buffer.from(JSON.stringify({ ...poured, finishing: { digest, generation: session.id } })));
    await driver.assemblies.complete(poured.assembly, keys.data(digest, session.id as Need['generation']));
    const found = await store.uploads.find(repo, session.id);
    expect(await store.uploads.finish(found, digest)).toEqual({ generation: session.id, size: 5 });
    expect((await store.links.find(repo, digest))?.size).toBe(5);
  });

  it('what arrived before a failure is kept', async () => {
    const session = await store.uploads.create(repo, 'sha256');
    const failure = new Error('the client left');
    await expect(store.uploads.append(session, pour('half', { failure }))).rejects.toBe(failure);
    expect((await store.uploads.find(repo, session.id)).assembly.offset).toBe(4);
  });

  it('an upload belongs to its view and name', async () => {
    const session = await store.uploads.create(repo, 'sha256');
    for (const wrong of [other, { ...repo, view: 'staging' as ViewUid }]) {
      await expect(store.uploads.find(wrong, session.id)).rejects.toMatchObject({ code: 'BLOB_UPLOAD_UNKNOWN' });
    }
  });
});

describe('deleting', () => {
  it('a deleted tag leaves the manifest; a deleted manifest takes its tags along', async () => {
    const config = await upload('config');
    const digest = await push(imageOf(config, []), [config], ['a', 'b']);
    await store.tags.remove(repo, 'a');
    expect(await store.manifests.tagged(repo, 'a')).toBeUndefined();
    expect(await store.manifests.tagNames(repo)).toEqual(['b']);
    expect(await store.manifests.remove(repo, digest)).toBe(true);
    expect(await store.manifests.find(repo, digest)).toBeUndefined();
    expect(await store.manifests.tagNames(repo)).toEqual([]);
    expect(await store.manifests.remove(repo, digest)).toBe(false);
  });

  it('removes the references of the deleted incarnation only', async () => {
    const config = await upload('config');
    const bytes = imageOf(config, []);
    const digest = await push(bytes, [config], ['a']);
    const before = await store.manifests.find(repo, digest);
    await store.manifests.remove(repo, digest);
    await push(bytes, [config], ['a']);
    const after = await store.manifests.find(repo, digest);
    expect(after?.incarnation).not.toBe(before?.incarnation);
    expect(await driver.head(keys.backReference(config.digest, repo, `${digest}.${before?.incarnation}`))).toBeUndefined();
    expect(await driver.head(keys.backReference(config.digest, repo, `${digest}.${after?.incarnation}`))).toBeDefined();
    expect((await store.manifests.tagged(repo, 'a'))?.tag.digest).toBe(digest);
  });

  it('a deleted link is 404 here, and a later push makes it stand again', async () => {
    const layer = await upload('layer');
    expect(await store.links.remove(repo, layer.digest)).toBe(true);
    expect(await store.links.find(repo, layer.digest)).toBeUndefined();
    expect(await store.links.remove(repo, layer.digest)).toBe(false);
    await upload('layer');
    expect(await store.links.find(repo, layer.digest)).toBeDefined();
  });
});

describe('reading a blob', () => {
  it('a link whose generation is gone is healed from the current one, or from any', async () => {
    const layer = await upload('layer');
    const bytes = Buffer.from('layer');
    for (const makeCurrent of [true, false]) {
      const link = await store.links.find(repo, layer.digest);
      await driver.delete([keys.data(layer.digest, link?.generation ?? layer.generation), keys.current(layer.digest)]);
      const fresh = `fresh${makeCurrent}` as Need['generation'];
      await driver.put(keys.data(layer.digest, fresh), bytes);
      if (makeCurrent) await driver.put(keys.current(layer.digest), Buffer.from(fresh));
      const found = link && (await store.links.open(repo, layer.digest, link));
      expect(found?.generation).toBe(fresh);
      expect((await store.links.find(repo, layer.digest))?.generation).toBe(fresh);
    }
  });

  it('a link with no bytes anywhere is 503, never 404', async () => {
    const layer = await upload('layer');
    await driver.delete([keys.data(layer.digest, layer.generation)]);
    const link = await store.links.find(repo, layer.digest);
    await expect(link && store.links.open(repo, layer.digest, link)).rejects.toMatchObject({ code: 'UNAVAILABLE', status: 503 });
  });

  it('bytes that a loss of power cut short are not taken for the blob', async () => {
    const layer = await upload('layer');
    await driver.put(keys.data(layer.digest, layer.generation), Buffer.from('lay'));
    const link = await store.links.find(repo, layer.digest);
    await expect(link && store.links.open(repo, layer.digest, link)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    const again = await upload('layer', other);
    expect(again.generation).not.toBe(layer.generation);
  });
});

describe('bytes that the collector means to remove', () => {
  it('are not shared by new uploads', async () => {
    const layer = await upload('layer');
    await driver.put(keys.condemned(layer.digest), new Uint8Array(0));
    expect((await upload('layer', other)).generation).not.toBe(layer.generation);
  });

  it('are rescued by a commit, and by a mount', async () => {
    const [config, layer] = [await upload('config'), await upload('layer')];
    for (const need of [config, layer]) await driver.put(keys.condemned(need.digest), new Uint8Array(0));
    expect(await store.uploads.mount(other, layer.digest, layer)).toBe(true);
    expect(await store.blobs.condemned(layer.digest)).toBe(false);
    expect(await store.blobs.condemned(config.digest)).toBe(true);
    await push(imageOf(config, [layer]), [config, layer], []);
    expect(await store.blobs.condemned(config.digest)).toBe(false);
  });
});

describe('finishing an upload', () => {
  it('is written down before the bytes become a blob, so that a sweeper knows', async () => {
    const script = scriptedDriver(driver);
    const watched = content({ driver: script, nowMs: () => nowMs, newId: () => 'w'.repeat(20), staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1024 });
    const session = await watched.uploads.append(await watched.uploads.create(repo, 'sha256'), pour('bytes'));
    const digest = digestOf(Buffer.from('bytes'));
    const held = script.hold('before', 'assembly.complete', /^/);
    const finished = watched.uploads.finish(session, digest);
    await held.reached;
    expect(await store.uploads.find(repo, session.id)).toMatchObject({ finishing: { digest, generation: session.id } });
    held.release();
    await finished;
  });

  it('a swept session whose bytes are a blob leaves the blob usable', async () => {
    const layer = await upload('layer');
    const config = await upload('config');
    const session = { id: layer.generation, view: repo.view, name: repo.name, algorithm: 'sha256', assembly: driver.assemblies.create(keys.upload(layer.generation)) };
    await driver.put(keys.uploadState(layer.generation), Buffer.from(JSON.stringify({ ...session, finishing: { digest: layer.digest, generation: layer.generation } })));
    nowMs += 10_000;
    expect(await store.uploads.sweep(nowMs)).toEqual({ removed: 1, kept: 0 });
    expect(await push(imageOf(config, [layer]), [config, layer], ['latest'])).toBeDefined();
  });
});

describe('memory', () => {
  it('does not take back what was overtaken while it was read', async () => {
    const config = await upload('config');
    const digest = await push(imageOf(config, []), [config], ['latest']);
    const script = scriptedDriver(driver);
    const slow = content({ driver: script, nowMs: () => nowMs, newId: () => `s${String(++ids).padStart(19, '0')}`, staleMs: 60_000, tell: async () => undefined, manifestCacheBytes: 1024 });
    const held = script.hold('after', 'get', keys.manifest(repo, digest));
    const reading = slow.manifests.find(repo, digest);
    await held.reached;
    await store.manifests.remove(repo, digest);
    await push(imageOf(config, []), [config], ['latest']);
    slow.forget(keys.manifest(repo, digest));
    held.release();
    await reading;
    expect(await slow.manifests.find(repo, digest)).toEqual(await store.manifests.find(repo, digest));
  });
});

describe('referrers', () => {
  it('lists living manifests with the subject', async () => {
    const config = await upload('config');
    const subject = { mediaType: MEDIA_TYPES.ociManifest, digest: digestOf(Buffer.from('subject')), size: 7 };
    const signature = await push(imageOf(config, [], { subject, artifactType: 'application/signature' }), [config], []);
    const sbom = await push(imageOf(config, [], { subject, artifactType: 'application/sbom' }), [config], []);
    expect((await store.manifests.referrers(repo, subject.digest)).map((d) => d.digest).toSorted()).toEqual([signature, sbom].toSorted());
    await store.manifests.remove(repo, sbom);
    expect(await store.manifests.referrers(repo, subject.digest)).toMatchObject([{ digest: signature, artifactType: 'application/signature' }]);
  });
});

describe('sweeping abandoned uploads', () => {
  it('removes sessions nobody touched for longer, and nothing else', async () => {
    const session = await store.uploads.create(repo, 'sha256');
    nowMs += 10_000;
    const young = await store.uploads.create(repo, 'sha256');
    expect(await store.uploads.sweep(nowMs - 5_000)).toEqual({ removed: 1, kept: 1 });
    await expect(store.uploads.find(repo, session.id)).rejects.toMatchObject({ code: 'BLOB_UPLOAD_UNKNOWN' });
    await expect(store.uploads.find(repo, young.id)).resolves.toBeDefined();
  });

  it('a session that was finishing is doomed first, and goes a grace period later', async () => {
    const layer = digestOf(Buffer.from('layer'));
    const session = await store.uploads.create(repo, 'sha256');
    await driver.put(keys.uploadState(session.id), Buffer.from(JSON.stringify({ ...session, finishing: { digest: layer, generation: session.id } })));
    nowMs += 10_000;
    expect(await store.uploads.sweep(nowMs - 5_000)).toEqual({ removed: 0, kept: 1 });
    expect(await driver.head(keys.doomed(layer, session.id as Need['generation']))).toBeDefined();
    nowMs += 10_000;
    expect(await store.uploads.sweep(nowMs - 5_000)).toEqual({ removed: 1, kept: 0 });
  });

  it('one whose bytes keep coming is not abandoned, though no listing shows them', async () => {
    use(pieceDriver(4, { clock: () => nowMs }));
    const session = await store.uploads.create(repo, 'sha256');
    const text = 'an hour of bytes';
    const poured = await store.uploads.append(session, async (appender, hash) => {
      for (const letter of text) {
        nowMs += 240_000;
        hash.update(Buffer.from(letter));
        const state = await driver.get(keys.uploadState(session.id));
        await appender.write(Buffer.from(letter));
        // Another request may have gone on with it: its state is not this one's to write before the end.
        expect(await driver.get(keys.uploadState(session.id))).toEqual(state);
        expect(await store.uploads.sweep(nowMs - 300_000)).toEqual({ removed: 0, kept: 1 });
      }
      return {};
    });
    expect(await store.uploads.finish(poured, digestOf(Buffer.from(text)))).toMatchObject({ size: text.length });
    // Its sign of life goes with the next sweep, when that is old too.
    nowMs += 600_000;
    await store.uploads.sweep(nowMs - 300_000);
    expect(await keysBelow('uploads/')).toEqual([]);
  });

  it('one that cannot be swept keeps no other from it', async () => {
    const [first, second] = [await store.uploads.create(repo, 'sha256'), await store.uploads.create(repo, 'sha256')];
    await driver.put(keys.uploadState(first.id), Buffer.from('no JSON'));
    nowMs += 10_000;
    expect(await store.uploads.sweep(nowMs - 5_000)).toEqual({ removed: 1, kept: 1 });
    expect(unswept).toEqual([first.id]);
    await expect(store.uploads.find(repo, second.id)).rejects.toMatchObject({ code: 'BLOB_UPLOAD_UNKNOWN' });
  });

  it('a session is looked at itself, since a listing may be late', async () => {
    const session = await store.uploads.create(repo, 'sha256');
    nowMs += 10_000;
    const listed = driver.list.bind(driver);
    use(new Proxy(driver, {
      get: (target, key) => {
        if (key === 'list') return async function* late(prefix: string) { for await (const entry of listed(prefix)) yield { ...entry, modifiedMs: 0 }; };
        const value: unknown = Reflect.get(target, key);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    }));
    await store.uploads.append(session, pour('late'));
    nowMs += 1_000;
    expect(await store.uploads.sweep(nowMs - 5_000)).toEqual({ removed: 0, kept: 1 });
  });

  it('a finisher that shares what another made of the same session takes nothing away', async () => {
    use(pieceDriver(4, { clock: () => nowMs }));
    const session = await store.uploads.append(await store.uploads.create(repo, 'sha256'), pour('once'));
    const discarded: string[] = [];
    const discard = driver.assemblies.discard.bind(driver.assemblies);
    driver.assemblies.discard = async (state, options) => {
      discarded.push(state.prefix);
      await discard(state, options);
    };
    const digest = digestOf(Buffer.from('once'));
    await store.uploads.finish(session, digest);
    discarded.splice(0); // completing itself clears up in this fixture
    await store.uploads.finish(session, digest);
    expect(discarded).toEqual([]);
  });
});
