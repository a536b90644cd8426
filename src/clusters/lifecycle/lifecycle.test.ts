/** The loop without a cloud: what it does of clusters that need none, and what of a database that fails. */
import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Secret } from '../../config/config.ts';
import { ledger } from '../credentials/ledger.ts';
import type { CloudSettings } from '../keystone/settings.ts';
import { clusterRows } from './cluster.ts';
import { INTERVALS, service, type Service } from './lifecycle.fixture.ts';

/** Nobody answers there. */
const NOBODY: CloudSettings = {
  url: 'http://127.0.0.1:9/v3', region: undefined, interface: 'public', ca: undefined, insecure: false,
  service: { user: { name: 'umbra', domain: { name: 'Default' } }, password: new Secret('x'), project: { name: 'service', domain: { name: 'Default' } } },
  trusteeDomain: undefined, serviceProject: undefined, roles: { node: 'node', delegated: [] }, openProject: false, accessRules: false,
};
const OWNER = { user: { id: 'u' }, projectId: 'p' };

let umbra: Service;
beforeEach(async () => void (umbra = await service('sqlite::memory:', NOBODY)));
afterEach(async () => await umbra[Symbol.asyncDispose]());

const without = async (): Promise<string> => {
  const uuid = await umbra.create(OWNER, 'token');
  await umbra.database.db.updateTable('clusters').set({ registry_enabled: 0 }).where('uuid', '=', uuid).execute();
  return uuid;
};

test('a database that fails once when the loop begins is no end of it', async () => {
  const { db } = umbra.database;
  await sql`create trigger fails before insert on intents begin select raise(abort, 'no room'); end`.execute(db);
  const uuid = await without();
  const loop = umbra.start({ ...INTERVALS, pollMs: 10 });
  await expect.poll(() => umbra.events).toContainEqual({ kind: 'failed', what: `cluster ${uuid}`, error: 'no room' });
  await sql`drop trigger fails`.execute(db);
  loop.wake();
  expect(await umbra.until(uuid, 'CREATE_COMPLETE')).toMatchObject({ generation: 0 });
});

test('a cluster of which no node could be made is not made', async () => {
  const uuid = await umbra.create(OWNER, 'token');
  await umbra.secrets.remove(umbra.database.db, { owner: `cluster/${uuid}` });
  umbra.start({}, async () => 'there is nothing that nodes could run');
  expect(await umbra.until(uuid, 'CREATE_COMPLETE', 'CREATE_FAILED')).toEqual({ status: 'CREATE_FAILED', status_reason: 'there is nothing that nodes could run', registry_status: null, generation: 0 });
});

test('a registry that was taken away and comes again has a credential that no node thinks it has', async () => {
  const { database, secrets } = umbra;
  const uuid = await umbra.create(OWNER, 'token');
  await secrets.remove(database.db, { owner: `cluster/${uuid}` });
  await database.db.updateTable('clusters').set({ generation: 2, registry_enabled: 0, status: 'UPDATE_IN_PROGRESS' }).where('uuid', '=', uuid).execute();
  await database.db.insertInto('nodes').values({ id: randomUUID(), cluster_uuid: uuid, name: 'n', role: 'worker', key_hash: '', token_hash: null, arch: 'amd64', version: '1', generation: 1, last_error: null, disk_used_bytes: null, disk_max_bytes: null, joined_ms: 0, seen_ms: 0 }).execute();
  umbra.start();
  expect(await umbra.until(uuid, 'UPDATE_COMPLETE', 'UPDATE_FAILED')).toMatchObject({ status: 'UPDATE_COMPLETE', generation: 0 });
  const rows = clusterRows(database, secrets);
  const row = await rows.find(uuid);
  if (row === undefined) throw new Error('it is gone');
  expect(await rows.nextGeneration(row)).toBe(3);
});

test('a registry that cannot be taken away yet is tried again later, not at once', async () => {
  const { database: { db } } = umbra;
  const uuid = await umbra.create(OWNER, 'token');
  await db.updateTable('clusters').set({ generation: 1, registry_enabled: 0, status: 'UPDATE_IN_PROGRESS' }).where('uuid', '=', uuid).execute();
  const loop = umbra.start({ ...INTERVALS, pollMs: 10 });
  expect(await umbra.until(uuid, 'UPDATE_COMPLETE', 'UPDATE_FAILED')).toMatchObject({ status: 'UPDATE_FAILED', generation: 1, status_reason: expect.stringContaining('cannot be reached') as string });
  const retry = async (): Promise<unknown> => await db.selectFrom('intents').select('detail').where('cluster_uuid', '=', uuid).where('step', '=', 'retry').executeTakeFirst();
  await expect.poll(retry).toEqual({ detail: '1' });
  // With the token gone there is nothing left to ask of Keystone.
  await umbra.secrets.remove(db, { owner: `cluster/${uuid}` });
  await db.updateTable('intents').set({ created_ms: 0 }).where('step', '=', 'retry').execute();
  loop.wake();
  expect(await umbra.until(uuid, 'UPDATE_COMPLETE')).toMatchObject({ generation: 0, registry_status: null, status_reason: null });
  expect(await retry()).toBeUndefined();
});

test('a credential is over when all nodes have the next, but for those whose machine joined anew since', async () => {
  const { database, secrets } = umbra;
  const uuid = await umbra.create(OWNER, 'token');
  const node = async (name: string, generation: number, joinedMs: number, seenMs: number): Promise<void> =>
    void (await database.db.insertInto('nodes').values({ id: randomUUID(), cluster_uuid: uuid, name, role: 'worker', key_hash: '', token_hash: null, arch: 'amd64', version: '1', generation, last_error: null, disk_used_bytes: null, disk_max_bytes: null, joined_ms: joinedMs, seen_ms: seenMs }).execute());
  const rows = clusterRows(database, secrets);
  await node('wiped', 1, 10, 20);
  expect(await rows.allNodesHave(uuid, 2)).toBe(false);
  await node('wiped', 2, 30, 40);
  expect(await rows.allNodesHave(uuid, 2)).toBe(true);
  // Two machines of one name, both of which come.
  await node('twin', 1, 10, 50);
  await node('twin', 2, 30, 50);
  expect(await rows.allNodesHave(uuid, 2)).toBe(false);
});

test.each([
  ['that the cluster had before its last upgrade', 1, { purge: true }],
  ['of a cluster that never got a registry', 0, { purge: true, container: 'team' }],
] as const)('purge touches no container %s', async (_, generation, settings) => {
  const { database, secrets } = umbra;
  const uuid = await umbra.create(OWNER, 'token', settings);
  await secrets.remove(database.db, { owner: `cluster/${uuid}` });
  for (const name of ['team', 'team-upstream']) await ledger(database).intend(uuid, 0, { kind: 'container', projectId: OWNER.projectId, name, made: false });
  await database.db.updateTable('clusters').set({ generation, status: 'DELETE_IN_PROGRESS' }).where('uuid', '=', uuid).execute();
  umbra.start();
  // Whatever touched one would have asked Keystone, which does not answer.
  expect(await umbra.until(uuid, 'gone', 'DELETE_FAILED')).toBeUndefined();
});

test('one cluster whose secret does not open keeps no other from being looked after', async () => {
  const { db } = umbra.database;
  const uuids = [await umbra.create(OWNER, 'token'), await umbra.create(OWNER, 'token')];
  for (const uuid of uuids) {
    await umbra.secrets.put(db, `cluster/${uuid}/1`, 'node-credential', new Secret('{}'));
    await db.updateTable('clusters').set({ generation: 1, status: 'CREATE_COMPLETE' }).where('uuid', '=', uuid).execute();
  }
  await db.updateTable('sealed_secrets').set({ sealed: 'v1.spoilt' }).where('kind', '=', 'node-credential').execute();
  umbra.start({ ...INTERVALS, healthMs: 10 });
  const looked = (): unknown => umbra.events.filter((event) => event.kind === 'failed').map(({ what }) => what);
  await expect.poll(looked).toEqual(expect.arrayContaining(uuids.map((uuid) => `look after cluster ${uuid}`)));
});
