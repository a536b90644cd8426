/**
 * Writes what was examined. The record goes first and says of each file what was there and what comes there, so that
 * whoever comes after a process that died, at any step, can go on forwards or backwards.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ServiceNeed } from '../change.ts';
import type { Disk } from './disk.ts';
import { sameFile } from './examine.ts';
import type { FileWork } from './examine.ts';
import type { Owner } from './identity.ts';
import { removeRecord, writeRecord } from './record.ts';
import type { Entry, MachineRecord, MadeFolder } from './record.ts';
import { Refused } from '../request.ts';

/** Who must be told of what comes to differ, or has not been told of what came to before. */
export function dueAfter(before: MachineRecord, work: readonly FileWork[]): readonly ServiceNeed[] {
  const needs = work.filter(({ now, becomes }) => !sameFile(now, becomes)).flatMap(({ needs: need }) => need ?? []);
  return [...before.due, ...needs].filter((need, i, all) => all.findIndex((one) => one.service === need.service && one.action === need.action && one.unit === need.unit) === i);
}

/** @returns the record as it is now: nobody has been told yet */
export function carryOut(disk: Disk, before: MachineRecord, work: readonly FileWork[], owner: Owner): MachineRecord {
  const due = dueAfter(before, work);
  const writes = work.filter(({ now, becomes }) => !sameFile(now, becomes));
  const settled = settle(before, work);
  const missing = writes.flatMap(({ path, becomes, as }) => (becomes === undefined ? [] : disk.missingFolders(path).map((folder): MadeFolder => ({ path: folder, ...(as && { as }) }))));
  const made = [...before.made, ...missing].filter(({ path }, i, all) => all.findIndex((one) => one.path === path) === i).toSorted((a, b) => depth(a) - depth(b));
  if (writes.length === 0 && same(before, { ...settled, made, due })) return before;

  const intent = before.entries.map((entry) => both(entry, settled.entries.find(({ path }) => path === entry.path)));
  const fresh = settled.entries.filter(({ path }) => !before.entries.some((entry) => entry.path === path));
  writeRecord(disk, { entries: [...intent, ...fresh], made, due }, owner);

  for (const { path, as } of missing) if (!disk.exists(path)) disk.makeFolder(path, as === undefined ? 0o755 : 0o700, as);
  for (const { path, now, becomes, as } of writes) {
    // Somebody may have written since it was examined.
    if (!sameFile(disk.read(path), now)) throw new Refused(`${path} changes at this moment: try again`);
    if (becomes === undefined) disk.remove(path, as);
    else disk.write(path, becomes, as);
  }
  for (const { path, as } of work) disk.removeTemporaryOf(path, as);
  const stay = made.toReversed().filter(({ path, as }) => !disk.removeEmptyFolder(path, as)).toReversed();
  const after: MachineRecord = { entries: settled.entries, made: stay, due };
  writeRecord(disk, after, owner);
  return after;
}

/** Everybody who must be told has been. */
export function conclude(disk: Disk, record: MachineRecord, owner: Owner): void {
  if (record.entries.length === 0) removeRecord(disk);
  else if (record.due.length > 0) writeRecord(disk, { ...record, due: [] }, owner);
}

function settle(before: MachineRecord, work: readonly FileWork[]): { readonly entries: readonly Entry[] } {
  const worked = new Map(work.map((one) => [one.path, one]));
  const old = before.entries.flatMap((entry) => (worked.has(entry.path) ? [] : [entry]));
  return { entries: [...old, ...work.flatMap(({ entry }) => entry ?? [])] };
}

/** While it is not known how far the process came, either may be there. */
function both(entry: Entry, next: Entry | undefined): Entry {
  if (next === undefined) return entry;
  return { ...next, left: [...next.left, ...entry.left.filter(({ sha256 }) => next.left.every((one) => one.sha256 !== sha256))] };
}

function depth({ path }: MadeFolder): number {
  return path.split('/').length;
}

function same(one: MachineRecord, other: MachineRecord): boolean {
  const sorted = (record: MachineRecord): MachineRecord => ({ ...record, entries: record.entries.toSorted((a, b) => (a.path < b.path ? -1 : 1)) });
  return isDeepStrictEqual(sorted(one), sorted(other));
}
