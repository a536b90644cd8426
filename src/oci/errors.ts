/**
 * What a client can be told went wrong. Errors are data: code, message, detail. The status of each code
 * stands in the table below and nowhere else (OCI distribution-spec 1.1, "Error Codes").
 */

/** Status for each code. Codes below the line are ours; the spec lets registries add codes. */
export const ERROR_STATUS = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
  // ---- ours
  TAG_INVALID: 400,
  /** A query parameter or header that cannot be understood. */
  PARAMETER_INVALID: 400,
  /** Unknown path: no endpoint of ours. */
  NOT_FOUND: 404,
  /** An upload chunk that does not begin where the last one ended (spec: 416). */
  RANGE_INVALID: 416,
  /** A request that came by a connection to another host. */
  MISDIRECTED: 421,
  MANIFEST_TOO_LARGE: 413,
  BLOB_TOO_LARGE: 413,
  /** Somebody else is writing the same upload. */
  UPLOAD_CONFLICT: 409,
  /** We could not find out: upstream down with nothing cached, link without bytes, store failing. */
  UNAVAILABLE: 503,
  UPSTREAM_FAILED: 502,
  UPSTREAM_TIMEOUT: 504,
  STORAGE_FULL: 507,
  /** There is space, but the store gives this registry no more of it: trying again is of no use. */
  QUOTA_EXCEEDED: 413,
  INTERNAL: 500,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;

export interface RegistryErrorOptions {
  /** JSON-able facts for programs; never a secret. */
  readonly detail?: unknown;
  readonly cause?: unknown;
  /** Seconds for a `Retry-After` header (429 and 503). */
  readonly retryAfterSeconds?: number;
}

/** An outcome that the client caused or must know of. Thrown anywhere, turned into a response in `http/errors.ts` only. */
export class RegistryError extends Error {
  override readonly name = 'RegistryError';
  readonly code: ErrorCode;
  readonly detail: unknown;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, options: RegistryErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.detail = options.detail;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  get status(): number {
    return ERROR_STATUS[this.code];
  }
}

/** Whether `error` is a RegistryError with this code. */
export function hasCode(error: unknown, ...codes: ErrorCode[]): error is RegistryError {
  return error instanceof RegistryError && codes.includes(error.code);
}
