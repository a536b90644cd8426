import { describe, expect, it } from 'vitest';
import { ManualTimers } from '../../upstream/fill.fixture.ts';
import { attempts, type Attempts } from './attempts.ts';
import { DriverError } from '../driver.ts';

/** A store's clock, timers and events, all by hand. */
class World {
  nowMs = Date.UTC(2026, 0, 1);
  readonly timers: ManualTimers = new ManualTimers();
  readonly events: { readonly kind: string; readonly [field: string]: unknown }[] = [];
  readonly attempts: Attempts;

  constructor({ random = 0.5, totalMs = 60_000 }: { readonly random?: number; readonly totalMs?: number } = {}) {
    this.attempts = attempts({
      nowMs: () => this.nowMs, timers: this.timers, random: () => random, store: 'the store', totalMs,
      report: (event) => this.events.push(event),
    });
  }

  /** Lets the next wait pass, and its time, once everything that is under way waits. */
  async pass(): Promise<number> {
    await turn();
    const ms = await this.timers.pass();
    this.nowMs += ms;
    return ms;
  }

  kinds(): string[] {
    return this.events.map(({ kind }) => kind);
  }
}

/** Every promise that can settle has settled. */
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
const down = (): DriverError => new DriverError('retryable', '503');

/** Watched from the beginning, so that a failure in the middle of a test is not unheard. */
async function outcomeOf(run: Promise<unknown>): Promise<unknown> {
  return await run.catch((error: unknown) => error);
}

/** An attempt that plays these outcomes, one after the other. */
function script<T>(...outcomes: (T | Error)[]): { readonly attempt: () => Promise<T>; readonly made: () => number } {
  let made = 0;
  return {
    made: () => made,
    async attempt() {
      const outcome = outcomes[Math.min(made++, outcomes.length - 1)] as T | Error;
      if (outcome instanceof Error) throw outcome;
      return outcome;
    },
  };
}

/** Fails until the circuit opens; how often the store was asked. */
async function untilOpen(world: World): Promise<number> {
  let asked = 0;
  while (!world.kinds().includes('circuit-open')) {
    const run = world.attempts.run('get a', async () => {
      asked++;
      throw down();
    }, { attempts: 1 });
    await expect(run).rejects.toThrow('503');
    world.nowMs += 1_000;
  }
  return asked;
}

describe('what is tried again', () => {
  it('gives what the first attempt gives, and leaves no timer', async () => {
    const world = new World();
    expect(await world.attempts.run('get a', async () => 1)).toBe(1);
    expect(world.timers.pending).toEqual([]);
    expect(world.events).toEqual([]);
  });

  it('a retryable failure, after a wait within a bound that doubles', async () => {
    const world = new World({ random: 0.999 });
    const { attempt, made } = script<string>(down(), down(), down(), 'there');
    const run = world.attempts.run('get a', attempt);
    expect([await world.pass(), await world.pass(), await world.pass()]).toEqual([199, 399, 799]);
    expect(await run).toBe('there');
    expect(made()).toBe(4);
    expect(world.kinds()).toEqual(['retry', 'retry', 'retry']);
    expect(world.events[0]).toMatchObject({ store: 'the store', what: 'get a', attempt: 1, waitMs: 199, error: '503' });
  });

  it.each(['exists', 'full', 'permanent', 'superseded'] as const)('nothing that failed as %s', async (failure) => {
    const { attempt, made } = script<never>(new DriverError(failure, 'no'));
    await expect(new World().attempts.run('get a', attempt)).rejects.toMatchObject({ failure, message: 'no' });
    expect(made()).toBe(1);
  });

  it('no mistake of the program', async () => {
    const { attempt, made } = script<never>(new TypeError('x is undefined'));
    await expect(new World().attempts.run('get a', attempt)).rejects.toThrow(TypeError);
    expect(made()).toBe(1);
  });

  it('not before the store wants it', async () => {
    const world = new World();
    const { attempt } = script<string>(new DriverError('retryable', '429', { retryAfterMs: 3_000, answered: true }), 'there');
    const run = world.attempts.run('get a', attempt);
    expect(await world.pass()).toBe(3_100);
    expect(await run).toBe('there');
  });
});

describe('bounds', () => {
  it('the number of attempts', async () => {
    const world = new World();
    const { attempt, made } = script<never>(down());
    const run = world.attempts.run('get a', attempt, { attempts: 3 });
    const outcome = outcomeOf(run);
    await world.pass();
    await world.pass();
    expect(await outcome).toMatchObject({ failure: 'retryable', message: '503 (gave up after 3 attempts in 0 s)' });
    expect(made()).toBe(3);
  });

  it('the total time: a wait that would pass it is not begun', async () => {
    const world = new World({ totalMs: 1_000 });
    const { attempt, made } = script<never>(new DriverError('retryable', '503', { retryAfterMs: 2_000 }));
    await expect(world.attempts.run('get a', attempt, { timeoutMs: 500 })).rejects.toMatchObject({ message: '503', retryAfterMs: 2_000 });
    expect(made()).toBe(1);
  });

  it('an attempt that gets no answer ends with its deadline, and is followed by another', async () => {
    const world = new World();
    let n = 0;
    const run = world.attempts.run('get a', async (signal) => {
      if (n++ > 0) return 'there';
      return await new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('undici was told'))));
    }, { timeoutMs: 7_000 });
    expect(await world.pass()).toBe(7_000);
    await world.pass();
    expect(await run).toBe('there');
    expect(world.events[0]).toMatchObject({ kind: 'retry', error: 'get a: the store did not answer within 7 s' });
  });

  it('an attempt that does not listen is not waited for', async () => {
    const world = new World();
    let n = 0;
    const deaf = async (): Promise<string> => (n++ > 0 ? 'there' : await new Promise<never>(() => undefined));
    const run = world.attempts.run('get a', deaf, { timeoutMs: 7_000 });
    await world.pass();
    await world.pass();
    expect(await run).toBe('there');
    const leaving = new AbortController();
    n = 0;
    const left = outcomeOf(world.attempts.run('get a', deaf, { signal: leaving.signal }));
    leaving.abort(new Error('the client left'));
    expect(await left).toMatchObject({ message: 'the client left' });
  });

  it('what is left of the total is the last deadline', async () => {
    const world = new World({ totalMs: 10_000 });
    const hang = (signal: AbortSignal): Promise<never> => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    const run = world.attempts.run('get a', hang, { timeoutMs: 6_000 });
    const outcome = outcomeOf(run);
    expect([await world.pass(), await world.pass(), await world.pass()]).toEqual([6_000, 100, 3_900]);
    expect(await outcome).toMatchObject({ message: 'get a: the store did not answer within 3.9 s (gave up after 2 attempts in 10 s)' });
  });

  it("the caller's signal, during an attempt", async () => {
    const world = new World();
    const caller = new AbortController();
    const run = world.attempts.run('get a', (signal) => new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('told')))), { signal: caller.signal });
    const left = new Error('the client left');
    caller.abort(left);
    await expect(run).rejects.toBe(left);
    expect(world.timers.pending).toEqual([]);
  });

  it("the caller's signal, during a wait", async () => {
    const world = new World();
    const caller = new AbortController();
    const { attempt, made } = script<never>(down());
    const run = world.attempts.run('get a', attempt, { signal: caller.signal });
    const outcome = outcomeOf(run);
    await turn();
    expect(world.kinds()).toEqual(['retry']);
    const left = new Error('the client left');
    caller.abort(left);
    expect(await outcome).toBe(left);
    expect(made()).toBe(1);
    expect(world.timers.pending).toEqual([]);
  });

  it("the caller's signal, before anything", async () => {
    const { attempt, made } = script(1);
    await expect(new World().attempts.run('get a', attempt, { signal: AbortSignal.abort(new Error('left')) })).rejects.toThrow('left');
    expect(made()).toBe(0);
  });
});

describe('the circuit', () => {
  it('opens after failures in a row that go on for a while, and then fails at once', async () => {
    const world = new World();
    expect(await untilOpen(world)).toBe(8);
    const { attempt, made } = script(1);
    await expect(world.attempts.run('put b', attempt)).rejects.toMatchObject({
      failure: 'retryable',
      message: 'put b: the store has failed since 2026-01-01T00:00:00.000Z (8 times in a row) and is not asked before 2026-01-01T00:00:12.000Z: 503',
    });
    expect(made()).toBe(0);
    expect(world.events.at(-1)).toEqual({ kind: 'circuit-open', store: 'the store', since: '2026-01-01T00:00:00.000Z', until: '2026-01-01T00:00:12.000Z', failures: 8, error: '503' });
  });

  it('stays closed while a burst of failures is short', async () => {
    const world = new World();
    const fail = (): Promise<unknown> => world.attempts.run('get a', script<never>(down()).attempt, { attempts: 1 }).catch(() => undefined);
    await Promise.all(Array.from({ length: 100 }, fail));
    expect(world.events).toEqual([]);
  });

  it.each([
    ['an answer between them', (world: World) => world.attempts.run('get a', async () => 1)],
    ['a condition that failed', (world: World) => world.attempts.run('get a', script<never>(new DriverError('exists', 'there')).attempt).catch(() => 1)],
    ['a store that is only busy', (world: World) => world.attempts.run('get a', script<never>(new DriverError('retryable', '429', { answered: true })).attempt, { attempts: 1 }).catch(() => 1)],
  ])('%s keeps it closed', async (_name, answer) => {
    const world = new World();
    for (let i = 0; i < 50; i++) {
      await world.attempts.run('get a', script<never>(down()).attempt, { attempts: 1 }).catch(() => undefined);
      world.nowMs += 5_000;
      if (i % 5 === 0) await answer(world);
    }
    expect(world.events).toEqual([]);
  });

  it('lets one call try when its time is over, and closes when that succeeds', async () => {
    const world = new World();
    await untilOpen(world);
    world.nowMs += 5_000;
    const gate = Promise.withResolvers<number>();
    const probe = world.attempts.run('get a', () => gate.promise);
    const other = script(1);
    await expect(world.attempts.run('get b', other.attempt)).rejects.toThrow(/has failed since/);
    expect(other.made()).toBe(0);
    gate.resolve(1);
    expect(await probe).toBe(1);
    expect(await world.attempts.run('get b', other.attempt)).toBe(1);
    expect(world.events.at(-1)).toMatchObject({ kind: 'circuit-closed', store: 'the store', since: '2026-01-01T00:00:00.000Z', downMs: 13_000 });
  });

  it('stays open for longer with each that tries in vain', async () => {
    const world = new World();
    await untilOpen(world);
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) {
      const began = world.nowMs;
      for (let tried = false; !tried; world.nowMs += 1_000) {
        const { attempt, made } = script<never>(down());
        await world.attempts.run('get a', attempt, { attempts: 1 }).catch(() => undefined);
        tried = made() > 0;
      }
      waits.push(world.nowMs - began);
    }
    expect(waits).toEqual([5_000, 10_000, 20_000, 30_000, 30_000]);
    expect(world.kinds().filter((kind) => kind === 'circuit-open')).toHaveLength(1);
  });

  it('one that tries and leaves gives its place to the next', async () => {
    const world = new World();
    await untilOpen(world);
    world.nowMs += 5_000;
    const caller = new AbortController();
    const probe = world.attempts.run('get a', (signal) => new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))), { signal: caller.signal });
    caller.abort(new Error('left'));
    await expect(probe).rejects.toThrow('left');
    expect(await world.attempts.run('get b', async () => 2)).toBe(2);
  });
});
