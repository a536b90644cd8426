/** An upload whose bytes keep coming shows it in the store, where nothing else may until its request is over. */
import type { Appender } from '../drivers/driver.ts';

/** So often, that no sweeper takes it for abandoned; limits.uploads is at least some of these. */
const TOUCH_MS = 60_000;

/** The appender, which calls `touch` while it is written to. */
export function touching(appender: Appender, nowMs: () => number, touch: () => void): Appender {
  let lastMs = nowMs();
  return {
    async write(chunk) {
      if (nowMs() - lastMs >= TOUCH_MS) {
        lastMs = nowMs();
        touch();
      }
      await appender.write(chunk);
    },
    finish: () => appender.finish(),
    abandon: () => appender.abandon(),
    ...(appender.landed && { landed: appender.landed.bind(appender) }),
  };
}
