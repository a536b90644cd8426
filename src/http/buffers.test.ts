import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Slab } from '../content/intake.ts';
import { ManualTimers } from '../upstream/fill.fixture.ts';
import { BufferPool, type PoolMember } from './buffers.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

let timers: ManualTimers;
beforeEach(() => void (timers = new ManualTimers()));

function poolOf(maxBytes: number): BufferPool {
  return new BufferPool({ maxBytes, idleMs: 5_000, timers });
}

/** A buffer that is there at once. */
function taken(member: PoolMember, atMost = Infinity): Slab {
  const slab = member.take(atMost);
  if (slab instanceof Promise) throw new Error('had to wait');
  return slab;
}

describe('sizes', () => {
  it('shrink as bodies grow in number', () => {
    const pool = poolOf(8 * MIB);
    const sizes = Array.from({ length: 70 }, () => {
      const slab = taken(pool.join(2));
      slab.release();
      return slab.bytes.length;
    });
    expect(sizes.slice(0, 8)).toEqual(Array(8).fill(512 * KIB));
    expect(sizes.slice(8, 16)).toEqual(Array(8).fill(256 * KIB));
    expect(sizes.slice(16)).toEqual(Array(54).fill(64 * KIB));
    expect(pool.allocatedBytes).toBeLessThanOrEqual(8 * MIB);
  });

  it('grow again when bodies end', () => {
    const pool = poolOf(4 * MIB);
    const others = Array.from({ length: 30 }, () => pool.join(2));
    const member = pool.join(2);
    expect(taken(member).bytes.length).toBe(64 * KIB);
    for (const other of others) other.leave();
    expect(taken(member).bytes.length).toBe(512 * KIB);
  });

  it('suit bodies known to be small', () => {
    const member = poolOf(8 * MIB).join(2);
    for (const [atMost, size] of [
      [1, 16],
      [16 * KIB, 16],
      [16 * KIB + 1, 64],
      [100 * KIB, 256],
      [256 * KIB + 1, 512],
      [10 * MIB, 512],
    ] as const) {
      expect(taken(member, atMost).bytes.length).toBe(size * KIB);
    }
  });
});

describe('the bound', () => {
  it('is kept: memory of one size becomes that of another', () => {
    const pool = poolOf(MIB);
    const member = pool.join(1);
    for (const slab of [taken(member), taken(member)]) slab.release();
    expect(pool.allocatedBytes).toBe(MIB);
    const small = Array.from({ length: 64 }, () => taken(member, 16 * KIB));
    expect(small.every(({ bytes }) => bytes.length === 16 * KIB)).toBe(true);
    expect(pool.allocatedBytes).toBe(MIB);
    expect(member.tryTake(16 * KIB)).toBeUndefined();
  });

  it('makes those who come wait in turn', async () => {
    const pool = poolOf(512 * KIB);
    const member = pool.join(1);
    const first = taken(member);
    const order: number[] = [];
    const waiting = [1, 2, 3].map(async (number) => {
      const slab = await member.take(Infinity);
      order.push(number);
      slab.release();
    });
    expect(pool.contended).toBe(true);
    expect(member.tryTake(1)).toBeUndefined(); // nobody overtakes
    first.release();
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
    expect(pool.contended).toBe(false);
  });

  it('asks every body once to let go of what it holds', () => {
    const pool = poolOf(512 * KIB);
    const asked: string[] = [];
    const a = pool.join(1, () => asked.push('a'));
    pool.join(1, () => asked.push('b')).leave();
    pool.join(1, () => asked.push('c'));
    taken(a, 16 * KIB);
    expect(asked).toEqual([]);
    for (let i = 0; i < 40; i++) void a.take(16 * KIB);
    expect(asked).toEqual(['a', 'c']);
  });

  it('a body that is gone does not wait any more', async () => {
    const member = poolOf(512 * KIB).join(1);
    const held = taken(member);
    const leaving = new AbortController();
    const gone = member.take(Infinity, leaving.signal);
    const next = member.take(Infinity);
    leaving.abort(new Error('left'));
    await expect(gone).rejects.toThrow('left');
    held.release();
    expect((await next).bytes.length).toBe(512 * KIB);
    expect(() => member.take(1, leaving.signal)).toThrow('left');
  });
});

it('a buffer given back twice is not given to two', () => {
  const member = poolOf(MIB).join(1);
  const slab = taken(member);
  slab.release();
  slab.release();
  expect(taken(member).bytes.buffer).not.toBe(taken(member).bytes.buffer);
});

it('an idle pool holds no memory', async () => {
  const pool = poolOf(MIB);
  const [a, b] = [pool.join(1), pool.join(1)];
  const late = taken(a);
  const { buffer } = taken(b).bytes;
  b.leave();
  expect(timers.pending).toHaveLength(0);
  a.leave();
  a.leave();
  expect(timers.pending).toHaveLength(1);
  pool.join(1).leave(); // another body: the time starts anew
  expect(timers.pending).toHaveLength(1);
  late.release();
  expect(pool.allocatedBytes).toBe(MIB);
  expect(await timers.pass()).toBe(5_000);
  expect(pool.allocatedBytes).toBe(512 * KIB); // one is out still
  expect(buffer.byteLength).toBe(512 * KIB);
});

it('is at least one buffer large', () => {
  expect(() => poolOf(100)).toThrow('expected at least 524288');
});

it('never hands out more than its bound, nor a byte to two, and serves everybody who waits', async () => {
  const step = fc.oneof(
    fc.record({ take: fc.constantFrom(1, 20 * KIB, 200 * KIB, MIB) }),
    fc.record({ release: fc.nat(50) }),
    fc.record({ abort: fc.nat(10) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 6 }), async (steps, members) => {
      const pool = poolOf(2 * MIB);
      const bodies = Array.from({ length: members }, () => pool.join(2));
      const held: Slab[] = [];
      const aborts: AbortController[] = [];
      const waiting: Promise<unknown>[] = [];
      const hold = (slab: Slab): void => void held.push(slab);
      for (const [index, what] of steps.entries()) {
        if ('take' in what) {
          const abort = new AbortController();
          const slab = bodies[index % members]?.take(what.take, abort.signal);
          if (slab instanceof Promise) {
            aborts.push(abort);
            waiting.push(slab.then(hold, () => undefined));
          } else if (slab !== undefined) hold(slab);
        } else if ('release' in what) held.splice(what.release % Math.max(1, held.length), 1)[0]?.release();
        else aborts[what.abort % Math.max(1, aborts.length)]?.abort();
        await Promise.resolve();
        expect(pool.allocatedBytes).toBeLessThanOrEqual(2 * MIB);
        expect(new Set(held.map(({ bytes }) => bytes.buffer)).size).toBe(held.length);
        expect(held.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThanOrEqual(pool.allocatedBytes);
      }
      let done = false;
      const all = Promise.all(waiting).then(() => (done = true));
      while (!done) {
        for (const slab of held.splice(0)) slab.release();
        await Promise.resolve();
      }
      await all;
      for (const slab of held.splice(0)) slab.release();
      for (const body of bodies) body.leave();
      pool.close();
      expect(pool.allocatedBytes).toBe(0);
    }),
  );
});
