/** What a run tells while it goes on: facts for programs, in words of `cli/commands/migrate.ts` for people. JSON-able. */
import type { Digest } from '../oci/digest.ts';
import type { Name } from '../oci/name.ts';

export type ProblemKind =
  /** No repository at all, or none that is wanted: the wrong place, or the wrong words, rather than an empty registry. */
  | 'nothing-found'
  /** Not a name here: too long, or one that means something else. */
  | 'name-unsupported'
  | 'repository-unreadable'
  /** Names nothing, or a manifest that the repository does not have. */
  | 'tag-dangling'
  /** Two spellings of one name have this tag, for different manifests. */
  | 'tag-conflict'
  | 'manifest-missing'
  | 'manifest-unreadable'
  /** Its bytes are not those of its digest. */
  | 'manifest-corrupt'
  /** Docker's schema 1. */
  | 'manifest-unsupported'
  | 'manifest-invalid'
  | 'blob-missing'
  | 'blob-unreadable'
  | 'blob-corrupt'
  /** Not as large as the manifest says. */
  | 'blob-size'
  /** Of `--verify`: not there, or something else. */
  | 'not-taken'
  | 'differs';

/** Something that could not be taken, or is not as it should be. */
export interface Problem {
  readonly kind: ProblemKind;
  /** As the source spells it. */
  readonly repository: string;
  readonly tags?: readonly string[];
  readonly manifest?: Digest;
  readonly blob?: Digest;
  readonly message: string;
}

export interface Counts {
  readonly repositories: number;
  readonly tags: number;
  readonly manifests: number;
  /** Different ones that manifests need, and their bytes. */
  readonly blobs: number;
  readonly bytes: number;
  /** Of these, copied now; the rest were there, or are not at all. */
  readonly copiedBlobs: number;
  readonly copiedBytes: number;
  /** Of the copied: by the store itself. */
  readonly serverCopiedBytes: number;
  /** Read back and compared. */
  readonly readBlobs: number;
  readonly readBytes: number;
  readonly writtenManifests: number;
  readonly writtenTags: number;
  /** Tags that somebody pushed here since, and that were left as they are. */
  readonly keptTags: number;
  /** Blobs that a repository may read and no manifest of it needs: not taken. */
  readonly unneededBlobs: number;
  readonly problems: number;
}

export type MutableCounts = { -readonly [K in keyof Counts]: Counts[K] };

export function noCounts(): MutableCounts {
  return {
    repositories: 0, tags: 0, manifests: 0, blobs: 0, bytes: 0, copiedBlobs: 0, copiedBytes: 0, serverCopiedBytes: 0,
    readBlobs: 0, readBytes: 0, writtenManifests: 0, writtenTags: 0, keptTags: 0, unneededBlobs: 0, problems: 0,
  };
}

export type MigrateEvent =
  | { readonly event: 'began'; readonly kind: 'distribution' | 'zuul-registry'; readonly storage: string; readonly view: string; readonly host: string }
  | ({ readonly event: 'problem' } & Problem)
  /** A repository is done; with what it holds. */
  | { readonly event: 'repository'; readonly repository: string; readonly name: Name; readonly tags: number; readonly manifests: number; readonly problems: number }
  /** A tag that somebody moved here since the last run: left as it is. */
  | { readonly event: 'kept'; readonly name: Name; readonly tag: string; readonly source: Digest; readonly here: Digest }
  /** At most a few each second. */
  | { readonly event: 'progress'; readonly counts: Counts };
