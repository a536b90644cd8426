import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { eachFrom } from './lanes.ts';

async function* numbers(to: number, told: { taken: number; returned: boolean }): AsyncGenerator<number> {
  try {
    for (let i = 0; i < to; i++) {
      told.taken++;
      yield i;
    }
  } finally {
    told.returned = true;
  }
}

test('has so many under way at once, and takes no more than these from the list', async () => {
  const told = { taken: 0, returned: false };
  let [running, most, ahead] = [0, 0, 0];
  const done: number[] = [];
  await eachFrom(numbers(20, told), 3, async (i) => {
    most = Math.max(most, ++running);
    ahead = Math.max(ahead, told.taken - done.length);
    await setImmediate(); // every lane gets its turn
    running--;
    done.push(i);
  });
  expect([most, ahead]).toEqual([3, 3]);
  expect(done.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i));
});

test('ends with the first failure, once all have ended, and leaves the list', async () => {
  const told = { taken: 0, returned: false };
  let running = 0;
  await expect(
    eachFrom(numbers(1000, told), 3, async (i) => {
      running++;
      await setImmediate();
      running--;
      if (i === 5) throw new Error('five');
    }),
  ).rejects.toThrow('five');
  expect([running, told.returned]).toEqual([0, true]);
  expect(told.taken).toBeLessThan(20);
});

test('fails with a list that fails', async () => {
  const failing = async function* (): AsyncGenerator<number> {
    yield 1;
    throw new Error('listing');
  };
  await expect(eachFrom(failing(), 2, async () => undefined)).rejects.toThrow('listing');
});
