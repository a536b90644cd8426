import { expect, test } from 'vitest';
import { s3Error } from './errors.ts';

const CONTEXT = { what: 'put key', bucket: 'images', store: 'S3 at https://s3.example.org' };

function answer(name: string, httpStatusCode: number, message = 'UnknownError', headers: Record<string, string> = {}): Error {
  return Object.assign(new Error(message), { name, $metadata: { httpStatusCode }, $response: { headers } });
}

function broken(code: string): Error {
  return Object.assign(new Error('it broke'), { code });
}

test.each([
  [answer('SlowDown', 503), 'retryable', true, 'answered 503 SlowDown'],
  [answer('InternalError', 500), 'retryable', false, 'answered 500 InternalError'],
  [answer('BadDigest', 400), 'retryable', true, 'BadDigest'],
  [answer('RequestTimeTooSkewed', 403), 'retryable', true, 'the clocks of this machine and of the store differ'],
  [answer('ConditionalRequestConflict', 409), 'retryable', true, '409'],
  [broken('ECONNRESET'), 'retryable', false, 'could not be asked (ECONNRESET: it broke)'],
  [Object.assign(answer('Error', 404, 'aborted\n  Deserialization error: to see the raw response, inspect …'), { code: 'ECONNRESET' }), 'retryable', false, 'ECONNRESET'],
  [answer('Error', 404, 'Unclosed tag\n  Deserialization error: to see the raw response, inspect …'), 'retryable', false, '404'],
  [answer('QuotaExceeded', 403), 'full', false, 'no space or quota left in bucket images'],
  [answer('NoSuchBucket', 404), 'permanent', false, 'there is no bucket images'],
  [answer('AccessDenied', 403), 'permanent', false, 's3:ListBucket, s3:ListBucketMultipartUploads on images'],
  [answer('Unknown', 403), 'permanent', false, 'these credentials may not do that'],
  [answer('InvalidAccessKeyId', 403), 'permanent', false, 'accessKeyId is not known there'],
  [answer('NotImplemented', 501), 'permanent', false, 'this store cannot do that'],
  [broken('SELF_SIGNED_CERT_IN_CHAIN'), 'permanent', false, 'name the authority that signed it in storage.ca'],
] as const)('%s is %s', (error, failure, answered, text) => {
  const made = s3Error(error, CONTEXT);
  expect(made).toMatchObject({ failure, answered, cause: error });
  expect(made.message).toContain('put key: ');
  expect(made.message).toContain(text);
});

test.each([
  ['PUT', answer('AccessDenied', 403), true],
  ['DELETE', answer('Unknown', 403), true],
  ['GET', answer('AccessDenied', 403), false],
  ['PUT', answer('SignatureDoesNotMatch', 403), false],
  ['PUT', answer('QuotaExceeded', 403), false],
])('after %s, %s: may not write is %s', (method, error, mayNotWrite) => {
  expect(s3Error(error, { ...CONTEXT, method })).toMatchObject({ mayNotWrite });
});

test('the store may ask to be left alone for a while', () => {
  expect(s3Error(answer('SlowDown', 503, '', { 'retry-after': '2' }), CONTEXT).retryAfterMs).toBe(2_000);
  expect(s3Error(answer('SlowDown', 503), CONTEXT).retryAfterMs).toBeUndefined();
});
