/**
 * The small records that stand in a repository, as stored. Readers take what they do not know for absent, so that
 * later versions may add fields.
 */
import type { Digest } from '../oci/digest.ts';
import type { Descriptor, ManifestFacts } from '../oci/manifest.ts';
import type { Generation, Incarnation } from './keys.ts';

/** `_blobs/`: its presence is the right to read; the generation is a hint. A deleted link keeps its key (tombstone). */
export interface LinkRecord {
  readonly generation: Generation;
  /** Bytes. */
  readonly size: number;
  readonly deleted?: true;
}

/** `_manifests/`: facts parsed once. Alive while `_gone/<incarnation>` is absent. */
export interface ManifestRecord extends ManifestFacts {
  readonly incarnation: Incarnation;
  /** Of the manifest's own bytes. */
  readonly size: number;
  readonly generation: Generation;
  /** Milliseconds since the epoch. */
  readonly pushedMs: number;
}

/** `_tags/`. Last writer wins; a deleted tag keeps its key, since a deleted key is never written again. */
export interface TagRecord {
  readonly digest: Digest;
  readonly incarnation: Incarnation;
  readonly mediaType: string;
  readonly size: number;
  readonly taggedMs: number;
  /** User name; absent for anonymous pushes and for fills. */
  readonly by?: string;
  /** The newest entry of the view's log when the tag was written (promotion compares with it). */
  readonly after: number;
  /** In the upstream view: when upstream was last asked, and said the same. */
  readonly checkedMs?: number;
  readonly deleted?: true;
}

/** `_referrers/`: the descriptor that the referrers API answers, and the incarnation it holds for. */
export interface ReferrerRecord {
  readonly descriptor: Descriptor & { readonly artifactType?: string };
  readonly incarnation: Incarnation;
}

/** `_gone/`: this incarnation was deleted, for good. */
export interface GoneRecord {
  readonly goneMs: number;
}

/** `views/<view>/expired`. A tag that was written before `beforeMs` is as good as deleted; a push of it is a new one. */
export interface ExpiredRecord {
  /** Milliseconds since the epoch; it never falls. */
  readonly beforeMs: number;
}
