/**
 * What the workers tell each other of a fill: where the running attempt stands, and how it ended. A message says all
 * there is to know; it supersedes those before it.
 */
import type { AssemblyState } from '../drivers/driver.ts';
import { ERROR_STATUS, RegistryError, type ErrorCode } from '../oci/errors.ts';

/** While it runs. */
export type Progress =
  /** `landed` bytes can be read by opening `state`. */
  | { readonly kind: 'growing'; readonly id: string; readonly size?: number; readonly landed: number; readonly state: AssemblyState }
  /**
   * The store took `landed` bytes and is full: every reader goes on with a download of its own. `verified`: those are
   * all, and the right ones.
   */
  | { readonly kind: 'unstored'; readonly id: string; readonly size?: number; readonly landed: number; readonly state?: AssemblyState; readonly verified: boolean };

/** The last word. */
export type Outcome =
  | { readonly kind: 'stored'; readonly id: string; readonly size: number }
  /** Upstream has no such blob, as the job's origin sees it. */
  | { readonly kind: 'absent'; readonly origin?: string }
  | { readonly kind: 'failed'; readonly origin?: string; readonly error: ErrorFacts }
  /** Nobody read it, or its worker left: whoever still wants the blob begins again. */
  | { readonly kind: 'aborted' }
  /**
   * Another machine led it, and it stands still there: who has bytes of it goes on from them with a download of its
   * own, who has none begins again.
   */
  | { readonly kind: 'orphaned' };

/** A RegistryError as it travels. */
export interface ErrorFacts {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryAfterSeconds?: number;
}

export function errorFacts({ code, message, retryAfterSeconds }: RegistryError): ErrorFacts {
  return { code, message, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) };
}

export function errorOf({ code, message, retryAfterSeconds }: ErrorFacts): RegistryError {
  return new RegistryError(code in ERROR_STATUS ? code : 'INTERNAL', message, retryAfterSeconds === undefined ? {} : { retryAfterSeconds });
}
