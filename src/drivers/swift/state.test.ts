/** States of assemblies: what was written is what is read, through JSON, and nothing else is taken for one. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { AssemblyState } from '../driver.ts';
import { segmentName } from '../object-store/segments.ts';
import { gatheredOf, INLINE_BYTES, stateOf } from './state.ts';

const segment = fc.record({
  name: fc.tuple(fc.stringMatching(/^[a-z0-9]{1,32}$/), fc.nat({ max: 99_999_999 })).map(([attempt, number]) => segmentName(attempt, number)),
  size: fc.integer({ min: 1, max: 2 ** 40 }),
  etag: fc.stringMatching(/^[0-9a-f]{32}$/),
});
const gathered = fc.oneof(
  fc.array(segment, { minLength: 1, maxLength: 20 }).map((segments) => ({ segments, inline: Buffer.alloc(0) })),
  fc.uint8Array({ maxLength: INLINE_BYTES }).map((bytes) => ({ segments: [], inline: Buffer.from(bytes) })),
);

test('a state that went through JSON says the same', () => {
  fc.assert(
    fc.property(gathered, (what) => {
      const state = JSON.parse(JSON.stringify(stateOf('uploads/1', what))) as AssemblyState;
      expect(gatheredOf(state)).toEqual(what);
    }),
  );
});

test.each([
  ['a prefix that is no key', { prefix: '../x', offset: 0, parts: null }],
  ['bytes without parts', { prefix: 'uploads/1', offset: 1, parts: null }],
  ['no bytes', { prefix: 'uploads/1', offset: 0, parts: [] }],
  ['another length', { prefix: 'uploads/1', offset: 2, parts: Buffer.from('x').toString('base64') }],
  ['another sum', { prefix: 'uploads/1', offset: 2, parts: [['a/00000', 1, 'd'.repeat(32)]] }],
  ['a name that leads elsewhere', { prefix: 'uploads/1', offset: 1, parts: [['../a/00000', 1, 'd'.repeat(32)]] }],
  ['another driver\'s', { prefix: 'uploads/1', offset: 1, parts: { attempt: 'x' } }],
])('%s is refused', (_, state) => {
  expect(() => gatheredOf(state)).toThrow(expect.objectContaining({ failure: 'permanent' }));
});
