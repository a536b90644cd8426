/** An instance of the lifecycle as a process of its own, to be killed: what it is comes as JSON on standard input. It says `ready`. */
import { text } from 'node:stream/consumers';
import { Secret } from '../../config/config.ts';
import { systemTimers } from '../../workers/timers.ts';
import { openDatabase } from '../database/database.ts';
import { sealedSecrets } from '../database/sealed.ts';
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

const { database: url, key, cloud, passwords, intervals } = JSON.parse(await text(process.stdin)) as InstanceOptions;
const database = await openDatabase({ url, timers: systemTimers, nowMs: Date.now });
startLifecycle({
  database, secrets: sealedSecrets(database, [new Secret(key)]), timers: systemTimers, nowMs: Date.now, random: Math.random, intervals,
  cloud: {
    ...cloud,
    service: { ...cloud.service, password: new Secret(passwords.service) },
    trusteeDomain: cloud.trusteeDomain && { ...cloud.trusteeDomain, password: new Secret(passwords.admin) },
  },
  report: (event) => process.stderr.write(`${JSON.stringify(event)}\n`),
});
process.stdout.write('ready\n');
