/** What a fill tells those who count and log, in the worker that leads it. */
import type { Digest } from '../oci/digest.ts';
import type { ErrorFacts } from './fill-progress.ts';

export type FillEvent =
  /** A download is asked for; `ended` follows. */
  | { readonly kind: 'began'; readonly digest: Digest }
  /** The download broke off at `offset` and is resumed there. */
  | { readonly kind: 'resuming'; readonly digest: Digest; readonly offset: number; readonly error: unknown }
  /** Upstream sent something else than the digest says; after the first time it is asked once more. */
  | { readonly kind: 'mismatch'; readonly digest: Digest; readonly attempt: number }
  /** The store is full: the readers take the bytes past it. */
  | { readonly kind: 'full'; readonly digest: Digest; readonly landed: number }
  /** The store does not take the blob, and says why: more than readers are told. */
  | { readonly kind: 'refused'; readonly digest: Digest; readonly error: unknown }
  /** `bytes` is what the store took; `elsewhere`: another machine leads already, and its download is read. */
  | {
      readonly kind: 'ended';
      readonly digest: Digest;
      readonly outcome: 'stored' | 'absent' | 'failed' | 'aborted' | 'orphaned' | 'unstored' | 'elsewhere';
      readonly bytes: number;
      readonly durationMs: number;
      readonly error: ErrorFacts | undefined;
    };
