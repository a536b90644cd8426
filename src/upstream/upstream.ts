/**
 * A remote registry as the rest of Umbra sees it. `client.ts` speaks the protocol; nothing here knows of views or storage.
 *
 * Outcomes: `undefined` is "upstream says there is no such thing" (404, and 401/403 once our credentials were offered:
 * Docker Hub answers 401 for repositories that do not exist). Everything that leaves the question open rejects with
 * RegistryError: UPSTREAM_FAILED (5xx, broken connection, nonsense), UPSTREAM_TIMEOUT (no answer in time),
 * TOOMANYREQUESTS (429, or a budget known to be used up; `retryAfterSeconds` set where known).
 */
import type { Digest } from '../oci/digest.ts';

export interface UpstreamOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface RemoteManifestHead {
  /** From Docker-Content-Digest; undefined where upstream sends none. */
  readonly digest: Digest | undefined;
  readonly mediaType: string;
  readonly size: number | undefined;
}

export interface RemoteManifest {
  /** Computed from the bytes, and equal to what upstream claimed and to what was asked for. */
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export interface RemoteBlob {
  /** Bytes of the whole blob, where upstream says. */
  readonly size: number | undefined;
  /** Bytes from the offset asked for. Unverified. Iterating may reject (connection broken, stalled); it never ends short silently when `size` is known. */
  readonly body: AsyncIterable<Buffer>;
}

export interface Upstream {
  /** As in names, e.g. `docker.io`. */
  readonly host: string;
  headManifest(path: string, reference: string, options?: UpstreamOptions): Promise<RemoteManifestHead | undefined>;
  getManifest(path: string, reference: string, options?: UpstreamOptions): Promise<RemoteManifest | undefined>;
  headBlob(path: string, digest: Digest, options?: UpstreamOptions): Promise<{ readonly size: number | undefined } | undefined>;
  /** From `start` (default 0). An upstream that ignores Range is read and its first `start` bytes dropped. */
  getBlob(path: string, digest: Digest, options?: UpstreamOptions & { readonly start?: number }): Promise<RemoteBlob | undefined>;
  /** All tags, following Link headers up to a bound. */
  listTags(path: string, options?: UpstreamOptions): Promise<readonly string[] | undefined>;
  /** The raw descriptors of the referrers answer (following Link), or of the tag-schema fallback; undefined where upstream has neither. */
  listReferrers(path: string, digest: Digest, options?: UpstreamOptions): Promise<readonly unknown[] | undefined>;
  close(): Promise<void>;
}
