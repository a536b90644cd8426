/** What a running server does by itself every hour, on one of its workers: sweeping abandoned uploads. */
import type { Group, Following, Leading } from './workers/group.ts';
import type { Timers } from './workers/timers.ts';

export interface Swept {
  readonly removed: number;
  readonly kept: number;
}

export interface HousekeepingDeps {
  /** Of every store; an aborted signal ends it early. */
  readonly sweep: (signal: AbortSignal) => Promise<Swept>;
  readonly group: Group;
  readonly timers: Timers;
  readonly swept: (outcome: Swept) => void;
  readonly failed: (error: unknown) => void;
}

const EVERY_MS = 60 * 60 * 1000;

/** Begins at once, and goes on until closed. A worker that dies is followed by another. */
export async function keepHouse(deps: HousekeepingDeps): Promise<{ close(): Promise<void> }> {
  const { group, timers } = deps;
  const closing = new AbortController();
  let closed = false;
  let cancel = (): void => undefined;
  let running: Promise<void> = Promise.resolve();
  let membership: Leading | Following | undefined;

  const sweep = async (): Promise<void> => {
    try {
      deps.swept(await deps.sweep(closing.signal));
    } catch (error) {
      deps.failed(error);
    }
    if (!closed) cancel = timers.after(EVERY_MS, () => void (running = sweep()));
  };

  const join = async (): Promise<void> => {
    membership = await group.join('housekeeping', (event) => {
      if (event.kind === 'ended' && !closed) join().catch(deps.failed);
    }, () => undefined);
    if (membership.role === 'leader' && !closed) running = sweep();
  };

  await join();
  return {
    async close() {
      closed = true;
      closing.abort();
      cancel();
      await running;
      if (membership?.role === 'leader') membership.end(undefined);
      else membership?.leave();
    },
  };
}
