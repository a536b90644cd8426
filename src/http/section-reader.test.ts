import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { ByteRange } from '../drivers/driver.ts';
import { multipart, sectionLength, type Section } from './multipart.ts';
import { SectionReader } from './section-reader.ts';

const BLOB = Buffer.from(Array.from({ length: 400 }, (_, i) => i % 251));

/** Reads as little at a time as a driver may. */
function reading(atMost: number): (into: Uint8Array, position: number) => Promise<number> {
  return async (into, position) => {
    const piece = BLOB.subarray(position, position + Math.min(atMost, into.length));
    into.set(piece);
    return piece.length;
  };
}

const range = fc
  .tuple(fc.nat(BLOB.length - 1), fc.nat(BLOB.length - 1))
  .map(([a, b]): ByteRange => ({ start: Math.min(a, b), end: Math.max(a, b) }));
const section: fc.Arbitrary<Section> = fc.oneof(range, fc.uint8Array({ maxLength: 40 }));

it('gives the sections one after the other, whatever the memory and the reads', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(section, { maxLength: 8 }),
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 1, max: 500 }),
      async (sections, atMost, size) => {
        const expected = Buffer.concat(sections.map((one) => (one instanceof Uint8Array ? one : BLOB.subarray(one.start, one.end + 1))));
        const reader = new SectionReader(reading(atMost), sections);
        expect(reader.remaining).toBe(expected.length);
        const pieces: Buffer[] = [];
        while (reader.remaining > 0) {
          const into = Buffer.alloc(size);
          const count = await reader.fill(into);
          expect(count).toBe(Math.min(size, expected.length - pieces.reduce((sum, { length }) => sum + length, 0))); // as full as it can be
          pieces.push(into.subarray(0, count));
        }
        expect(Buffer.concat(pieces).equals(expected)).toBe(true);
        expect(await reader.fill(Buffer.alloc(size))).toBe(0);
      },
    ),
  );
});

it('fails where the source ends before what was promised', async () => {
  const reader = new SectionReader(reading(1000), [{ start: 390, end: 409 }]);
  await expect(reader.fill(Buffer.alloc(100))).rejects.toThrow('the source ends at byte 400, before byte 409 that was promised');
});

it('several ranges make a body of RFC 9110 section 14.6', () => {
  const { contentType, contentLength, sections } = multipart(
    [
      { start: 0, end: 1 },
      { start: 7, end: 9 },
    ],
    10,
    'application/octet-stream',
    'b0undary',
  );
  const body = Buffer.concat(
    sections.map((one) => (one instanceof Uint8Array ? one : Buffer.from('0123456789').subarray(one.start, one.end + 1))),
  );
  expect(contentType).toBe('multipart/byteranges; boundary=b0undary');
  expect(contentLength).toBe(body.length);
  expect(sections.reduce((sum, one) => sum + sectionLength(one), 0)).toBe(body.length);
  expect(body.toString()).toBe(
    '--b0undary\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 0-1/10\r\n\r\n01' +
      '\r\n--b0undary\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 7-9/10\r\n\r\n789' +
      '\r\n--b0undary--\r\n',
  );
});
