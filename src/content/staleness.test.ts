/** How late one node sees what another did, over a store that nobody can look at in microseconds; the clock is the test's. */
import { beforeEach, describe, expect, test } from 'vitest';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { digestOf, type Digest } from '../oci/digest.ts';
import { MEDIA_TYPES, readManifest } from '../oci/manifest.ts';
import type { Name } from '../oci/name.ts';
import { content, type Content } from './content.ts';
import type { Repo, ViewUid } from './keys.ts';

const repo: Repo = { view: 'main' as ViewUid, name: 'docker.io/library/app' as Name };

let nowMs: number;
beforeEach(() => (nowMs = 1_000_000));

function nodes(staleMs: number): readonly [a: Content, b: Content] {
  const memory = memoryDriver({ clock: () => nowMs });
  const driver = new Proxy(memory, {
    get: (target, name) => {
      if (name === 'stampNow') return undefined;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  const open = (node: string): Content => {
    let ids = 0;
    return content({ driver, nowMs: () => nowMs, newId: () => `${node}${String(++ids).padStart(18, '0')}`, staleMs, tell: async () => undefined, manifestCacheBytes: 1024 });
  };
  return [open('a'), open('b')];
}

/** An index of nothing, one for each `mark`. */
function bytesOf(mark: string): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [], annotations: { mark } }));
}
const EMPTY = digestOf(bytesOf(''));

async function push(store: Content, mark: string, tag: string): Promise<Digest> {
  const bytes = bytesOf(mark);
  const digest = digestOf(bytes);
  await store.manifests.commit({ repo, digest, bytes, facts: readManifest(bytes, ''), blobs: [], children: [], absent: [], tags: [tag] });
  return digest;
}

const tagged = async (store: Content, tag = 'latest'): Promise<Digest | undefined> => (await store.manifests.tagged(repo, tag))?.tag.digest;
const stands = async (store: Content, digest: Digest): Promise<boolean> => (await store.manifests.find(repo, digest)) !== undefined;

describe.each([250, 1_000, 60_000])('with a staleness of %i ms', (staleMs) => {
  test('a tag that another node moved is seen then, and not before', async () => {
    const [a, b] = nodes(staleMs);
    const before = await push(a, 'before', 'latest');
    expect(await tagged(b)).toBe(before);
    const after = await push(a, 'after', 'latest');
    expect(await tagged(a)).toBe(after);
    nowMs += staleMs - 1;
    expect(await tagged(b)).toBe(before);
    nowMs += 1;
    expect(await tagged(b)).toBe(after);
  });

  test('looking again and again does not put it off', async () => {
    const [a, b] = nodes(staleMs);
    const before = await push(a, 'before', 'latest');
    expect(await tagged(b)).toBe(before);
    const after = await push(a, 'after', 'latest');
    for (let step = 0; step < 9; step++) {
      nowMs += staleMs / 10;
      expect(await tagged(b)).toBe(before);
    }
    nowMs += staleMs / 10;
    expect(await tagged(b)).toBe(after);
  });

  test('a tag that another node deleted is gone then', async () => {
    const [a, b] = nodes(staleMs);
    const digest = await push(a, 'one', 'latest');
    expect(await tagged(b)).toBe(digest);
    await a.tags.remove(repo, 'latest');
    expect(await tagged(a)).toBeUndefined();
    nowMs += staleMs - 1;
    expect(await tagged(b)).toBe(digest);
    nowMs += 1;
    expect(await tagged(b)).toBeUndefined();
  });

  test('a manifest that another node deleted is gone then, by digest and by tag', async () => {
    const [a, b] = nodes(staleMs);
    const digest = await push(a, 'one', 'latest');
    expect([await stands(b, digest), await tagged(b)]).toEqual([true, digest]);
    await a.manifests.remove(repo, digest);
    expect([await stands(a, digest), await tagged(a)]).toEqual([false, undefined]);
    nowMs += staleMs - 1;
    expect([await stands(b, digest), await tagged(b)]).toEqual([true, digest]);
    nowMs += 1;
    expect([await stands(b, digest), await tagged(b)]).toEqual([false, undefined]);
  });

  test('what was pushed is seen at once, also by who looked in vain, and a change by who never looked', async () => {
    const [a, b] = nodes(staleMs);
    expect([await stands(b, EMPTY), await tagged(b)]).toEqual([false, undefined]);
    expect(await push(a, '', 'latest')).toBe(EMPTY);
    expect([await stands(b, EMPTY), await tagged(b)]).toEqual([true, EMPTY]);

    await push(a, 'one', 'moved');
    const moved = await push(a, 'two', 'moved');
    expect(await tagged(b, 'moved')).toBe(moved);
  });

  test('what was deleted and is pushed again is there at once, also for who saw that it was gone', async () => {
    const [a, b] = nodes(staleMs);
    for (const remove of [async () => void (await a.manifests.remove(repo, EMPTY)), async () => a.tags.remove(repo, 'latest')]) {
      await push(a, '', 'latest');
      expect([await stands(b, EMPTY), await tagged(b)]).toEqual([true, EMPTY]);
      await remove();
      nowMs += staleMs;
      expect(await tagged(b)).toBeUndefined();
      await push(a, '', 'latest');
      expect([await stands(b, EMPTY), await tagged(b)]).toEqual([true, EMPTY]);
    }
  });
});
