/**
 * Any one operation of the store fails while the process lives on, or happens and its answer is lost. The client is told
 * and tries again; nothing that it was told is untrue, and what memory believes does not stand in its way.
 */
import { describe, expect, it } from 'vitest';
import type { Driver } from '../drivers/driver.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { digestOf, type Digest } from '../oci/digest.ts';
import { MEDIA_TYPES, readManifest } from '../oci/manifest.ts';
import type { Name } from '../oci/name.ts';
import { failingOnce, type FailurePoint } from '../../test/support/faulty-driver.ts';
import { scriptedDriver } from '../../test/support/scripted-driver.ts';
import { content, type Content } from './content.ts';
import type { Repo, ViewUid } from './keys.ts';
import type { Need } from './manifests.ts';
import { upload } from './upload.fixture.ts';

const repo: Repo = { view: 'main' as ViewUid, name: 'docker.io/library/app' as Name };
const BLOBS = [Buffer.from('{"config":true}'), Buffer.from('a layer')];
const [CONFIG, ...LAYERS] = BLOBS.map((bytes) => ({ mediaType: 'application/octet-stream', digest: digestOf(bytes), size: bytes.length }));
const MANIFEST = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: CONFIG, layers: LAYERS, subject: { mediaType: MEDIA_TYPES.ociManifest, digest: digestOf(Buffer.from('subject')), size: 7 } }));
const DIGEST = digestOf(MANIFEST);

/** As one process would; what it believes it believes for long. */
function worker(driver: Driver, name: string): Content {
  let ids = 0;
  return content({ driver, nowMs: () => 1_000_000, staleMs: 60_000, manifestCacheBytes: 1024 * 1024, newId: () => `${name}${String(++ids).padStart(18, '0')}`, tell: async () => undefined });
}

async function push(store: Content, told: Digest[]): Promise<void> {
  const blobs: Need[] = [];
  for (const bytes of BLOBS) {
    const need = await upload(store, repo, bytes);
    blobs.push(need);
    told.push(need.digest);
  }
  await store.manifests.commit({ repo, digest: DIGEST, bytes: MANIFEST, facts: readManifest(MANIFEST, ''), blobs, children: [], absent: [], tags: ['latest'] });
  told.push(DIGEST);
}

/** What a process that knows nothing yet finds wrong. */
async function expectReadable(driver: Driver, told: readonly Digest[]): Promise<void> {
  const reader = worker(driver, 'reader');
  const tagged = await reader.manifests.tagged(repo, 'latest');
  const record = await reader.manifests.find(repo, DIGEST);
  if (told.includes(DIGEST)) expect(tagged?.tag.digest).toBe(DIGEST);
  if (tagged !== undefined) expect(record).toBeDefined();
  if (record !== undefined) expect(await reader.manifests.bytes(repo, DIGEST, record)).toEqual(MANIFEST);
  for (const bytes of BLOBS) {
    const digest = digestOf(bytes);
    if (record === undefined && !told.includes(digest)) continue;
    const link = await reader.links.find(repo, digest);
    if (link === undefined) throw new Error(`${bytes.toString()} is not linked`);
    const { source } = await reader.links.open(repo, digest, link);
    const read: Buffer[] = [];
    for await (const chunk of source.stream({ start: 0, end: source.stat.size - 1 })) read.push(chunk);
    await source.close();
    expect(Buffer.concat(read)).toEqual(bytes);
  }
}

async function lengthOf(prepare: (driver: Driver) => Promise<void>, act: (store: Content) => Promise<void>): Promise<number> {
  const driver = memoryDriver();
  await prepare(driver);
  const script = scriptedDriver(driver);
  await act(worker(script, 'whole'));
  return script.journal.length;
}

function pointsOf(length: number): FailurePoint[] {
  return Array.from({ length }, (_, index) => [{ index, when: 'before' }, { index, when: 'after' }] as const).flat();
}

/** Where the one operation fails, and whether the caller heard of it. */
async function eachFailure(prepare: (driver: Driver) => Promise<void>, act: (store: Content) => Promise<void>, look: (driver: Driver, store: Content, heard: boolean) => Promise<void>): Promise<number> {
  const points = pointsOf(await lengthOf(prepare, act));
  for (const point of points) {
    const driver = memoryDriver();
    await prepare(driver);
    const failing = failingOnce(driver, point);
    const store = worker(failing.driver, 'client');
    const heard = await act(store).then(() => false, () => true);
    const operation = failing.failed();
    try {
      expect(operation, `operation ${point.index} was asked for`).toBeDefined();
      await look(driver, store, heard);
    } catch (error) {
      throw new Error(`where ${operation?.op} ${operation?.keys.join()} failed ${point.when} it happened (operation ${point.index})`, { cause: error });
    }
  }
  return points.length;
}

describe('an operation that fails, or whose answer is lost,', () => {
  it('in a push: what was acknowledged is there, and the client that tries again comes through', { timeout: 120_000 }, async () => {
    let told: Digest[] = [];
    let heardOf = 0;
    const points = await eachFailure(
      async () => void (told = []),
      (store) => push(store, (told = [])),
      async (driver, store, heard) => {
        if (heard) heardOf += 1;
        expect(heard).toBe(!told.includes(DIGEST));
        await expectReadable(driver, told);
        const again: Digest[] = [];
        await push(store, again);
        expect(again).toContain(DIGEST);
        await expectReadable(driver, again);
      },
    );
    expect(points).toBeGreaterThan(60);
    expect(heardOf).toBeGreaterThan(points / 2);
  });

  it('in a deletion: the manifest is whole or gone, and gone when it is deleted again', async () => {
    await eachFailure(
      (driver) => push(worker(driver, 'before'), []),
      async (store) => void (await store.manifests.remove(repo, DIGEST)),
      async (driver, store) => {
        await expectReadable(driver, []);
        await store.manifests.remove(repo, DIGEST);
        const reader = worker(driver, 'after');
        expect(await reader.manifests.find(repo, DIGEST)).toBeUndefined();
        expect(await reader.manifests.tagged(repo, 'latest')).toBeUndefined();
        // What was deleted can be pushed again.
        const again: Digest[] = [];
        await push(store, again);
        await expectReadable(driver, again);
      },
    );
  });

  it('in a pull: the client hears of it or is served, and is served when it asks again', async () => {
    const pull = async (store: Content): Promise<void> => {
      const found = await store.manifests.tagged(repo, 'latest');
      if (found === undefined) throw new Error('the tag is gone');
      const record = await store.manifests.find(repo, DIGEST);
      if (record === undefined) throw new Error('the manifest is gone');
      expect(await store.manifests.bytes(repo, DIGEST, record)).toEqual(MANIFEST);
      for (const { digest } of record.blobs) {
        const link = await store.links.find(repo, digest);
        if (link === undefined) throw new Error('a link is gone');
        const { source } = await store.links.open(repo, digest, link);
        await source.close();
      }
    };
    await eachFailure((driver) => push(worker(driver, 'before'), []), pull, async (driver, store) => {
      await pull(store);
      await expectReadable(driver, [DIGEST, ...BLOBS.map((bytes) => digestOf(bytes))]);
    });
  });
});
