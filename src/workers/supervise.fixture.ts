/**
 * A program of supervised workers, as a test starts it: `node supervise.fixture.ts <Scenario as JSON>`. The primary
 * writes what it is told as lines `primary {…}`, the workers theirs as `worker {…}`. Each worker keeps a connection to
 * the test's `port` for as long as it lives.
 */
import cluster from 'node:cluster';
import { connect } from 'node:net';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { supervise } from './supervise.ts';
import { systemTimers, type Timers } from './timers.ts';
import { workerMain } from './worker.ts';

export interface Scenario {
  readonly workers: number;
  readonly port: number;
  readonly drainMs: number;
  readonly start: 'listens' | 'fails' | 'crashes';
  readonly drain: 'finishes' | 'hangs';
  /** Lines of its own letter that each worker writes once it listens, in pieces. */
  readonly chatter: number;
}

/** Real time, but the waits between attempts to start pass at once. */
const timers: Timers = { after: (ms, task) => systemTimers.after(ms < 1000 ? 0 : ms, task) };

function write(who: string, line: object): void {
  process.stdout.write(`${who} ${JSON.stringify(line)}\n`);
}

if (cluster.isPrimary) {
  const scenario = JSON.parse(process.argv[2] ?? '') as Scenario;
  const { exitCode, reason } = await supervise({
    cluster,
    workers: scenario.workers,
    entry: fileURLToPath(import.meta.url),
    args: ['a worker'],
    workerData: () => scenario,
    drainMs: scenario.drainMs,
    signals: process,
    stdout: process.stdout,
    stderr: process.stderr,
    timers,
    log: (event) => write('primary', event),
    ready: (reports) => write('primary', { kind: 'ready', reports }),
  });
  write('primary', { kind: 'stopped', reason });
  process.exitCode = exitCode;
} else {
  workerMain({
    process,
    timers,
    failed: () => undefined,
    start: async (data, group) => {
      // The test's own scenario, as the primary passed it on.
      const scenario = data as Scenario;
      if (scenario.start === 'fails') throw new Error('address in use');
      if (scenario.start === 'crashes') process.exit(7);
      await new Promise<void>((resolve) => connect(scenario.port, '127.0.0.1', resolve));
      write('worker', { kind: 'listens', argv: process.argv.slice(2), size: group.size });
      const letter = String.fromCharCode(96 + group.id);
      for (let n = 0; n < scenario.chatter; n++) {
        process.stdout.write(letter.repeat(50_000));
        process.stdout.write(`${letter.repeat(40_000)}\n`);
      }
      return {
        report: { pid: process.pid },
        drain: async () => {
          write('worker', { kind: 'drains' });
          if (scenario.drain === 'hangs') await new Promise<void>(() => undefined);
        },
      };
    },
  });
}
