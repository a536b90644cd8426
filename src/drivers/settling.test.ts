import { expect, test } from 'vitest';
import { Clock, ManualTimers } from '../upstream/fill.fixture.ts';
import { text } from './contract/store.contract.ts';
import type { Claimed, Driver } from './driver.ts';
import { memoryDriver } from './memory/memory.ts';
import { claimSettled, SETTLE_MS } from './settling.ts';

/** A store without a lock, by its own clock. */
function lockless({ nowMs }: Clock): Driver {
  const memory = memoryDriver({ clock: nowMs });
  return new Proxy<Driver>(memory, {
    get(target, name) {
      if (name === 'clock') return async () => nowMs();
      if (name === 'claim') {
        return async (key: string, value: Buffer): Promise<Claimed> => {
          const claimed = await target.claim(key, value);
          const standing = (await target.head(key)) ?? expect.fail('it stands');
          return { ...claimed, settledAtMs: standing.modifiedMs + SETTLE_MS };
        };
      }
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}

test('a claim is believed when nobody can overtake it any more', async () => {
  const clock = new Clock();
  const driver = lockless(clock);
  let ended = 0;
  const claiming = claimSettled(driver, 'key', Buffer.from('one'), { timers: clock }).finally(() => ended++);
  await clock.pass(SETTLE_MS - 1);
  expect(ended).toBe(0);
  await clock.pass(1);
  const { won, value } = await claiming;
  expect({ won, value: text(value) }).toEqual({ won: true, value: 'one' });
  const later = await claimSettled(driver, 'key', Buffer.from('two'), { timers: clock });
  expect({ won: later.won, value: text(later.value) }).toEqual({ won: false, value: 'one' });
});

test.each(['two', 'one'])('one that a late write overtook is lost, and what was written late settles anew: %s', async (late) => {
  const clock = new Clock();
  const driver = lockless(clock);
  let ended = 0;
  const claiming = claimSettled(driver, 'key', Buffer.from('one'), { timers: clock }).finally(() => ended++);
  await clock.pass(10_000);
  await driver.put('key', Buffer.from(late));
  await clock.pass(SETTLE_MS - 1);
  expect(ended).toBe(0);
  await clock.pass(1);
  const { won, value } = await claiming;
  expect({ won, value: text(value) }).toEqual({ won: false, value: late });
});

test('one that was deleted meanwhile is to be made again', async () => {
  const clock = new Clock();
  const driver = lockless(clock);
  const claiming = claimSettled(driver, 'key', Buffer.from('one'), { timers: clock }).catch((error: unknown) => error);
  await clock.pass(1);
  await driver.delete(['key']);
  await clock.pass(SETTLE_MS);
  expect(await claiming).toMatchObject({ failure: 'retryable' });
});

test('a store that decides at once is believed at once', async () => {
  const timers = new ManualTimers();
  expect(await claimSettled(memoryDriver(), 'key', Buffer.from('one'), { timers })).toMatchObject({ won: true });
  expect(timers.pending).toEqual([]);
});
