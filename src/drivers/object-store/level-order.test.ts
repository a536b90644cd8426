import fc from 'fast-check';
import { expect, test } from 'vitest';
import { inOwnOrder, type Component } from './level-order.ts';
import { all } from '../contract/store.contract.ts';

const names = fc.uniqueArray(fc.array(fc.constantFrom('a', 'b', '-', '.', '+', '0'), { minLength: 1, maxLength: 5 }).map((characters) => characters.join('')), { maxLength: 30 });
const levels = names.chain((found) => fc.tuple(...found.map((name) => fc.record({ name: fc.constant(name), leaf: fc.boolean() }))));

test('components come in their own order, however few may wait', async () => {
  await fc.assert(
    fc.asyncProperty(levels, fc.integer({ min: 0, max: 5 }), async (level, maxWaiting) => {
      const folders = new Set(level.filter(({ leaf }) => !leaf).map(({ name }) => name));
      const got = await all(inOwnOrder(listed(level), async (name) => folders.has(name), maxWaiting));
      expect(got).toEqual(level.toSorted(by(({ name }) => name)));
    }),
    { numRuns: 500 },
  );
});

test('a store is asked once whether a shorter component comes, and not for what it listed', async () => {
  const asked: string[] = [];
  const level = [{ name: 'v0', leaf: true }, { name: 'v1', leaf: true }, ...Array.from({ length: 50 }, (_, index) => ({ name: `v1.${String(index).padStart(2, '0')}-rc`, leaf: true }))];
  const exists = async (name: string): Promise<boolean> => asked.push(name) < 0;
  expect(await all(inOwnOrder(listed(level), exists, 0))).toEqual(level);
  expect(asked).toEqual(Array.from({ length: 50 }, (_, index) => `v1.${String(index).padStart(2, '0')}`));
});

async function* listed(level: readonly Component[]): AsyncGenerator<Component> {
  yield* level.toSorted(by(({ name, leaf }) => (leaf ? name : `${name}/`)));
}

function by(order: (component: Component) => string): (a: Component, b: Component) => number {
  return (a, b) => (order(a) < order(b) ? -1 : 1);
}
