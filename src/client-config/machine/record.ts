/**
 * What was there before, so that it can be put back: one file, written before anything else is touched and removed after
 * everything else is back. It may hold other people's logins, so only its owner may read it.
 */
import type { ServiceNeed, Undo } from '../change.ts';
import type { ClientName } from '../request.ts';
import { Refused } from '../request.ts';
import type { Disk, FileState } from './disk.ts';
import type { Owner } from './identity.ts';

export const STATE_FOLDER = '/var/lib/umbra-client-config';
const FILE = `${STATE_FOLDER}/record.json`;

export interface MachineRecord {
  readonly entries: readonly Entry[];
  /** Folders that are there for our sake, outermost first. */
  readonly made: readonly MadeFolder[];
  /** Services that have not been told of what changed. */
  readonly due: readonly ServiceNeed[];
}

export interface MadeFolder {
  readonly path: string;
  readonly as?: Owner;
}

export interface Entry {
  /** Where it is, links followed. */
  readonly path: string;
  readonly clients: readonly ClientName[];
  /** Undefined: there was no file. */
  readonly before: FileState | undefined;
  /** In whose home it is, if it is a login: they write there, not root. */
  readonly as?: Owner;
  /** Who must be told when it changes. */
  readonly needs?: ServiceNeed;
  /** What we may have left there, newest first: more than one where a process died. */
  readonly left: readonly Left[];
}

export interface Left {
  readonly sha256: string;
  readonly mode: number;
  readonly undo: Undo;
}

export const NO_RECORD: MachineRecord = { entries: [], made: [], due: [] };

interface Stored {
  readonly version: 1;
  readonly entries: readonly (Omit<Entry, 'before'> & { readonly before: (Omit<FileState, 'bytes'> & { readonly base64: string }) | null })[];
  /** A path alone was written by versions that knew of no homes. */
  readonly made: readonly (string | MadeFolder)[];
  readonly due: readonly ServiceNeed[];
}

export function readRecord(disk: Disk): MachineRecord {
  const text = disk.read(FILE)?.bytes.toString();
  if (text === undefined) return NO_RECORD;
  const stored = JSON.parse(text) as Stored; // nobody else writes it
  if (stored.version !== 1) throw new Refused(`${FILE} is of a later version of Umbra: use that one`);
  return {
    made: stored.made.map((folder) => (typeof folder === 'string' ? { path: folder } : folder)),
    due: stored.due,
    entries: stored.entries.map(({ before, ...entry }) => ({ ...entry, before: before === null ? undefined : { bytes: Buffer.from(before.base64, 'base64'), mode: before.mode, uid: before.uid, gid: before.gid } })),
  };
}

export function writeRecord(disk: Disk, { entries, made, due }: MachineRecord, owner: Owner): void {
  if (!disk.exists(STATE_FOLDER)) disk.makeFolder(STATE_FOLDER, 0o700);
  const stored: Stored = {
    version: 1,
    entries: entries.map(({ before, ...entry }) => ({ ...entry, before: before === undefined ? null : { base64: before.bytes.toString('base64'), mode: before.mode, uid: before.uid, gid: before.gid } })),
    made,
    due,
  };
  disk.write(FILE, { bytes: Buffer.from(`${JSON.stringify(stored, undefined, 1)}\n`), mode: 0o600, ...owner });
}

/** Also what a process that died on its way here has left. */
export function removeRecord(disk: Disk): void {
  if (!disk.exists(STATE_FOLDER)) return;
  disk.removeTemporaryOf(FILE);
  if (disk.exists(FILE)) disk.remove(FILE);
  disk.removeEmptyFolder(STATE_FOLDER);
}
