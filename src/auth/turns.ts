/** Lets so many run, and so many wait, first come first served. */
import { RegistryError } from '../oci/errors.ts';

export interface TurnsOptions {
  readonly maxRunning: number;
  readonly maxWaiting: number;
}

/** What it gives rejects with RegistryError TOOMANYREQUESTS where too many wait. */
export function createTurns({ maxRunning, maxWaiting }: TurnsOptions): <T>(work: () => Promise<T>) => Promise<T> {
  let runningCount = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (runningCount < maxRunning) {
      runningCount += 1;
    } else {
      if (waiting.length >= maxWaiting) {
        throw new RegistryError('TOOMANYREQUESTS', 'too many logins are being checked: try again', { retryAfterSeconds: 2 });
      }
      await new Promise<void>((resolve) => waiting.push(resolve)); // its turn is handed over: the count stays
    }
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) runningCount -= 1;
      else next();
    }
  };
}
