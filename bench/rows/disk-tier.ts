/**
 * The disk tier of a node that starts with many blobs on its disk: until it knows how much they take, which is when the
 * first new blob may be kept. In this process and over a store in memory, so that nothing else is in the figure.
 */
import { mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { digestOfData, keys, type Generation } from '../../src/content/keys.ts';
import { diskTier, type DiskTier } from '../../src/drivers/disk-tier/disk-tier.ts';
import { DiskPaths, diskEntry, roomOfBlob } from '../../src/drivers/disk-tier/files.ts';
import { sumOf } from '../../src/drivers/disk-tier/sums.ts';
import { encodeTrailer } from '../../src/drivers/disk-tier/trailer.ts';
import { memoryDriver } from '../../src/drivers/memory/memory.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { systemTimers } from '../../src/workers/timers.ts';
import type { Row, Section } from '../row.ts';

interface State {
  readonly paths: DiskPaths;
  /** Those that were there, and one more in each round. */
  entries: number;
}

const ENTRIES = 100_000;
const SHARDS = Array.from({ length: 256 }, (_, index) => index.toString(16).padStart(2, '0'));
const GENERATION = 'bench000000000000000' as Generation;

const blobOf = (index: number | string): Buffer => Buffer.from(`blob ${index} of the disk tier's benchmark`);
const keyOf = (bytes: Buffer): string => keys.data(digestOf(bytes), GENERATION);

/** Files as the tier leaves them, each with its sums. */
function prepare(paths: DiskPaths, entries: number): void {
  for (const shard of SHARDS) mkdirSync(paths.shard(shard), { recursive: true });
  for (let index = 0; index < entries; index++) {
    const bytes = blobOf(index);
    const digest = digestOf(bytes);
    const table = sumOf(bytes);
    const trailer = encodeTrailer(digest, { stat: { size: bytes.length, modifiedMs: 0, stamp: String(index) }, table });
    writeFileSync(paths.blob(diskEntry(keyOf(bytes), digest).name), Buffer.concat([bytes, table, trailer]));
  }
  // As old as on a node that was stopped: of a folder that changed just now nothing is believed.
  const then = Date.now() / 1000 - 60;
  for (const shard of SHARDS) utimesSync(paths.shard(shard), then, then);
}

/** Starts a tier and reads one blob through it that the disk does not have. */
async function start({ paths }: State, bytes: Buffer): Promise<{ readonly tier: DiskTier; readonly knownMs: number; readonly usedBytes: number }> {
  const store = memoryDriver();
  const key = keyOf(bytes);
  await store.put(key, bytes);
  const known = Promise.withResolvers<number>();
  const before = performance.now();
  const tier = diskTier(store, {
    root: paths.root, maxBytes: 100 * 1024 ** 3, digestOf: digestOfData, timers: systemTimers, nowMs: Date.now,
    events: { count: () => undefined, used: known.resolve, report: ({ kind }) => known.reject(new Error(kind)) },
  });
  await tier.get(key);
  const usedBytes = await known.promise;
  return { tier, knownMs: performance.now() - before, usedBytes };
}

function row(name: string, before: (state: State) => Promise<void>): Row<State> {
  return {
    name, unit: 'ms', goal: { kind: 'bound', value: 1000 }, contenders: ['umbra'],
    async measure(state, _, round) {
      await before(state);
      const bytes = blobOf(`${name} ${round}`);
      const { tier, knownMs, usedBytes } = await start(state, bytes);
      const room = (state.entries + 1) * roomOfBlob(bytes.length);
      await tier.idle();
      await tier.close();
      state.entries++;
      if (usedBytes !== room) throw new Error(`the tier knows of ${usedBytes} bytes, expected ${room}`);
      return knownMs;
    },
  };
}

export const diskTierStart: Section<State> = {
  title: 'a disk tier of 100 000 blobs',
  rows: [
    row('disk tier known after a stop', async (state) => {
      // Another start and stop: what it wrote down is what a node finds.
      const { tier } = await start(state, blobOf(`before ${state.entries}`));
      await tier.idle();
      await tier.close();
      state.entries++;
    }),
    row('disk tier known, nothing written down', async ({ paths }) => rmSync(paths.usage, { force: true })),
  ],
  async open(bench) {
    const paths = new DiskPaths(await bench.folder('disk-tier'));
    const entries = bench.options.quick ? ENTRIES / 10 : ENTRIES;
    prepare(paths, entries);
    return { paths, entries };
  },
  close: () => Promise.resolve(),
};
