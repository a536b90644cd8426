/**
 * Fills: one download of one blob from upstream, shared by every reader on this machine and, over an object store, on
 * others (DESIGN section 6, "Fill"; PROTOCOL "Fills").
 * This file is the contract; the work is in the files beside it.
 */
import type { Digest } from '../oci/digest.ts';
import type { AssemblyState, ByteRange, Source } from '../drivers/driver.ts';
import type { RemoteBlob } from './upstream.ts';

export interface FillJob {
  readonly digest: Digest;
  /** From a descriptor, where known; what upstream says must agree. */
  readonly size: number | undefined;
  /**
   * Whom `download` asks, e.g. the canonical name. That upstream has no such blob, or failed, holds for jobs of the same
   * origin only: one of another origin that followed then starts a fill of its own.
   */
  readonly origin?: string | undefined;
  /**
   * Opens the blob where it is stored by now. Asked after winning the lead, since a fill may have ended between the
   * look that found nothing and `open`, and by a reader that came just as a fill in another worker ended. Without it
   * such a reader downloads again.
   */
  stored?(signal: AbortSignal): Promise<Source | undefined>;
  /**
   * Opens what a fill published under `id`, by whichever name and on whichever machine. Where a store shows only whole
   * pieces of what is being gathered, that is how a fill is read to its end.
   */
  published?(id: string, size: number): Promise<Source | undefined>;
  /** Opens the download at an offset; undefined where upstream has no such blob. */
  download(start: number, signal: AbortSignal): Promise<RemoteBlob | undefined>;
  /** Called once, after the digest was verified: makes the gathered bytes a stored, linked blob. `id` names the generation. */
  publish(id: string, state: AssemblyState, size: number): Promise<void>;
}

export interface FillReader {
  /** Bytes of the whole blob; undefined until the end where upstream never said. */
  readonly size: number | undefined;
  /** Names the attempt: `"<digest>;fill=<id>"`. Never the ETag of the verified blob. */
  readonly etag: string;
  /**
   * The bytes of the range (default: all) as they arrive. The blob's last byte comes only after verification.
   * Rejects when the fill fails or the digest differs: the caller destroys the connection. Chunks are shared with other
   * readers: they may be kept, but not changed.
   */
  stream(range: ByteRange | undefined, signal: AbortSignal): AsyncIterable<Buffer>;
  /** Must be called; a reader that never streams counts as leaving. */
  close(): void;
}

export interface Fills {
  /**
   * Joins the running fill of this digest or starts one. `undefined`: upstream has no such blob. Rejects with
   * RegistryError where upstream could not be asked.
   */
  open(job: FillJob, signal: AbortSignal): Promise<FillReader | undefined>;
  /** Waits until the blob is stored (used by commits and mounts). False: upstream has none. */
  complete(job: FillJob, signal: AbortSignal): Promise<boolean>;
  close(): Promise<void>;
}
