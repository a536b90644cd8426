import { describe, expect, test } from 'vitest';
import { scriptedDriver } from '../../test/support/scripted-driver.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { digestOf, type Digest } from '../oci/digest.ts';
import { MEDIA_TYPES, readManifest } from '../oci/manifest.ts';
import type { Name } from '../oci/name.ts';
import { content, type Content } from './content.ts';
import type { Repo, ViewUid } from './keys.ts';

const repo: Repo = { view: 'main' as ViewUid, name: 'docker.io/library/app' as Name };
/** More than are looked up one by one. */
const MANY = 80;

/** As an object store shows itself: nothing can be looked at in microseconds. */
function remote(): ReturnType<typeof scriptedDriver> {
  const inner = memoryDriver();
  return scriptedDriver(new Proxy(inner, { get: (target, name) => (name === 'stampNow' ? undefined : bound(target, name)) }));
}

function bound(target: object, name: string | symbol): unknown {
  const value: unknown = Reflect.get(target, name, target);
  return typeof value === 'function' ? (value.bind(target) as unknown) : value;
}

function over(driver: Parameters<typeof content>[0]['driver'], node: string): Content {
  let ids = 0;
  return content({ driver, nowMs: () => 0, newId: () => `${node}${String(++ids).padStart(18, '0')}`, staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1024 });
}

async function push(store: Content, index: number, tag = `v${String(index).padStart(3, '0')}`): Promise<Digest> {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [], annotations: { index: String(index) } }));
  const digest = digestOf(bytes);
  await store.manifests.commit({ repo, digest, bytes, facts: readManifest(bytes, ''), blobs: [], children: [], absent: [], tags: [tag] });
  return digest;
}

describe('many tags', () => {
  test('are listed as they live: moved, deleted, gone with their manifest, pushed again', async () => {
    const driver = remote();
    const [a, b] = [over(driver, 'a'), over(driver, 'b')];
    const digests: Digest[] = [];
    for (let i = 0; i < MANY; i++) digests.push(await push(a, i));
    const expected = new Set((await a.manifests.tagNames(repo)));
    expect(expected.size).toBe(MANY);
    expect(await b.manifests.tagNames(repo)).toEqual([...expected]);

    await b.tags.remove(repo, 'v001');
    expected.delete('v001');
    await b.manifests.remove(repo, digests[2]!);
    expected.delete('v002');
    await b.manifests.remove(repo, digests[3]!);
    await b.manifests.remove(repo, digests[4]!);
    expected.delete('v004');
    await push(a, 3); // under its old tag again
    await push(a, 4, 'again'); // under another: the old tag stays deleted
    expected.add('again');
    await push(a, MANY);
    expected.add(`v${String(MANY).padStart(3, '0')}`);
    for (const store of [a, b]) expect(await store.manifests.tagNames(repo)).toEqual([...expected].toSorted());
  });

  test('are read once: a second list reads what changed, and lists the rest', async () => {
    const driver = remote();
    const [writer, reader] = [over(driver, 'w'), over(driver, 'r')];
    for (let i = 0; i < MANY; i++) await push(writer, i);
    const readsOf = async (work: () => Promise<unknown>): Promise<string[]> => {
      const reads: string[] = [];
      // Up to when the view's tags expired is another matter.
      const stop = driver.before('*', /(?<!\/expired)$/, ({ op }) => void (op === 'list' || reads.push(op)));
      await work();
      stop();
      return reads;
    };
    expect((await readsOf(() => reader.manifests.tagNames(repo))).length).toBe(2 * MANY);
    expect(await readsOf(() => reader.manifests.tagNames(repo))).toEqual([]);
    await push(writer, MANY, 'v000');
    expect(await readsOf(() => reader.manifests.tagNames(repo))).toEqual(['get', 'get']);
  });
});
