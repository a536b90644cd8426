import { expect, test } from 'vitest';
import { ManualTimers } from '../../upstream/fill.fixture.ts';
import { SegmentMemory, type Holder } from './segment-memory.ts';

/** Timers that run when told. */
function manual(): { readonly after: (ms: number, task: () => void) => () => void; run(): void } {
  let tasks: (() => void)[] = [];
  return {
    after: (ms, task) => {
      if (ms > 1_000) return () => undefined; // nobody waits for so long here
      tasks.push(task);
      return () => void (tasks = tasks.filter((other) => other !== task));
    },
    run: () => tasks.splice(0).forEach((task) => task()),
  };
}

test('reservations are served in turn, and none overtakes one that waits', async () => {
  const memory = new SegmentMemory({ totalBytes: 10, nowMs: () => 0, timers: manual() });
  const served: string[] = [];
  await memory.reserve(8);
  const large = memory.reserve(6).then(() => served.push('large'));
  const small = memory.reserve(1).then(() => served.push('small'));
  expect(memory.tryExtend(1)).toBe(false);
  memory.release(8);
  await Promise.all([large, small]);
  expect(served).toEqual(['large', 'small']);
  expect(memory.freeBytes).toBe(3);
  expect(memory.tryExtend(3)).toBe(true);
  expect(memory.tryExtend(1)).toBe(false);
});

test('who leaves the queue makes room for those behind', async () => {
  const memory = new SegmentMemory({ totalBytes: 10, nowMs: () => 0, timers: manual() });
  await memory.reserve(8);
  const leaving = new AbortController();
  const large = memory.reserve(6, leaving.signal);
  const small = memory.reserve(2);
  leaving.abort(new Error('the client left'));
  await expect(large).rejects.toThrow('the client left');
  await small;
  await expect(memory.reserve(1, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
});

test('a holder that is idle while others wait is told to send what it has', async () => {
  let nowMs = 0;
  const timers = manual();
  const memory = new SegmentMemory({ totalBytes: 10, nowMs: () => nowMs, timers });
  const told: string[] = [];
  const holder = (name: string, touchedMs: number): Holder => ({ touchedMs, flush: () => void told.push(name) });
  await memory.reserve(10);
  memory.hold(holder('idle', 0));
  memory.hold(holder('busy', 900));
  timers.run();
  expect(told).toEqual([]);
  const waiting = memory.reserve(5);
  nowMs = 1_000;
  timers.run();
  expect(told).toEqual(['idle']);
  memory.release(10);
  await waiting;
  timers.run();
  expect(told).toEqual(['idle']);
});

test('nobody waits for ever, nor keeps those behind waiting', async () => {
  const timers = new ManualTimers();
  const memory = new SegmentMemory({ totalBytes: 10, nowMs: () => 0, timers });
  await memory.reserve(8);
  const large = memory.reserve(6).catch((error: unknown) => error);
  const small = memory.reserve(2);
  timers.pending.find(({ ms }) => ms === 120_000)?.task();
  expect(await large).toMatchObject({ failure: 'retryable', message: expect.stringContaining('limits.memory') });
  await small;
  memory.close();
});
