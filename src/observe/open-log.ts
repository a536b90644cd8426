/** The log on a file descriptor, usually standard output. */
import type { Timers } from '../workers/timers.ts';
import { LineWriter } from './line-writer.ts';
import { createLog, type Log, type LogOptions } from './log.ts';

export interface OpenLog extends Log {
  /** Resolves when everything logged so far is written. */
  flush(): Promise<void>;
  /** The same at once, for the end of the process. */
  flushSync(): void;
}

export interface OpenLogOptions extends Omit<LogOptions, 'write'> {
  readonly fd: number;
  readonly timers: Timers;
}

export function openLog({ fd, timers, level, format, nowMs }: OpenLogOptions): OpenLog {
  const dropped = (lines: number): string => {
    let notice = '';
    createLog({ level, format, nowMs, write: (line) => (notice = line) }).warn(
      { lines },
      'log lines dropped: nobody reads them fast enough',
    );
    return notice;
  };
  const writer = new LineWriter({ fd, timers, dropped });
  const log = createLog({ level, format, nowMs, write: (line) => writer.write(line) });
  return { ...log, flush: () => writer.flush(), flushSync: () => writer.flushSync() };
}
