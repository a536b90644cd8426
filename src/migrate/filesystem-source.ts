/** Reads a tree of files that another program wrote, as they lie there. Never writes. */
import type { Stats } from 'node:fs';
import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { DriverError, type Source, type Stat } from '../drivers/driver.ts';
import type { ReadableStore } from './source-store.ts';

/** Bytes read at once. */
const CHUNK = 1024 * 1024;

export function filesystemSource(root: string): ReadableStore {
  return {
    async head(key) {
      const found = await unlessAbsent(stat(join(root, key)));
      return found?.isFile() === true ? statOf(found) : undefined;
    },

    async get(key, { maxBytes = 16 * CHUNK } = {}) {
      const file = await openFile(join(root, key));
      if (file === undefined) return undefined;
      try {
        const { size } = file.stat;
        if (size > maxBytes) throw new DriverError('permanent', `it has ${size} bytes: expected at most ${maxBytes}`);
        return { ...file.stat, bytes: await file.handle.readFile() };
      } finally {
        await file.handle.close();
      }
    },

    async open(key): Promise<Source | undefined> {
      const file = await openFile(join(root, key));
      if (file === undefined) return undefined;
      return { stat: file.stat, stream: (range, options) => read(file.handle, range, options?.signal), close: () => file.handle.close() };
    },

    async *children(prefix, { signal } = {}) {
      // Sorted, as drivers give them: what a run says does not depend on the filesystem.
      const entries = (await unlessAbsent(readdir(join(root, prefix), { withFileTypes: true }))) ?? [];
      const found = entries.filter((entry) => entry.isDirectory() || entry.isFile()).map((entry) => ({ name: entry.name, leaf: entry.isFile() }));
      for (const child of found.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
        signal?.throwIfAborted();
        yield child;
      }
    },

    close: () => Promise.resolve(),
  };
}

async function openFile(path: string): Promise<{ readonly handle: FileHandle; readonly stat: Stat } | undefined> {
  const handle = await unlessAbsent(open(path, 'r'));
  if (handle === undefined) return undefined;
  try {
    const found = await handle.stat();
    if (found.isFile()) return { handle, stat: statOf(found) };
  } catch (error) {
    await handle.close();
    throw error;
  }
  await handle.close();
  return undefined;
}

async function* read(handle: FileHandle, range: { readonly start: number; readonly end: number }, signal?: AbortSignal): AsyncGenerator<Buffer> {
  for (let at = range.start; at <= range.end; ) {
    signal?.throwIfAborted();
    // A fresh one each time: chunks are the consumer's to keep.
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, range.end + 1 - at));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) throw new Error(`it ends after ${at} bytes, of ${range.end + 1}`);
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}

function statOf({ size, mtimeMs, ino }: Stats): Stat {
  return { size, modifiedMs: Math.trunc(mtimeMs), stamp: `${ino}-${mtimeMs}-${size}` };
}

async function unlessAbsent<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // node:fs throws nothing else
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
