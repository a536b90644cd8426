import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isLoopback, parseAddress } from './address.ts';

describe('parseAddress', () => {
  test.each([
    ['localhost:5000', [{ host: '127.0.0.1', port: 5000 }, { host: '::1', port: 5000 }]],
    ['0.0.0.0:5000', [{ host: '0.0.0.0', port: 5000 }]],
    ['[::]:5000', [{ host: '::', port: 5000 }]],
    ['[::1]:0', [{ host: '::1', port: 0 }]],
    ['[fe80::1%eth0]:443', [{ host: 'fe80::1%eth0', port: 443 }]],
    ['registry.internal:65535', [{ host: 'registry.internal', port: 65_535 }]],
    ['5000', undefined],
    [':5000', undefined],
    ['localhost', undefined],
    ['localhost:', undefined],
    ['localhost:65536', undefined],
    ['localhost:http', undefined],
    ['::1:5000', undefined],
    ['[127.0.0.1]:5000', undefined],
    ['[nonsense]:5000', undefined],
    ['300.0.0.1:5000', undefined],
    ['127.1:5000', undefined],
    ['http://localhost:5000', undefined],
    ['UPPER:5000', undefined],
  ])('%s', (text, binds) => {
    expect(parseAddress(text)).toEqual(binds);
  });

  test('every IP address and port is taken as written', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.nat(65_535), (host, port) => {
        expect(parseAddress(`${host}:${port}`)).toEqual([{ host, port }]);
      }),
    );
    fc.assert(
      fc.property(fc.ipV6(), fc.nat(65_535), (host, port) => {
        expect(parseAddress(`[${host}]:${port}`)).toEqual([{ host, port }]);
      }),
    );
  });
});

test.each([
  ['127.0.0.1', true],
  ['127.8.9.1', true],
  ['::1', true],
  ['::ffff:127.0.0.1', true],
  ['0.0.0.0', false],
  ['::', false],
  ['10.0.0.1', false],
  ['127.example.org', false],
  ['registry.internal', false],
])('isLoopback(%s) is %s', (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});
