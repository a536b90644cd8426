/** What a run wants to know of another registry's store, whoever wrote it. Paths are repositories as that registry spells them. */
import type { Digest } from '../oci/digest.ts';

export interface OldManifest {
  readonly digest: Digest;
  /** As it was pushed; '' where the store does not tell: then the bytes do. */
  readonly mediaType: string;
}

export type OldTag =
  | (OldManifest & { readonly tag: string })
  /** A tag that names nothing. */
  | { readonly tag: string; readonly broken: string };

export interface OldRegistry {
  /** In an order of its own, the same in every run. */
  repositories(): AsyncIterable<string>;
  tags(path: string): AsyncIterable<OldTag>;
  /** What a tag names now. */
  tag(path: string, tag: string): Promise<OldTag | undefined>;
  /** All manifests, tagged or not. One may come twice, and one that `manifestKey` knows nothing of was deleted. */
  manifests(path: string): AsyncIterable<OldManifest>;
  /** Where the bytes of a manifest stand. Undefined: the repository has no such manifest. */
  manifestKey(path: string, digest: Digest): Promise<string | undefined>;
  /** Where the bytes of a blob stand. Undefined: the repository may not read such a blob. */
  blobKey(path: string, digest: Digest): Promise<string | undefined>;
  /** Blobs that the repository may read, whether or not a manifest names them, and some that it may not any more. */
  layers(path: string): AsyncIterable<Digest>;
}
