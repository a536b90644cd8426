import { describe, expect, test } from 'vitest';
import { groupContract, joined, leading } from './group.contract.ts';
import { members } from './group.fixture.ts';
import { soloGroup } from './solo.ts';
import type { Timers } from './timers.ts';

const never: Timers = { after: () => () => undefined };

describe('members of one process', () => {
  groupContract(async (count) => {
    const all = members(count, never);
    return { groups: all.map((one) => one.member), kill: async (index) => all[index]?.die(), close: async () => undefined };
  });

  test('a broadcast waits for a hanging worker no longer than its timer', async () => {
    const waits: { ms: number; task: () => void }[] = [];
    const timers: Timers = { after: (ms, task) => (waits.push({ ms, task }), () => undefined) };
    const [a, b] = members(2, timers);
    const asked = Promise.withResolvers<void>();
    b!.member.subscribe('hang', () => (asked.resolve(), new Promise<void>(() => undefined)));
    let settled = false;
    const sent = a!.member.broadcast('hang', 1).then(() => (settled = true));
    await asked.promise;
    expect(settled).toBe(false);
    expect(waits.map((wait) => wait.ms)).toEqual([1000]);
    waits[0]?.task();
    await sent;
  });

  test('a follower without its broker hears that the leader is gone, a broadcast resolves, a new join is refused', async () => {
    const [a, b] = members(2, never);
    await joined(a!.member, 'k');
    const follower = await joined(b!.member, 'k');
    a!.member.subscribe('hang', () => new Promise<void>(() => undefined));
    const sent = b!.member.broadcast('hang', 1);
    b!.member.disconnected();
    await sent;
    expect(await follower.events.next()).toEqual({ kind: 'ended', message: undefined });
    await expect(b!.member.join('k', () => undefined, () => undefined)).rejects.toThrow('closed');
  });
});

describe('a solo group', () => {
  test('leads what it joins, and follows itself where it joins twice', async () => {
    const group = soloGroup(never);
    expect([group.id, group.size]).toEqual([0, 1]);
    const first = await joined(group, 'k');
    const second = await joined(group, 'k');
    expect([first.joining.role, second.joining.role]).toEqual(['leader', 'follower']);
    leading(first).announce(1);
    expect(await second.events.next()).toEqual({ kind: 'announcement', message: 1 });
    leading(first).end(2);
    expect(await second.events.next()).toEqual({ kind: 'ended', message: 2 });
    await group.broadcast('topic', 1);
    await group.close();
  });
});
