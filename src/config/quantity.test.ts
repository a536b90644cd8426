import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DURATION_PATTERN, SIZE_PATTERN, formatDuration, formatSize, parseDuration, parseSize } from './quantity.ts';

describe('durations', () => {
  test.each<[string | number, number | undefined]>([
    ['250ms', 250],
    ['60s', 60_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['1d', 86_400_000],
    ['1.5s', 1500],
    ['90', 90_000],
    [90, 90_000],
    [0.25, 250],
    [0, 0],
    ['0', 0],
    ['', undefined],
    ['s', undefined],
    ['5 m', undefined],
    ['5M', undefined],
    ['-5s', undefined],
    [-5, undefined],
    ['1h30m', undefined],
    ['1e3', undefined],
    ['.5s', undefined],
    [Number.NaN, undefined],
    [Number.POSITIVE_INFINITY, undefined],
    ['99999999999999d', undefined],
  ])('%j is %j ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test('what is printed parses to the same', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (ms) => parseDuration(formatDuration(ms)) === ms));
  });

  test('every whole number of every unit is understood, and matches the pattern editors get', () => {
    const factors = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.constantFrom(...(['ms', 's', 'm', 'h', 'd'] as const)), (n, unit) => {
        expect(parseDuration(`${n}${unit}`)).toBe(n * factors[unit]);
        expect(`${n}${unit}`).toMatch(new RegExp(DURATION_PATTERN));
      }),
    );
  });
});

describe('sizes', () => {
  test.each<[string | number, number | undefined]>([
    ['4MiB', 4 * 1024 * 1024],
    ['512k', 512 * 1024],
    ['512K', 512 * 1024],
    ['512KiB', 512 * 1024],
    ['1GiB', 2 ** 30],
    ['1g', 2 ** 30],
    ['2TiB', 2 ** 41],
    ['1.5k', 1536],
    ['1000', 1000],
    [1000, 1000],
    [0, 0],
    ['4MB', undefined],
    ['4 MiB', undefined],
    ['MiB', undefined],
    ['', undefined],
    ['-1', undefined],
    [-1, undefined],
    [Number.NaN, undefined],
    ['9000000TiB', undefined],
  ])('%j is %j bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test('what is printed parses to the same', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (bytes) => parseSize(formatSize(bytes)) === bytes));
    fc.assert(fc.property(fc.nat(1000), fc.constantFrom(10, 20, 30, 40), (n, power) => parseSize(formatSize(n * 2 ** power)) === n * 2 ** power));
  });

  test('any text is a size exactly when it matches the pattern editors get (and is not too large)', () => {
    const text = fc.stringMatching(/^[0-9]?\.?[0-9]{0,2}[kKmMgGtTbB]?[iI]?[bB]?$/);
    fc.assert(fc.property(text, (t) => (parseSize(t) !== undefined) === new RegExp(SIZE_PATTERN).test(t)));
  });

  test.each([
    [0, '0'],
    [1024, '1KiB'],
    [4 * 1024 * 1024, '4MiB'],
    [64 * 2 ** 30, '64GiB'],
    [1500, '1500'],
  ])('%d bytes print as %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });
});
