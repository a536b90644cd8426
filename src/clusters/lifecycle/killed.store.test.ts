/** A process of the service killed at each of its calls to Keystone and Swift; what another instance makes of it. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { clusterCloud, type ClusterCloud, type Tenant } from '../../../test/services/cluster-cloud.ts';
import { Postgres } from '../../../test/services/postgres.ts';
import { SOAK } from '../../../test/support/soak.ts';
import { CREDENTIAL_MODES, type RegistrySettings } from '../words.ts';
import { Doomed, type Life } from './doomed.fixture.ts';
import type { Lifecycle } from './lifecycle.ts';
import { service, type Service } from './lifecycle.fixture.ts';

const NOTHING = { users: [], trusts: 0, applicationCredentials: [] };
/** Lives at once: on two cores more are no faster. */
const LANES = 2;

interface Lane extends AsyncDisposable {
  readonly owner: Tenant;
  readonly umbra: Service;
  /** Looks for work when it is told to, and only then. */
  readonly survivor: Lifecycle;
  readonly doomed: Doomed;
}

/** Of a process that is killed at its `at`-th call while it creates, of another at its `at`-th while it deletes. */
interface Deaths {
  readonly when: 'before' | 'after';
  readonly create?: number;
  readonly delete?: number;
}

describe('a process that is killed', () => {
  const openstack = inject('openstack');
  let cloud: ClusterCloud;
  let folder: string;
  let postgres: Postgres | undefined;
  beforeAll(async () => {
    cloud = await clusterCloud(openstack);
    folder = await mkdtemp(join(tmpdir(), 'umbra-killed-'));
    if (SOAK) postgres = await Postgres.start();
  });
  afterAll(async () => {
    await postgres?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  const lane = async (engine: 'SQLite' | 'PostgreSQL'): Promise<Lane> => {
    const name = `killed_${randomBytes(6).toString('hex')}`;
    if (engine === 'PostgreSQL') await postgres?.sql(`create database ${name}`);
    const database = engine === 'PostgreSQL' && postgres !== undefined ? postgres.url(name) : `sqlite:${join(folder, `${name}.db`)}`;
    await using stack = new AsyncDisposableStack();
    const umbra = stack.use(await service(database, cloud.settings));
    const doomed = stack.use(await Doomed.over(database, cloud.settings, openstack, join(folder, 'compiled')));
    const survivor = umbra.start({ pollMs: 1e9 });
    const owner = await cloud.tenant();
    const owned = stack.move();
    return { owner, umbra, doomed, survivor, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
  };

  /** One life: a process is killed at one of its calls, and the survivor takes over, first creating, then deleting. */
  const live = async ({ owner, umbra, survivor, doomed }: Lane, settings: Partial<RegistrySettings>, deaths: Deaths): Promise<{ readonly create: Life | undefined; readonly delete: Life | undefined }> => {
    const { db, nowMs } = umbra.database;
    const mode = settings.credentialMode ?? 'acl';
    const about = `${mode} ${JSON.stringify(deaths)}`;
    const token = await owner.token();
    // Containers go with the cluster, or stay as they were found.
    const purge = deaths.when === 'before';
    const uuid = await umbra.create(owner, token, { purge, ...settings });
    const status = async (): Promise<string> => (await db.selectFrom('clusters').select('status').where('uuid', '=', uuid).executeTakeFirst())?.status ?? 'gone';
    const die = async (at: number | undefined, from: 'CREATE_IN_PROGRESS' | 'DELETE_IN_PROGRESS'): Promise<Life | undefined> =>
      at === undefined ? undefined : await doomed.live({ at, when: deaths.when }, async () => (await status()) !== from);
    const takeOver = async (end: 'CREATE_COMPLETE' | 'gone'): Promise<void> => {
      if (SOAK) doomed.startAhead();
      // What it held ends by itself.
      await expect.poll(async () => await db.selectFrom('leases').select('name').where('until_ms', '>=', nowMs).execute(), { timeout: 60_000, interval: 20 }).toEqual([]);
      survivor.wake();
      const row = await umbra.until(uuid, end, 'CREATE_FAILED', 'DELETE_FAILED');
      expect(row?.status_reason ?? null, about).toBeNull();
      expect(await status(), about).toBe(end);
    };

    const created = await die(deaths.create, 'CREATE_IN_PROGRESS');
    await takeOver('CREATE_COMPLETE');
    // Complete: one of each, and what nodes are given works, since the proof said so after the take-over.
    expect(await cloud.left([owner]), about).toEqual({
      users: mode === 'app_cred' ? [] : [`${uuid}_${owner.projectId}_1`], trusts: mode === 'trust' ? 1 : 0, applicationCredentials: mode === 'app_cred' ? [`umbra-${uuid}-1`] : [],
    });
    expect(await cloud.containers(owner), about).toEqual([`registry-${uuid}`, `registry-${uuid}-upstream`]);
    expect(await umbra.credential(uuid, 1), about).toBeDefined();
    if (mode === 'app_cred') await cloud.keepRow(owner);

    await umbra.ask(uuid, 'DELETE_IN_PROGRESS', token);
    const deleted = await die(deaths.delete, 'DELETE_IN_PROGRESS');
    await takeOver('gone');
    expect(await cloud.left([owner]), about).toEqual(NOTHING);
    const kept = await cloud.containers(owner);
    expect(kept, about).toEqual(purge ? [] : [`registry-${uuid}`, `registry-${uuid}-upstream`]);
    for (const name of kept) {
      const { headers } = await cloud.swift(owner, 'HEAD', name);
      expect([headers.get('x-container-read'), headers.get('x-container-write'), headers.get('x-container-object-count')], about).toEqual([null, null, '0']);
      await cloud.swift(owner, 'DELETE', name);
    }
    for (const table of ['intents', 'credentials'] as const) expect(await db.selectFrom(table).selectAll().where('cluster_uuid', '=', uuid).execute(), about).toEqual([]);
    return { create: created, delete: deleted };
  };

  const CHOSEN = [['trust', { when: 'after', create: 9 }], ['acl', { when: 'after', delete: 5 }]] as const;
  test.skipIf(SOAK).each(CHOSEN)('%s, %j: another instance completes it, or undoes it', async (credentialMode, deaths) => {
    await using here = await lane('SQLite');
    const lives = await live(here, { credentialMode }, deaths);
    expect(Object.values(lives)).toContainEqual(expect.objectContaining({ isKilled: true }));
  });

  const ALL = (['SQLite', 'PostgreSQL'] as const).flatMap((engine) => CREDENTIAL_MODES.flatMap((mode) => (['before', 'after'] as const).map((when) => [engine, mode, when] as const)));
  test.runIf(SOAK).each(ALL)('over %s, %s, %s each call: another instance completes it, or undoes it', { timeout: 1_800_000 }, async (engine, credentialMode, when) => {
    // Engines differ in what they do between two calls, not by call: over the other one every third, the first and the last, and nodes that may push.
    const step = engine === 'SQLite' ? 1 : 3;
    const settings = { credentialMode, ...(engine === 'PostgreSQL' && { write: 'all' as const }) };
    const calls = { create: Number.POSITIVE_INFINITY, delete: Number.POSITIVE_INFINITY };
    let next = 1;
    await Promise.all(Array.from({ length: LANES }, async () => {
      await using here = await lane(engine);
      for (let at = next; at <= calls.create || at <= calls.delete; at = next) {
        next += step;
        const lives = await live(here, settings, { when, ...(at <= calls.create && { create: at }), ...(at <= calls.delete && { delete: at }) });
        for (const work of ['create', 'delete'] as const) if (lives[work]?.isKilled === false) calls[work] = Math.min(calls[work], lives[work].calls);
      }
    }));
    if (step === 1) return;
    await using here = await lane(engine);
    expect(Object.values(await live(here, settings, { when, ...calls }))).toMatchObject([{ isKilled: true }, { isKilled: true }]);
  });
});
