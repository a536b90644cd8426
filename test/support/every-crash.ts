/** Runs a scenario once for each place where its process could die, and asks each time what the store still holds. */
import type { Driver } from '../../src/drivers/driver.ts';
import { described, scriptedDriver, type CrashPoint, type Operation, type OperationName, type ScriptOptions, type ScriptedDriver } from './scripted-driver.ts';

const READS: ReadonlySet<OperationName> = new Set<OperationName>(['head', 'get', 'open', 'list', 'children', 'redirect', 'check', 'source.read', 'source.stream', 'assembly.open']);

/** Where a process that did all this could have died: before each operation, and after each that changes the store. */
export function crashPoints(journal: readonly Operation[]): CrashPoint[] {
  return journal.flatMap(({ index, op }): CrashPoint[] => (READS.has(op) ? [{ index, when: 'before' }] : [{ index, when: 'before' }, { index, when: 'after' }]));
}

export interface CrashTest {
  /** A fresh store, the same each time. */
  readonly store: () => Promise<Driver>;
  /** What the process does before and while it crashes. Must ask the same of the store each time. */
  readonly scenario: (driver: ScriptedDriver) => Promise<void>;
  /** What must hold for whoever comes after. `point` is undefined once, where nothing crashed. */
  readonly survives: (store: Driver, point: (CrashPoint & { readonly operation: Operation }) | undefined) => Promise<void>;
  readonly clock?: () => number;
}

/** Runs the scenario to its end, then again for each crash point, each time on a fresh store; how many points there were. */
export async function atEveryCrash(test: CrashTest): Promise<number> {
  const options = test.clock === undefined ? {} : { clock: test.clock };
  const store = await test.store();
  const whole = scriptedDriver(store, options);
  await test.scenario(whole);
  const points = crashPoints(whole.journal);
  await test.survives(store, undefined);
  for (const point of points) await crashOnce(test, point, options);
  return points.length;
}

async function crashOnce(test: CrashTest, point: CrashPoint, options: ScriptOptions): Promise<void> {
  const store = await test.store();
  const script = scriptedDriver(store, options);
  script.crashAt(point);
  try {
    await test.scenario(script);
  } catch (error) {
    if (!script.crashed) throw error; // after the crash nobody hears of errors any more
  }
  const operation = script.journal[point.index];
  if (!script.crashed || operation === undefined) throw new Error(`the scenario did not come to operation ${point.index} this time: it must ask the same of the store each time`);
  try {
    await test.survives(store, { ...point, operation });
  } catch (error) {
    throw new Error(`after a crash ${point.when} ${described([operation]).join()} (operation ${point.index})`, { cause: error });
  }
}
