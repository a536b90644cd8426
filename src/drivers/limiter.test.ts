import { expect, test } from 'vitest';
import { Limiter } from './limiter.ts';

test('who waits may leave, and is not waited for', async () => {
  const limiter = new Limiter(1);
  const ends = Promise.withResolvers<void>();
  const running = limiter.run(async () => await ends.promise);
  const leaving = new AbortController();
  const order: string[] = [];
  const first = limiter.run(async () => void order.push('first'), leaving.signal);
  const second = limiter.run(async () => void order.push('second'));
  leaving.abort(new Error('the client left'));
  await expect(first).rejects.toThrow('the client left');
  await expect(limiter.run(async () => void order.push('third'), leaving.signal)).rejects.toThrow('the client left');
  ends.resolve();
  await Promise.all([running, second]);
  expect(order).toEqual(['second']);
  expect(await limiter.runIfFree(async () => 'free')).toBe('free');
});
