import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bits, integer, octets, oid, sequence, set, time, utf8, valuesOf } from './der.ts';

const hex = (bytes: Buffer): string => bytes.toString('hex');

describe('values are as X.690 has them', () => {
  test.each([
    ['a small number', integer(Buffer.from([5])), '020105'],
    ['zero', integer(Buffer.from([0, 0])), '020100'],
    ['a number whose first bit is set', integer(Buffer.from([0x80])), '02020080'],
    ['a number with zeros before it', integer(Buffer.from([0, 0, 1, 2])), '02020102'],
    ['an object identifier of many bytes', oid('1.2.840.113549.1.1.11'), '06092a864886f70d01010b'],
    ['bits', bits(Buffer.from([0x06]), 1), '03020106'],
    ['text', utf8('ü'), '0c02c3bc'],
    ['a set in a sequence', sequence(set(utf8('a')), set()), '300731030c01613100'],
    ['a time of this century', time(Date.UTC(2049, 11, 31, 23, 59, 59, 999)), hex(Buffer.from('\u0017\r491231235959Z'))],
    ['a time from 2050 on', time(Date.UTC(2050, 0, 1)), hex(Buffer.from('\u0018\u000f20500101000000Z'))],
    ['128 bytes', octets(Buffer.alloc(128)), `048180${'00'.repeat(128)}`],
    ['256 bytes', octets(Buffer.alloc(256)), `04820100${'00'.repeat(256)}`],
  ])('%s', (_, written, expected) => expect(hex(written)).toBe(expected));
});

test('what was written is read again', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 400 })), (parts) => {
      const [outer] = [...valuesOf(sequence(...parts.map((part) => octets(Buffer.from(part)))))];
      expect([...valuesOf(outer?.content ?? Buffer.alloc(0))].map(({ content }) => hex(content))).toEqual(parts.map((part) => hex(Buffer.from(part))));
    }),
  );
});

test('a value that is cut short is an error', () => {
  const whole = sequence(octets(Buffer.alloc(300)));
  for (const length of [1, 2, 3, 4, 100, whole.length - 1]) expect(() => [...valuesOf(whole.subarray(0, length))]).toThrow(RangeError);
});
