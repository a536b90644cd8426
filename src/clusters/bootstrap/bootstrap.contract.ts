/** What holds over either engine, with two instances over one database. */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Secret } from '../../config/config.ts';
import { systemTimers } from '../../workers/timers.ts';
import { openDatabase, type ClusterDatabase } from '../database/database.ts';
import { sealedSecrets } from '../database/sealed.ts';
import { nodeStorage, storageFingerprint } from '../credentials/node-storage.ts';
import type { ClusterStatus } from '../words.ts';
import { bootstrap, type Bootstrap } from './bootstrap.ts';
import { nodeEndpoints } from './endpoints.ts';
import { BootstrapRefusal } from './refusal.ts';

const CLUSTER = '5ad3c5b2-7a0c-4a41-9a4e-3a1d5a3a9c01';
const OTHER = '5ad3c5b2-7a0c-4a41-9a4e-3a1d5a3a9c02';
const KEYS = [new Secret('k'.repeat(32))];
const NODE = { name: 'node-1', role: 'worker', arch: 'amd64', version: '1.0.0' } as const;
const REPORT = { version: '1.0.1', role: 'worker', lastError: 'swift is away', disk: { usedBytes: 5, maxBytes: 10 }, generation: 1 } as const;
const credential = (generation: number): Record<string, string> => ({ url: 'https://keystone.example.org/v3', username: 'u', password: `pass-word-${generation}` });
const refused = (status: number): unknown => expect.objectContaining({ name: 'BootstrapRefusal', status });

export function bootstrapContract(engine: string, start: () => Promise<{ readonly url: string; readonly stop: () => Promise<void> }>): void {
  describe(`bootstrap of nodes over ${engine}`, () => {
    let place: Awaited<ReturnType<typeof start>>;
    let databases: [ClusterDatabase, ClusterDatabase];
    let a: Bootstrap;
    let b: Bootstrap;
    beforeAll(async () => {
      place = await start();
      const open = async (): Promise<ClusterDatabase> => await openDatabase({ url: place.url, timers: systemTimers, nowMs: Date.now });
      databases = [await open(), await open()];
      const over = (database: ClusterDatabase): Bootstrap => bootstrap({ database, secrets: sealedSecrets(database, KEYS), randomBytes, renewSeconds: 300 });
      [a, b] = [over(databases[0]), over(databases[1])];
    });
    afterAll(async () => {
      for (const database of databases) await database.close();
      await place.stop();
    });
    beforeEach(async () => {
      for (const table of ['clusters', 'nodes', 'bootstrap_tokens', 'sealed_secrets'] as const) await databases[0].db.deleteFrom(table).execute();
      await cluster('CREATE_COMPLETE', 1);
    });

    const db = (): ClusterDatabase['db'] => databases[0].db;
    const cluster = async (status: ClusterStatus, generation: number, uuid = CLUSTER): Promise<void> => {
      await db().deleteFrom('clusters').where('uuid', '=', uuid).execute();
      await db().insertInto('clusters').values({
        uuid, name: 'c', project_id: 'p', user_id: 'u', template_uuid: 't', coe: 'kubernetes', registry_enabled: 1, status, status_reason: null,
        registry_status: 'ACTIVE', settings: '{}', wanted_settings: null, generation, is_adopted: 0, created_ms: 0, updated_ms: null, body: '{}',
      }).execute();
      if (generation > 0) await seal(uuid, generation, 'node-credential', credential(generation));
    };
    const seal = async (uuid: string, generation: number, kind: string, value: object): Promise<void> =>
      await sealedSecrets(databases[0], KEYS).put(db(), `cluster/${uuid}/${generation}`, kind, new Secret(JSON.stringify(value)));
    const tokenFor = async (uses: number, clusterUuid = CLUSTER): Promise<string> => (await a.makeToken({ clusterUuid, role: 'master', uses })).token.reveal();

    test('a token becomes a node with a key and the credential', async () => {
      await seal(CLUSTER, 1, 'push-user', { name: 'push', password: 'er' });
      const token = await tokenFor(1);
      const answer = await b.exchange({ token, node: NODE });
      expect(answer).toMatchObject({ renewSeconds: 300, generation: 1, credential: credential(1), pushUser: { name: 'push', password: 'er' } });
      // The token says of which role its nodes are.
      expect(await a.nodesOf(CLUSTER)).toEqual([{ id: answer.node.id, name: 'node-1', role: 'master', arch: 'amd64', version: '1.0.0', generation: 1, lastError: null, disk: null, joinedMs: expect.any(Number), seenMs: expect.any(Number) }]);
      expect(await a.nodesOf(OTHER)).toEqual([]);
      await expect(a.exchange({ token, node: NODE })).rejects.toEqual(refused(401));
    });

    test('whoever asks again is the same node, and spends no use; nobody else is', async () => {
      const self = (): { id: string; key: string } => ({ id: randomUUID(), key: `umbra-node-${randomBytes(32).toString('base64url')}` });
      const [one, two] = [self(), self()];
      const [token, next] = [await tokenFor(1), await tokenFor(1)];
      const join = async (by: string, as: { id: string; key: string }): Promise<{ id: string; key: string }> => (await b.exchange({ token: by, node: NODE, self: as })).node;
      expect(await join(token, one)).toEqual(one);
      // An answer that was lost; then a token that somebody else has used, or that is not good any more.
      expect(await join(token, one)).toEqual(one);
      expect(await join(next, one)).toEqual(one);
      await expect(join(token, two)).rejects.toEqual(refused(401));
      expect(await join(next, { ...one, key: two.key })).not.toMatchObject({ id: one.id });
      expect(await join(next, one)).toEqual(one);
      expect(await join(`umbra-token-${'x'.repeat(43)}`, one)).toEqual(one);
      expect(await a.nodesOf(CLUSTER)).toHaveLength(2);
      await cluster('CREATE_COMPLETE', 1, OTHER);
      const moved = await join(await tokenFor(1, OTHER), one);
      expect([moved.id === one.id, (await a.nodesOf(OTHER)).map(({ id }) => id)]).toEqual([false, [moved.id]]);
      const [left, right] = await Promise.all([a, b].map(async (each) => await each.exchange({ token: await tokenFor(1), node: NODE, self: two })));
      expect(new Set([left?.node.id, right?.node.id]).has(two.id)).toBe(true);
    });

    test('of 1000 exchanges at once over two instances, as many as the token has uses come through', async () => {
      const token = await tokenFor(60);
      const outcomes = await Promise.allSettled(Array.from({ length: 1000 }, async (_, i) => await (i % 2 === 0 ? a : b).exchange({ token, node: { ...NODE, name: `node-${i}` } })));
      const answers = outcomes.filter((outcome) => outcome.status === 'fulfilled').map(({ value }) => value);
      const reasons = outcomes.filter((outcome) => outcome.status === 'rejected').map(({ reason }) => reason as unknown);
      expect(answers).toHaveLength(60);
      expect(reasons.filter((reason) => !(reason instanceof BootstrapRefusal && reason.status === 401))).toEqual([]);
      expect(new Set(answers.map(({ node }) => node.key)).size).toBe(60);
      expect(await b.nodesOf(CLUSTER)).toHaveLength(60);
    }, 30_000);

    test('neither token nor key nor credential stands in the database', async () => {
      const token = await tokenFor(2);
      const { node } = await a.exchange({ token, node: NODE });
      const all = JSON.stringify(await Promise.all((['nodes', 'bootstrap_tokens', 'sealed_secrets'] as const).map(async (table) => await db().selectFrom(table).selectAll().execute())));
      for (const secret of [token, node.key, 'pass-word-1']) expect(all).not.toContain(secret);
    });

    test('an exchange for which there is no credential yet leaves the token good', async () => {
      const token = await tokenFor(1);
      await cluster('CREATE_IN_PROGRESS', 0);
      await expect(a.exchange({ token, node: NODE })).rejects.toEqual(refused(503));
      await cluster('CREATE_COMPLETE', 1);
      await a.exchange({ token, node: NODE });
    });

    test.each([['expired', { expires_ms: 0 }], ['used up', { uses_left: 0 }]])('a token that is %s is refused', async (_, change) => {
      const token = await tokenFor(1);
      await db().updateTable('bootstrap_tokens').set(change).execute();
      await expect(a.exchange({ token, node: NODE })).rejects.toThrow('wrong, used up or expired; get new artifacts of the cluster');
    });

    test('a token that nobody made is refused', async () => {
      await expect(a.exchange({ token: `umbra-token-${'A'.repeat(43)}`, node: NODE })).rejects.toEqual(refused(401));
    });

    test.each([0, 1.5, 10_001])('a token with %s uses is not made', async (uses) => {
      await expect(tokenFor(uses)).rejects.toThrow('expected 1 to 10000 uses of a token');
    });

    test('a node that renews says how it is, and gets a credential only where it has another', async () => {
      const { node } = await a.exchange({ token: await tokenFor(1), node: NODE });
      expect(await b.renew(node.id, node.key, REPORT)).toEqual({ generation: 1, renewSeconds: 300 });
      expect(await a.nodesOf(CLUSTER)).toMatchObject([{ version: '1.0.1', lastError: 'swift is away', disk: { usedBytes: 5, maxBytes: 10 } }]);
      await cluster('UPDATE_COMPLETE', 2);
      expect(await b.renew(node.id, node.key, REPORT)).toEqual({ generation: 2, renewSeconds: 300, credential: credential(2) });
      expect(await a.nodesOf(CLUSTER)).toMatchObject([{ generation: 1 }]); // until it says that it has it
      expect(await b.renew(node.id, node.key, { ...REPORT, lastError: null, disk: null, generation: 2 })).toEqual({ generation: 2, renewSeconds: 300 });
      expect(await a.nodesOf(CLUSTER)).toMatchObject([{ generation: 2, lastError: null, disk: null }]);
    });

    test('a node that is configured for another storage than the cluster has now keeps what it has', async () => {
      const { node: { id, key } } = await a.exchange({ token: await tokenFor(1), node: NODE });
      const storageOf = async (settings: object): Promise<string> => {
        await cluster('UPDATE_COMPLETE', 2);
        await db().updateTable('clusters').set({ settings: JSON.stringify(settings) }).execute();
        return storageFingerprint(nodeStorage({ uuid: CLUSTER, project_id: 'p' }, { container: undefined, write: 'cache', credentialMode: 'acl', ...settings }));
      };
      const [then, now] = [await storageOf({ write: 'cache', credentialMode: 'acl' }), await storageOf({ write: 'cache', credentialMode: 'acl', container: 'shared' })];
      expect(await b.renew(id, key, { ...REPORT, storage: then })).toEqual({ generation: 1, renewSeconds: 300, outdated: true });
      expect(await a.nodesOf(CLUSTER)).toMatchObject([{ generation: 1 }]);
      await expect(b.renew(id, key, { ...REPORT, generation: 0, storage: then })).rejects.toThrow('give it what format=upgrade renders');
      expect(await b.renew(id, key, { ...REPORT, storage: now })).toEqual({ generation: 2, renewSeconds: 300, credential: credential(2) });
      expect(await b.renew(id, key, REPORT)).toMatchObject({ generation: 2, credential: credential(2) });
    });

    test('a node without a credential waits while the cluster has none either', async () => {
      const { node } = await a.exchange({ token: await tokenFor(1), node: NODE });
      await cluster('UPDATE_COMPLETE', 0);
      for (const generation of [0, 1]) await expect(a.renew(node.id, node.key, { ...REPORT, generation })).rejects.toEqual(refused(503));
    });

    test('a node that says to have what there is not yet has what there is', async () => {
      const { node } = await a.exchange({ token: await tokenFor(1), node: NODE });
      expect(await a.renew(node.id, node.key, { ...REPORT, generation: 2 ** 40 })).toMatchObject({ generation: 1, credential: credential(1) });
      expect(await a.nodesOf(CLUSTER)).toMatchObject([{ generation: 1 }]);
    });

    test('a key opens its own node alone', async () => {
      const token = await tokenFor(2);
      const [one, two] = [await a.exchange({ token, node: NODE }), await a.exchange({ token, node: NODE })];
      await expect(a.renew(one.node.id, two.node.key, REPORT)).rejects.toEqual(refused(401));
      await expect(a.renew(OTHER, one.node.key, REPORT)).rejects.toEqual(refused(401));
      await expect(a.renew(one.node.id, 'x', REPORT)).rejects.toEqual(refused(401));
    });

    test('of a node that is removed neither the key nor the token is good any more; another stays', async () => {
      const token = await tokenFor(3);
      const [one, two] = [await a.exchange({ token, node: NODE }), await a.exchange({ token: await tokenFor(1), node: NODE })];
      expect(await b.removeNode(OTHER, one.node.id)).toBe(false);
      expect(await b.removeNode(CLUSTER, one.node.id)).toBe(true);
      expect(await b.removeNode(CLUSTER, one.node.id)).toBe(false);
      await expect(a.renew(one.node.id, one.node.key, REPORT)).rejects.toEqual(refused(401));
      await expect(a.exchange({ token, node: NODE })).rejects.toEqual(refused(401));
      await a.renew(two.node.id, two.node.key, REPORT);
      expect((await a.nodesOf(CLUSTER)).map(({ id }) => id)).toEqual([two.node.id]);
    });

    test('a cluster whose credential cannot be opened keeps no node of another out', async () => {
      await cluster('CREATE_COMPLETE', 1, OTHER);
      await db().updateTable('sealed_secrets').set({ sealed: 'v1.AAAA' }).where('owner', 'like', `cluster/${CLUSTER}/%`).execute();
      const tokens = [await tokenFor(1), await tokenFor(1, OTHER), await tokenFor(1), await tokenFor(1, OTHER)];
      const outcomes = await Promise.allSettled(tokens.map(async (token) => await a.exchange({ token, node: NODE })));
      expect(outcomes).toEqual([
        { status: 'rejected', reason: expect.objectContaining({ name: 'SealError' }) as unknown }, { status: 'fulfilled', value: expect.objectContaining({ credential: credential(1) }) as unknown },
        { status: 'rejected', reason: expect.objectContaining({ name: 'SealError' }) as unknown }, { status: 'fulfilled', value: expect.objectContaining({ credential: credential(1) }) as unknown },
      ]);
    });

    test.each<[string, () => Promise<unknown>]>([
      ['is being deleted', async () => await cluster('DELETE_IN_PROGRESS', 1)],
      ['could not be deleted yet', async () => await cluster('DELETE_FAILED', 1)],
      ['is deleted', async () => await db().deleteFrom('clusters').execute()],
    ])('a node whose cluster %s is told', async (_, change) => {
      const token = await tokenFor(2);
      const { node } = await a.exchange({ token, node: NODE });
      await change();
      await expect(a.renew(node.id, node.key, REPORT)).rejects.toEqual(refused(410));
      await expect(a.exchange({ token, node: NODE })).rejects.toEqual(refused(410));
      await expect(a.renew(node.id, `umbra-node-${'A'.repeat(43)}`, REPORT)).rejects.toEqual(refused(401)); // nobody else
    });

    test('purging removes tokens that expired and nodes not seen for a month, and no others', async () => {
      const [old, living] = [await tokenFor(1), await tokenFor(2)];
      const [gone, here] = [await a.exchange({ token: living, node: NODE }), await a.exchange({ token: living, node: { ...NODE, name: 'here' } })];
      await tokenFor(1, OTHER);
      await db().updateTable('bootstrap_tokens').set({ expires_ms: 1 }).where('uses_left', '=', 1).where('cluster_uuid', '=', CLUSTER).execute();
      await db().updateTable('nodes').set({ seen_ms: Date.now() - 31 * 24 * 3600_000 }).where('id', '=', gone.node.id).execute();
      expect(await b.purge()).toEqual({ tokens: 1, nodes: 1 });
      expect((await a.nodesOf(CLUSTER)).map(({ id }) => id)).toEqual([here.node.id]);
      await expect(a.exchange({ token: old, node: NODE })).rejects.toEqual(refused(401));
    });

    test('the endpoints take bodies and keys as nodes send them', async () => {
      const endpoints = nodeEndpoints({ bootstrap: a, nowMs: Date.now });
      const ask = async (path: string, body: unknown, authorization?: string): Promise<unknown> => await endpoints.find(path)?.({ text: JSON.stringify(body), authorization, address: '127.0.0.1' });
      const { node } = (await ask('/v1/bootstrap', { token: await tokenFor(1), node: NODE })) as { readonly node: { readonly id: string; readonly key: string } };
      const renew = `/v1/nodes/${node.id}/renew`;
      expect(await ask(renew, REPORT, `Bearer ${node.key}`)).toEqual({ generation: 1, renewSeconds: 300 });
      await expect(ask(renew, REPORT)).rejects.toEqual(refused(401));
      await expect(ask(renew, REPORT, node.key)).rejects.toEqual(refused(401));
      await expect(ask(renew, { ...REPORT, generation: 'one' }, `Bearer ${node.key}`)).rejects.toThrow('generation: expected a number');
      await expect(ask('/v1/bootstrap', {})).rejects.toEqual(refused(400));
      for (const path of ['/v1/bootstrap/', '/v1/nodes', '/v1/nodes/x/renew', `/v1/nodes/${node.id}`]) expect(endpoints.find(path)).toBeUndefined();
    });
  });
}
