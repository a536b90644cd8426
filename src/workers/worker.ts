/**
 * A worker's side of `supervise.ts`: takes what it runs with from the primary, tells when it listens, drains when it is
 * told to, and leaves when the primary is gone.
 */
import { clusterGroup } from './cluster.ts';
import type { Group } from './group.ts';
import type { FromWorker, ToWorker } from './supervise.ts';
import type { Timers } from './timers.ts';

/** A server that listens. */
export interface Running {
  /** For the primary's `ready`, e.g. the addresses. JSON-able. */
  readonly report: unknown;
  /** Refuses new work, finishes what is in flight, closes. */
  drain(): Promise<void>;
}

export interface WorkerOptions {
  readonly process: NodeJS.Process;
  readonly timers: Timers;
  /** Starts the server with what `workerData` gave the primary. Rejects with the reason why it cannot. */
  readonly start: (data: unknown, group: Group) => Promise<Running>;
  /** Told what a handler of a broadcast threw. */
  readonly failed: (topic: string, error: unknown) => void;
}

/** Runs a worker until it leaves the process. Call it once, first thing in the entry. */
export function workerMain({ process, timers, start, failed }: WorkerOptions): void {
  let running: Promise<Running> | undefined;
  let leaving = false;

  const say = (message: FromWorker, said: () => void = () => undefined): void => {
    if (process.connected) process.send?.({ supervise: message }, undefined, undefined, said);
    else said();
  };
  const leave = (code: number): void => {
    // To a pipe node writes when it gets to it: leaving at once would lose the last lines.
    process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
  };
  const fail = (error: unknown): void => {
    leaving = true;
    say({ say: 'failed', reason: error instanceof Error ? error.message : String(error) }, () => leave(1));
  };
  const begin = (id: number, size: number, data: unknown): void => {
    const group = clusterGroup(process, { id, size, timers, failed });
    running = start(data, group);
    running.then(({ report }) => say({ say: 'ready', report }), fail);
  };
  const drain = async (): Promise<void> => {
    if (leaving) return;
    leaving = true;
    await (await running)?.drain();
    leave(0);
  };

  // A terminal's ^C and systemd's stop signal reach every process of the group; only the primary's word counts here.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => undefined);
  process.on('disconnect', () => process.exit(1));
  process.on('message', (message: { readonly supervise?: ToWorker }) => {
    const order = message.supervise;
    if (order?.say === 'begin') begin(order.id, order.size, order.data);
    if (order?.say === 'drain') drain().catch(fail);
  });
  say({ say: 'hello' });
}
