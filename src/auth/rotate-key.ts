/**
 * A new signing key in front of the others of a key file. It signs once all nodes know it; those before it go on
 * verifying until whatever they signed has ended, and are then left out of the file. Servers take the file by themselves.
 */
import { chmod, chown, open, readFile, realpath, rename, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { KEY_FILE, keyRecords, keySetText, newKey, type KeyRecord } from './key.ts';
import { REFRESH_SECONDS } from './tokens.ts';

export interface RotationOptions {
  /** The new key signs from so much later on; by then, every node must have the file. */
  readonly afterMs: number;
  /** Takes the other keys out, which ends all logins and tokens made with them. */
  readonly revoke: boolean;
}

export interface RotationDeps {
  readonly nowMs: () => number;
  readonly randomBytes: (size: number) => Buffer;
}

export interface Rotation {
  readonly kid: string;
  readonly signsFromMs: number;
  /** How many older keys still verify. */
  readonly older: number;
  /** When the last of them ends; undefined where there are none. */
  readonly olderEndMs: number | undefined;
}

/** After a key's last token has ended by its own clock: other nodes' clocks. */
const MARGIN_SECONDS = 3600;

/** @throws Error naming the file, where there is none, it cannot be used, or cannot be written */
export async function rotateKey(path: string, { afterMs, revoke }: RotationOptions, { nowMs, randomBytes }: RotationDeps): Promise<Rotation> {
  const now = Math.floor(nowMs() / 1000);
  const nbf = revoke ? now : now + Math.ceil(afterMs / 1000);
  const ends = nbf + REFRESH_SECONDS + MARGIN_SECONDS;
  const key = { ...newKey(randomBytes), nbf };
  let older: readonly KeyRecord[] = [];
  await replaced(path, (text) => {
    const living = keyRecords(text).filter(({ exp }) => exp === undefined || exp > now);
    // One that a key before it took over from has its end already.
    older = revoke ? [] : living.map((record) => ({ ...record, exp: Math.min(record.exp ?? ends, ends) }));
    return keySetText([key, ...older]);
  });
  const last = older.reduce((latest, { exp = 0 }) => Math.max(latest, exp), 0);
  return { kid: key.kid, signsFromMs: nbf * 1000, older: older.length, olderEndMs: older.length === 0 ? undefined : last * 1000 };
}

/** A new file in the place of the old, with its owner and mode. A reader sees the one or the other, and two writers do not meet. */
async function replaced(named: string, change: (text: string) => string): Promise<void> {
  let draft: string | undefined;
  try {
    const path = await realpath(named);
    const claimed = `${path}.new`;
    await using file = await open(claimed, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'EEXIST' ? new Error(`${claimed} is there: another rotation is at work, or did not end; then remove it`, { cause: error }) : error;
    });
    draft = claimed;
    const { uid, gid, mode } = await stat(path);
    await file.writeFile(change(await readFile(path, 'utf8')));
    await file.sync();
    await chown(draft, uid, gid);
    await chmod(draft, mode & 0o777);
    await rename(draft, path);
    draft = undefined;
    await using folder = await open(dirname(path), 'r');
    await folder.sync();
  } catch (error) {
    throw new Error(`${KEY_FILE} ${named} cannot be changed: ${error instanceof Error ? error.message : 'unknown reason'}`, { cause: error });
  } finally {
    if (draft !== undefined) await unlink(draft);
  }
}
