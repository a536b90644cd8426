/**
 * The system calls that the filesystem driver makes, as promises over plain file descriptors: half the cost of
 * `node:fs/promises` and its FileHandles for small files. Whoever opens closes.
 */
import fs, { type Stats } from 'node:fs';
import { promisify } from 'node:util';
import { DriverError, type DriverFailure, type Stat } from '../driver.ts';

export const open: typeof fs.open.__promisify__ = promisify(fs.open);
export const close: typeof fs.close.__promisify__ = promisify(fs.close);
export const read: typeof fs.read.__promisify__ = promisify(fs.read);
export const write: typeof fs.write.__promisify__ = promisify(fs.write);
export const writev: typeof fs.writev.__promisify__ = promisify(fs.writev);
export const stat: typeof fs.stat.__promisify__ = promisify(fs.stat);
export const futimes: typeof fs.futimes.__promisify__ = promisify(fs.futimes);
export const utimes: typeof fs.utimes.__promisify__ = promisify(fs.utimes);
export const ftruncate: typeof fs.ftruncate.__promisify__ = promisify(fs.ftruncate);
export const fsync: typeof fs.fsync.__promisify__ = promisify(fs.fsync);
export const rename: typeof fs.rename.__promisify__ = promisify(fs.rename);
export const link: typeof fs.link.__promisify__ = promisify(fs.link);
export const unlink: typeof fs.unlink.__promisify__ = promisify(fs.unlink);
export const mkdir: typeof fs.mkdir.__promisify__ = promisify(fs.mkdir);
export const rmdir: typeof fs.rmdir.__promisify__ = promisify(fs.rmdir);

/** Whether a call failed with one of these codes, e.g. `ENOENT`. */
export function failedWith(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code);
}

/** The value, or undefined where nothing stands at the path. A file where a directory was expected means the same: no key lies below a key. */
export async function orAbsent<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (failedWith(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** Does the call; false where nothing stood at the path. */
export async function ifThere(call: Promise<unknown>): Promise<boolean> {
  return (await orAbsent(call.then(() => true))) ?? false;
}

/** Looks at a path without leaving the thread: two microseconds on a warm cache, where the thread pool takes thirty. */
export function statNow(path: string): Stats | undefined {
  try {
    return fs.statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (failedWith(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** What a listing, `head` and `put` say of a file. Nobody writes into a file once it has a key, so these name its bytes. */
export function statOf(stats: Stats): Stat {
  return { size: stats.size, modifiedMs: stats.mtimeMs, stamp: stampOf(stats) };
}

/**
 * An inode number is used again at once, and the kernel's clock for files stands still for milliseconds; that is why
 * the driver sets a modification time of its own, unique to the microsecond, on every file it puts in place.
 */
export function stampOf(stats: Stats): string {
  return `${stats.ino}-${stats.size}-${stats.mtimeMs}`;
}

const FAILURES: Readonly<Record<string, readonly [DriverFailure, string]>> = {
  ENOSPC: ['full', 'no space left in the store'],
  EDQUOT: ['full', 'the quota of the store is used up'],
  EROFS: ['full', 'the store is on a read-only filesystem'],
  ENOTDIR: ['permanent', 'a key lies where a directory is needed'],
  EISDIR: ['permanent', 'other keys lie below this one'],
  EEXIST: ['permanent', 'something else lies there'],
  EACCES: ['permanent', 'the store does not permit it'],
  EPERM: ['permanent', 'the store does not permit it'],
  ENAMETOOLONG: ['permanent', 'the key is longer than a path may be'],
  ELOOP: ['permanent', 'the store holds a loop of links'],
  EXDEV: ['permanent', 'the store spans several filesystems'],
  ENOTSUP: ['permanent', 'the filesystem cannot do it'],
  ENOSYS: ['permanent', 'the filesystem cannot do it'],
  EINVAL: ['permanent', 'the filesystem cannot do it'],
  EFBIG: ['permanent', 'larger than a file may be'],
};

/** Says what a failed call means for the driver's caller; errors that no call caused are given back as they are. */
export function driverError(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return error;
  const [failure, meaning] = FAILURES[String(error.code)] ?? ['retryable', 'the filesystem failed'];
  return new DriverError(failure, `cannot ${doing}: ${meaning} (${String(error.code)} from ${String(error.syscall)})`, { cause: error, byQuota: error.code === 'EDQUOT' });
}
