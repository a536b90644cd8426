import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { hashes, type Hashes, type RunningHash } from './hashing.ts';
import type { Slab } from './intake.ts';

const LARGE = 512 * 1024;

function slabOf(bytes: Uint8Array, size: number = bytes.length): Slab {
  const memory = Buffer.allocUnsafeSlow(size);
  memory.set(bytes);
  return { bytes: memory, release: () => undefined };
}

/** Whether the bytes were hashed at once; both kinds must come to the same. */
async function feed(hash: RunningHash, slab: Slab, length: number): Promise<'here' | 'thread'> {
  const elsewhere = hash.update(slab, length);
  await elsewhere;
  return elsewhere === undefined ? 'here' : 'thread';
}

let started: Hashes;
beforeEach(() => void (started = hashes(2)));
afterEach(() => started.close());

describe.each(['sha256', 'sha512'] as const)('%s', (algorithm) => {
  it('of large bodies on the thread, of small ones here', async () => {
    const bytes = randomBytes(LARGE);
    const large = started.start(algorithm);
    expect(await feed(large, slabOf(bytes), LARGE)).toBe('thread');
    expect(await large.digest()).toBe(digestOf(bytes, algorithm));
    const small = started.start(algorithm);
    expect(await feed(small, slabOf(bytes.subarray(0, 1000), LARGE), 1000)).toBe('here');
    expect(await small.digest()).toBe(digestOf(bytes.subarray(0, 1000), algorithm));
  });

  it('goes on after a digest, wherever it runs', async () => {
    const bytes = randomBytes(3 * LARGE);
    for (const first of [100, LARGE]) {
      const hash = started.start(algorithm);
      expect(await hash.digest()).toBe(digestOf(new Uint8Array(0), algorithm));
      const other = started.start(algorithm);
      await feed(other, slabOf(bytes), first);
      expect(await other.digest()).toBe(digestOf(bytes.subarray(0, first), algorithm));
      await feed(other, slabOf(bytes.subarray(first)), LARGE);
      expect(other.length).toBe(first + LARGE);
      expect(await other.digest()).toBe(digestOf(bytes.subarray(0, first + LARGE), algorithm));
    }
  });
});

it('gives the memory of a slab back as it was', async () => {
  const bytes = randomBytes(LARGE);
  const slab = slabOf(bytes, 2 * LARGE);
  const done = started.start('sha256').update(slab, LARGE);
  expect(slab.bytes.length).toBe(0); // nobody can write to it meanwhile
  await done;
  expect(slab.bytes.length).toBe(2 * LARGE);
  expect(slab.bytes.subarray(0, LARGE).equals(bytes)).toBe(true);
});

it('many at once, in any order, do not mix', async () => {
  const pieces = fc.array(fc.tuple(fc.nat(4), fc.integer({ min: 1, max: LARGE })), { minLength: 1, maxLength: 25 });
  await fc.assert(
    fc.asyncProperty(pieces, async (plan) => {
      const running = Array.from({ length: 5 }, () => ({ hash: started.start('sha256'), bytes: [] as Buffer[] }));
      const updates = plan.map(([which, length]) => {
        const one = running[which];
        const bytes = randomBytes(length);
        one?.bytes.push(bytes);
        return one?.hash.update(slabOf(bytes), length); // not waited for: they are hashed in the order of the calls
      });
      const digests = running.map(({ hash }) => hash.digest());
      for (const update of updates) await update;
      expect(await Promise.all(digests)).toEqual(running.map(({ bytes }) => digestOf(Buffer.concat(bytes))));
    }),
    { numRuns: 20 },
  );
});

it('with one core there is no thread', async () => {
  expect(await feed(hashes(1).start('sha256'), slabOf(randomBytes(LARGE)), LARGE)).toBe('here');
});

it('a thread that ended fails what it was hashing; the next hash gets another', async () => {
  const hash = started.start('sha256');
  await feed(hash, slabOf(randomBytes(LARGE)), LARGE);
  const [update] = await Promise.allSettled([hash.update(slabOf(randomBytes(LARGE)), LARGE), started.close()]);
  expect(update).toMatchObject({ status: 'rejected', reason: { message: 'the hashing thread has ended' } });
  await expect(hash.digest()).rejects.toThrow('the hashing thread has ended');
  const bytes = randomBytes(LARGE);
  const next = started.start('sha256');
  expect(await feed(next, slabOf(bytes), LARGE)).toBe('thread');
  expect(await next.digest()).toBe(digestOf(bytes));
});
