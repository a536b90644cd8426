import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MAX_PARTS, MIB, MIN_PART_BYTES, planParts, segmentBytesAt } from './parts.ts';

const size = fc.oneof(fc.integer({ min: 1, max: MIN_PART_BYTES - 1 }), fc.integer({ min: MIN_PART_BYTES, max: 64 * MIB }), fc.constant(MIN_PART_BYTES), fc.integer({ min: 300 * MIB, max: 4096 * MIB }));

test('the parts of any segments are their bytes in order, and none is too small', () => {
  fc.assert(
    fc.property(fc.array(size, { minLength: 1, maxLength: 60 }), (sizes) => {
      const parts = planParts(sizes);
      let segment = 0;
      let offset = 0;
      for (const part of parts) {
        let bytes = 0;
        for (const { segment: of, range } of part.slices) {
          expect([of, range.start]).toEqual([segment, offset]);
          bytes += range.end + 1 - range.start;
          offset = range.end + 1;
          if (offset === sizes[segment]) [segment, offset] = [segment + 1, 0];
        }
        expect(part.size).toBe(bytes);
        if (part.copied) expect(part.slices.length).toBe(1);
        else expect(part.size).toBeLessThan(2 * MIN_PART_BYTES);
      }
      expect([segment, offset]).toEqual([sizes.length, 0]);
      for (const part of parts.slice(0, -1)) expect(part.size).toBeGreaterThanOrEqual(MIN_PART_BYTES);
    }),
  );
});

test('segments of the size that is asked for are all copied, and parts suffice for 128 GiB', () => {
  const sizes: number[] = [];
  for (let offset = 0; offset < 128 * 1024 * MIB; offset += sizes.at(-1) ?? 0) sizes.push(segmentBytesAt(offset, 64 * MIB));
  expect(sizes.length).toBeLessThan(MAX_PARTS);
  expect(planParts(sizes).every(({ copied }) => copied)).toBe(true);
});

test('parts suffice for many small segments', () => {
  const parts = planParts(Array.from({ length: 64 * 1024 }, () => MIB));
  expect(parts.length).toBeLessThanOrEqual(MAX_PARTS);
});

test('segments fit the memory that there is', () => {
  for (const memory of [8, 16, 64, 256]) expect(segmentBytesAt(0, memory * MIB)).toBeLessThanOrEqual(Math.max(MIN_PART_BYTES, (memory * MIB) / 2));
});
