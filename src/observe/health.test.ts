import { beforeEach, expect, it } from 'vitest';
import { createHealth } from './health.ts';

let nowMs = 0;
let checks = 0;
let outcome: () => Promise<void>;
let told: unknown[] = [];
const patience = new AbortController();

beforeEach(() => {
  nowMs = 0;
  checks = 0;
  told = [];
  outcome = async () => undefined;
});

function health(deadline: (ms: number) => AbortSignal = () => patience.signal): ReturnType<typeof createHealth> {
  return createHealth({
    check: async (signal) => {
      checks++;
      signal.throwIfAborted();
      await outcome();
    },
    failed: (error) => void told.push(error),
    nowMs: () => nowMs,
    freshMs: 1000,
    deadline,
  });
}

it('alive whatever the store does', () => {
  outcome = () => Promise.reject(new Error('gone'));
  expect(health().alive()).toEqual({ status: 200, body: 'ok\n' });
  expect(checks).toBe(0);
});

it('ready while the store is usable, looked at now and then', async () => {
  const looked = health();
  expect(await looked.ready()).toEqual({ status: 200, body: 'ok\n' });
  expect(await looked.ready()).toEqual({ status: 200, body: 'ok\n' });
  expect(checks).toBe(1);
  nowMs = 1000;
  outcome = () => Promise.reject(new Error('no space left'));
  expect(await looked.ready()).toEqual({ status: 503, body: 'the storage cannot be used; the log says more\n' });
  expect(told).toEqual([new Error('no space left')]);
  nowMs = 2000;
  outcome = async () => undefined;
  expect(await looked.ready()).toMatchObject({ status: 200 });
});

it('one look at a time, however many ask', async () => {
  let finish = (): void => undefined;
  outcome = () => new Promise((resolve) => (finish = resolve));
  const looked = health();
  const asked = [looked.ready(), looked.ready(), looked.ready()];
  finish();
  expect((await Promise.all(asked)).map(({ status }) => status)).toEqual([200, 200, 200]);
  expect(checks).toBe(1);
});

it('not ready where the store does not answer in time, even if it ignores the signal', async () => {
  outcome = () => new Promise(() => undefined);
  const late = new AbortController();
  const answer = health(() => late.signal).ready();
  late.abort();
  expect(await answer).toMatchObject({ status: 503 });
  expect(told).toMatchObject([{ message: 'no answer in time' }]);
});

it('not ready from the moment it stops, also for those who wait', async () => {
  let finish = (): void => undefined;
  outcome = () => new Promise((resolve) => (finish = resolve));
  const stopping = health();
  const waiting = stopping.ready();
  stopping.drain();
  expect(await stopping.ready()).toEqual({ status: 503, body: 'stopping\n' });
  finish();
  expect(await waiting).toEqual({ status: 503, body: 'stopping\n' });
  expect(stopping.alive()).toMatchObject({ status: 200 });
});
