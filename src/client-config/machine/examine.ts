/** What is to be written where, found out before anything is: what stands there, what of it is ours, what it becomes. */
import { createHash } from 'node:crypto';
import type { ServiceNeed, Undo } from '../change.ts';
import { withoutJsonKeys } from '../merge/json-keys.ts';
import { withoutSwaps } from '../merge/toml-text.ts';
import type { PlannedChange } from '../plan.ts';
import { Refused } from '../request.ts';
import type { ClientName } from '../request.ts';
import type { Disk, FileState } from './disk.ts';
import type { Owner } from './identity.ts';
import type { Entry, MachineRecord } from './record.ts';

export interface FileWork {
  readonly path: string;
  readonly now: FileState | undefined;
  /** Undefined: no file. */
  readonly becomes: FileState | undefined;
  /** What is remembered of it from now on; undefined: nothing, since nothing of ours is left there. */
  readonly entry: Entry | undefined;
  readonly needs: ServiceNeed | undefined;
  readonly secret: boolean;
  /** In whose home it is. */
  readonly as: Owner | undefined;
}

/** Whose the files are that are made. */
export interface Owners {
  readonly machine: Owner;
  /** Those in the home of whom the login is for. */
  readonly home: Owner;
}

export interface Examined {
  readonly work: readonly FileWork[];
  /** Why not, for each file that cannot be. */
  readonly refusals: readonly string[];
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function sameFile(one: FileState | undefined, other: FileState | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return one.bytes.equals(other.bytes) && one.mode === other.mode;
}

/** For `apply`: these clients get these changes, and lose what they had besides. */
export function examineApply(disk: Disk, record: MachineRecord, changes: readonly PlannedChange[], clients: readonly ClientName[], owners: Owners): Examined {
  const wanted = changes.map((change) => ({ change, path: disk.resolve(change.path) }));
  const kept = record.entries.filter(({ path }) => !wanted.some((one) => one.path === path));
  return collect([
    ...wanted.map(({ change, path }) => () => changed(disk, path, change, record.entries.find((entry) => entry.path === path), clients, owners)),
    ...kept.map((entry) => () => {
      const others = entry.clients.filter((client) => !clients.includes(client));
      if (others.length === entry.clients.length) return undefined;
      if (others.length === 0) return restored(disk, entry);
      const now = disk.read(entry.path);
      return { path: entry.path, now, becomes: now, entry: { ...entry, clients: others }, needs: undefined, secret: false, as: entry.as };
    }),
  ]);
}

/** For `revert`. */
export function examineRevert(disk: Disk, record: MachineRecord): Examined {
  return collect(record.entries.map((entry) => () => restored(disk, entry)));
}

function collect(questions: readonly (() => FileWork | undefined)[]): Examined {
  const work: FileWork[] = [];
  const refusals: string[] = [];
  for (const question of questions) {
    try {
      const answer = question();
      if (answer !== undefined) work.push(answer);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refusals.push(error.message);
    }
  }
  return { work, refusals };
}

function changed(disk: Disk, path: string, change: PlannedChange, entry: Entry | undefined, clients: readonly ClientName[], owners: Owners): FileWork {
  const as = change.inHome ? owners.home : undefined;
  const owner = as ?? owners.machine;
  const now = disk.read(path);
  if (as !== undefined && now !== undefined && now.uid !== as.uid) throw new Refused(`${path} belongs to user ${now.uid}, so user ${as.uid}, in whose home it is, could not read the login: give it to them (chown), or move it away`);
  const before = withoutOurs(path, now, entry);
  const text = before === undefined ? undefined : textOf(path, before.bytes);
  const merged = change.merge(text);
  if (merged.text === text) return { path, now, becomes: before, entry: undefined, needs: change.needs, secret: change.secret, as };
  const mode = before === undefined ? change.mode : change.secret ? before.mode & 0o700 : before.mode;
  const becomes: FileState = { bytes: Buffer.from(merged.text), mode, uid: before?.uid ?? owner.uid, gid: before?.gid ?? owner.gid };
  const others = entry?.clients.filter((client) => !clients.includes(client)) ?? [];
  if (others.length > 0 && !sameFile(now, becomes)) throw new Refused(`${path} says something else for ${others.join(', ')}: apply for ${[...change.clients, ...others].join(',')} at once`);
  const next: Entry = { path, clients: [...new Set([...others, ...change.clients])], before, left: [{ sha256: sha256(becomes.bytes), mode, undo: merged.undo }], ...(as && { as }), ...(change.needs && { needs: change.needs }) };
  return { path, now, becomes, entry: next, needs: change.needs, secret: change.secret, as };
}

function restored(disk: Disk, entry: Entry): FileWork {
  const now = disk.read(entry.path);
  const secret = [now, entry.before].some((state) => state !== undefined && (state.mode & 0o077) === 0);
  return { path: entry.path, now, becomes: withoutOurs(entry.path, now, entry), entry: undefined, needs: entry.needs, secret, as: entry.as };
}

/** The file as it would be had we never been there. @throws Refused where our part cannot be told from others' */
function withoutOurs(path: string, now: FileState | undefined, entry: Entry | undefined): FileState | undefined {
  if (entry === undefined || now === undefined) return now;
  const { before, left } = entry;
  const ours = left.find((one) => one.sha256 === sha256(now.bytes));
  // A mode that somebody set since stays.
  if (ours !== undefined) return before === undefined ? undefined : { ...before, mode: now.mode === ours.mode ? before.mode : now.mode };
  if (before !== undefined && now.bytes.equals(before.bytes)) return now;
  const text = textOf(path, now.bytes);
  const without = takeOut(path, text, left.map(({ undo }) => undo));
  if (before === undefined && /^\s*(?:\{\s*\})?\s*$/.test(without)) return undefined;
  return { ...now, bytes: Buffer.from(without), ...(before !== undefined && left.some(({ mode }) => mode === now.mode) && { mode: before.mode }) };
}

/** Tries each of what we may have left. */
function takeOut(path: string, text: string, undos: readonly Undo[]): string {
  let failure: Refused | undefined;
  for (const undo of undos) {
    try {
      const without = takeOutOne(path, text, undo);
      if (without !== text) return without;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return text;
}

function takeOutOne(path: string, text: string, undo: Undo): string {
  switch (undo.kind) {
    case 'whole':
      throw new Refused(`${path} was changed since it was written here: move it away if nothing of it is wanted, else to a name of its own, then try again`);
    case 'text':
      return withoutSwaps(text, undo.swaps, path);
    case 'json':
      return withoutJsonKeys(text, undo, path);
  }
}

function textOf(path: string, bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new Refused(`${path} is no UTF-8 text, so nothing can be added to it`, { cause: error });
  }
}
