/**
 * A small file that is read at the start and again whenever it changed: signing keys, htpasswd. A version that cannot
 * be read or parsed stops the start; later it is logged and the one before stays in force.
 */
import { open, stat } from 'node:fs/promises';
import type { BigIntStats } from 'node:fs';

/** What of the log is used here. */
export interface AuthLog {
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface ReloadedFile<T> {
  readonly value: T;
  /** Counts up with each version taken. */
  readonly version: number;
  /** Takes a changed file; never rejects. Looks at most once per `LOOK_MS`: between looks it costs next to nothing. */
  refresh(): Promise<void>;
  /** Takes the file as it stands. Rejects where it cannot be. */
  reload(): Promise<void>;
}

export interface ReloadedFileOptions<T> {
  readonly path: string;
  /** As messages call it, e.g. `signing key file`. */
  readonly what: string;
  /** Throws Error saying what is wrong with the text, without repeating it. */
  readonly parse: (text: string, stats: BigIntStats) => T;
  readonly nowMs: () => number;
  readonly log: AuthLog;
}

const LOOK_MS = 1000;
const DONE: Promise<void> = Promise.resolve();

/** @throws Error naming the file */
export async function openReloadedFile<T>(options: ReloadedFileOptions<T>): Promise<ReloadedFile<T>> {
  const { path, what, nowMs, log } = options;
  let current = await read(options);
  let version = 1;
  let lookedMs = nowMs();
  let looking: Promise<void> | undefined;
  let complainedOf = ''; // the stamp of the version that was logged as unusable

  const take = async (): Promise<void> => {
    current = await read(options);
    version += 1;
    complainedOf = '';
  };
  const look = async (): Promise<void> => {
    let stamp = 'absent';
    try {
      stamp = stampOf(await stat(path, { bigint: true }));
      if (stamp !== current.stamp) await take();
    } catch (error) {
      if (complainedOf !== stamp) log.error({ err: error, file: path }, `changed ${what} cannot be used: the one before stays in force`);
      complainedOf = stamp;
    }
  };
  return {
    get value() {
      return current.value;
    },
    get version() {
      return version;
    },
    refresh() {
      if (looking !== undefined) return looking;
      const now = nowMs();
      if (Math.abs(now - lookedMs) < LOOK_MS) return DONE;
      lookedMs = now;
      looking = look().finally(() => (looking = undefined));
      return looking;
    },
    reload: take,
  };
}

async function read<T>({ path, what, parse }: ReloadedFileOptions<T>): Promise<{ readonly value: T; readonly stamp: string }> {
  let text: string;
  let stats: BigIntStats;
  try {
    await using file = await open(path, 'r');
    stats = await file.stat({ bigint: true }); // before the text: a write in between shows at the next look
    text = await file.readFile('utf8');
  } catch (error) {
    throw new Error(`${what} ${path} cannot be read: ${error instanceof Error ? error.message : 'unknown reason'}`, { cause: error });
  }
  try {
    return { value: parse(text, stats), stamp: stampOf(stats) };
  } catch (error) {
    throw new Error(`${what} ${path} cannot be used: ${error instanceof Error ? error.message : 'unknown reason'}`, { cause: error });
  }
}

function stampOf({ ino, size, mtimeNs }: BigIntStats): string {
  return `${ino}:${size}:${mtimeNs}`;
}
