/** Several processes over one disk and one store: what they read, what stays within the bound, and what a killed one leaves. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOfData, keys, type Generation } from '../../content/keys.ts';
import { digestOf } from '../../oci/digest.ts';
import { blobBytesOf, fileBytesOf } from './trailer.ts';
import { blobOf, MiB, readBlob } from './disk-tier.fixture.ts';
import { diskTier, type DiskTier } from './disk-tier.ts';
import type { Timers } from '../../workers/timers.ts';
import { openFilesystem, type FilesystemDriver } from '../filesystem/filesystem.ts';
import { all } from '../contract/store.contract.ts';

const PROCESSES = 4;
const BLOBS = 24;
const MAX_BYTES = 6 * MiB;

describe('processes over one disk', { timeout: 60_000 }, () => {
  let folder: string;
  let disk: string;
  let store: FilesystemDriver;
  let blobs: string[];
  let children: ChildProcess[];
  const tiers: DiskTier[] = [];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'umbra-disk-processes-'));
    disk = join(folder, 'disk');
    children = [];
    store = await openFilesystem({ root: join(folder, 'store') });
    blobs = [];
    for (let index = 0; index < BLOBS; index++) {
      const bytes = blobOf(200_000 + index * 10_000, index + 1);
      const key = keys.data(digestOf(bytes), 'a'.repeat(32) as Generation);
      await store.put(key, bytes, { durable: 'later' });
      blobs.push(key);
    }
  });
  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL');
    for (const tier of tiers.splice(0)) await tier.close();
    await rm(folder, { recursive: true });
  });

  /** Starts a process that runs `body` with `tier`, `store`, `blobs`, `readBlob`, `digestOf`, `me` and `say`, once it reads a line. */
  const start = async (me: number, body: string): Promise<{ readonly process: ChildProcess; readonly lines: Interface }> => {
    const at = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
    const program = `
      import { once } from 'node:events';
      import { openFilesystem } from ${at('../filesystem/filesystem.ts')};
      import { diskTier } from ${at('disk-tier.ts')};
      import { digestOfData } from ${at('../../content/keys.ts')};
      import { digestOf } from ${at('../../oci/digest.ts')};
      import { systemTimers } from ${at('../../workers/timers.ts')};
      const say = (value) => process.stdout.write(JSON.stringify(value) + '\\n');
      const store = await openFilesystem({ root: ${JSON.stringify(join(folder, 'store'))} });
      const blobs = ${JSON.stringify(blobs)};
      const me = ${me};
      const counts = {};
      const over = (inner) => diskTier(inner, {
        root: ${JSON.stringify(disk)}, maxBytes: ${MAX_BYTES}, digestOf: digestOfData, timers: systemTimers, nowMs: Date.now,
        events: { count: (what) => { counts[what] = (counts[what] ?? 0) + 1; }, used: () => {}, report: (event) => say(event) },
      });
      const readBlob = async (driver, key) => {
        const source = await driver.open(key);
        const pieces = [];
        for await (const chunk of source.stream({ start: 0, end: source.stat.size - 1 })) pieces.push(chunk);
        await source.close();
        return Buffer.concat(pieces);
      };
      say('ready');
      await once(process.stdin, 'data');
      ${body}
      process.exit(0);`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout });
    children.push(child);
    const [ready] = (await Promise.race([once(lines, 'line'), once(lines, 'close')])) as unknown[];
    if (ready !== '"ready"') throw new Error('the process ended before it was ready');
    return { process: child, lines };
  };

  /** A tier of this process, whose waits are over at once. */
  const here = (): DiskTier => {
    const timers: Timers = {
      after(_, task) {
        const due = setImmediate(task);
        return () => clearImmediate(due);
      },
    };
    const tier = diskTier(store, { root: disk, maxBytes: MAX_BYTES, digestOf: digestOfData, timers, nowMs: Date.now, events: { count: () => undefined, used: () => undefined, report: () => undefined } });
    tiers.push(tier);
    return tier;
  };

  /** Everything that counts as a blob has its digest; bytes of all files. */
  const verified = async (): Promise<number> => {
    let bytes = 0;
    for (const entry of await readdir(join(disk, 'v1/blobs'), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const held = await readFile(join(entry.parentPath, entry.name));
      expect(entry.name.startsWith(digestOf(held.subarray(0, blobBytesOf(held.length))).replace(':', '-'))).toBe(true);
      bytes += held.length;
    }
    return bytes;
  };

  test('each reads every blob right, while all fill and evict, and the bound holds', async () => {
    const body = `
      const tier = over(store);
      for (let round = 0; round < 6; round++) {
        const reading = blobs.map(async (_, index) => {
          const key = blobs[(index * (2 * me + 1) + round) % blobs.length];
          if (!key.includes(digestOf(await readBlob(tier, key)).slice(7))) say('wrong bytes at ' + key);
        });
        await Promise.all(reading);
      }
      await tier.close();
      say({ counts });`;
    const racers = await Promise.all(Array.from({ length: PROCESSES }, (_, me) => start(me, body)));
    const heard = racers.map(async ({ lines }) => (await all(lines)).map((line): unknown => JSON.parse(line)));
    for (const { process: child } of racers) child.stdin?.write('go\n');
    const said = (await Promise.all(heard)).flat() as { counts?: Record<string, number> }[];
    expect(said.filter((line) => line.counts === undefined)).toEqual([]);
    const counts = said.map((line) => line.counts ?? {});
    for (const what of ['stored', 'evicted', 'hit']) expect(counts.reduce((sum, each) => sum + (each[what] ?? 0), 0)).toBeGreaterThan(0);
    expect(await verified()).toBeLessThanOrEqual(MAX_BYTES);
    expect(await readdir(join(disk, 'v1/filling'))).toEqual([]);
  });

  test('one that is killed in the midst of a fill leaves nothing that counts, and nobody waits for it', async () => {
    const key = blobs[BLOBS - 1] ?? '';
    const body = `
      const stuck = new Proxy(store, { get: (target, name) => {
        if (name === 'open') return async (key) => {
          const source = await target.open(key);
          return { stat: source.stat, close: () => source.close(), stream: async function* (range) {
            yield* source.stream({ start: 0, end: 100_000 });
            await new Promise((resolve) => setTimeout(resolve, 1e9));
          } };
        };
        const value = target[name];
        return typeof value === 'function' ? value.bind(target) : value;
      } });
      const tier = over(stuck);
      const source = await tier.open(${JSON.stringify(key)});
      for await (const chunk of source.stream({ start: 0, end: source.stat.size - 1 })) say('filling');`;
    const { process: child, lines } = await start(0, body);
    child.stdin?.write('go\n');
    const [line] = (await once(lines, 'line')) as string[];
    expect(line).toBe('"filling"');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const [left = ''] = await readdir(join(disk, 'v1/filling'));
    expect(left).not.toBe('');

    // It looks alive still: followed as far as it goes, then the store is asked.
    const bytes = await store.get(key);
    const tier = here();
    expect((await readBlob(tier, key))?.equals(bytes?.bytes ?? Buffer.alloc(0))).toBe(true);
    await tier.idle();
    // And when it is known to be dead, the blob is filled, and what it left is removed.
    const old = Date.now() / 1000 - 3600;
    await utimes(join(disk, 'v1/filling', left), old, old);
    const later = here();
    await later.idle();
    expect((await readBlob(later, key))?.equals(bytes?.bytes ?? Buffer.alloc(0))).toBe(true);
    await later.idle();
    expect(await readdir(join(disk, 'v1/filling'))).toEqual([]);
    expect(await verified()).toBe(fileBytesOf(bytes?.size ?? 0));
  });

  test('ones that are killed at any moment leave whole blobs only', async () => {
    const body = `
      const tier = over(store);
      for (let round = 0; ; round++) {
        await Promise.all(blobs.map((_, index) => readBlob(tier, blobs[(index + round) % blobs.length])));
        say(round);
      }`;
    for (const lifetime of [1, 2, 4]) {
      const { process: child, lines } = await start(lifetime, body);
      child.stdin?.write('go\n');
      let said = 0;
      for await (const _ of lines) {
        if (++said !== lifetime) continue;
        child.kill('SIGKILL');
        break;
      }
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      await verified();
    }
    const tier = here();
    for (const key of blobs) expect(digestOf((await readBlob(tier, key)) ?? Buffer.alloc(0))).toBe(digestOfData(key));
  });
});
