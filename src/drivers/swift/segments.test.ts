/** Layouts of segments and manifests, as properties: whatever the sizes, Swift's bounds hold and nothing is left out. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { manifestLevels, MIB, MIN_SEGMENT_BYTES, segmentSize, SEGMENTS_AT_ONCE } from './segments.ts';

const GIB = 1024 * MIB;

test('every manifest takes at most what Swift allows, and all of them together have each segment once, in order', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 30_000 }), fc.integer({ min: 2, max: 1_000 }), (count, most) => {
      const levels = manifestLevels(count, most);
      let below = count;
      for (const groups of levels) {
        expect(groups.every(({ start, end }) => end > start && end - start <= most)).toBe(true);
        expect(groups.map(({ start }) => start)).toEqual([0, ...groups.slice(0, -1).map(({ end }) => end)]);
        expect(groups.at(-1)?.end).toBe(below);
        below = groups.length;
      }
      expect(below).toBeLessThanOrEqual(most);
    }),
  );
});

test('one manifest where one suffices', () => {
  expect(manifestLevels(1_000, 1_000)).toEqual([]);
  expect(manifestLevels(1_001, 1_000)).toEqual([[{ start: 0, end: 1_000 }, { start: 1_000, end: 1_001 }]]);
});

test('segments of all attempts fit into memory with one more of each under way, and are never too small for Swift', () => {
  fc.assert(
    fc.property(
      fc.record({
        offset: fc.integer({ min: 0, max: 5_000 * GIB }), segmentBytes: fc.integer({ min: MIB, max: 5 * GIB }),
        memoryBytes: fc.integer({ min: MIB, max: 1 * GIB }), attempts: fc.integer({ min: 1, max: 500 }),
      }),
      (options) => {
        const size = segmentSize(options);
        expect(size).toBeGreaterThanOrEqual(MIN_SEGMENT_BYTES);
        if (size > MIN_SEGMENT_BYTES) expect(2 * size * options.attempts).toBeLessThanOrEqual(options.memoryBytes);
        expect(size).toBeLessThanOrEqual(options.segmentBytes);
      },
    ),
  );
});

test('one attempt alone has several segments under way', () => {
  const size = segmentSize({ offset: 0, segmentBytes: 64 * MIB, memoryBytes: 64 * MIB, attempts: 1 });
  expect(size * SEGMENTS_AT_ONCE).toBeLessThanOrEqual(64 * MIB);
  expect(size).toBe(16 * MIB);
});
