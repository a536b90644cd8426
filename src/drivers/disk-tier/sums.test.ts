/** The sums of blocks, in whatever pieces their bytes come. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { blobOf } from './disk-tier.fixture.ts';
import { BlockSums, BLOCK_BYTES, blocksOf, isBlock, sumOf, SUM_BYTES } from './sums.ts';
import { blobBytesOf, fileBytesOf } from './trailer.ts';

test('each block has its own sum, however the bytes came', () => {
  const pieces = fc.array(fc.integer({ min: 0, max: 3 * BLOCK_BYTES }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(pieces, (lengths) => {
      const bytes = blobOf(lengths.reduce((sum, length) => sum + length, 1));
      const sums = new BlockSums(bytes.length);
      let position = 0;
      for (const length of [...lengths, 1]) {
        sums.add(bytes.subarray(position, position + length));
        position += length;
      }
      expect(sums.table.length).toBe(blocksOf(bytes.length) * SUM_BYTES);
      for (let block = 0; block < blocksOf(bytes.length); block++) {
        expect(isBlock(sums.table, block, bytes.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES))).toBe(true);
      }
    }),
    { numRuns: 50 },
  );
});

test('a bit, a length and a place make another sum', () => {
  const bytes = blobOf(1000);
  const sum = sumOf(bytes);
  for (let at = 0; at < 8000; at += 7) {
    const other = Buffer.from(bytes);
    other.writeUInt8(other.readUInt8(at >> 3) ^ (1 << (at & 7)), at >> 3);
    expect(sumOf(other).equals(sum)).toBe(false);
  }
  expect(sumOf(bytes.subarray(0, 999)).equals(sum)).toBe(false);
  expect(sumOf(Buffer.alloc(16)).equals(sumOf(Buffer.alloc(32)))).toBe(false);
  expect(sumOf(bytes.subarray(0, 300), bytes.subarray(300)).equals(sum)).toBe(true);
  expect(isBlock(Buffer.concat([sum, Buffer.alloc(SUM_BYTES)]), 1, bytes)).toBe(false);
});

test('a file tells the size of its blob, or that it has none', () => {
  const near = fc.integer({ min: 0, max: 3 }).chain((blocks) => fc.integer({ min: -20, max: 20 }).map((off) => Math.max(1, blocks * BLOCK_BYTES + off)));
  fc.assert(fc.property(fc.oneof(near, fc.integer({ min: 1, max: 2 ** 45 })), (size) => {
    expect(blobBytesOf(fileBytesOf(size))).toBe(size);
  }));
  for (const bytes of [0, 511, 512, 513, 520]) expect(blobBytesOf(bytes)).toBeUndefined();
  expect(blobBytesOf(521)).toBe(1);
  expect(blobBytesOf(fileBytesOf(BLOCK_BYTES) + 1)).toBeUndefined();
});
