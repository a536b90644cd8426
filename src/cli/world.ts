/** What a command runs in, and what a failed one says. */
import type { Surroundings } from '../config/load.ts';
import type { Output } from './output.ts';

export interface World extends Surroundings {
  readonly output: Output;
}

/** Exit codes, the same for every command. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/** A mistake of ours is told with its stack; what the machine or the user did, in one line. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const ours = [TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind);
  return ours ? (error.stack ?? error.message) : error.message;
}
