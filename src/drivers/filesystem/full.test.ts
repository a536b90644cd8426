/** A full disk and a read-only one, each a small tmpfs of its own. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openFilesystem, type FilesystemDriver } from './filesystem.ts';
import { all, expectFailure, patterned, text, wholeOf } from '../contract/store.contract.ts';

const MiB = 1024 * 1024;

/** Mounting needs CAP_SYS_ADMIN; without it these tests are skipped. */
function whyNoMount(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root may mount a small filesystem';
  const tried = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', tmpdir()], { encoding: 'utf8' });
  return tried.status === 0 ? undefined : `cannot mount a tmpfs: ${tried.error?.message ?? tried.stderr.trim()}`;
}

const why = whyNoMount();

describe.skipIf(why !== undefined)(`on a full disk${why === undefined ? '' : ` (skipped: ${why})`}`, () => {
  let root: string;
  let driver: FilesystemDriver;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'umbra-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', root]);
    driver = await openFilesystem({ root });
    await driver.put('kept/key', patterned(100_000));
  });
  afterEach(async () => {
    execFileSync('umount', ['--lazy', root]);
    await rm(root, { recursive: true });
  });
  const onDisk = async (): Promise<string[]> => (await readdir(root, { recursive: true })).toSorted();

  test('puts and claims say so and leave nothing behind; what is there is served', async () => {
    for (const durable of ['now', 'later'] as const) {
      await expectFailure(driver.put('a/big', Buffer.alloc(5 * MiB), { durable }), 'full');
      await expectFailure(driver.put('a/big', Buffer.alloc(5 * MiB), { durable, when: 'absent' }), 'full');
    }
    await expectFailure(driver.claim('a/big', Buffer.alloc(5 * MiB)), 'full');
    expect(await onDisk()).toEqual(['%tmp', 'kept', 'kept/key']);
    expect((await driver.get('kept/key'))?.bytes.equals(patterned(100_000))).toBe(true);
    expect((await driver.put('a/small', Buffer.from('x'))).size).toBe(1);
  });

  test('a put that does not fit leaves what stood at its key', async () => {
    await expectFailure(driver.put('kept/key', Buffer.alloc(5 * MiB)), 'full');
    expect((await driver.get('kept/key'))?.bytes.equals(patterned(100_000))).toBe(true);
  });

  test('an upload fails where the disk is full, and gives its space back', async () => {
    const first = await driver.assemblies.append(driver.assemblies.create('uploads/1'));
    await first.write(patterned(MiB));
    const state = await first.finish();
    const attempt = await driver.assemblies.append(state);
    const writes = await Promise.allSettled(Array.from({ length: 5 }, () => attempt.write(Buffer.alloc(MiB))));
    const failed = writes.filter(({ status }) => status === 'rejected');
    expect(failed.length).toBeGreaterThan(0);
    for (const { reason } of failed as PromiseRejectedResult[]) await expectFailure(Promise.reject(reason), 'full');
    await expectFailure(attempt.write(Buffer.from('x')), 'full');
    await expectFailure(attempt.finish(), 'full');
    await driver.put('fits/again', Buffer.alloc(2 * MiB));
    expect((await wholeOf(driver.assemblies.open(state)))?.equals(patterned(MiB))).toBe(true);
    const again = await driver.assemblies.append(state);
    await again.write(Buffer.from('x'));
    await driver.assemblies.complete(await again.finish(), 'blob');
    expect((await driver.head('blob'))?.size).toBe(MiB + 1);
  });

  test('taking a dead attempt over fails without losing the upload', async () => {
    const first = await driver.assemblies.append(driver.assemblies.create('uploads/1'));
    await first.write(patterned(MiB));
    const state = await first.finish();
    const dead = await driver.assemblies.append(state);
    await driver.put('filler', Buffer.alloc(2.5 * MiB));
    await expectFailure(driver.assemblies.append(state), 'full');
    await driver.delete(['filler']);
    const next = await driver.assemblies.append(state);
    await next.write(Buffer.from('x'));
    await driver.assemblies.complete(await next.finish(), 'blob');
    expect((await wholeOf(driver.open('blob')))?.equals(Buffer.concat([patterned(MiB), Buffer.from('x')]))).toBe(true);
    await dead.abandon();
    expect(await onDisk()).toEqual(['%tmp', 'blob', 'kept', 'kept/key']);
  });

  test('the check fails, and passes when there is room again', async () => {
    await driver.check();
    const filler = await driver.assemblies.append(driver.assemblies.create('uploads/1'));
    const fill = async (): Promise<void> => {
      for (;;) await filler.write(Buffer.alloc(MiB)); // the last one is taken in part, down to the last page
    };
    await expectFailure(fill(), 'full');
    await expectFailure(driver.check(), 'full');
    expect(text((await driver.get('kept/key'))?.bytes)?.length).toBeGreaterThan(0);
    await filler.abandon();
    await driver.check();
  });

  test('a read-only store is served, and says that it is', async () => {
    execFileSync('mount', ['-o', 'remount,ro', root]);
    await expect(driver.put('kept/key', Buffer.from('x'))).rejects.toThrow(/kept\/key.*read-only filesystem/);
    await expectFailure(driver.put('a/b', Buffer.from('x')), 'full');
    await expectFailure(driver.check(), 'full');
    await expectFailure(driver.delete(['kept/key']), 'full');
    const reopened = await openFilesystem({ root });
    expect((await reopened.get('kept/key'))?.bytes.equals(patterned(100_000))).toBe(true);
    expect((await all(reopened.list(''))).map(({ key }) => key)).toEqual(['kept/key']);
    execFileSync('mount', ['-o', 'remount,rw', root]);
  });
});
