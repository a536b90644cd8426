/**
 * Disks that are full, read-only, not ours to write, removed or unmounted beneath the tier: no read fails, each is told
 * once, and it goes on later.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { blobOf, MiB, readBlob, Tiers, type Tier } from './disk-tier.fixture.ts';

/** Mounting needs CAP_SYS_ADMIN; without it these tests are skipped. */
function whyNoMount(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root may mount a small filesystem';
  const tried = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', tmpdir()], { encoding: 'utf8' });
  return tried.status === 0 ? undefined : `cannot mount a tmpfs: ${tried.error?.message ?? tried.stderr.trim()}`;
}

const why = whyNoMount();
/** Longer than a disk in trouble is let rest the first time. */
const REST_MS = 31_000;
const FAILS = 'the disk cache fails at writing; blobs come from the store';
const GOOD = 'the disk cache is good again at writing';

describe.skipIf(why !== undefined)(`a disk that fails${why === undefined ? '' : ` (skipped: ${why})`}`, () => {
  const tiers = new Tiers();
  let folder: string;
  let root: string;
  let it: Tier;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'umbra-disk-faults-'));
    root = join(folder, 'root');
    await mkdir(join(folder, 'disk'));
    await mkdir(root);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', join(folder, 'disk')]);
    execFileSync('mount', ['--bind', join(folder, 'disk'), root]);
    it = await tiers.make({ root, maxBytes: 100 * MiB });
    await it.tier.idle();
  });
  afterEach(async () => {
    await tiers.close();
    spawnSync('umount', ['--lazy', root]);
    execFileSync('umount', ['--lazy', join(folder, 'disk')]);
    await rm(folder, { recursive: true });
  });

  const kinds = (tier: Tier = it): string[] => tier.reports.map(({ kind }) => kind);
  /** Puts a blob of its own and reads it; what the tier counted for it. */
  const readNew = async (seed: number, size: number = MiB): Promise<string> => {
    const bytes = blobOf(size, seed);
    const key = await it.store.blob(bytes);
    expect((await readBlob(it.tier, key))?.equals(bytes)).toBe(true);
    await it.tier.idle();
    return key;
  };

  test('a disk smaller than the bound is used as far as it goes', async () => {
    for (let seed = 1; seed <= 12; seed++) await readNew(seed);
    expect(it.counts).toMatchObject({ stored: 12 });
    expect(it.counts.evicted).toBeGreaterThanOrEqual(9);
    expect(kinds()).toEqual([]);
    expect((await it.files()).filter((name) => name.includes('~'))).toEqual([]);
  });

  test('a disk that others fill up gives way, is told once, and is used again', async () => {
    await readNew(1);
    const fill = writeFile(join(root, 'other'), Buffer.alloc(5 * MiB)); // down to the last page
    await expect(fill).rejects.toThrow('ENOSPC');
    for (let seed = 2; seed < 6; seed++) await readNew(seed);
    expect(kinds()).toEqual([FAILS]);
    expect(it.counts).toMatchObject({ stored: 1, failed: 1, passed: 3 });
    it.nowMs += REST_MS;
    await readNew(6); // the other file still leaves too little
    expect(kinds()).toEqual([FAILS]);
    await rm(join(root, 'other'));
    it.nowMs += 2 * REST_MS;
    const key = await readNew(7);
    expect(kinds()).toEqual([FAILS, GOOD]);
    await readBlob(it.tier, key);
    expect(it.counts.hit).toBe(1);
  });

  test('a disk that fills up in the midst of a fill fails no reader of it', async () => {
    const key = await it.store.blob(blobOf(2 * MiB));
    it.store.gate = async (position) => {
      if (position === MiB) await writeFile(join(root, 'other'), Buffer.alloc(5 * MiB)).catch(() => undefined);
    };
    const read = await Promise.all([1, 2, 3].map(() => readBlob(it.tier, key)));
    for (const each of read) expect(each?.equals(blobOf(2 * MiB))).toBe(true);
    await it.tier.idle();
    expect(kinds()).toEqual([FAILS]);
    expect(it.counts).toMatchObject({ failed: 1 });
    expect(await it.files()).toEqual([]);
    expect(it.store.open).toBe(0);
  });

  test('a read-only disk serves what it has, and the rest comes from the store', async () => {
    const key = await readNew(1);
    execFileSync('mount', ['-o', 'remount,ro', join(folder, 'disk')]);
    execFileSync('mount', ['-o', 'remount,bind,ro', root]);
    it.nowMs += 120_000;
    expect((await readBlob(it.tier, key))?.equals(blobOf(MiB, 1))).toBe(true);
    expect(it.counts.hit).toBe(1);
    for (const seed of [2, 3]) await readNew(seed);
    expect(kinds()).toEqual([FAILS]);
    expect(it.reports[0]?.['error']).toMatchObject({ code: 'EROFS' });
    await it.tier.delete([key]); // which the disk cannot follow: nobody asks for a deleted key, but a read must not fail
    const reopened = it.another();
    await reopened.tier.idle();
    expect((await readBlob(reopened.tier, await it.store.blob(blobOf(MiB, 2))))?.equals(blobOf(MiB, 2))).toBe(true);
    execFileSync('mount', ['-o', 'remount,rw', join(folder, 'disk')]);
    execFileSync('mount', ['-o', 'remount,bind,rw', root]);
    it.nowMs += 4 * REST_MS;
    await readNew(4);
    expect(kinds()).toEqual([FAILS, GOOD]);
  });

  test('a damaged blob on a read-only disk is never served, though it cannot be removed', async () => {
    const key = await readNew(1);
    const [name = ''] = await it.files();
    const [shard = ''] = await readdir(join(root, 'v1/blobs'));
    await writeFile(join(root, 'v1/blobs', shard, name), 'not a blob');
    execFileSync('mount', ['-o', 'remount,bind,ro', root]);
    for (let round = 0; round < 3; round++) expect((await readBlob(it.tier, key))?.equals(blobOf(MiB, 1))).toBe(true);
    expect(it.counts.corrupt).toBe(1);
    execFileSync('mount', ['-o', 'remount,bind,rw', root]);
  });

  test('a disk that we may not use is told once', async () => {
    await chmod(join(folder, 'disk'), 0o500);
    await chmod(folder, 0o755);
    process.seteuid?.('nobody');
    try {
      const barred = it.another();
      for (const seed of [1, 2, 3]) {
        const bytes = blobOf(MiB, seed);
        const key = await it.store.blob(bytes);
        expect((await readBlob(barred.tier, key))?.equals(bytes)).toBe(true);
        await barred.tier.idle();
      }
      expect(kinds(barred).toSorted()).toEqual(['the disk cache fails at reading; blobs come from the store', FAILS]);
      for (const report of barred.reports) expect(report['error']).toMatchObject({ code: 'EACCES' });
    } finally {
      process.seteuid?.(0);
    }
  });

  test('a folder that we may not read is told once, and tried again', async () => {
    const key = await readNew(1);
    await chmod(join(root, 'v1/blobs'), 0o000);
    await chmod(folder, 0o755);
    process.seteuid?.('nobody');
    try {
      for (let round = 0; round < 3; round++) expect((await readBlob(it.tier, key))?.equals(blobOf(MiB, 1))).toBe(true);
      expect(kinds()[0]).toBe('the disk cache fails at reading; blobs come from the store');
    } finally {
      process.seteuid?.(0);
      await chmod(join(root, 'v1/blobs'), 0o700);
    }
    it.nowMs += REST_MS;
    expect((await readBlob(it.tier, key))?.equals(blobOf(MiB, 1))).toBe(true);
    expect(kinds()).toContain('the disk cache is good again at reading');
    expect(it.counts.hit).toBe(1);
  });

  test('what is removed beneath it is made again', async () => {
    const key = await readNew(1);
    const held = await it.tier.open(key);
    await rm(join(root, 'v1'), { recursive: true });
    expect((await readBlob(it.tier, key))?.equals(blobOf(MiB, 1))).toBe(true);
    await it.tier.idle();
    await readBlob(it.tier, key);
    expect(it.counts).toMatchObject({ stored: 2, hit: 2 });
    expect(await held?.read?.(Buffer.alloc(MiB), 0)).toBe(MiB);
    await held?.close();
    expect(kinds()).toEqual([]);
  });

  test('what is removed in the midst of a fill fails no reader of it', async () => {
    const key = await it.store.blob(blobOf(2 * MiB));
    it.store.gate = async (position) => {
      if (position === MiB) await rm(join(root, 'v1'), { recursive: true });
    };
    expect((await readBlob(it.tier, key))?.equals(blobOf(2 * MiB))).toBe(true);
    await it.tier.idle();
    it.store.gate = async () => undefined;
    expect((await readBlob(it.tier, key))?.equals(blobOf(2 * MiB))).toBe(true);
    await it.tier.idle();
    expect(it.counts).toMatchObject({ failed: 1, stored: 1 });
  });

  test('where the disk is unmounted, nothing is written to what lies beneath', async () => {
    const key = await readNew(1);
    execFileSync('umount', [root]);
    for (let round = 0; round < 2; round++) expect((await readBlob(it.tier, key))?.equals(blobOf(MiB, 1))).toBe(true);
    await readNew(2);
    expect(await readdir(root)).toEqual([]);
    expect(kinds()).toEqual([FAILS]);
    expect(String(it.reports[0]?.['error'])).toContain('no longer mounted');
    execFileSync('mount', ['--bind', join(folder, 'disk'), root]);
    it.nowMs += REST_MS;
    expect((await readBlob(it.tier, key))?.equals(blobOf(MiB, 1))).toBe(true);
    expect(it.counts.hit).toBe(1);
    await readNew(3);
    expect(kinds()).toEqual([FAILS, GOOD]);
  });

  test('a root that is no folder costs nothing but the cache', async () => {
    await writeFile(join(folder, 'file'), 'x');
    const odd = await tiers.make({ root: join(folder, 'file') }, it.store);
    const key = await it.store.blob(blobOf(MiB));
    for (let round = 0; round < 2; round++) expect((await readBlob(odd.tier, key))?.equals(blobOf(MiB))).toBe(true);
    expect(kinds(odd)).toEqual([FAILS]);
  });
});
