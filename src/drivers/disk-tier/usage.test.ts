/** What a start over a full disk looks at: sums that were written down, and only the folders that changed since. */
import { appendFileSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { digestOf } from '../../oci/digest.ts';
import { DiskPaths, diskEntry, roomOf } from './files.ts';
import { DiskUsage } from './usage.ts';

const BLOCK = 4096;
let paths: DiskPaths;
let names: readonly string[];

beforeEach(async () => {
  paths = new DiskPaths(await mkdtemp(join(tmpdir(), 'umbra-usage-')));
  mkdirSync(paths.filling, { recursive: true });
  names = Array.from({ length: 600 }, (_, index) => diskEntry(`key/${index}`, digestOf(Buffer.from(String(index)))).name);
  for (const name of names) write(name, 100);
  age();
});
afterEach(async () => rm(paths.root, { recursive: true }));

function write(name: string, bytes: number): void {
  mkdirSync(paths.shardOf(name), { recursive: true });
  writeFileSync(paths.blob(name), Buffer.alloc(bytes));
}

/** Folders are as old as on a node that was stopped: of one that changed just now nothing is believed. */
function age(): void {
  const then = Date.now() / 1000 - 60;
  for (const name of names) utimesSync(paths.shardOf(name), then, then);
}

/** As one more start sees it; it writes down what it knows, as on a stop. */
async function start(): Promise<number> {
  const usage = new DiskUsage(paths, () => 0);
  const { blobs } = await usage.measure();
  await usage.save();
  return blobs;
}

test('a start after a stop reads no folder again', async () => {
  expect(await start()).toBe(600 * BLOCK);
  // A file that grows does not change its folder: who read it would count this.
  for (const name of names) appendFileSync(paths.blob(name), Buffer.alloc(BLOCK));
  expect(await start()).toBe(600 * BLOCK);
  await rm(paths.usage);
  expect(await start()).toBe(600 * roomOf(100 + BLOCK));
});

test('a start reads the folders that changed meanwhile, and no other', async () => {
  expect(await start()).toBe(600 * BLOCK);
  const [one = '', ...others] = names;
  for (const name of others) if (paths.shardOf(name) !== paths.shardOf(one)) appendFileSync(paths.blob(name), Buffer.alloc(BLOCK));
  write(one.replace(/\.[0-9a-f]+$/, '.0123456789abcdef'), 2 * BLOCK);
  expect(await start()).toBe(602 * BLOCK);
});

test.each(['', 'not JSON', '{}', '[[1,2,3],["00"]]'])('sums that cannot be read (%j) cost a look at every folder, and nothing else', async (text) => {
  await start();
  writeFileSync(paths.usage, text);
  expect(await start()).toBe(600 * BLOCK);
});
