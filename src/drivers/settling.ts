/**
 * Claims on stores without a lock: two at once may both seem to win, and the later write stands. Nobody believes one that
 * is younger than a small write may take (PROTOCOL "Claims").
 */
import { pause, type Timers } from '../workers/timers.ts';
import { DriverError, type CallOptions, type Claimed, type Driver } from './driver.ts';

/** By the store's clock, from when the claim was written; longer than a claim's write may take. */
export const SETTLE_MS = 15_000;
/** What one attempt at writing a claim may take. */
export const CLAIM_MS = 10_000;

/** Claims, and waits until nobody can overtake it any more. On a store that decides at once it waits for nothing. */
export async function claimSettled(driver: Driver, key: string, value: Uint8Array, { timers, signal }: CallOptions & { readonly timers: Timers }): Promise<Claimed> {
  let claimed = await driver.claim(key, value, { signal });
  while (claimed.settledAtMs !== undefined) {
    const restMs = claimed.settledAtMs - (driver.clock === undefined ? Date.now() : await driver.clock({ signal }));
    if (restMs > 0) await pause(restMs, timers, signal);
    const standing = await driver.get(key, { signal });
    if (standing === undefined) throw new DriverError('retryable', `${key} was deleted while its claim settled`);
    const settledAtMs = standing.modifiedMs + SETTLE_MS;
    // Written again, be it with the same value: then it is another's, and settles anew.
    if (settledAtMs === claimed.settledAtMs && standing.bytes.equals(claimed.value)) return claimed;
    claimed = { won: false, value: standing.bytes, settledAtMs };
  }
  return claimed;
}
