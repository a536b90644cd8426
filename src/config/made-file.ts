/** Files that a configuration names and that are made on first start: keys, certificates. Whole or not there at all, for the owner only. */
import { link, open, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface MadeFile {
  readonly path: string;
  /** As messages call it, e.g. `signing key file`. */
  readonly what: string;
  /** Asked where there is no file yet. */
  readonly make: () => string;
  readonly randomBytes: (size: number) => Buffer;
}

/**
 * Several processes may start at once: each writes a file of its own, and whoever links it first has made that of all.
 * A reader sees a whole file or none. @throws Error naming the file
 */
export async function makeFileOnce({ path, what, make, randomBytes }: MadeFile): Promise<void> {
  if (await exists(path)) return;
  const draft = `${path}.${randomBytes(8).toString('hex')}.tmp`;
  const text = make();
  try {
    try {
      await using file = await open(draft, 'wx', 0o600);
      await file.writeFile(text);
      await file.sync();
    } catch (error) {
      throw new Error(`${what} ${path} cannot be made: ${error instanceof Error ? error.message : 'unknown reason'}`, { cause: error });
    }
    await link(draft, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw new Error(`${what} ${path} cannot be made: ${error.message}`, { cause: error });
    });
    await using folder = await open(dirname(path), 'r');
    await folder.sync();
  } finally {
    await unlink(draft).catch(() => undefined); // where it was never made
  }
}

/** Anything but absence (no permission, say) is told by the reading that follows. */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'; // fs rejects with errno errors
  }
}
