/**
 * Writes what was examined. The record goes first and says of each file what was there and what comes there, so that
 * whoever comes after a process that died, at any step, can go on forwards or backwards.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ServiceNeed } from '../change.ts';
import type { Disk } from './disk.ts';
import { sameFile } from './examine.ts';
import type { FileWork } from './examine.ts';
import { removeRecord, writeRecord } from './record.ts';
import type { Entry, MachineRecord } from './record.ts';
import { Refused } from '../request.ts';

type Owner = { readonly uid: number; readonly gid: number };

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
  const missing = writes.flatMap(({ path, becomes }) => (becomes === undefined ? [] : disk.missingFolders(path)));
  const made = [...new Set([...before.made, ...missing])].toSorted((a, b) => a.split('/').length - b.split('/').length);
  if (writes.length === 0 && same(before, { ...settled, made, due })) return before;

  const intent = before.entries.map((entry) => both(entry, settled.entries.find(({ path }) => path === entry.path)));
  const fresh = settled.entries.filter(({ path }) => !before.entries.some((entry) => entry.path === path));
  writeRecord(disk, { entries: [...intent, ...fresh], made, due }, owner);

  for (const folder of missing) if (!disk.exists(folder)) disk.makeFolder(folder);
  for (const { path, now, becomes } of writes) {
    // Somebody may have written since it was examined.
    if (!sameFile(disk.read(path), now)) throw new Refused(`${path} changes at this moment: try again`);
    if (becomes === undefined) disk.remove(path);
    else disk.write(path, becomes);
  }
  for (const { path } of work) disk.removeTemporaryOf(path);
  const stay = made.toReversed().filter((folder) => !disk.removeEmptyFolder(folder)).toReversed();
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

function same(one: MachineRecord, other: MachineRecord): boolean {
  const sorted = (record: MachineRecord): MachineRecord => ({ ...record, entries: record.entries.toSorted((a, b) => (a.path < b.path ? -1 : 1)) });
  return isDeepStrictEqual(sorted(one), sorted(other));
}
