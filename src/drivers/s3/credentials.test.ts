import { expect, test } from 'vitest';
import { awaitCredentials, credentialsError } from './credentials.ts';

const CONTEXT = { store: 'S3 at https://s3.example.org', env: { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1/x', AWS_PROFILE: '' } };

test.each<[string, Error, string, string]>([
  ['nobody listens', Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:9'), { code: 'ECONNREFUSED' }), 'retryable', 'connect ECONNREFUSED 127.0.0.1:9'],
  ['STS fails', Object.assign(new Error('oops'), { name: 'InternalFailure', $metadata: { httpStatusCode: 500 } }), 'retryable', 'InternalFailure: oops'],
  ['STS refuses', Object.assign(new Error('no'), { name: 'AccessDenied', $metadata: { httpStatusCode: 403 } }), 'permanent', 'AccessDenied: no'],
  ['the chain is at its end', Object.assign(new Error('none'), { name: 'CredentialsProviderError' }), 'permanent', 'none'],
])('where %s, it is the credentials that are missing, not the store', (_, error, failure, said) => {
  const made = credentialsError(error, CONTEXT);
  // What counts against the store is retryable and not `answered`.
  expect(made).toMatchObject({ failure, answered: failure === 'retryable', cause: error });
  expect(made.message).toContain(`no credentials for S3 at https://s3.example.org: ${said}; the environment has AWS_CONTAINER_CREDENTIALS_FULL_URI`);
  expect(made.message).not.toContain('AWS_PROFILE');
});

test('nobody waits for credentials longer than for an answer', async () => {
  const late = new AbortController();
  const waiting = awaitCredentials(async () => await new Promise<never>(() => undefined), CONTEXT, late.signal);
  late.abort(new Error('too late'));
  await expect(waiting).rejects.toThrow('too late');
});
