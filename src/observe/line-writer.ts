/**
 * Writes lines to a file descriptor without keeping anybody waiting: gathered, written in large pieces one after the
 * other, dropped and counted where the reader is too slow.
 */
import { write, writeSync } from 'node:fs';
import type { Timers } from '../workers/timers.ts';

export interface LineWriterOptions {
  readonly fd: number;
  readonly timers: Timers;
  /** A line that stands in place of so many dropped ones. */
  readonly dropped: (lines: number) => string;
}

/** Written at once when there is so much; else after a moment, for people who watch. */
const MANY_CHARACTERS = 16 * 1024;
const FLUSH_MS = 100;
/** A reader may be so far behind before lines are dropped: about 20,000 requests. */
const MAX_WAITING_CHARACTERS = 4 * 1024 * 1024;
/** Until a full pipe is tried again. */
const RETRY_MS = 20;
const MAX_SYNC_TRIES = 25;

export class LineWriter {
  readonly #options: LineWriterOptions;
  #waiting = '';
  #writing: Buffer | undefined;
  #droppedLines = 0;
  #cancelTimer: (() => void) | undefined;
  /** Nobody reads any more. */
  #broken = false;
  #idle: (() => void)[] = [];

  constructor(options: LineWriterOptions) {
    this.#options = options;
  }

  /** @param line ends with a newline */
  write(line: string): void {
    if (this.#broken) return;
    if (this.#waiting.length > MAX_WAITING_CHARACTERS) {
      this.#droppedLines++;
      return;
    }
    this.#waiting += line;
    if (this.#writing !== undefined) return;
    if (this.#waiting.length >= MANY_CHARACTERS) this.#next();
    else this.#cancelTimer ??= this.#options.timers.after(FLUSH_MS, () => this.#next());
  }

  /** Resolves when everything given so far is written, or cannot be. */
  async flush(): Promise<void> {
    if (this.#writing === undefined) this.#next();
    if (this.#writing !== undefined) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** For the end of the process. A piece on its way to the system gets there by itself, perhaps after these lines. */
  flushSync(): void {
    this.#stopTimer();
    let rest = Buffer.from(this.#take());
    for (let tries = 0; rest.length > 0 && !this.#broken && tries < MAX_SYNC_TRIES; tries++) {
      try {
        rest = rest.subarray(writeSync(this.#options.fd, rest));
      } catch (error) {
        if (!isRetryable(error)) return;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS); // the only way to wait at the very end
      }
    }
  }

  #next(): void {
    this.#stopTimer();
    const text = this.#broken ? '' : this.#take();
    if (text === '') {
      this.#writing = undefined;
      for (const resolve of this.#idle.splice(0)) resolve();
      return;
    }
    this.#writing = Buffer.from(text);
    this.#continue(this.#writing);
  }

  #take(): string {
    const text = this.#waiting;
    this.#waiting = '';
    if (this.#droppedLines === 0) return text;
    const notice = this.#options.dropped(this.#droppedLines);
    this.#droppedLines = 0;
    return text + notice;
  }

  #continue(rest: Buffer): void {
    this.#writing = rest;
    write(this.#options.fd, rest, 0, rest.length, null, (error, bytes) => {
      if (error === null && bytes === rest.length) this.#next();
      else if (error === null) this.#continue(rest.subarray(bytes));
      else if (isRetryable(error)) this.#cancelTimer = this.#options.timers.after(RETRY_MS, () => this.#continue(rest));
      else {
        this.#broken = true;
        this.#next();
      }
    });
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }
}

/** The pipe is full and does not block. */
function isRetryable(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EAGAIN';
}
