/** What runs every hour: on whom, what ends it, and what goes on after a failure. No time passes but the test's. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { keepHouse, type HousekeepingDeps, type Swept } from './housekeeping.ts';
import { ManualTimers } from './upstream/fill.fixture.ts';
import { members, type OneOfGroup } from './workers/group.fixture.ts';
import { soloGroup } from './workers/solo.ts';
import { systemTimers } from './workers/timers.ts';

const HOUR_MS = 60 * 60 * 1000;
let timers: ManualTimers;
/** What happened, in order. */
let told: string[];
let closing: (() => Promise<void>)[];

beforeEach(() => {
  timers = new ManualTimers();
  [told, closing] = [[], []];
});
afterEach(async () => {
  for (const close of closing) await close();
});

/** @param sweep the outcome of the nth one, from 1 */
async function keep(sweep: (n: number, signal: AbortSignal) => Swept | Promise<Swept>, more: Partial<HousekeepingDeps> = {}): Promise<{ close(): Promise<void> }> {
  let sweeps = 0;
  const house = await keepHouse({
    group: soloGroup(systemTimers), timers,
    sweep: async (signal) => await sweep(++sweeps, signal),
    swept: ({ removed, kept }) => void told.push(`removed ${removed}, kept ${kept}`),
    failed: (error) => void told.push(String(error)),
    ...more,
  });
  closing.push(async () => house.close());
  return house;
}

test('a server sweeps when it starts, and an hour after each sweep has ended', async () => {
  const slow = Promise.withResolvers<Swept>();
  await keep((n) => (n === 2 ? slow.promise : { removed: n, kept: 0 }));
  expect(await timers.pass()).toBe(HOUR_MS);
  expect(told).toEqual(['removed 1, kept 0']);
  expect(timers.pending).toEqual([]);
  slow.resolve({ removed: 0, kept: 7 });
  expect(await timers.pass()).toBe(HOUR_MS);
  expect(told).toEqual(['removed 1, kept 0', 'removed 0, kept 7']);
});

test('a sweep that failed is told of, and the next one comes all the same', async () => {
  await keep((n) => {
    if (n === 1) throw new Error('the store is away');
    return { removed: 3, kept: 1 };
  });
  expect(await timers.pass()).toBe(HOUR_MS);
  expect(await timers.pass()).toBe(HOUR_MS);
  expect(told).toEqual(['Error: the store is away', 'removed 3, kept 1']);
});

test('closing breaks a sweep off, waits for its end, and none follows', async () => {
  const begun = Promise.withResolvers<AbortSignal>();
  const end = Promise.withResolvers<void>();
  const house = await keep(async (_, signal) => {
    begun.resolve(signal);
    await end.promise;
    return { removed: 1, kept: 1 };
  });
  const signal = await begun.promise;
  expect(signal.aborted).toBe(false);
  const closed = house.close();
  expect(signal.aborted).toBe(true);
  expect(told).toEqual([]);
  end.resolve();
  await closed;
  expect(told).toEqual(['removed 1, kept 1']);
  expect(timers.pending).toEqual([]);
});

test('closing between two sweeps calls the next one off', async () => {
  const ended = Promise.withResolvers<void>();
  const house = await keep(() => ({ removed: 0, kept: 0 }), { swept: () => ended.resolve() });
  await ended.promise;
  await house.close();
  expect(timers.pending).toEqual([]);
});

test.each([
  ['dies', async (leader: OneOfGroup): Promise<void> => leader.die()],
  ['ends', async (_: OneOfGroup, house: { close(): Promise<void> }): Promise<void> => house.close()],
])('of several workers one sweeps; another does once it %s', async (_, leave) => {
  const [first, second] = members(2, systemTimers) as [OneOfGroup, OneOfGroup];
  const swept: ((who: string) => void)[] = [];
  const next = async (): Promise<string> => new Promise((resolve) => void swept.push(resolve));
  const join = async (who: string, { member }: OneOfGroup): Promise<{ close(): Promise<void> }> =>
    await keep(() => {
      told.push(who);
      return { removed: 0, kept: 0 };
    }, { group: member, swept: () => swept.shift()?.(who) });
  const firstSwept = next();
  const house = await join('first', first);
  await join('second', second);
  expect(await firstSwept).toBe('first');
  expect(told).toEqual(['first']);
  const secondSwept = next();
  await leave(first, house);
  expect(await secondSwept).toBe('second');
  expect(told).toEqual(['first', 'second']);
});
