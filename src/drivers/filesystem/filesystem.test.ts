/** The filesystem driver keeps the contract; besides: what lies on the disk, what crashes leave, what it refuses. */
import { link, mkdir, mkdtemp, readdir, readlink, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { driverContract } from '../contract/driver.contract.ts';
import { DriverError } from '../driver.ts';
import { driverError } from './calls.ts';
import { checkFilesystem, openFilesystem } from './filesystem.ts';
import { all, expectFailure, patterned, text, wholeOf } from '../contract/store.contract.ts';

driverContract('filesystem', async () => {
  const root = await mkdtemp(join(tmpdir(), 'umbra-driver-'));
  return { open: () => openFilesystem({ root }), close: () => rm(root, { recursive: true }) };
});

describe('filesystem', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'umbra-driver-'));
  });
  afterEach(() => rm(root, { recursive: true }));

  /** Every file and directory below the root. */
  const onDisk = async (): Promise<string[]> => (await readdir(root, { recursive: true })).toSorted();

  test('a key is the path of its file; a long component is cut into pieces', async () => {
    const driver = await openFilesystem({ root });
    await driver.put('a/b', Buffer.from('x'));
    await driver.put(`${'n'.repeat(500)}/tag`, Buffer.from('y'));
    expect(await onDisk()).toEqual([
      '%tmp', 'a', 'a/b', `${'n'.repeat(240)}%`, `${'n'.repeat(240)}%/${'n'.repeat(240)}%`, `${'n'.repeat(240)}%/${'n'.repeat(240)}%/${'n'.repeat(20)}`,
      `${'n'.repeat(240)}%/${'n'.repeat(240)}%/${'n'.repeat(20)}/tag`,
    ]);
  });

  test('nothing stays on the disk of what was deleted, refused or completed', async () => {
    const driver = await openFilesystem({ root });
    const long = `x/${'n'.repeat(600)}/y`;
    for (const key of ['a/b/c', long]) {
      await driver.put(key, Buffer.from('x'));
      await expectFailure(driver.put(key, Buffer.from('y'), { when: 'absent' }), 'exists');
      await driver.claim(key, Buffer.from('z'));
    }
    const appender = await driver.assemblies.append(driver.assemblies.create('uploads/1'));
    await appender.write(Buffer.from('x'));
    await driver.assemblies.complete(await appender.finish(), 'blobs/1');
    await driver.delete(['a/b/c', long, 'blobs/1']);
    await expectFailure(driver.put('a%b', Buffer.from('x')), 'permanent');
    await driver.check();
    expect(await onDisk()).toEqual(['%tmp']);
  });

  test('files bear the time of the clock, and differ in stamp within one tick of it', async () => {
    const driver = await openFilesystem({ root, clock: () => 1_700_000_000_000 });
    const stats = [];
    for (let round = 0; round < 300; round++) stats.push(await driver.put('tag', Buffer.from('same'), { durable: 'later' }));
    for (let round = 0; round < 100; round++) {
      const appender = await driver.assemblies.append(driver.assemblies.create('uploads/1'));
      await appender.write(Buffer.from('same'));
      stats.push(await driver.assemblies.complete(await appender.finish(), 'tag'));
    }
    expect(new Set(stats.map(({ stamp }) => stamp.slice(stamp.indexOf('-')))).size).toBe(400); // without the inode number
    for (const { modifiedMs } of stats) expect(Math.abs(modifiedMs - 1_700_000_000_000)).toBeLessThan(1.001);
    expect(await driver.head('tag')).toEqual(stats.at(-1));
  });

  test('leftovers of a crash are removed a day later, when a store is opened or on demand', async () => {
    const nowMs = 1_800_000_000_000;
    await mkdir(join(root, '%tmp'));
    const ages = { old: 25, young: 23 };
    for (const [name, hours] of Object.entries(ages)) {
      await writeFile(join(root, '%tmp', name), 'half');
      const seconds = nowMs / 1000 - hours * 3600;
      await utimes(join(root, '%tmp', name), seconds, seconds);
    }
    const driver = await openFilesystem({ root, clock: () => nowMs });
    expect(await onDisk()).toEqual(['%tmp', '%tmp/young']);
    expect(await driver.removeLeftovers(nowMs)).toBe(1);
    expect(await onDisk()).toEqual(['%tmp']);
  });

  test('directories that a crash left empty, and files that are no keys, are not listed', async () => {
    const driver = await openFilesystem({ root });
    await mkdir(join(root, 'a/empty/below'), { recursive: true });
    await mkdir(join(root, `a/${'n'.repeat(240)}%/rest`), { recursive: true });
    await mkdir(join(root, `b/empty`), { recursive: true });
    await writeFile(join(root, 'a/not a key'), 'x');
    await writeFile(join(root, 'b/empty/not%a%key'), 'x');
    await driver.put('a/key', Buffer.from('x'));
    expect(await all(driver.children('a/'))).toEqual([{ name: 'key', leaf: true }]);
    expect(await all(driver.children(''))).toEqual([{ name: 'a', leaf: false }]);
    expect((await all(driver.list(''))).map(({ key }) => key)).toEqual(['a/key']);
    await driver.put('a/empty/below/key', Buffer.from('x'));
    expect(await all(driver.children('a/empty/'))).toEqual([{ name: 'below', leaf: false }]);
  });

  test('a link left beside its claim does no harm', async () => {
    const driver = await openFilesystem({ root });
    await driver.claim('log/1', Buffer.from('one'));
    await link(join(root, 'log/1'), join(root, '%tmp/left'));
    expect(text((await driver.claim('log/1', Buffer.from('two'))).value)).toBe('one');
    await driver.removeLeftovers(Date.now() + 1000);
    expect(text((await driver.get('log/1'))?.bytes)).toBe('one');
  });

  test('no descriptor is left open, whatever fails', async () => {
    const driver = await openFilesystem({ root });
    const open = async (): Promise<number> => {
      const targets = await Promise.all((await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
      return targets.filter((target) => target.startsWith(root)).length;
    };
    await driver.put('a/key', patterned(600_000));
    await wholeOf(driver.open('a/key'));
    await expectFailure(driver.get('a/key', { maxBytes: 1 }), 'permanent');
    await driver.get('a');
    await driver.open('a');
    await expectFailure(driver.put('a/key/below', Buffer.from('x')), 'permanent');
    await expectFailure(driver.put('a', Buffer.from('x')), 'permanent');
    await expectFailure(driver.put('a', Buffer.from('x'), { when: 'absent' }), 'permanent');
    await expectFailure(driver.claim('a', Buffer.from('x')), 'permanent');
    const { assemblies } = driver;
    const state = assemblies.create('uploads/1');
    const superseded = await assemblies.append(state);
    const failing = await assemblies.append(state);
    await expectFailure(superseded.write(Buffer.from('x')), 'superseded');
    await expectFailure(superseded.finish(), 'superseded');
    const next = await assemblies.append(state);
    await expectFailure(failing.finish(), 'superseded');
    const end = await next.finish();
    const again = await assemblies.append(end);
    await again.abandon();
    await wholeOf(assemblies.open(end));
    await expectFailure(assemblies.complete(end, 'a/key/below'), 'permanent');
    expect(await open()).toBe(0);
    expect((await onDisk()).filter((name) => name.startsWith('%tmp/'))).toEqual([]);
  });

  test('bytes that a power failure took from an upload are missed, not made up', async () => {
    const driver = await openFilesystem({ root });
    const appender = await driver.assemblies.append(driver.assemblies.create('uploads/1'));
    await appender.write(Buffer.from('twelve bytes'));
    const state = await appender.finish();
    const [name = ''] = await readdir(join(root, 'uploads/1'));
    await writeFile(join(root, 'uploads/1', name), 'twelve');
    await expectFailure(driver.assemblies.complete(state, 'key'), 'permanent');
    await expectFailure(driver.assemblies.append(state), 'permanent');
    await expectFailure(driver.assemblies.append(state), 'permanent');
    expect(await driver.head('key')).toBeUndefined();
    await driver.assemblies.discard(state);
    expect(await onDisk()).toEqual(['%tmp']);
  });

  test('bytes behind those that the state vouches for are cut off', async () => {
    const driver = await openFilesystem({ root });
    const appender = await driver.assemblies.append(driver.assemblies.create('uploads/1'));
    await appender.write(Buffer.from('one '));
    const state = await appender.finish();
    const [name = ''] = await readdir(join(root, 'uploads/1'));
    await writeFile(join(root, 'uploads/1', name), 'one and more');
    await expectFailure(driver.assemblies.complete(state, 'key'), 'permanent');
    const next = await driver.assemblies.append(state);
    await next.write(Buffer.from('two'));
    await driver.assemblies.complete(await next.finish(), 'key');
    expect(text((await driver.get('key'))?.bytes)).toBe('one two');
  });

  test('a failed write-out of an upload fails its attempt, though the bytes were taken', async () => {
    let failing = false;
    const fsync = async (): Promise<void> => {
      for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
      if (failing) throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO', syscall: 'fsync' });
    };
    const driver = await openFilesystem({ root, fsync });
    const appender = await driver.assemblies.append(driver.assemblies.create('uploads/1'));
    failing = true;
    const chunk = Buffer.alloc(16 * 1024 * 1024);
    await appender.write(chunk);
    await appender.write(chunk);
    await expectFailure(appender.finish(), 'retryable');
    expect(await onDisk()).toEqual([]);
  });

  test('a store makes its root, and says why it cannot', async () => {
    const driver = await openFilesystem({ root: join(root, 'far/below/root') });
    await driver.put('key', Buffer.from('x'));
    expect(text((await driver.get('key'))?.bytes)).toBe('x');
    await writeFile(join(root, 'file'), 'x');
    await expectFailure(openFilesystem({ root: join(root, 'file') }), 'permanent');
    await expectFailure(openFilesystem({ root: join(root, 'file/below') }), 'permanent');
    expect((await stat(join(root, 'file'))).size).toBe(1);
  });

  test('NFS is refused, with the reason; local filesystems are not', () => {
    expect(() => checkFilesystem('/srv/umbra', 0x6969)).toThrow(/\/srv\/umbra is on NFS.*local filesystem/);
    for (const type of [0xef53 /* ext4 */, 0x58465342 /* xfs */, 0x9123683e /* btrfs */, 0x01021994 /* tmpfs */, 0x794c7630 /* overlayfs */]) checkFilesystem('/srv/umbra', type);
  });

  test.each([
    ['ENOSPC', 'full'], ['EDQUOT', 'full'], ['EROFS', 'full'], ['EACCES', 'permanent'], ['ENOTDIR', 'permanent'], ['EISDIR', 'permanent'],
    ['ENAMETOOLONG', 'permanent'], ['EIO', 'retryable'], ['EMFILE', 'retryable'],
  ])('%s means %s', (code, failure) => {
    const cause = Object.assign(new Error(code), { code, syscall: 'open' });
    const error = driverError(cause, 'write some/key');
    expect(error).toBeInstanceOf(DriverError);
    expect(error).toMatchObject({ failure, cause });
    expect(String(error)).toContain('cannot write some/key');
    expect(String(error)).toContain(code);
  });
});
