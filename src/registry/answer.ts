/** Where an answer came from (DESIGN section 4): told to the client, the log and the metrics in the same words. */
import type { ViewId } from '../oci/name.ts';

/** Whoever waits for an answer. The signal is made when it is first asked for, which most answers never do. */
export interface Asker {
  /** Aborts when nobody waits any more. */
  readonly signal: AbortSignal;
}

export type CacheState = 'hit' | 'fill' | 'stale' | 'revalidated';

export type Answer =
  | { readonly from: 'view'; readonly view: ViewId }
  | { readonly from: 'upstream'; readonly host: string; readonly cache: CacheState };

/** The `Umbra-Source` header. */
export function sourceHeader(answer: Answer): string {
  return answer.from === 'view' ? `view=${answer.view}` : `upstream=${answer.host}; cache=${answer.cache}`;
}

/** A `Warning` header's value (RFC 7234 section 5.5; still what registries and clients use, distribution-spec "Warnings"). */
export function warning(text: string): string {
  return `299 - "${text.replace(/["\\\r\n]/g, ' ')}"`;
}
