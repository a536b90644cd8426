/**
 * Compares what was taken with where it came from: every manifest byte for byte, every tag, and the bytes of every blob
 * read back through the content layer and hashed, each once.
 */
import type { Content } from '../content/content.ts';
import { eachOf } from '../content/each.ts';
import type { Repo, ViewUid } from '../content/keys.ts';
import type { LinkRecord } from '../content/records.ts';
import { Limiter } from '../drivers/limiter.ts';
import { algorithmOf, finishHash, newHash, type Digest } from '../oci/digest.ts';
import { hasCode } from '../oci/errors.ts';
import { DigestSet } from './digest-set.ts';
import type { ProblemKind } from './events.ts';
import { MIGRATED_BY } from './move.ts';
import { report, type FoundManifest, type Handler, type WalkDeps } from './walk.ts';

export interface VerifyDeps extends Pick<WalkDeps, 'counts' | 'tell'> {
  readonly content: Content;
  readonly view: ViewUid;
  /** Blobs read at once. */
  readonly reads: number;
  readonly signal: AbortSignal;
}

interface Wrong {
  readonly kind: ProblemKind;
  readonly message: string;
}

const BLOBS_AT_ONCE = 4;

export function verifier(deps: VerifyDeps): Handler {
  const { content, counts, signal } = deps;
  const { links, manifests } = content;
  const reads = new Limiter(deps.reads);
  /** Read before, and found good. */
  const good = new DigestSet();
  const running = new Map<Digest, Promise<unknown>>();

  async function blob(repo: Repo, digest: Digest, size: number): Promise<Wrong | undefined> {
    const link = await links.find(repo, digest);
    if (link === undefined) return { kind: 'not-taken', message: 'it may not be read here' };
    if (link.size !== size) return { kind: 'differs', message: `it has ${link.size} bytes here, and the manifest says ${size}` };
    // Whoever reads it now reads it for all.
    for (let other = running.get(digest); other !== undefined; other = running.get(digest)) await other.catch(() => undefined);
    if (good.has(digest)) return undefined;
    const mine = reads.run(() => read(repo, digest, link));
    running.set(digest, mine);
    try {
      return await mine;
    } finally {
      running.delete(digest);
    }
  }

  async function read(repo: Repo, digest: Digest, link: LinkRecord): Promise<Wrong | undefined> {
    try {
      const { source } = await links.open(repo, digest, link);
      try {
        const hash = newHash(algorithmOf(digest));
        if (link.size > 0) {
          for await (const chunk of source.stream({ start: 0, end: link.size - 1 }, { signal })) {
            hash.update(chunk);
            counts.readBytes += chunk.length;
            deps.tell({ event: 'progress', counts });
          }
        }
        const actual = finishHash(algorithmOf(digest), hash);
        if (actual !== digest) return { kind: 'differs', message: `its bytes here have the digest ${actual}` };
      } finally {
        await source.close();
      }
    } catch (error) {
      if (hasCode(error, 'UNAVAILABLE')) return { kind: 'not-taken', message: error.message };
      throw error;
    }
    counts.readBlobs++;
    good.add(digest);
    return undefined;
  }

  async function manifest(repo: Repo, found: FoundManifest): Promise<Wrong | undefined> {
    const record = await manifests.find(repo, found.digest);
    if (record === undefined) return { kind: 'not-taken', message: 'it is not here' };
    if (record.mediaType !== found.facts.mediaType) return { kind: 'differs', message: `it is ${record.mediaType} here, and was ${found.facts.mediaType}` };
    try {
      // Hashed as it is read.
      const bytes = await manifests.bytes(repo, found.digest, record);
      return bytes.equals(found.bytes) ? undefined : { kind: 'differs', message: 'its bytes are others here' };
    } catch (error) {
      if (hasCode(error, 'UNAVAILABLE')) return { kind: 'differs', message: error.message };
      throw error;
    }
  }

  async function tag(repo: Repo, name: string, digest: Digest): Promise<Wrong | undefined> {
    const here = (await manifests.tagged(repo, name))?.tag;
    if (here === undefined) return { kind: 'not-taken', message: 'the tag is not here' };
    if (here.digest === digest) return undefined;
    if (here.by === MIGRATED_BY) return { kind: 'differs', message: `the tag names ${here.digest} here` };
    counts.keptTags++;
    deps.tell({ event: 'kept', name: repo.name, tag: name, source: digest, here: here.digest });
    return undefined;
  }

  return {
    async manifest(found) {
      signal.throwIfAborted();
      const repo: Repo = { view: deps.view, name: found.name };
      const say = (wrong: Wrong | undefined, what: { readonly tags?: readonly string[]; readonly blob?: Digest }): boolean => {
        if (wrong !== undefined) report(deps, { ...wrong, repository: found.path, manifest: found.digest, ...what });
        return wrong === undefined;
      };
      const whose = found.tags.length === 0 ? {} : { tags: found.tags };
      if (!say(await manifest(repo, found), whose)) return false;
      const wanted = [...new Map(found.facts.blobs.map((d) => [d.digest, d])).values()];
      const compared = await eachOf(wanted, BLOBS_AT_ONCE, async ({ digest, size }) => say(await blob(repo, digest, size), { ...whose, blob: digest }));
      for (const name of found.tags) compared.push(say(await tag(repo, name, found.digest), { tags: [name] }));
      deps.tell({ event: 'progress', counts });
      return compared.every((same) => same);
    },
  };
}
