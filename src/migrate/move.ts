/**
 * Takes manifests over, with all they need. Bytes come in as a push brings them, through `content/`, which alone knows
 * the order of writes; what stands here already is not copied again, so that a run broken off anywhere is gone on with
 * by the next.
 */
import type { Content } from '../content/content.ts';
import { takeBlob, type Takeable } from '../content/copy.ts';
import { eachOf } from '../content/each.ts';
import type { Repo, ViewUid } from '../content/keys.ts';
import type { Need } from '../content/manifests.ts';
import type { ManifestRecord } from '../content/records.ts';
import { Limiter } from '../drivers/limiter.ts';
import type { Digest } from '../oci/digest.ts';
import { hasCode } from '../oci/errors.ts';
import type { Descriptor } from '../oci/manifest.ts';
import type { ProblemKind } from './events.ts';
import type { OldRegistry } from './old-registry.ts';
import { SourceError, type SourceStore } from './source-store.ts';
import { report, type FoundManifest, type Handler, type WalkDeps } from './walk.ts';

/** Whom tags are by that came this way. No user's name holds a colon. */
export const MIGRATED_BY = 'umbra:migrate';

export interface MoveDeps extends Pick<WalkDeps, 'counts' | 'tell'> {
  readonly old: OldRegistry;
  readonly store: SourceStore;
  readonly content: Content;
  readonly view: ViewUid;
  /** Blobs copied at once. */
  readonly copies: number;
  /** Tags that somebody pushed here since are moved back. */
  readonly overwrite: boolean;
  readonly signal: AbortSignal;
}

/** Blobs of one manifest looked for at once. */
const BLOBS_AT_ONCE = 4;
/** How often a manifest is begun again because what it needs was being collected. */
const ATTEMPTS = 3;
/** Smaller ones are sooner sent than copied by the store and read back. */
const COPIED_BYTES = 4 * 1024 * 1024;
/** How often a blob is read whose bytes are wrong: the way here may have been at fault. */
const READINGS = 2;

/** Why a blob cannot be had. */
interface Lacking {
  readonly kind: ProblemKind;
  readonly message: string;
}

export function mover(deps: MoveDeps): Handler {
  const { content, counts, signal, store, old } = deps;
  const { blobs, links, manifests, uploads } = content;
  const copies = new Limiter(deps.copies);
  /** Blobs being looked for or copied: two repositories that need one do not both copy it. */
  const running = new Map<Digest, Promise<unknown>>();

  async function blob(repo: Repo, path: string, wanted: Descriptor): Promise<Need | Lacking> {
    const { digest } = wanted;
    for (let other = running.get(digest); other !== undefined; other = running.get(digest)) await other.catch(() => undefined);
    const mine = have(repo, path, digest);
    running.set(digest, mine);
    try {
      const found = await mine;
      if ('kind' in found || found.size === wanted.size) return found;
      return { kind: 'blob-size', message: `it has ${found.size} bytes, and the manifest says ${wanted.size}` };
    } finally {
      running.delete(digest);
    }
  }

  async function have(repo: Repo, path: string, digest: Digest): Promise<Need | Lacking> {
    const link = await links.find(repo, digest);
    if (link !== undefined && (await blobs.holds(digest, link))) return { digest, generation: link.generation, size: link.size };
    try {
      const key = await old.blobKey(path, digest);
      if (key === undefined) return { kind: 'blob-missing', message: 'the repository does not have it' };
      // Bytes here were hashed when they came, whoever brought them.
      const shared = await blobs.shareable(digest);
      if (shared !== undefined && (await uploads.mount(repo, digest, shared))) return { digest, ...shared };
      return await copies.run(() => copy(repo, digest, key));
    } catch (error) {
      if (error instanceof SourceError) return { kind: 'blob-unreadable', message: error.message };
      throw error;
    }
  }

  async function copy(repo: Repo, digest: Digest, key: string): Promise<Need | Lacking> {
    for (let reading = 1; ; reading++) {
      signal.throwIfAborted();
      const source = await store.open(key);
      if (source === undefined) return { kind: 'blob-missing', message: 'its bytes are not in the store' };
      try {
        // A copy that turned out wrong is not made again: the bytes come by here.
        const foreign = reading === 1 && source.stat.size >= COPIED_BYTES ? await store.foreign(key, source.stat.size) : undefined;
        const counted = counting(source);
        const stored = await takeBlob(digest, { ...counted, foreign }, content, repo, signal);
        if (stored.size > 0 && !counted.came()) {
          counts.copiedBytes += stored.size;
          counts.serverCopiedBytes += stored.size;
          deps.tell({ event: 'progress', counts });
        }
        counts.copiedBlobs++;
        return { digest, ...stored };
      } catch (error) {
        if (!hasCode(error, 'DIGEST_INVALID')) throw error;
        if (reading === READINGS) return { kind: 'blob-corrupt', message: `its bytes are others: ${error.message.replace(' uploaded', '')}` };
      } finally {
        await source.close();
      }
    }
  }

  function counting(source: Pick<Takeable, 'stat' | 'stream'>): Pick<Takeable, 'stat' | 'stream'> & { came(): boolean } {
    let came = false;
    return {
      stat: source.stat,
      came: () => came,
      async *stream(range) {
        for await (const chunk of source.stream(range)) {
          signal.throwIfAborted();
          came = true;
          counts.copiedBytes += chunk.length;
          deps.tell({ event: 'progress', counts });
          yield chunk;
        }
      },
    };
  }

  /** Those that are not there, or name something else that came this way. */
  async function tagsToWrite(repo: Repo, { digest, tags }: FoundManifest): Promise<string[]> {
    const missing: string[] = [];
    for (const tag of tags) {
      const here = (await manifests.tagged(repo, tag))?.tag;
      if (here?.digest === digest) continue;
      if (here === undefined || here.by === MIGRATED_BY || deps.overwrite) {
        missing.push(tag);
      } else {
        counts.keptTags++;
        deps.tell({ event: 'kept', name: repo.name, tag, source: digest, here: here.digest });
      }
    }
    return missing;
  }

  /** Everything that a commit would have written stands. */
  async function isWhole(repo: Repo, record: ManifestRecord, found: FoundManifest): Promise<boolean> {
    // A referrer is listed by a write that follows the record: only a commit knows that it was made.
    if (found.facts.subject !== undefined || !(await blobs.holds(found.digest, record))) return false;
    const held = await eachOf(record.blobs, BLOBS_AT_ONCE, async ({ digest }) => {
      const link = await links.find(repo, digest);
      return link !== undefined && (await blobs.holds(digest, link));
    });
    return held.every((holds) => holds);
  }

  /** Undefined: something it needs is lacking, which was told. */
  async function needs(repo: Repo, found: FoundManifest): Promise<Need[] | undefined> {
    const wanted = [...new Map(found.facts.blobs.map((d) => [d.digest, d])).values()];
    const all = await eachOf(wanted, BLOBS_AT_ONCE, (d) => blob(repo, found.path, d));
    let whole = true;
    for (const [i, lacking] of all.entries()) {
      if (!('kind' in lacking)) continue;
      whole = false;
      report(deps, {
        kind: lacking.kind, repository: found.path, ...(found.tags.length === 0 ? {} : { tags: found.tags }),
        manifest: found.digest, blob: (wanted[i] as Descriptor /* as many */).digest, message: lacking.message,
      });
    }
    return whole ? all.flatMap((need) => ('kind' in need ? [] : [need])) : undefined;
  }

  async function commit(repo: Repo, found: FoundManifest, tags: readonly string[]): Promise<boolean> {
    const blobsNeeded = await needs(repo, found);
    if (blobsNeeded === undefined) return false;
    const children: Need[] = [];
    const absent: Digest[] = [];
    for (const { digest, stands } of found.children) {
      const child = stands ? await manifests.find(repo, digest) : undefined;
      if (child === undefined) absent.push(digest);
      else children.push({ digest, generation: child.generation, size: child.size });
    }
    await manifests.commit({ repo, digest: found.digest, bytes: found.bytes, facts: found.facts, blobs: blobsNeeded, children, absent, tags, by: MIGRATED_BY });
    counts.writtenManifests++;
    counts.writtenTags += tags.length;
    deps.tell({ event: 'progress', counts });
    return true;
  }

  return {
    async manifest(found) {
      signal.throwIfAborted();
      const repo: Repo = { view: deps.view, name: found.name };
      const tags = await tagsToWrite(repo, found);
      const record = await manifests.find(repo, found.digest);
      if (record !== undefined && tags.length === 0 && (await isWhole(repo, record, found))) return true;
      for (let attempt = 1; ; attempt++) {
        try {
          return await commit(repo, found, tags);
        } catch (error) {
          // The collector took what was found: it is copied now.
          if (!hasCode(error, 'MANIFEST_BLOB_UNKNOWN') || attempt === ATTEMPTS) throw error;
        }
      }
    },
  };
}
