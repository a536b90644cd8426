import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ByteRange } from '../drivers/driver.ts';
import { hasCode } from '../oci/errors.ts';
import { chooseRanges, contentRange, parseUploadRange, rangeStillValid, unsatisfiedRange, type RangeChoice } from './ranges.ts';

const whole: RangeChoice = { kind: 'whole' };
const unsatisfiable: RangeChoice = { kind: 'unsatisfiable' };
function parts(...ranges: (readonly [start: number, end: number])[]): RangeChoice {
  return { kind: 'parts', parts: ranges.map(([start, end]) => ({ start, end })) };
}

describe('Range (RFC 9110 section 14)', () => {
  it.each<[header: string | undefined, size: number, expected: RangeChoice]>([
    [undefined, 100, whole],
    ['bytes=0-99', 100, parts([0, 99])],
    ['bytes=0-0', 100, parts([0, 0])],
    ['bytes=10-', 100, parts([10, 99])],
    ['bytes=99-', 100, parts([99, 99])],
    ['bytes=-1', 100, parts([99, 99])],
    ['bytes=-500', 100, parts([0, 99])],
    ['bytes=50-500', 100, parts([50, 99])],
    ['Bytes=0-1', 100, parts([0, 1])],
    ['bytes = 0-1', 100, parts([0, 1])],
    ['bytes=0-1 , 4-5', 100, parts([0, 1], [4, 5])],
    ['bytes=,0-1,,4-5,', 100, parts([0, 1], [4, 5])],
    // in the order asked for; those that lie outside are left out
    ['bytes=90-, 0-1, 200-300', 100, parts([90, 99], [0, 1])],
    // adjacent ones stay apart: clients count the parts
    ['bytes=0-9,10-19', 100, parts([0, 9], [10, 19])],
    ['bytes=0-10,10-19', 100, parts([0, 19])],
    ['bytes=0-,-1', 100, parts([0, 99])],
    ['bytes=50-60,0-9,55-70', 100, parts([0, 9], [50, 70])],
    // nothing of it is there
    ['bytes=100-', 100, unsatisfiable],
    ['bytes=100-200,300-', 100, unsatisfiable],
    ['bytes=-0', 100, unsatisfiable],
    ['bytes=99999999999999999999-', 100, unsatisfiable],
    ['bytes=0-99999999999999999999', 100, parts([0, 99])],
    ['bytes=-99999999999999999999', 100, parts([0, 99])],
    // an empty blob
    ['bytes=0-', 0, unsatisfiable],
    ['bytes=-5', 0, whole],
    ['bytes=-0', 0, unsatisfiable],
    // malformed or unknown: ignored
    ['bytes 0-1', 100, whole],
    ['lines=0-1', 100, whole],
    ['', 100, whole],
  ])('%j of %i bytes', (header, size, expected) => {
    expect(chooseRanges(header, size)).toEqual(expected);
  });

  it('serves as many ranges as podman asks for, and ignores a request for more', () => {
    const ranges = Array.from({ length: 1024 }, (_, i) => `${i * 10}-${i * 10 + 4}`);
    expect(chooseRanges(`bytes=${ranges.join()}`, 100_000)).toMatchObject({ kind: 'parts', parts: { length: 1024 } });
    expect(chooseRanges(`bytes=${[...ranges, '99998-'].join()}`, 100_000)).toEqual(whole);
  });

  const aRange = fc.record({ start: fc.nat(300), length: fc.integer({ min: 1, max: 200 }) }).map(({ start, length }): ByteRange => ({ start, end: start + length - 1 }));

  it('covers exactly the bytes asked for, each once, whatever the ranges', () => {
    fc.assert(fc.property(fc.array(aRange, { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 400 }), (asked, size) => {
      const choice = chooseRanges(`bytes=${asked.map(({ start, end }) => `${start}-${end}`).join(', ')}`, size);
      const wanted = new Set(asked.flatMap(({ start, end }) => bytesOf(start, end)).filter((at) => at < size));
      if (choice.kind !== 'parts') {
        expect(choice.kind).toBe('unsatisfiable');
        expect(wanted.size).toBe(0);
        return;
      }
      const given = choice.parts.flatMap(({ start, end }) => bytesOf(start, end));
      expect(given).toHaveLength(wanted.size); // no byte twice
      expect(new Set(given)).toEqual(wanted);
    }));
  });

  it.each(['bytes=', 'bytes=,', 'bytes=-', 'bytes=5', 'bytes=5-4', 'bytes=99999999999999999999-99999999999999999998', 'bytes=0-1,x', 'bytes=0-1,5-4', 'bytes=a-b', 'bytes=--1', 'bytes=1.5-2'])('%j is malformed: 416', (header) => {
    expect(() => chooseRanges(header, 100)).toThrow(expect.objectContaining({ code: 'RANGE_INVALID', status: 416 }));
  });

  it('gives only ranges within the blob, or refuses, whatever the header', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^bytes=[0-9, -]*$/));
    fc.assert(fc.property(text, fc.nat(1000), (header, size) => {
      let choice: RangeChoice;
      try {
        choice = chooseRanges(header, size);
      } catch (error) {
        expect(error).toMatchObject({ code: 'RANGE_INVALID' });
        return;
      }
      if (choice.kind !== 'parts') return;
      expect(choice.parts.length).toBeGreaterThan(0);
      for (const { start, end } of choice.parts) {
        expect(start).toBeGreaterThanOrEqual(0);
        expect(end).toBeGreaterThanOrEqual(start);
        expect(end).toBeLessThan(size);
      }
    }));
  });

  function bytesOf(start: number, end: number): number[] {
    return Array.from({ length: end - start + 1 }, (_, i) => start + i);
  }
});

it('Content-Range of a 206 and of a 416', () => {
  expect(contentRange({ start: 2, end: 9 }, 10)).toBe('bytes 2-9/10');
  expect(unsatisfiedRange(10)).toBe('bytes */10');
});

describe('If-Range (RFC 9110 section 13.1.5)', () => {
  it.each([
    [undefined, '"a"', true],
    ['"a"', '"a"', true],
    [' "a" ', '"a"', true],
    ['"b"', '"a"', false],
    ['a', '"a"', false],
    ['W/"a"', '"a"', false],
    ['W/"a"', 'W/"a"', false], // weak tags say nothing of bytes
    ['"a", "b"', '"a"', false], // one tag, no list
    ['Sat, 22 Nov 2025 06:00:00 GMT', '"a"', false],
  ])('%j against %j: %j', (ifRange, etag, expected) => {
    expect(rangeStillValid(ifRange, etag)).toBe(expected);
  });
});

describe('Content-Range of an upload (distribution-spec, "Pushing a blob in chunks")', () => {
  it.each([
    ['0-0', 0, 0],
    ['0-1023', 0, 1023],
    [' 1024-2047 ', 1024, 2047],
    ['bytes 5-9', 5, 9],
    ['bytes=5-9', 5, 9],
    ['bytes 5-9/10', 5, 9],
    ['bytes 5-9/*', 5, 9],
    ['9007199254740990-9007199254740991', 9007199254740990, 9007199254740991],
  ])('%j', (header, start, end) => {
    expect(parseUploadRange(header)).toEqual({ start, end });
  });

  it.each(['', '-', '5', '5-', '-5', '9-5', 'a-b', '0x0-0x5', '1 - 5', '0-5,7-9', 'bytes */10', '0-9007199254740992', '0-99999999999999999999'])('refuses %j', (header) => {
    expect(() => parseUploadRange(header)).toThrow(expect.toSatisfy((error: unknown) => hasCode(error, 'PARAMETER_INVALID')));
  });
});
