/** A dry run: looks whether everything that manifests need is there, as large as they say. Reads no blob and writes nothing. */
import { LRUCache } from 'lru-cache';
import { eachOf } from '../content/each.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { ProblemKind } from './events.ts';
import type { OldRegistry } from './old-registry.ts';
import { SourceError, type SourceStore } from './source-store.ts';
import { report, type Handler, type WalkDeps } from './walk.ts';

export interface SurveyDeps extends Pick<WalkDeps, 'counts' | 'tell'> {
  readonly old: OldRegistry;
  readonly store: SourceStore;
  readonly signal: AbortSignal;
}

const BLOBS_AT_ONCE = 4;
/** Sizes remembered: base layers are in many images. */
const MAX_SIZES = 20_000;
const ABSENT = -1;

export function surveyor(deps: SurveyDeps): Handler {
  const sizes = new LRUCache<string, number>({ max: MAX_SIZES });

  async function sizeAt(key: string): Promise<number> {
    const size = sizes.get(key) ?? (await deps.store.head(key))?.size ?? ABSENT;
    sizes.set(key, size);
    return size;
  }

  async function lacking(path: string, { digest, size }: Descriptor): Promise<{ readonly kind: ProblemKind; readonly message: string } | undefined> {
    try {
      const key = await deps.old.blobKey(path, digest);
      if (key === undefined) return { kind: 'blob-missing', message: 'the repository does not have it' };
      const there = await sizeAt(key);
      if (there === ABSENT) return { kind: 'blob-missing', message: 'its bytes are not in the store' };
      if (there !== size) return { kind: 'blob-size', message: `it has ${there} bytes, and the manifest says ${size}` };
      return undefined;
    } catch (error) {
      if (error instanceof SourceError) return { kind: 'blob-unreadable', message: error.message };
      throw error;
    }
  }

  return {
    async manifest({ path, digest: manifest, facts, tags }) {
      deps.signal.throwIfAborted();
      const wanted = [...new Map(facts.blobs.map((d) => [d.digest, d])).values()];
      const found = await eachOf(wanted, BLOBS_AT_ONCE, (d) => lacking(path, d));
      for (const [i, problem] of found.entries()) {
        if (problem === undefined) continue;
        report(deps, { ...problem, repository: path, ...(tags.length === 0 ? {} : { tags }), manifest, blob: (wanted[i] as Descriptor /* as many */).digest });
      }
      deps.tell({ event: 'progress', counts: deps.counts });
      return found.every((problem) => problem === undefined);
    },
  };
}
