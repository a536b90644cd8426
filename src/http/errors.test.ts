import { describe, expect, test } from 'vitest';
import { DriverError } from '../drivers/driver.ts';
import { RegistryError } from '../oci/errors.ts';
import { toRegistryError } from './errors.ts';

describe('what a failure of the store is to a client', () => {
  test.each<[string, DriverError, string, number, string]>([
    ['no space', new DriverError('full', 'x'), 'STORAGE_FULL', 507, 'no space left'],
    ['no quota', new DriverError('full', 'x', { byQuota: true }), 'QUOTA_EXCEEDED', 413, 'delete images, or ask whoever runs it for a larger one'],
    ['no answer', new DriverError('retryable', 'x'), 'UNAVAILABLE', 503, 'try again'],
    ['no right to write', new DriverError('permanent', 'x', { mayNotWrite: true }), 'DENIED', 403, 'push to a node that may write it'],
    ['a refusal', new DriverError('permanent', 'x'), 'UNAVAILABLE', 503, 'refuses it: the log of the registry says why'],
  ])('%s', (_, error, code, status, message) => {
    const told = toRegistryError(error, 'PUT');
    expect([told.code, told.status, told.cause]).toEqual([code, status, error]);
    expect(told.message).toContain(message);
  });

  test('the insides are not told, and whoever reads has no part in what may not be written', () => {
    const secret = new DriverError('permanent', 'container secret-container', { mayNotWrite: true });
    expect(toRegistryError(secret, 'PUT').message).not.toContain('secret');
    expect(toRegistryError(secret, 'GET')).toMatchObject({ code: 'UNAVAILABLE', message: expect.not.stringContaining('secret') as string });
  });

  test('a node whose cluster is no more says so of refusals, and of nothing else', () => {
    const gone = 'the cluster of this node is deleted';
    expect(toRegistryError(new DriverError('permanent', 'x'), 'GET', gone).message).toContain(gone);
    for (const error of [new DriverError('retryable', 'x'), new DriverError('full', 'x'), new Error('x')]) expect(toRegistryError(error, 'GET', gone).message).not.toContain(gone);
  });

  test('what was said already stays', () => {
    const said = new RegistryError('NAME_INVALID', 'x');
    expect(toRegistryError(said, 'PUT')).toBe(said);
  });
});
