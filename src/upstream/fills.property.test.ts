/** Whatever the order of things: who completes a stream has the right bytes, and one download serves all. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Driver } from '../drivers/driver.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { pieceDriver } from '../drivers/contract/pieces.fixture.ts';
import { members } from '../workers/group.fixture.ts';
import type { Timers } from '../workers/timers.ts';
import { Clock, Far, fullAfter, Shelf, type Download } from './fill.fixture.ts';
import type { Fills } from './fill.ts';
import { machineFills } from './fill-group.ts';
import { fills } from './fills.ts';
import { sharedFills } from './shared-fills.ts';

/** Waits take a turn. */
const timers: Timers = {
  after(_, task) {
    const immediate = setImmediate(task);
    return () => clearImmediate(immediate);
  },
};
/** Two workers of a machine, or two machines; over a store that shows every byte at once, or whole pieces. */
type Place = 'workers' | 'workers, by the piece' | 'machines, by the piece';
/** Of the machines' clock; what they wait for is 40 ms to 60 s. */
const TURN_MS = 20;
/** Tells the wait for readers from all others, and nobody waits so long. */
const DETACHED_MS = 24 * 60 * 60_000;
const patient: Timers = { after: () => () => undefined };

interface ReaderPlan {
  /** Turns of the event loop before it comes. */
  readonly after: number;
  readonly worker: number;
  readonly range: readonly [number, number] | undefined;
  /** Turns between the chunks that it takes. */
  readonly pause: number;
  /** Leaves after so many chunks. */
  readonly leaves: number | undefined;
}

interface Plan {
  readonly size: number;
  readonly sizeKnown: boolean;
  readonly readers: readonly ReaderPlan[];
  /** What upstream sends at a time, in thousandths of the blob. */
  readonly chunks: readonly number[];
  /** Offsets that downloads break at. */
  readonly breaks: readonly number[];
  /** How much the store takes. */
  readonly room: number | undefined;
  /** The first download sends another byte somewhere. */
  readonly wrong: number | undefined;
}

const SIZE = 400_000;
const reader: fc.Arbitrary<ReaderPlan> = fc.record({
  after: fc.nat(60),
  worker: fc.nat(1),
  range: fc.option(fc.tuple(fc.nat(SIZE), fc.nat(SIZE)), { nil: undefined }),
  pause: fc.nat(3),
  leaves: fc.option(fc.nat(5), { nil: undefined, freq: 4 }),
});
const plan: fc.Arbitrary<Plan> = fc.record({
  size: fc.oneof(fc.nat(3), fc.nat(SIZE)),
  sizeKnown: fc.boolean(),
  readers: fc.array(reader, { minLength: 1, maxLength: 6 }),
  chunks: fc.array(fc.integer({ min: 10, max: 400 }), { minLength: 1, maxLength: 10 }),
  breaks: fc.array(fc.nat(SIZE), { maxLength: 3 }),
  room: fc.option(fc.nat(SIZE), { nil: undefined, freq: 3 }),
  wrong: fc.option(fc.nat(SIZE), { nil: undefined, freq: 3 }),
});

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}

/** Sends as planned. */
async function send(download: Download, { size, chunks }: Plan, breaks: number[]): Promise<void> {
  let position = download.start;
  for (let n = 0; position < size && !download.signal.aborted; n++) {
    const wish = Math.ceil((size * (chunks[n % chunks.length] ?? 1)) / 1000);
    const next = breaks.findIndex((at) => at >= position && at < Math.min(position + wish, size));
    const count = next < 0 ? wish : (breaks[next] ?? 0) - position;
    download.give(count);
    position += count;
    if (next >= 0) {
      breaks.splice(next, 1);
      download.break();
      return;
    }
    await turns(1);
  }
  download.end();
}

async function run(place: Place, plan: Plan): Promise<void> {
  const { size, sizeKnown, readers, breaks, room, wrong } = plan;
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8)) & 0xff;
  const far = new Far(bytes);
  const spoilt = Buffer.from(bytes);
  if (wrong !== undefined && wrong < size) spoilt[wrong] = ~(spoilt[wrong] ?? 0);
  const breaking = [...breaks];
  far.answer = async (start, signal, n) => {
    const download = far.download(start, signal, { bytes: n === 0 ? spoilt : bytes, size: sizeKnown ? size : undefined });
    void send(download, plan, breaking);
    return download;
  };
  const clock = new Clock();
  const store = place === 'workers' ? memoryDriver() : pieceDriver(30_000, { clock: clock.nowMs });
  const driver: Driver = room === undefined ? store : fullAfter(store, room);
  const shelf = new Shelf(store);
  let ids = 0;
  const newId = (): string => `id${++ids}`;
  const common = { driver, nowMs: clock.nowMs, newId };
  const group = place === 'machines, by the piece' ? [...members(1, timers), ...members(1, timers)] : members(2, timers);
  const groups = group.map(({ member }) => (place === 'workers' ? machineFills(member) : sharedFills({ ...common, timers: clock, group: member })));
  const sets: Fills[] = groups.map((group) =>
    fills({ ...common, timers: { after: (ms, task) => (ms === DETACHED_MS ? patient : timers).after(ms, task) }, group, detachedMs: DETACHED_MS, observe: () => undefined }),
  );
  let over = false;
  const passing = (async () => {
    for (; !over; clock.tick(TURN_MS)) await turns(1);
  })();

  const read = async ({ after, worker, range, pause, leaves }: ReaderPlan): Promise<'ended' | 'left' | 'failed'> => {
    await turns(after);
    const signal = new AbortController().signal;
    const reader = await sets[worker]!.open(shelf.job(far), signal);
    if (reader === undefined) throw new Error('expected a blob');
    const chunks: Buffer[] = [];
    const [a, b] = range ?? [0, Infinity];
    const [start, end] = [Math.min(a, b), Math.max(a, b)];
    try {
      for await (const chunk of reader.stream(range === undefined ? undefined : { start, end }, signal)) {
        chunks.push(chunk);
        if (chunks.length === leaves) return 'left';
        await turns(pause);
      }
      // What came before a blob's last byte may have been wrong: only its end says so.
      if (wrong === undefined || end >= size - 1) expect(Buffer.concat(chunks).equals(bytes.subarray(start, end + 1))).toBe(true);
      return 'ended';
    } catch (error) {
      expect(error).toMatchObject({ code: 'UPSTREAM_FAILED' });
      // Only who had bytes of a download that turned out wrong, or whose own past a full store did.
      expect(wrong).toBeDefined();
      if (room === undefined) expect(chunks.length).toBeGreaterThan(0);
      return 'failed';
    } finally {
      reader.close();
    }
  };
  const outcomes = await Promise.all(readers.map(read));
  const quietly = breaks.every((at) => at >= size) && (wrong === undefined || wrong >= size) && (room === undefined || room >= size);
  if (quietly) {
    expect(far.asked).toBe(1);
    expect(outcomes).not.toContain('failed');
    // Whoever waits for its end finds it stored.
    expect(await sets[0]!.complete(shelf.job(far), new AbortController().signal)).toBe(true);
    expect(shelf.published.length).toBe(1);
    expect(far.asked).toBe(1);
    expect((await shelf.bytes(far))?.equals(bytes)).toBe(true);
  }
  await Promise.all(sets.map(async (set) => set.close()));
  over = true;
  await passing;
  const left = (await shelf.keys()).filter((key) => !key.startsWith('blobs/'));
  // Machines leave unfinished pieces to others for a while, or to the sweep.
  expect(place === 'workers' ? left : left.filter((key) => !key.startsWith('uploads/'))).toEqual([]);
}

test.each<Place>(['workers', 'workers, by the piece', 'machines, by the piece'])('every stream that ends with the last byte has the right bytes (%s)', async (place) => {
  await fc.assert(fc.asyncProperty(plan, async (one) => run(place, one)), { numRuns: 200 });
}, 120_000);
