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
    ['anything else', new DriverError('permanent', 'x'), 'INTERNAL', 500, 'the log of the registry says more'],
  ])('%s', (_, error, code, status, message) => {
    const told = toRegistryError(error, 'PUT');
    expect([told.code, told.status, told.cause]).toEqual([code, status, error]);
    expect(told.message).toContain(message);
  });

  test('the insides are not told, and whoever reads has no part in what may not be written', () => {
    const secret = new DriverError('permanent', 'container secret-container', { mayNotWrite: true });
    expect(toRegistryError(secret, 'PUT').message).not.toContain('secret');
    expect(toRegistryError(secret, 'GET').code).toBe('INTERNAL');
  });

  test('what was said already stays', () => {
    const said = new RegistryError('NAME_INVALID', 'x');
    expect(toRegistryError(said, 'PUT')).toBe(said);
  });
});
