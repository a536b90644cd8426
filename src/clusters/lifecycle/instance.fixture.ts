/**
 * An instance of the lifecycle as a process of its own, to be killed. What it is comes as a line of JSON on standard input;
 * it opens the database, and begins its work when another line comes, so that one can wait for its turn.
 */
import { flushCompileCache } from 'node:module';
import { createInterface } from 'node:readline';
import { Secret } from '../../config/config.ts';
import { systemTimers } from '../../workers/timers.ts';
import { openDatabase } from '../database/database.ts';
import { sealedSecrets } from '../database/sealed.ts';
import { openCloud } from '../keystone/cloud.ts';
import type { CloudSettings } from '../keystone/settings.ts';
import type { LifecycleIntervals } from './lifecycle.ts';
import { startLifecycle } from './worker.ts';

export interface InstanceOptions {
  readonly database: string;
  readonly key: string;
  readonly cloud: CloudSettings;
  /** `cloud` has them as `***`. */
  readonly passwords: { readonly service: string; readonly admin: string };
  readonly intervals: Partial<LifecycleIntervals>;
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const line = async (): Promise<string> => {
  const next = await lines.next();
  // Whoever would have killed it is gone.
  if (next.done === true) process.exit(0);
  return next.value;
};

const { database: url, key, cloud, passwords, intervals } = JSON.parse(await line()) as InstanceOptions;
const database = await openDatabase({ url, timers: systemTimers, nowMs: Date.now });
// Who is killed leaves nothing to whoever comes next, unless it does so before.
flushCompileCache();
await line();
const clock = { timers: systemTimers, nowMs: Date.now, random: Math.random };
const settings: CloudSettings = {
  ...cloud,
  service: { ...cloud.service, password: new Secret(passwords.service) },
  trusteeDomain: cloud.trusteeDomain && { ...cloud.trusteeDomain, password: new Secret(passwords.admin) },
};
startLifecycle({ ...clock, database, secrets: sealedSecrets(database, [new Secret(key)]), cloud: openCloud({ ...clock, settings }), intervals, report: () => undefined });
