/** What is synced, and when: a power failure must find every byte and every directory entry that was promised. */
import { existsSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openFilesystem, type FilesystemDriver } from './filesystem.ts';

describe('durability on a filesystem', () => {
  let root: string;
  let synced: string[];
  let driver: FilesystemDriver;

  /** Opens a driver that tells what it syncs, as paths below the root ('' is the root itself). */
  const openWatched = (below = ''): Promise<FilesystemDriver> =>
    openFilesystem({
      root: join(root, below),
      fsync: async (fd) => {
        const path = readlinkSync(`/proc/self/fd/${fd}`);
        synced.push(path.replace(root, '').slice(1).replace(/^%tmp\/.*/, '%tmp/file'));
      },
    });
  const taken = (): string[] => synced.splice(0);

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'umbra-sync-'));
    synced = [];
    driver = await openWatched();
  });
  afterEach(() => rm(root, { recursive: true }));

  test('a put syncs the bytes before they have a name, then every directory that may be new', async () => {
    await driver.put('a/b/c', Buffer.from('x'));
    const [first, ...rest] = taken();
    expect(first).toBe('%tmp/file');
    expect(rest.toSorted()).toEqual(['', 'a', 'a/b']);
  });

  test('a name is given only to what is durable', async () => {
    const named: boolean[] = [];
    const watched = await openFilesystem({ root, fsync: async () => void named.push(existsSync(join(root, 'a/key'))) });
    await watched.put('a/key', Buffer.from('x'), { when: 'absent' });
    await rm(join(root, 'a'), { recursive: true });
    await watched.claim('a/key', Buffer.from('x'));
    expect(named).toEqual([false, true, true, false, true, true]);
  });

  test('directories known to be durable are not synced again, the one that got an entry is', async () => {
    await driver.put('a/b/c', Buffer.from('x'));
    taken();
    await driver.put('a/b/d', Buffer.from('x'));
    expect(taken()).toEqual(['%tmp/file', 'a/b']);
    await driver.put('a/e/f', Buffer.from('x'));
    expect(taken().toSorted()).toEqual(['%tmp/file', 'a', 'a/e']);
  });

  test('a directory that was removed and made again is new, whoever did it', async () => {
    const other = await openWatched();
    await driver.put('a/b/c', Buffer.from('x'));
    await driver.put('keep/me', Buffer.from('x'));
    await other.delete(['a/b/c']);
    await other.put('unrelated/x', Buffer.from('x'), { durable: 'later' });
    await other.put('a/b/d', Buffer.from('x'), { durable: 'later' });
    taken();
    await driver.put('a/b/c', Buffer.from('x'));
    expect(taken().toSorted()).toEqual(['', '%tmp/file', 'a', 'a/b']);
  });

  test('a put for later syncs nothing; the barrier syncs each file once and each directory once', async () => {
    const other = await openWatched();
    await driver.put('a/b/c', Buffer.from('x'), { durable: 'later' });
    await driver.put('a/b/d', Buffer.from('x'), { durable: 'later' });
    await other.put('a/e/f', Buffer.from('x'), { durable: 'later' });
    expect(taken()).toEqual([]);
    await driver.sync(['a/b/c', 'a/b/d', 'a/e/f', 'a/b/absent', 'absent/at/all']);
    expect(taken().toSorted()).toEqual(['', 'a', 'a/b', 'a/b/c', 'a/b/d', 'a/e', 'a/e/f']);
  });

  test('what another process wrote and did not sync is synced with its directories', async () => {
    const other = await openWatched();
    await other.put('x/y/z', Buffer.from('x'), { durable: 'later' });
    await driver.put('x/y/w', Buffer.from('x'));
    expect(taken().toSorted()).toEqual(['', '%tmp/file', 'x', 'x/y']);
    await driver.sync(['x/y/z']);
    expect(taken().toSorted()).toEqual(['x/y', 'x/y/z']);
  });

  test('a claim is durable for the loser, too', async () => {
    const other = await openWatched();
    await driver.claim('log/1', Buffer.from('x'));
    expect(taken().toSorted()).toEqual(['', '%tmp/file', 'log']);
    await other.claim('log/1', Buffer.from('y'));
    expect(taken().toSorted()).toEqual(['', 'log']);
  });

  test('a completed assembly is synced by the barrier, long names and all', async () => {
    const long = 'n'.repeat(250);
    const appender = await driver.assemblies.append(driver.assemblies.create('uploads/1'));
    await appender.write(Buffer.from('x'));
    await driver.assemblies.complete(await appender.finish(), `blobs/${long}`);
    expect(taken()).toEqual([]);
    await driver.sync([`blobs/${long}`]);
    const piece = `blobs/${'n'.repeat(240)}%`;
    expect(taken().toSorted()).toEqual(['', 'blobs', piece, `${piece}/${'n'.repeat(10)}`]);
  });

  test('a failed sync fails the call, and is tried again by the next', async () => {
    let failing = true;
    const calls: number[] = [];
    const fsync = async (fd: number): Promise<void> => {
      calls.push(fd);
      if (failing) throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO', syscall: 'fsync' });
    };
    const failingDriver = await openFilesystem({ root, fsync });
    await driver.put('a/b/c', Buffer.from('x'), { durable: 'later' });
    await expect(failingDriver.sync(['a/b/c'])).rejects.toMatchObject({ failure: 'retryable' });
    await expect(failingDriver.put('a/b/d', Buffer.from('x'))).rejects.toMatchObject({ failure: 'retryable' });
    expect(await driver.head('a/b/d')).toBeUndefined();
    failing = false;
    calls.length = 0;
    await failingDriver.sync(['a/b/c']);
    expect(calls.length).toBe(4);
  });

  test('a root that had to be made is durable itself', async () => {
    await openWatched('new/root');
    expect(taken().toSorted()).toEqual(['', 'new']);
  });

  test('syncs run together, within the limit', async () => {
    let running = 0;
    let most = 0;
    const fsync = async (): Promise<void> => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
    };
    const limited = await openFilesystem({ root, fsync, concurrentSyncs: 2 });
    const keys = Array.from({ length: 20 }, (_, index) => `k/${index}`);
    await Promise.all(keys.map((key) => limited.put(key, Buffer.from('x'))));
    await limited.sync(keys);
    expect(most).toBe(2);
  });
});
