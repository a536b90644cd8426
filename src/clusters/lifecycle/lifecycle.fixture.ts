/** A cluster service without its API: rows as the API writes them, and the lifecycle that acts on them, over a real database. */
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { Secret } from '../../config/config.ts';
import { systemTimers } from '../../workers/timers.ts';
import { openDatabase, type ClusterDatabase } from '../database/database.ts';
import { sealedSecrets, type SealedSecrets } from '../database/sealed.ts';
import { openCloud } from '../keystone/cloud.ts';
import type { CloudSettings } from '../keystone/settings.ts';
import type { ClusterStatus, RegistrySettings } from '../words.ts';
import { putCallerToken, type Lifecycle, type LifecycleEvent, type LifecycleIntervals } from './lifecycle.ts';
import { startLifecycle } from './worker.ts';

export const KEYS: readonly Secret[] = [new Secret('k'.repeat(32))];
export const SETTINGS: RegistrySettings = {
  port: 5000, policy: 'proxy', upstreams: [], fallback: 'upstream', write: 'cache', credentialMode: 'acl', container: undefined, quotaBytes: undefined, purge: false,
};

/** Of the tests: fast, and nothing that is not asked for. */
export const INTERVALS: Partial<LifecycleIntervals> = { pollMs: 100, healthMs: 1e9, sweepMs: 1e9, leaseMs: 2_000 };

export interface Service extends AsyncDisposable {
  readonly database: ClusterDatabase;
  readonly secrets: SealedSecrets;
  readonly events: readonly LifecycleEvent[];
  /** Another instance over the same database. */
  start(intervals?: Partial<LifecycleIntervals>, missing?: () => Promise<string | undefined>): Lifecycle;
  create(owner: { readonly user: { readonly id: string }; readonly projectId: string }, token: string, settings?: Partial<RegistrySettings>): Promise<string>;
  /** What the API does when it is asked to rotate or delete. */
  ask(uuid: string, status: ClusterStatus, token: string | undefined, more?: { readonly registry_enabled?: number; readonly wanted_settings?: string }): Promise<void>;
  /** Its row once its status is one of these; undefined: it is gone. */
  until(uuid: string, ...statuses: readonly (ClusterStatus | 'gone')[]): Promise<{ readonly status: string; readonly status_reason: string | null; readonly registry_status: string | null; readonly generation: number } | undefined>;
  /** What nodes are given. */
  credential(uuid: string, generation: number): Promise<Readonly<Record<string, string>> | undefined>;
}

export async function service(url: string, settings: CloudSettings): Promise<Service> {
  const cloud = openCloud({ settings, timers: systemTimers, nowMs: Date.now, random: Math.random });
  const database = await openDatabase({ url, timers: systemTimers, nowMs: Date.now });
  const secrets = sealedSecrets(database, KEYS);
  const events: LifecycleEvent[] = [];
  const running: Lifecycle[] = [];
  const { db } = database;
  return {
    database, secrets, events,
    start(intervals = {}, missing = async () => undefined) {
      const started = startLifecycle({
        database, secrets, cloud, timers: systemTimers, nowMs: Date.now, random: Math.random, missing, report: (event) => void events.push(event), intervals: { ...INTERVALS, ...intervals },
      });
      running.push(started);
      return started;
    },
    async create({ user, projectId }, token, settings = {}) {
      const uuid = randomUUID();
      await db.transaction().execute(async (transaction) => {
        await transaction.insertInto('clusters').values({
          uuid, name: 'c', project_id: projectId, user_id: user.id, template_uuid: 't', coe: 'kubernetes', registry_enabled: 1, status: 'CREATE_IN_PROGRESS', status_reason: null,
          registry_status: 'PENDING', settings: JSON.stringify({ ...SETTINGS, ...settings }), wanted_settings: null, generation: 0, is_adopted: 0, created_ms: database.nowMs, updated_ms: null, body: '{}',
        }).execute();
        await putCallerToken(secrets, transaction, uuid, new Secret(token));
      });
      return uuid;
    },
    async ask(uuid, status, token, more = {}) {
      await db.transaction().execute(async (transaction) => {
        await transaction.updateTable('clusters').set({ status, ...more }).where('uuid', '=', uuid).execute();
        if (token !== undefined) await putCallerToken(secrets, transaction, uuid, new Secret(token));
      });
    },
    async until(uuid, ...statuses) {
      const look = async () => await db.selectFrom('clusters').select(['status', 'status_reason', 'registry_status', 'generation']).where('uuid', '=', uuid).executeTakeFirst();
      await expect.poll(async () => (await look())?.status ?? 'gone', { timeout: 60_000, interval: 20 }).toSatisfy((status: ClusterStatus | 'gone') => statuses.includes(status));
      return await look();
    },
    async credential(uuid, generation) {
      const found = await secrets.find(db, `cluster/${uuid}/${generation}`, 'node-credential');
      return found === undefined ? undefined : (JSON.parse(found.reveal()) as Readonly<Record<string, string>>);
    },
    async [Symbol.asyncDispose]() {
      for (const started of running) await started.close();
      await cloud.close();
      await database.close();
    },
  };
}
