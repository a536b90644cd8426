import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { content } from '../content/content.ts';
import type { ViewUid } from '../content/keys.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { digestOf } from '../oci/digest.ts';
import { readManifest } from '../oci/manifest.ts';
import type { Name, ViewId } from '../oci/name.ts';
import { configuredViews } from '../views/views.ts';
import { oneStore } from './stores.ts';
import { catalogue, type Catalogue } from './catalogue.ts';
import { spell } from './names.ts';

const EMPTY_INDEX = Buffer.from('{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}');
const views = configuredViews([{ id: 'staging' as ViewId, parents: ['main' as ViewId] }]);

/** A catalogue over these names, by view. */
async function stocked(names: Readonly<Record<string, readonly string[]>>): Promise<Catalogue> {
  const driver = memoryDriver();
  let ids = 0;
  const store = content({
    driver, nowMs: () => 0, newId: () => `id${String(++ids).padStart(18, '0')}`, staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1024,
  });
  for (const [view, own] of Object.entries(names)) {
    for (const name of own) {
      await store.manifests.commit({
        repo: { view: view as ViewUid, name: name as Name },
        digest: digestOf(EMPTY_INDEX), bytes: EMPTY_INDEX, facts: readManifest(EMPTY_INDEX, ''), blobs: [], children: [], absent: [], tags: [],
      });
    }
  }
  return catalogue({ stores: oneStore({ driver, content: store }), views });
}

const view = (id: string) => {
  const found = views.find(id as ViewId);
  if (found === undefined) throw new Error(id);
  return found;
};
const spelling = { defaultUpstream: 'docker.io', viewPrefix: undefined };

async function pages(list: Catalogue, n: number, from = spelling): Promise<string[][]> {
  const all: string[][] = [];
  for (let last: string | undefined; ;) {
    const { names, more } = await list.page(view('staging'), from, n, last);
    all.push([...names]);
    if (!more) return all;
    last = names.at(-1);
  }
}

describe('the catalogue', () => {
  it('is the union of the views walked, each name once, as the client writes it', async () => {
    const list = await stocked({ main: ['docker.io/library/a', 'quay.io/org/x'], staging: ['docker.io/library/a', 'docker.io/library/b'], upstream: ['docker.io/library/c'] });
    expect(await pages(list, 10)).toEqual([['library/a', 'library/b', 'library/c', 'quay.io/org/x']]);
    expect((await list.page(view('main'), { defaultUpstream: 'quay.io', viewPrefix: 'main' as ViewId }, 10, undefined)).names).toEqual([
      'main.view/docker.io/library/a', 'main.view/docker.io/library/c', 'main.view/org/x',
    ]);
  });

  it('a name and those below it are all told', async () => {
    const list = await stocked({ main: ['docker.io/a/b', 'docker.io/a/b/c', 'docker.io/a/b-c', 'docker.io/a/0'] });
    expect(await pages(list, 1)).toEqual([['a/0'], ['a/b'], ['a/b-c'], ['a/b/c']]);
  });

  it('pages put together are everything, in order, whatever the names and the size of a page', async () => {
    const component = fc.constantFrom('a', 'b', 'a-b', 'a.b', 'a-b-a', 'ab', 'a0', '0', 'library');
    const name = fc.tuple(fc.constantFrom('docker.io', 'ghcr.io', 'localhost:5000'), fc.array(component, { minLength: 1, maxLength: 3 })).map(([host, path]) => `${host}/${path.join('/')}`);
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(name, { maxLength: 12 }), fc.uniqueArray(name, { maxLength: 12 }), fc.integer({ min: 1, max: 5 }), async (main, staging, n) => {
        const list = await stocked({ main, staging });
        const expected = [...new Set([...main, ...staging])].map((full) => spell(full as Name, spelling)).toSorted();
        const got = await pages(list, n);
        expect(got.flat()).toEqual(expected);
        expect(got.every((page) => page.length <= n)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});
