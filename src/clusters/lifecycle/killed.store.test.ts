/** A process of the service killed at each of its calls to Keystone and Swift; what another instance makes of it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { clusterCloud, type ClusterCloud, type Tenant } from '../../../test/services/cluster-cloud.ts';
import { KillingProxies, type Kill } from '../../../test/services/killing-proxy.ts';
import { Postgres } from '../../../test/services/postgres.ts';
import { SOAK } from '../../../test/support/soak.ts';
import { CREDENTIAL_MODES, type CredentialMode } from '../words.ts';
import type { InstanceOptions } from './instance.fixture.ts';
import { INTERVALS, KEYS, service, type Service } from './lifecycle.fixture.ts';

const LEASE_MS = 600;
const NOTHING = { users: [], trusts: 0, applicationCredentials: [] };

describe('a process that is killed', () => {
  const openstack = inject('openstack');
  let cloud: ClusterCloud;
  let proxies: KillingProxies;
  let folder: string;
  let postgres: Postgres | undefined;
  const children: ChildProcess[] = [];
  beforeAll(async () => {
    cloud = await clusterCloud(openstack);
    proxies = await KillingProxies.start({ keystone: new URL(openstack.authUrl).origin, swift: openstack.swiftOrigin });
    folder = await mkdtemp(join(tmpdir(), 'umbra-killed-'));
    if (SOAK) postgres = await Postgres.start();
  });
  afterAll(async () => {
    await proxies[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  const databaseUrl = async (engine: 'SQLite' | 'PostgreSQL'): Promise<string> => {
    const name = `killed_${randomBytes(6).toString('hex')}`;
    if (engine === 'SQLite' || postgres === undefined) return `sqlite:${join(folder, `${name}.db`)}`;
    await postgres.sql(`create database ${name}`);
    return postgres.url(name);
  };

  /** Runs a process of its own on what is to be done, until it is killed or has done it. @returns whether it was killed */
  const runUntil = async (database: string, kill: Omit<Kill, 'kill'>, done: () => Promise<boolean>): Promise<boolean> => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('instance.fixture.ts', import.meta.url))], { stdio: ['pipe', 'pipe', 'ignore'] });
    children.push(child);
    const ended = once(child, 'exit');
    proxies.arm({
      ...kill,
      kill: async () => {
        child.kill('SIGKILL');
        await ended;
      },
    });
    const { settings } = cloud;
    const options: InstanceOptions = {
      database, key: KEYS[0]?.reveal() ?? '', cloud: { ...settings, url: `${proxies.keystone}/v3` },
      passwords: { service: settings.service.password.reveal(), admin: settings.trusteeDomain?.password.reveal() ?? '' }, intervals: { ...INTERVALS, leaseMs: LEASE_MS },
    };
    child.stdin?.end(JSON.stringify(options));
    await expect.poll(async () => child.exitCode !== null || child.signalCode !== null || (await done()), { timeout: 60_000, interval: 25 }).toBe(true);
    const { isKilled } = proxies;
    proxies.arm(undefined);
    child.kill('SIGKILL');
    await ended;
    return isKilled;
  };

  /** One life: the process is killed at one of the calls of the work, and an instance of this process takes over. */
  const live = async (umbra: Service, database: string, owner: Tenant, mode: CredentialMode, work: 'create' | 'delete', kill: Omit<Kill, 'kill'>): Promise<boolean> => {
    const token = await owner.token();
    const uuid = await umbra.create(owner, token, { credentialMode: mode, purge: true });
    const takeOver = async (...ends: readonly ('CREATE_COMPLETE' | 'gone')[]): Promise<void> => {
      const other = umbra.start({ leaseMs: LEASE_MS });
      const row = await umbra.until(uuid, ...ends, 'CREATE_FAILED', 'DELETE_FAILED');
      await other.close();
      expect(row?.status_reason ?? null, `${mode} ${work} ${kill.when} ${kill.at}`).toBeNull();
    };
    const status = async (): Promise<string> => (await umbra.database.db.selectFrom('clusters').select('status').where('uuid', '=', uuid).executeTakeFirst())?.status ?? 'gone';
    let isKilled = false;
    if (work === 'create') {
      isKilled = await runUntil(database, kill, async () => (await status()) !== 'CREATE_IN_PROGRESS');
    }
    await takeOver('CREATE_COMPLETE');
    // Complete: one of each, and what nodes are given works, since the proof said so after the take-over.
    const complete = await cloud.left([owner]);
    expect(complete, `${mode} ${work} ${kill.when} ${kill.at}`).toEqual({
      users: mode === 'app_cred' ? [] : [`${uuid}_${owner.projectId}_1`], trusts: mode === 'trust' ? 1 : 0, applicationCredentials: mode === 'app_cred' ? [`umbra-${uuid}-1`] : [],
    });
    expect(await cloud.containers(owner)).toEqual([`registry-${uuid}`, `registry-${uuid}-upstream`]);
    expect(await umbra.credential(uuid, 1)).toBeDefined();
    if (mode === 'app_cred') await cloud.keepRow(owner);
    await umbra.ask(uuid, 'DELETE_IN_PROGRESS', token);
    if (work === 'delete') {
      // Through the proxies the node's credential is not used, so what it was made with does not matter.
      isKilled = await runUntil(database, kill, async () => (await status()) !== 'DELETE_IN_PROGRESS');
    }
    await takeOver('gone');
    expect(await status()).toBe('gone');
    expect(await cloud.left([owner]), `${mode} ${work} ${kill.when} ${kill.at}`).toEqual(NOTHING);
    expect(await cloud.containers(owner)).toEqual([]);
    for (const table of ['intents', 'credentials'] as const) expect(await umbra.database.db.selectFrom(table).selectAll().where('cluster_uuid', '=', uuid).execute()).toEqual([]);
    return isKilled;
  };

  const CHOSEN = [['trust', 'create', 'after', 9], ['acl', 'delete', 'after', 5]] as const;
  test.skipIf(SOAK).each(CHOSEN)('%s, %s, %s call %i: another instance completes it, or undoes it', async (mode, work, when, at) => {
    const [database, owner] = [await databaseUrl('SQLite'), await cloud.tenant()];
    const umbra = await service(database, cloud.settings);
    expect(await live(umbra, database, owner, mode, work, { at, when })).toBe(true);
    await umbra[Symbol.asyncDispose]();
  });

  const ALL = (['SQLite', 'PostgreSQL'] as const).flatMap((engine) => CREDENTIAL_MODES.flatMap((mode) => (['create', 'delete'] as const).flatMap((work) => (['before', 'after'] as const).map((when) => [engine, mode, work, when] as const))));
  test.runIf(SOAK).each(ALL)('over %s, %s, %s, %s each call: another instance completes it, or undoes it', { timeout: 1_800_000 }, async (engine, mode, work, when) => {
    const [database, owner] = [await databaseUrl(engine), await cloud.tenant()];
    const umbra = await service(database, cloud.settings);
    for (let at = 1; await live(umbra, database, owner, mode, work, { at, when }); at++);
    await umbra[Symbol.asyncDispose]();
  });
});
