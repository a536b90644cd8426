import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { content } from '../content/content.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { digestOf } from '../oci/digest.ts';
import { readManifest } from '../oci/manifest.ts';
import type { Name, ViewId } from '../oci/name.ts';
import { configuredViews } from '../views/views.ts';
import type { PullThrough } from './pull-through.ts';
import { oneStore } from './stores.ts';
import { resolver } from './resolve.ts';

const name = 'docker.io/library/app' as Name;
const IDS = ['main', 'a', 'b', 'c', 'd'] as const;
function raise(view: string): never {
  throw new Error(view);
}

const never: AbortSignal = new AbortController().signal;

/** Any views without cycles: each may have those before it as parents, in any order. */
const parents = fc.tuple(...IDS.slice(1).map((_, i) => fc.shuffledSubarray(IDS.slice(0, i + 1))));
const act = fc.record({ view: fc.constantFrom(...IDS), tag: fc.constantFrom('x', 'y'), what: fc.constantFrom('push', 'push', 'delete tag', 'delete manifest'), content: fc.nat(3) });

/** DESIGN section 4 in a few words: the view, then its parents, depth first in order, each once. */
function walk(view: string, parentsOf: ReadonlyMap<string, readonly string[]>, seen = new Set<string>()): string[] {
  if (seen.has(view)) return [];
  seen.add(view);
  return [view, ...(parentsOf.get(view) ?? []).flatMap((parent) => walk(parent, parentsOf, seen))];
}

describe('resolving', () => {
  it('gives what the first view of the walk holds, whatever was pushed to and deleted from any of them', async () => {
    await fc.assert(
      fc.asyncProperty(parents, fc.array(act, { maxLength: 15 }), async (chosen, acts) => {
        const parentsOf = new Map<string, readonly string[]>(IDS.slice(1).map((id, i) => [id, chosen[i] ?? []]));
        const views = configuredViews([...parentsOf].map(([id, own]) => ({ id: id as ViewId, parents: own as ViewId[] })));
        const driver = memoryDriver();
        let ids = 0;
        const store = content({
          driver, nowMs: () => 0, newId: () => `id${String(++ids).padStart(18, '0')}`, staleMs: 60_000, tell: async () => undefined, manifestCacheBytes: 10_000,
        });
        // A local name: upstream is never asked, so there is none.
        const resolve = resolver({ stores: oneStore({ driver, content: store }), views, policies: new Map(), pullThrough: {} as PullThrough });
        const model = new Map<string, Map<string, string>>(IDS.map((id) => [id, new Map<string, string>()]));
        for (const { view, tag, what, content: n } of acts) {
          const repo = { view: views.find(view as ViewId)?.uid ?? raise(view), name };
          const bytes = Buffer.from(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"n":"${n}"}}`);
          const digest = digestOf(bytes);
          const own = model.get(view) ?? new Map<string, string>();
          if (what === 'push') {
            await store.manifests.commit({ repo, digest, bytes, facts: readManifest(bytes, ''), blobs: [], children: [], absent: [], tags: [tag] });
            own.set(tag, digest);
          } else if (what === 'delete tag') {
            await store.tags.remove(repo, tag);
            own.delete(tag);
          } else {
            await store.manifests.remove(repo, digest);
            for (const [known, held] of own) if (held === digest) own.delete(known);
          }
        }
        for (const id of IDS) {
          const view = views.find(id as ViewId);
          for (const tag of ['x', 'y']) {
            const holder = walk(id, parentsOf).find((place) => model.get(place)?.has(tag) === true);
            const found = view && (await resolve.tag(view, name, tag, { signal: never }));
            expect(found?.digest).toBe(holder === undefined ? undefined : model.get(holder)?.get(tag));
            expect(found?.answer).toEqual(holder === undefined ? undefined : { from: 'view', view: holder });
          }
        }
      }),
      { numRuns: 80 },
    );
  });
});
