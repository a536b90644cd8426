/** A machine's files are made to say what a plan says, or what they said before. */
import type { ServiceNeed } from '../change.ts';
import { plan } from '../plan.ts';
import type { ClientName, Request } from '../request.ts';
import { carryOut, conclude, dueAfter } from './carry-out.ts';
import type { Disk } from './disk.ts';
import { examineApply, examineRevert } from './examine.ts';
import type { Examined } from './examine.ts';
import type { Owner } from './identity.ts';
import { readRecord } from './record.ts';
import type { MachineRecord } from './record.ts';
import { strongest, tellServices } from './services.ts';
import type { Telling } from './services.ts';
import { actionOf } from './summary.ts';
import { survey } from './survey.ts';

export interface Machine {
  readonly disk: Disk;
  /** Whose the files are that we make, but for those in a home. */
  readonly owner: Owner;
  readonly telling: Telling;
}

export interface Outcome extends Examined {
  /** Who must be told that files changed, each once. */
  readonly due: readonly ServiceNeed[];
  /** What services were told, or are to be told, in words. */
  readonly services: readonly string[];
  readonly notes: readonly string[];
  readonly ok: boolean;
}

/** All of it, or nothing where something cannot be. @throws Refused where the clients cannot be told so at all */
export function applyConfig(machine: Machine, clients: readonly ClientName[], request: Request, dryRun: boolean): Outcome {
  const { disk, owner } = machine;
  const { changes, notes } = plan(clients, { ...request, machine: survey(disk, request.machine.home, clients, request.upstreams) });
  const record = readRecord(disk);
  const examined = examineApply(disk, record, changes, clients, { machine: owner, home: disk.ownerOfFolder(request.machine.home) ?? owner });
  return examined.refusals.length > 0 ? { work: [], refusals: examined.refusals, due: [], services: [], notes: [], ok: false } : conduct(machine, record, examined, dryRun, notes);
}

/** All that can be: what cannot stays as it is, and is remembered. */
export function revertConfig(machine: Machine, dryRun: boolean): Outcome {
  const record = readRecord(machine.disk);
  return conduct(machine, record, examineRevert(machine.disk, record), dryRun, []);
}

function conduct({ disk, owner, telling }: Machine, record: MachineRecord, examined: Examined, dryRun: boolean, notes: readonly string[]): Outcome {
  const work = examined.work.filter((one) => actionOf(one) !== 'keep');
  if (dryRun) {
    const due = strongest(dueAfter(record, examined.work));
    return { ...examined, work, due, services: tellServices(due, { ...telling, restart: false }).lines, notes, ok: examined.refusals.length === 0 };
  }
  const after = carryOut(disk, record, examined.work, owner);
  const due = strongest(after.due);
  const told = tellServices(due, telling);
  if (told.ok) conclude(disk, after, owner);
  return { ...examined, work, due, services: told.lines, notes, ok: told.ok && examined.refusals.length === 0 };
}
