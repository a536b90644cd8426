/**
 * Goes over another registry's store, repository by repository, and hands each manifest to whoever takes, counts or
 * compares it: children before the indexes that hold them, each manifest with the tags that name it. Reads manifests,
 * never blobs. Memory does not grow with the number of blobs or manifests.
 */
import { LRUCache } from 'lru-cache';
import { Limiter } from '../drivers/limiter.ts';
import { algorithmOf, digestOf, type Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { MEDIA_TYPES, readManifest, type ManifestFacts } from '../oci/manifest.ts';
import { isTag, type Name } from '../oci/name.ts';
import { DigestSet } from './digest-set.ts';
import type { MigrateEvent, MutableCounts, Problem } from './events.ts';
import { eachFrom } from './lanes.ts';
import type { OldManifest, OldRegistry } from './old-registry.ts';
import { SourceError, type SourceStore } from './source-store.ts';

export interface FoundManifest {
  /** The repository as the source spells it. */
  readonly path: string;
  readonly name: Name;
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly facts: ManifestFacts;
  readonly tags: readonly string[];
  /** Of an index; `stands`: it was found, and handled with success. */
  readonly children: readonly { readonly digest: Digest; readonly stands: boolean }[];
}

export interface Handler {
  /** Resolves with whether the manifest now stands where it should; what is wrong was told by then. */
  manifest(found: FoundManifest): Promise<boolean>;
}

export interface WalkDeps {
  readonly old: OldRegistry;
  /** Before everything of the source's, in messages. */
  readonly root: string;
  readonly store: SourceStore;
  /** The name here of a repository there, or why it can have none. */
  readonly nameOf: (path: string) => { readonly name: Name } | { readonly problem: string };
  readonly wanted: (name: Name) => boolean;
  readonly maxManifestBytes: number;
  readonly counts: MutableCounts;
  readonly tell: (event: MigrateEvent) => void;
}

/** Repositories gone over at once, and manifests of all of them. */
const REPOSITORIES = 4;
const MANIFESTS = 16;
/** Tags looked at together, so that a manifest with several is handled once. */
const TAG_WINDOW = 500;
/** How deep indexes may hold indexes. */
const MAX_DEPTH = 8;
/** Outcomes remembered of one repository. */
const MAX_OUTCOMES = 10_000;

export async function walk(deps: WalkDeps, handler: Handler): Promise<void> {
  const { old, counts } = deps;
  const limiter = new Limiter(MANIFESTS);
  const blobs = new DigestSet();
  /** Which spelling of a name came first. */
  const spellings = new Map<Name, string>();
  let seen = 0;
  await eachFrom(old.repositories(), REPOSITORIES, async (path) => {
    seen++;
    const named = deps.nameOf(path);
    if ('problem' in named) return report(deps, { kind: 'name-unsupported', repository: path, message: named.problem });
    if (!deps.wanted(named.name)) return;
    const before = spellings.get(named.name);
    if (before === undefined) spellings.set(named.name, path);
    counts.repositories++;
    await new RepositoryWalk(deps, handler, { path, name: named.name, before, limiter, blobs }).run();
  });
  if (seen === 0) report(deps, { kind: 'nothing-found', repository: deps.root, message: 'there is no repository below it: is this where that registry keeps its images (rootdirectory, prefix, container or bucket)?' });
  else if (counts.repositories + counts.problems === 0) report(deps, { kind: 'nothing-found', repository: deps.root, message: `none of its ${seen} repositories is asked for` });
}

export function report(deps: Pick<WalkDeps, 'counts' | 'tell'>, problem: Problem): void {
  deps.counts.problems++;
  deps.tell({ event: 'problem', ...problem });
}

interface Place {
  readonly path: string;
  readonly name: Name;
  /** Another spelling of the same name, which came before. */
  readonly before: string | undefined;
  /** Of manifests at once, in all repositories. */
  readonly limiter: Limiter;
  /** Those counted so far, in all repositories. */
  readonly blobs: DigestSet;
}

class RepositoryWalk {
  readonly #deps: WalkDeps;
  readonly #handler: Handler;
  readonly #place: Place;
  readonly #needed = new DigestSet();
  readonly #counted = new DigestSet();
  /** Whether a manifest stands: known, or being found out. */
  readonly #outcomes = new LRUCache<Digest, Promise<boolean>>({ maxSize: MAX_OUTCOMES, sizeCalculation: () => 1 }); // `max` would take the memory at once
  #tags = 0;
  #problems = 0;

  constructor(deps: WalkDeps, handler: Handler, place: Place) {
    this.#deps = deps;
    this.#handler = handler;
    this.#place = place;
  }

  async run(): Promise<void> {
    const { old, counts, tell } = this.#deps;
    const { path, name, limiter } = this.#place;
    try {
      // Tags first: each brings what it names, so that a run that was broken off leaves whole images with their names.
      await eachFrom(this.#taggedManifests(), MANIFESTS, ([manifest, tags]) => limiter.run(async () => void (await this.#visit(manifest, tags, 0))));
      await eachFrom(old.manifests(path), MANIFESTS, (manifest) => limiter.run(() => this.#untagged(manifest)));
      for await (const digest of old.layers(path)) if (!this.#needed.has(digest)) counts.unneededBlobs++;
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      this.#report({ kind: 'repository-unreadable', message: error.message });
    }
    tell({ event: 'repository', repository: path, name, tags: this.#tags, manifests: this.#counted.size, problems: this.#problems });
  }

  async *#taggedManifests(): AsyncGenerator<readonly [OldManifest, readonly string[]]> {
    const { old, counts } = this.#deps;
    let window = new Map<string, { readonly manifest: OldManifest; readonly tags: string[] }>();
    let held = 0;
    for await (const found of old.tags(this.#place.path)) {
      counts.tags++;
      this.#tags++;
      const { tag } = found;
      if ('broken' in found) {
        this.#report({ kind: 'tag-dangling', tags: [tag], message: found.broken });
      } else if (!isTag(tag)) {
        this.#report({ kind: 'tag-dangling', tags: [tag], message: 'this is no tag: expected up to 128 of [A-Za-z0-9_.-], not beginning with . or -' });
      } else if (!(await this.#conflicts(tag, found.digest))) {
        const key = `${found.digest} ${found.mediaType}`;
        const group = window.get(key) ?? { manifest: { digest: found.digest, mediaType: found.mediaType }, tags: [] };
        window.set(key, group);
        group.tags.push(tag);
        held++;
      }
      if (held >= TAG_WINDOW) {
        for (const { manifest, tags } of window.values()) yield [manifest, tags];
        window = new Map();
        held = 0;
      }
    }
    for (const { manifest, tags } of window.values()) yield [manifest, tags];
  }

  /** `nginx` and `library/nginx` are two repositories there and one here: the tag of the spelling that came first is taken. */
  async #conflicts(tag: string, digest: Digest): Promise<boolean> {
    const { before, name } = this.#place;
    if (before === undefined) return false;
    const other = await this.#deps.old.tag(before, tag);
    if (other === undefined || 'broken' in other || other.digest === digest) return false;
    this.#report({ kind: 'tag-conflict', tags: [tag], manifest: digest, message: `${before} is ${name} too, and has this tag for ${other.digest}, which is taken` });
    return true;
  }

  async #untagged(manifest: OldManifest): Promise<void> {
    if (this.#outcomes.has(manifest.digest)) return;
    // Deleting a manifest removes its link and may leave the folder that was listed.
    if ((await this.#deps.old.manifestKey(this.#place.path, manifest.digest)) !== undefined) await this.#visit(manifest, [], 0);
  }

  #visit(manifest: OldManifest, tags: readonly string[], depth: number): Promise<boolean> {
    const known = this.#outcomes.get(manifest.digest);
    if (known !== undefined && tags.length === 0) return known;
    const outcome = this.#handle(manifest, tags, depth);
    this.#outcomes.set(manifest.digest, outcome);
    return outcome;
  }

  async #handle({ digest, mediaType }: OldManifest, tags: readonly string[], depth: number): Promise<boolean> {
    const { path, name } = this.#place;
    const problem = (kind: Problem['kind'], message: string): false => {
      this.#report({ kind, ...(tags.length === 0 ? {} : { tags }), manifest: digest, message });
      return false;
    };
    if (depth >= MAX_DEPTH) return problem('manifest-invalid', `indexes are nested more than ${MAX_DEPTH} deep`);
    let bytes: Buffer | undefined;
    try {
      const key = await this.#deps.old.manifestKey(path, digest);
      if (key === undefined) return problem('tag-dangling', 'the repository does not have this manifest any more');
      bytes = await this.#deps.store.get(key, this.#deps.maxManifestBytes);
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      return problem('manifest-unreadable', error.message);
    }
    if (bytes === undefined) return problem('manifest-missing', 'its bytes are not in the store');
    const actual = digestOf(bytes, algorithmOf(digest));
    if (actual !== digest) return problem('manifest-corrupt', `its ${bytes.length} bytes have the digest ${actual}`);
    let facts: ManifestFacts;
    try {
      facts = readManifest(bytes, mediaType);
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      return isSchema1(bytes) ? problem('manifest-unsupported', SCHEMA_1) : problem('manifest-invalid', error.message);
    }
    if (facts.mediaType === MEDIA_TYPES.dockerSchema1 || facts.mediaType === MEDIA_TYPES.dockerSchema1Signed) return problem('manifest-unsupported', SCHEMA_1);
    this.#count(digest, facts);
    const children = await this.#children(facts, depth);
    const stands = await this.#handler.manifest({ path, name, digest, bytes, facts, tags, children });
    return stands;
  }

  /** Those that the repository does not have stay away: an index may be sparse. */
  async #children(facts: ManifestFacts, depth: number): Promise<{ digest: Digest; stands: boolean }[]> {
    const children: { digest: Digest; stands: boolean }[] = [];
    for (const { digest, mediaType } of facts.manifests) {
      if (children.some((child) => child.digest === digest)) continue;
      const there = (await this.#deps.old.manifestKey(this.#place.path, digest)) !== undefined;
      children.push({ digest, stands: there && (await this.#visit({ digest, mediaType }, [], depth + 1)) });
    }
    return children;
  }

  #count(digest: Digest, { blobs }: ManifestFacts): void {
    const { counts } = this.#deps;
    if (this.#counted.add(digest)) counts.manifests++;
    for (const blob of blobs) {
      this.#needed.add(blob.digest);
      if (!this.#place.blobs.add(blob.digest)) continue;
      counts.blobs++;
      counts.bytes += blob.size;
    }
  }

  #report(problem: Omit<Problem, 'repository'>): void {
    this.#problems++;
    report(this.#deps, { ...problem, repository: this.#place.path });
  }
}

const SCHEMA_1 = 'it is a manifest of schema 1, which current clients do not take; push the image again with a current client';

/** Distribution keeps schema 1 without its signature, and without a media type. */
function isSchema1(bytes: Buffer): boolean {
  try {
    return (JSON.parse(bytes.toString('utf8')) as { schemaVersion?: unknown } | null)?.schemaVersion === 1;
  } catch {
    return false;
  }
}
