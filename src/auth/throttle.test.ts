import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { Secret } from '../config/config.ts';
import { createThrottle, type Guess, type Throttle, type ThrottlePeers } from './throttle.ts';

const MINUTE = 60_000;
const HERE = '192.0.2.1';

let clockMs: number;
let throttle: Throttle;
beforeEach(() => {
  clockMs = 1_000_000_000;
  throttle = make();
});

function make(peers?: ThrottlePeers): Throttle {
  return createThrottle({ nowMs: () => clockMs, randomBytes, peers });
}

let passwords = 0;
/** So many different wrong passwords, as fast as they are looked at. */
function guess(count: number, { user = 'ci', address = HERE }: Partial<Guess> = {}): void {
  for (let n = 0; n < count; n++) {
    clockMs += throttle.waitMs({ user, address });
    throttle.failed({ user, address }, new Secret(`wrong ${passwords++}`));
  }
}

function wait(user = 'ci', address = HERE): number {
  return throttle.waitMs({ user, address });
}

describe('a user at an address', () => {
  test('has five wrong passwords free, then waits twice as long for each, up to five minutes', () => {
    const waits: number[] = [];
    for (let n = 0; n < 16; n++) {
      guess(1);
      waits.push(wait() / 1000);
    }
    expect(waits).toEqual([0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
  });

  test('is looked at again once the wait is over, and not before', () => {
    guess(6);
    clockMs += 1999;
    expect(wait()).toBe(1);
    clockMs += 1;
    expect(wait()).toBe(0);
  });

  test('starts anew with the right password, and after a quarter of an hour without a wrong one', () => {
    guess(8);
    throttle.succeeded({ user: 'ci', address: HERE });
    expect(wait()).toBe(0);
    guess(4);
    expect(wait()).toBe(0);
    guess(4);
    clockMs += 15 * MINUTE;
    guess(1);
    expect(wait()).toBe(0);
  });

  test('is not made to wait by one wrong password sent again and again', () => {
    for (let n = 0; n < 1000; n++) throttle.failed({ user: 'ci', address: HERE }, new Secret('that of last year'));
    expect([wait(), wait('other')]).toEqual([0, 0]);
  });

  test('is another user, or another address, to others', () => {
    guess(20);
    expect([wait('other'), wait('ci', '192.0.2.2')]).toEqual([0, 0]);
  });
});

describe('an address', () => {
  test('that tries many users waits for each of them, a minute at most', () => {
    for (let n = 0; n < 49; n++) guess(1, { user: `user ${n}` });
    expect(wait('fresh')).toBe(0);
    guess(1, { user: 'one more' });
    expect(wait('fresh')).toBe(1000);
    for (let n = 0; n < 50; n++) guess(1, { user: `later ${n}` });
    expect([wait('fresh'), wait('fresh', '192.0.2.2')]).toEqual([MINUTE, 0]);
  });

  test('does not wait where the user logged in from there before, whoever else sits behind it', () => {
    throttle.succeeded({ user: 'ci', address: HERE });
    for (let n = 0; n < 60; n++) guess(1, { user: `user ${n}` });
    expect([wait('ci'), wait('fresh') > 0]).toEqual([0, true]);
    guess(5);
    expect(wait('ci')).toBe(1000);
  });

  test('is not forgiven for the account that a guesser has', () => {
    for (let n = 0; n < 60; n++) {
      guess(1, { user: `user ${n}` });
      throttle.succeeded({ user: 'mallory', address: HERE });
    }
    expect(wait('fresh')).toBeGreaterThan(0);
  });

  test.each([
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff', true],
    ['2001:db8:1:2::1', '2001:0DB8:0001:0002::', true],
    ['::1', '::2', true],
    ['fe80::1%eth0', 'fe80::2', true],
    ['2001:db8:1:2::1', '2001:db8:1:3::1', false],
    ['192.0.2.1', '192.0.2.2', false],
  ])('%s and %s are one: %s', (one, other, same) => {
    guess(6, { address: one });
    expect(wait('ci', other) > 0).toBe(same);
  });
});

describe('a user whose password is guessed from everywhere', () => {
  test('gets in from anywhere with the right one at the first try; a wrong one costs more', () => {
    for (let n = 0; n < 200; n++) guess(1, { address: `10.0.${n >> 8}.${n & 255}` });
    expect(wait('ci', HERE)).toBe(0);
    guess(1);
    expect(wait('ci', HERE)).toBe(1000);
    expect(wait('other', HERE)).toBe(0);
  });

  test('has all tries where they logged in before', () => {
    throttle.succeeded({ user: 'ci', address: HERE });
    for (let n = 0; n < 200; n++) guess(1, { address: `10.0.${n >> 8}.${n & 255}` });
    guess(4);
    expect(wait()).toBe(0);
  });
});

test('processes of one server count together', () => {
  const heard: ((guess: Guess) => void)[] = [];
  const [one, other] = [0, 1].map((own) => make({
    tell: (told) => heard.forEach((hear, index) => (index === own ? undefined : hear(told))),
    hear: (handler) => void heard.push(handler),
  })) as [Throttle, Throttle];
  for (let n = 0; n < 6; n++) (n % 2 === 0 ? one : other).failed({ user: 'ci', address: HERE }, new Secret(`wrong ${n}`));
  expect([one, other].map((each) => each.waitMs({ user: 'ci', address: HERE }))).toEqual([2000, 2000]);
});

test('what is kept is bounded: the oldest go first', () => {
  guess(20);
  const names = Array.from({ length: 10_001 }, (_, n) => `user ${n}`);
  for (const [n, user] of names.entries()) throttle.failed({ user, address: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}` }, new Secret('x'));
  expect(wait()).toBe(0);
});
