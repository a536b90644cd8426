/**
 * What an S3 store's refusals mean: each answer or broken connection becomes a DriverError that says whether trying
 * again helps, and where it does not, what to do. Codes: AWS "Error responses"; besides those that Ceph's radosgw,
 * Swift's s3api and MinIO give in place of them.
 */
import { handshakeProblem } from '../../tls/trust.ts';
import { DriverError, isDriverError } from '../driver.ts';

/** The code of an S3 error answer, the SDK's name of one without a body (`NotFound`), or Node's (`ECONNRESET`). */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  // Node puts it in `code`, the SDK in `name`.
  const { code } = error as Error & { readonly code?: unknown };
  return typeof code === 'string' && code !== '' ? code : error.name;
}

export function statusOf(error: unknown): number | undefined {
  // Every exception of the SDK that stems from an answer carries this.
  return (error as { readonly $metadata?: { readonly httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode;
}

/** Is it the answer that there is no such object? A missing bucket is none. */
export function isAbsence(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'NoSuchKey' || code === 'NotFound';
}

/** A condition (`If-None-Match`, `If-Match`) did not hold. */
export function isConditionFailure(error: unknown): boolean {
  return statusOf(error) === 412 || codeOf(error) === 'PreconditionFailed';
}

/** The store cannot do what it was asked. */
export function isNotImplemented(error: unknown): boolean {
  return statusOf(error) === 501 || codeOf(error) === 'NotImplemented';
}

/** The multipart upload is gone, or its parts are not what the store holds: all parts again. */
export function isUploadGone(error: unknown): boolean {
  return ['NoSuchUpload', 'InvalidPart', 'InvalidPartOrder', 'ConditionalRequestConflict', 'OperationAborted'].includes(codeOf(error)) || statusOf(error) === 409;
}

export interface ErrorContext {
  /** What was done to which key, as in `put blobs/sha256/…`. */
  readonly what: string;
  readonly bucket: string;
  /** In messages, e.g. `S3 at https://s3.example.org`. */
  readonly store: string;
  /** Of the HTTP request; undefined: it did not come to an answer. */
  readonly method?: string | undefined;
}

/** @returns a DriverError; what is one already stays as it is */
export function s3Error(error: unknown, context: ErrorContext): DriverError {
  if (isDriverError(error)) return error;
  const code = codeOf(error);
  const status = statusOf(error);
  const { bucket, store, what, method } = context;
  const mayNotWrite = status === 403 && (ADVICE[code] ?? DENIED) === DENIED && method !== undefined && method !== 'GET' && method !== 'HEAD';
  const said = sayingOf(error, code, status);
  const permanent = (advice: string): DriverError => new DriverError('permanent', `${what}: ${store} ${said}: ${advice}`, { cause: error, mayNotWrite });
  const advice = ADVICE[code];
  if (advice !== undefined) return permanent(advice.replaceAll('BUCKET', bucket));
  if (FULL.has(code) || status === 507) return new DriverError('full', `${what}: ${store} ${said}: no space or quota left in bucket ${bucket}`, { cause: error, byQuota: QUOTA.has(code) });
  const problem = handshakeProblem(error, store, 'storage.ca');
  if (problem !== undefined) return new DriverError('permanent', `${what}: ${problem}`, { cause: error });
  const retryAfterMs = retryAfterOf(error);
  const again = (answered: boolean): DriverError => new DriverError('retryable', `${what}: ${store} ${said}`, { cause: error, retryAfterMs, answered });
  if (status !== undefined && isUnread(error, code)) return again(false);
  if (REFUSED_ONCE.has(code) || status === 408 || status === 409 || status === 429) return again(true);
  if (status === 501) return permanent('this store cannot do that');
  if (status === 403) return permanent(DENIED.replaceAll('BUCKET', bucket));
  if (status === 301 || status === 307) return permanent('the bucket lives elsewhere: set region and endpoint to where it is');
  // Without a status it never was an answer, or one that could not be read: a broken connection, a proxy's page.
  if (status === undefined || status >= 500 || status < 400) return again(false);
  return permanent('it will not do so later either');
}

/** The answer broke off within its body, or was garbled: its status is all that came, and what it said is not known. */
function isUnread(error: unknown, code: string): boolean {
  return BROKEN.has(code) || (error instanceof Error && error.message.includes(UNREADABLE));
}

/** Node's, for connections. */
const BROKEN = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ERR_STREAM_PREMATURE_CLOSE', 'HPE_INVALID_EOF_STATE', 'HPE_INVALID_CHUNK_SIZE']);
/** The SDK adds this to whatever its parser throws. */
const UNREADABLE = 'Deserialization error: to see the raw response';

const DENIED = 'these credentials may not do that; they need s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload on BUCKET/* and s3:ListBucket, s3:ListBucketMultipartUploads on BUCKET';

/** Nothing of these mends itself. */
const ADVICE: Readonly<Record<string, string>> = {
  NoSuchBucket: 'there is no bucket BUCKET; create it, or let these credentials create it',
  AccessDenied: DENIED,
  AllAccessDisabled: DENIED,
  InvalidAccessKeyId: 'accessKeyId is not known there',
  SignatureDoesNotMatch: 'accessKeyId and the secret access key do not belong together, or a proxy changes the requests',
  AuthorizationHeaderMalformed: 'region is not the one that this store signs for',
  PermanentRedirect: 'bucket BUCKET lives elsewhere: set region and endpoint to where it is',
  IllegalLocationConstraintException: 'region is not the one of this endpoint',
  InvalidBucketName: 'BUCKET is no name for a bucket',
  BucketAlreadyExists: 'bucket BUCKET belongs to somebody else; choose another name',
  InvalidArgument: 'it takes no such request; Swift takes 1000 parts of an upload only, unless its max_upload_part_num says more',
};

const QUOTA = new Set(['QuotaExceeded', 'EntityTooLarge', 'XMinioAdminBucketQuotaExceeded']);
const FULL = new Set([...QUOTA, 'XMinioStorageFull', 'InsufficientStorage']);

/**
 * The store works, and refused this call alone: too fast, too late, damaged on the way, signed by a clock that is off
 * (the SDK corrects itself by the answer's Date) or with a token that has just expired.
 */
const REFUSED_ONCE = new Set([
  'SlowDown', 'Throttling', 'ThrottlingException', 'RequestLimitExceeded', 'TooManyRequests', 'RequestTimeout', 'RequestTimeTooSkewed',
  'BadDigest', 'InvalidDigest', 'IncompleteBody', 'XAmzContentSHA256Mismatch', 'ConditionalRequestConflict', 'OperationAborted',
  'ExpiredToken', 'TokenRefreshRequired',
]);

/** Never the text of a request: that may hold a signature. */
function sayingOf(error: unknown, code: string, status: number | undefined): string {
  const message = error instanceof Error ? error.message : String(error);
  const told = message === '' || message === 'UnknownError' || message === code ? '' : `: ${message.slice(0, 300)}`;
  if (code === 'RequestTimeTooSkewed') return 'answered RequestTimeTooSkewed: the clocks of this machine and of the store differ by more than it allows';
  return status === undefined ? `could not be asked (${code}${told})` : `answered ${status} ${code}${told}`;
}

/** Retry-After in seconds, where the answer has one. */
function retryAfterOf(error: unknown): number | undefined {
  const headers = (error as { readonly $response?: { readonly headers?: Readonly<Record<string, string>> } } | undefined)?.$response?.headers;
  const seconds = Number(headers?.['retry-after'] ?? NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, 30) * 1000 : undefined;
}
