/** The lives of clusters against the real Keystone and Swift, over either engine. `make test` lives through some, the soak through all. */
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { clusterCloud, type ClusterCloud, type Tenant } from '../../../test/services/cluster-cloud.ts';
import { SOAK } from '../../../test/support/soak.ts';
import { ledger } from '../credentials/ledger.ts';
import { CREDENTIAL_MODES, type CredentialMode, type RegistrySettings } from '../words.ts';
import { service, SETTINGS, type Service } from './lifecycle.fixture.ts';

const NOTHING = { users: [], trusts: 0, applicationCredentials: [] };

export interface Place {
  /** Of a database that nobody used. */
  url(): Promise<string>;
  stop(): Promise<void>;
}

/** @param isMain of the engines, the one over which `make test` lives through what differs by cloud rather than by database */
export function lifecycleContract(engine: string, isMain: boolean, start: () => Promise<Place>): void {
  const isLived = SOAK || isMain;
  describe(`clusters over ${engine}`, () => {
    const openstack = inject('openstack');
    let cloud: ClusterCloud;
    let place: Place;
    let owner: Tenant;
    let umbra: Service;
    beforeAll(async () => {
      place = await start();
      cloud = await clusterCloud(openstack);
    });
    afterAll(async () => await place.stop());
    beforeEach(async () => {
      owner = await cloud.tenant();
      umbra = await service(await place.url(), cloud.settings);
    });
    afterEach(async () => {
      // Neither reasons nor events have what nobody may see.
      const said = JSON.stringify([umbra.events, await umbra.database.db.selectFrom('clusters').selectAll().execute(), await umbra.database.db.selectFrom('credentials').selectAll().execute(), await umbra.database.db.selectFrom('intents').selectAll().execute()]);
      for (const secret of secrets.splice(0)) expect(said).not.toContain(secret);
      await umbra[Symbol.asyncDispose]();
    });

    /** What was given to nodes, and tokens. */
    const secrets: string[] = [];
    const token = async (tenant: Tenant): Promise<string> => {
      const made = await tenant.token();
      secrets.push(made);
      return made;
    };
    const created = async (settings: Partial<RegistrySettings>, by = owner): Promise<string> => {
      const uuid = await umbra.create(by, await token(by), settings);
      expect(await umbra.until(uuid, 'CREATE_COMPLETE', 'CREATE_FAILED')).toEqual({ status: 'CREATE_COMPLETE', status_reason: null, registry_status: 'ACTIVE', generation: 1 });
      if (settings.credentialMode === 'app_cred') await cloud.keepRow(by);
      return uuid;
    };
    const refused = async (settings: Partial<RegistrySettings>, by = owner, withToken?: string): Promise<string> => {
      const uuid = await umbra.create(by, withToken ?? (await token(by)), settings);
      const row = await umbra.until(uuid, 'CREATE_COMPLETE', 'CREATE_FAILED');
      expect(row).toMatchObject({ status: 'CREATE_FAILED', generation: 0, registry_status: null });
      await expect.poll(async () => await umbra.database.db.selectFrom('credentials').selectAll().where('cluster_uuid', '=', uuid).execute(), { timeout: 30_000 }).toEqual([]);
      expect(await cloud.left([by])).toEqual(NOTHING);
      expect(await umbra.secrets.find(umbra.database.db, `cluster/${uuid}`, 'caller-token')).toBeUndefined();
      return row?.status_reason ?? '';
    };
    const words = async (uuid: string, generation = 1): Promise<Readonly<Record<string, string>>> => {
      const found = (await umbra.credential(uuid, generation)) ?? {};
      secrets.push(...['password', 'trustId', 'applicationCredentialSecret'].flatMap((word) => found[word] ?? []));
      return found;
    };
    const deleted = async (uuid: string, byToken: string): Promise<void> => {
      await umbra.ask(uuid, 'DELETE_IN_PROGRESS', byToken);
      const row = await umbra.until(uuid, 'gone', 'DELETE_FAILED');
      expect(row?.status_reason).toBeUndefined();
      for (const table of ['intents', 'credentials'] as const) expect(await umbra.database.db.selectFrom(table).selectAll().where('cluster_uuid', '=', uuid).execute()).toEqual([]);
      expect(await umbra.database.db.selectFrom('sealed_secrets').selectAll().where('owner', 'like', `cluster/${uuid}%`).execute()).toEqual([]);
    };
    const access = async (container: string, by = owner): Promise<(string | null)[]> => {
      const { headers } = await cloud.swift(by, 'HEAD', container);
      return [headers.get('x-container-read'), headers.get('x-container-write')];
    };
    /** Logs in as a node, and asks Swift for something in the owner's account. */
    const asNode = async (login: Readonly<Record<string, string>>, method: string, path: string, body?: string, projectId = owner.projectId): Promise<number> => {
      const { url, userId, password, projectId: scope, trustId, applicationCredentialId: id, applicationCredentialSecret: secret } = login;
      const identity = id === undefined ? { methods: ['password'], password: { user: { id: userId, password } } } : { methods: ['application_credential'], application_credential: { id, secret } };
      const scoped = trustId !== undefined ? { scope: { 'OS-TRUST:trust': { id: trustId } } } : scope === undefined ? {} : { scope: { project: { id: scope } } };
      const answer = await fetch(`${url}/auth/tokens`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ auth: { identity, ...scoped } }) });
      const got = answer.headers.get('x-subject-token');
      if (got === null) return 401;
      const account = `${openstack.accountUrl.replace(/\/[^/]*$/, '')}/AUTH_${projectId}`;
      return (await fetch(`${account}/${path}`, { method, headers: { 'x-auth-token': got }, ...(body !== undefined && { body }) })).status;
    };

    const joined = async (uuid: string): Promise<void> =>
      void (await umbra.database.db.insertInto('nodes').values({ id: 'n', cluster_uuid: uuid, name: 'n', role: 'worker', key_hash: '', token_hash: null, arch: 'amd64', version: '1', generation: 1, last_error: null, disk_used_bytes: null, disk_max_bytes: null, joined_ms: 0, seen_ms: 0 }).execute());
    const allHave = async (generation: number): Promise<void> => {
      await umbra.database.db.updateTable('nodes').set({ generation }).execute();
      await umbra.database.db.deleteFrom('intents').where('step', '=', 'retry').execute(); // it would look again in half a minute
    };

    const WORDS: Readonly<Record<CredentialMode, readonly string[]>> = {
      acl: ['password', 'projectId', 'url', 'userId'], trust: ['password', 'trustId', 'url', 'userId'], app_cred: ['applicationCredentialId', 'applicationCredentialSecret', 'url'],
    };
    const DELETERS = ['owner', 'colleague', 'admin'] as const;
    const tokenOf = async (who: (typeof DELETERS)[number]): Promise<string> => {
      if (who === 'owner') return await token(owner);
      return who === 'admin' ? await cloud.adminToken() : await token(await cloud.tenant(['member'], owner.projectId));
    };
    const LIVES = CREDENTIAL_MODES.flatMap((mode, i) => DELETERS.map((deleter, j) => ({ mode, deleter, isChosen: isMain && (mode === 'trust' ? deleter === 'colleague' : i === j) })));

    describe.each(LIVES)('$mode, deleted by $deleter', ({ mode, deleter, isChosen }) => {
      test.runIf(SOAK || isChosen)('gets a credential that opens its containers and nothing else, and leaves only them', async () => {
        umbra.start();
        const uuid = await created({ credentialMode: mode });
        const [images, upstream] = [`registry-${uuid}`, `registry-${uuid}-upstream`];
        expect(await cloud.containers(owner)).toEqual([images, upstream]);
        const node = await words(uuid);
        expect(Object.keys(node).toSorted()).toEqual(WORDS[mode]);
        expect(await asNode(node, 'PUT', `${upstream}/x`, 'x')).toBe(201);
        expect(await asNode(node, 'GET', `${upstream}/x`)).toBe(200);
        expect(await asNode(node, 'DELETE', `${upstream}/x`)).toBe(204);
        expect(await asNode(node, 'GET', images)).toBe(204);
        expect(await asNode(node, 'PUT', `${images}/x`, 'x')).toBe(403);
        expect(await asNode(node, 'GET', '')).toBe(403);
        expect(await asNode(node, 'PUT', 'another')).toBe(403);
        expect(await asNode(node, 'POST', images)).toBe(403);
        expect(await umbra.secrets.find(umbra.database.db, `cluster/${uuid}`, 'caller-token')).toBeUndefined();
        await deleted(uuid, await tokenOf(deleter));
        expect(await cloud.left([owner])).toEqual(NOTHING);
        expect(await cloud.containers(owner)).toEqual([images, upstream]);
        expect(await access(images)).toEqual([null, null]);
        expect(await access(upstream)).toEqual([null, null]);
        expect([401, 403]).toContain(await asNode(node, 'GET', images));
      });
    });

    test('one without a registry is complete at once, and gone at once', async () => {
      const uuid = await umbra.create(owner, await token(owner));
      await umbra.database.db.updateTable('clusters').set({ registry_enabled: 0, registry_status: null }).execute();
      umbra.start();
      expect(await umbra.until(uuid, 'CREATE_COMPLETE')).toMatchObject({ registry_status: null, generation: 0 });
      await deleted(uuid, await token(owner));
      expect(await cloud.containers(owner)).toEqual([]);
    });

    test.runIf(SOAK)('registry_write none: nodes may read', async () => {
      umbra.start();
      const uuid = await created({ write: 'none' });
      expect(await cloud.containers(owner)).toEqual([`registry-${uuid}`]);
      const node = await words(uuid);
      expect(await asNode(node, 'GET', `registry-${uuid}`)).toBe(204);
      expect(await asNode(node, 'PUT', `registry-${uuid}/x`, 'x')).toBe(403);
    });

    test.runIf(isLived)('registry_write all, a quota and purge: nodes may push until it is full, and nothing is left but what the cluster had before', async () => {
      umbra.start();
      const uuid = await created({ write: 'all', quotaBytes: 1000, purge: true });
      const node = await words(uuid);
      expect(await asNode(node, 'PUT', `registry-${uuid}/a/x y`, 'x')).toBe(201);
      expect(await asNode(node, 'PUT', `registry-${uuid}/b`, 'x'.repeat(1001))).toBe(413);
      const push = JSON.parse((await umbra.secrets.find(umbra.database.db, `cluster/${uuid}`, 'push-user'))?.reveal() ?? '{}') as { readonly name: string; readonly password: string };
      expect(push).toEqual({ name: 'push', password: expect.stringMatching(/^.{30,}$/) as string });
      secrets.push(push.password);
      // As an upgrade from a template with `registry_container: team` leaves it.
      await cloud.swift(owner, 'PUT', 'team');
      await cloud.swift(owner, 'PUT', 'team/image', {}, 'image');
      await ledger(umbra.database).intend(uuid, 0, { kind: 'container', projectId: owner.projectId, name: 'team', made: false });
      await deleted(uuid, await token(owner));
      expect(await cloud.containers(owner)).toEqual(['team']);
      expect((await cloud.swift(owner, 'HEAD', 'team/image')).status).toBe(200);
      expect(await cloud.left([owner])).toEqual(NOTHING);
    });

    test.runIf(SOAK)('a container that was there is used, kept, and its access list put back', async () => {
      umbra.start();
      await cloud.swift(owner, 'PUT', 'mine', { 'x-container-read': '.r:*,someone:else' });
      await cloud.swift(owner, 'PUT', 'mine/image', {}, 'image');
      const [one, two] = [await created({ container: 'mine' }), await created({ container: 'mine' })];
      const [first, second] = [await words(one), await words(two)];
      expect(await asNode(first, 'GET', 'mine/image')).toBe(200);
      await umbra.ask(one, 'DELETE_IN_PROGRESS', await token(owner), {});
      await umbra.until(one, 'gone');
      expect(await asNode(second, 'GET', 'mine/image')).toBe(200);
      expect(await asNode(second, 'PUT', 'mine-upstream/x', 'x')).toBe(201);
      await umbra.database.db.updateTable('clusters').set({ settings: sql`replace(settings, '"purge":false', '"purge":true')` }).execute();
      await umbra.ask(two, 'DELETE_IN_PROGRESS', await token(owner));
      await umbra.until(two, 'gone');
      expect(await cloud.containers(owner)).toEqual([]);
    });

    test.runIf(SOAK)('purge is of the containers that the cluster has last: those that it had before stay', async () => {
      umbra.start();
      for (const name of ['team', 'team-upstream']) {
        await cloud.swift(owner, 'PUT', name);
        await cloud.swift(owner, 'PUT', `${name}/image`, {}, 'image');
      }
      const uuid = await created({ container: 'team' });
      await umbra.ask(uuid, 'UPDATE_IN_PROGRESS', await token(owner), { wanted_settings: JSON.stringify({ ...SETTINGS, purge: true }) });
      expect((await umbra.until(uuid, 'UPDATE_COMPLETE', 'UPDATE_FAILED'))?.status).toBe('UPDATE_COMPLETE');
      expect((await cloud.swift(owner, 'PUT', `registry-${uuid}/image`, {}, 'image')).status).toBe(201);
      await deleted(uuid, await token(owner));
      expect(await cloud.containers(owner)).toEqual(['team', 'team-upstream']);
      for (const name of ['team', 'team-upstream']) {
        expect((await cloud.swift(owner, 'HEAD', `${name}/image`)).status).toBe(200);
        expect(await access(name)).toEqual([null, null]);
      }
    });

    describe('what cannot be is said, and nothing is left', () => {
      test.runIf(isLived)('trust: an application credential\'s token', async () => {
        umbra.start();
        const app = await cloud.applicationCredentialToken(owner);
        expect(await refused({ credentialMode: 'trust' }, owner, app)).toMatch(/make a trust: .* answered 403.*not by an application credential/);
        expect(await cloud.containers(owner)).toEqual([]);
      });
      test.runIf(isLived)('trust: a role that the owner lacks', async () => {
        umbra.start();
        expect(await refused({ credentialMode: 'trust' }, await cloud.tenant(['member']))).toMatch(/make a trust: .*registry_user.*lacks it in project/);
      });
      test.runIf(SOAK)('app_cred: a role that the owner lacks', async () => {
        umbra.start();
        expect(await refused({ credentialMode: 'app_cred' }, await cloud.tenant(['member']))).toMatch(/make application credential .*registry_user/);
      });
      test.runIf(isLived)('trust: roles that open the whole project', async () => {
        await umbra[Symbol.asyncDispose]();
        umbra = await service(await place.url(), { ...cloud.settings, roles: { ...cloud.settings.roles, delegated: ['member'] } });
        umbra.start();
        expect(await refused({ credentialMode: 'trust' })).toContain('opens every container of project');
      });
      test.runIf(SOAK)('acl: a role of nodes that opens the service project', async () => {
        await umbra[Symbol.asyncDispose]();
        umbra = await service(await place.url(), { ...cloud.settings, roles: { ...cloud.settings.roles, node: 'member' } });
        umbra.start();
        expect(await refused({ credentialMode: 'acl' })).toContain('opens the service project');
      });
      test.runIf(SOAK)('acl: who is no operator of the object store, where the service is none either', async () => {
        const plain = await clusterCloud(openstack, { resellerAdmin: false });
        await umbra[Symbol.asyncDispose]();
        umbra = await service(await place.url(), plain.settings);
        umbra.start();
        expect(await refused({}, await plain.tenant(['reader']))).toMatch(/make container registry-.*neither whoever asked nor the service's own user.*such as member.*ResellerAdmin/);
        // The same where an administrator of another project deletes: the user goes, the list stays until somebody may change it.
        const uuid = await created({});
        await umbra.ask(uuid, 'DELETE_IN_PROGRESS', await plain.adminToken());
        expect((await umbra.until(uuid, 'DELETE_FAILED', 'gone'))?.status_reason).toContain('give the service\'s user the role ResellerAdmin');
        expect((await plain.left([owner])).users).toEqual([]);
        await umbra.ask(uuid, 'DELETE_IN_PROGRESS', await token(owner));
        await umbra.until(uuid, 'gone');
        expect(await access(`registry-${uuid}`)).toEqual([null, null]);
      });
      test.runIf(SOAK).each(['trust', 'app_cred'] as const)('%s: a token that has ended', async (credentialMode) => {
        umbra.start();
        expect(await refused({ credentialMode }, owner, 'gAAAAA')).toContain('needs the token of whoever asks, and it has ended; ask again');
      });
    });

    describe.each(CREDENTIAL_MODES)('rotation of %s', (credentialMode) => {
      test.runIf(SOAK || (!isMain && credentialMode === 'trust'))('makes a new one beside the old one, which goes when nodes have the new', async () => {
        umbra.start();
        const uuid = await created({ credentialMode });
        const old = await words(uuid);
        await joined(uuid);
        // By somebody else, who then is whose roles are lent.
        const colleague = await cloud.tenant(['member', cloud.role], owner.projectId);
        await umbra.ask(uuid, 'UPDATE_IN_PROGRESS', await token(colleague));
        expect(await umbra.until(uuid, 'UPDATE_COMPLETE', 'UPDATE_FAILED')).toEqual({ status: 'UPDATE_COMPLETE', status_reason: null, registry_status: 'ACTIVE', generation: 2 });
        if (credentialMode === 'app_cred') await cloud.keepRow(colleague);
        const young = await words(uuid, 2);
        for (const node of [old, young]) expect(await asNode(node, 'GET', `registry-${uuid}`)).toBe(204);
        await allHave(2);
        await expect.poll(() => umbra.events.filter(({ kind }) => kind === 'retired'), { timeout: 30_000 }).toEqual([{ kind: 'retired', cluster: uuid, generation: 1 }]);
        expect([401, 403]).toContain(await asNode(old, 'GET', `registry-${uuid}`));
        expect(await asNode(young, 'GET', `registry-${uuid}`)).toBe(204);
        expect(await umbra.credential(uuid, 1)).toBeUndefined();
        await deleted(uuid, await token(owner));
        expect(await cloud.left([owner, colleague])).toEqual(NOTHING);
        expect(await access(`registry-${uuid}`)).toEqual([null, null]);
      });
    });

    test.runIf(SOAK)('a rotation that fails leaves the old one at work, and the next one goes through', async () => {
      umbra.start();
      const uuid = await created({ credentialMode: 'trust' });
      await umbra.ask(uuid, 'UPDATE_IN_PROGRESS', await token(await cloud.tenant(['member'], owner.projectId)));
      expect(await umbra.until(uuid, 'UPDATE_COMPLETE', 'UPDATE_FAILED')).toMatchObject({ status: 'UPDATE_FAILED', registry_status: 'ACTIVE', generation: 1 });
      await expect.poll(async () => (await cloud.left([owner])).users.length).toBe(1);
      expect(await asNode(await words(uuid), 'GET', `registry-${uuid}`)).toBe(204);
      await umbra.ask(uuid, 'UPDATE_IN_PROGRESS', await token(owner));
      expect(await umbra.until(uuid, 'UPDATE_COMPLETE', 'UPDATE_FAILED')).toMatchObject({ status: 'UPDATE_COMPLETE', generation: 2 });
      await deleted(uuid, await token(owner));
      expect(await cloud.left([owner])).toEqual(NOTHING);
    });

    test.runIf(isLived).each(SOAK ? CREDENTIAL_MODES : (['trust'] as const))('%s: what was granted to write ends with the last credential that was for it, and an attempt that fails changes nothing', async (credentialMode) => {
      umbra.start();
      const uuid = await created({ credentialMode, write: 'all', quotaBytes: 1000 });
      const images = `registry-${uuid}`;
      const row = async (): Promise<object> => await umbra.database.db.selectFrom('clusters').select(['settings', 'wanted_settings']).where('uuid', '=', uuid).executeTakeFirstOrThrow();
      const before = await row();
      const wanted = JSON.stringify({ ...SETTINGS, credentialMode, write: 'cache' });
      if (credentialMode !== 'acl') {
        await umbra.ask(uuid, 'UPDATE_IN_PROGRESS', await token(await cloud.tenant(['member'], owner.projectId)), { wanted_settings: wanted });
        expect((await umbra.until(uuid, 'UPDATE_COMPLETE', 'UPDATE_FAILED'))?.status).toBe('UPDATE_FAILED');
        expect(await row()).toEqual({ ...before, wanted_settings: wanted });
        await expect.poll(async () => await umbra.database.db.selectFrom('credentials').select('generation').where('cluster_uuid', '=', uuid).execute(), { timeout: 30_000 }).toEqual([{ generation: 1 }]);
        expect(await asNode(await words(uuid), 'PUT', `${images}/x`, 'x')).toBe(201);
      }
      await joined(uuid);
      await umbra.ask(uuid, 'UPDATE_IN_PROGRESS', await token(owner), { wanted_settings: wanted });
      expect(await umbra.until(uuid, 'UPDATE_COMPLETE', 'UPDATE_FAILED')).toMatchObject({ status: 'UPDATE_COMPLETE', status_reason: null, generation: 2 });
      expect(await row()).toEqual({ settings: wanted, wanted_settings: null });
      // So does the quota, which was asked for no more.
      expect((await cloud.swift(owner, 'PUT', `${images}/large`, {}, 'x'.repeat(2000))).status).toBe(201);
      if (credentialMode === 'app_cred') await cloud.keepRow(owner);
      await allHave(2);
      await expect.poll(() => umbra.events.filter(({ kind }) => kind === 'retired'), { timeout: 30_000 }).toEqual([{ kind: 'retired', cluster: uuid, generation: 1 }]);
      const young = await words(uuid, 2);
      expect(await asNode(young, 'GET', `${images}/x`)).toBe(credentialMode === 'acl' ? 404 : 200);
      expect(await asNode(young, 'PUT', `${images}/x`, 'x')).toBe(403);
      expect(await asNode(young, 'PUT', `${images}-upstream/x`, 'x')).toBe(201);
      await deleted(uuid, await token(owner));
      expect(await cloud.left([owner])).toEqual(NOTHING);
      expect(await access(images)).toEqual([null, null]);
    });

    test.runIf(SOAK)('a registry that is disabled loses its credential, and gets another when it is enabled again', async () => {
      umbra.start();
      const uuid = await created({});
      const node = await words(uuid);
      await umbra.ask(uuid, 'UPDATE_IN_PROGRESS', await token(owner), { registry_enabled: 0 });
      expect(await umbra.until(uuid, 'UPDATE_COMPLETE')).toMatchObject({ generation: 0, registry_status: null });
      expect(await cloud.left([owner])).toEqual(NOTHING);
      expect(await asNode(node, 'GET', `registry-${uuid}`)).toBe(401);
      await umbra.ask(uuid, 'UPDATE_IN_PROGRESS', await token(owner), { registry_enabled: 1 });
      await expect.poll(async () => (await umbra.until(uuid, 'UPDATE_COMPLETE'))?.generation, { timeout: 30_000 }).toBe(1);
      expect(await asNode(await words(uuid), 'GET', `registry-${uuid}`)).toBe(204);
    });

    const healthOf = async (uuid: string): Promise<string | null> => (await umbra.database.db.selectFrom('clusters').select('registry_status').where('uuid', '=', uuid).executeTakeFirstOrThrow()).registry_status;
    test.runIf(isLived).each(SOAK ? (['trust', 'app_cred'] as const) : (['trust'] as const))('registry_status of %s tells that the owner lost a role, and that it was given back', async (credentialMode) => {
      umbra.start({ healthMs: 200 });
      const uuid = await created({ credentialMode });
      await cloud.revoke(owner, cloud.role);
      await expect.poll(async () => await healthOf(uuid), { timeout: 30_000 }).toMatch(new RegExp(`^DEGRADED: ${owner.user.name} lost role ${cloud.role} in project tenant-.*: give it back or rotate$`));
      await cloud.grant(owner, cloud.role);
      await expect.poll(async () => await healthOf(uuid), { timeout: 30_000 }).toBe('ACTIVE');
      await cloud.setEnabled(owner, false);
      await expect.poll(async () => await healthOf(uuid), { timeout: 30_000 }).toContain('is disabled: enable them or rotate it');
      // Nobody but an administrator is there to delete it.
      await cloud.setEnabled(owner, true);
      await deleted(uuid, await cloud.adminToken());
      expect(await cloud.left([owner])).toEqual(NOTHING);
    });
    test.runIf(SOAK)('registry_status of acl outlives the owner, and tells of a container or an access that is gone', async () => {
      umbra.start({ healthMs: 200 });
      const uuid = await created({});
      const colleague = await cloud.tenant(['member'], owner.projectId);
      await cloud.setEnabled(owner, false);
      expect(await asNode(await words(uuid), 'GET', `registry-${uuid}`)).toBe(204);
      const before = await access(`registry-${uuid}`, colleague);
      await cloud.swift(colleague, 'POST', `registry-${uuid}`, { 'x-container-read': '' });
      await expect.poll(async () => await healthOf(uuid), { timeout: 30_000 }).toContain(`DEGRADED: container registry-${uuid} is gone, or its access list does not let the nodes in any more`);
      await cloud.swift(colleague, 'POST', `registry-${uuid}`, { 'x-container-read': before[0] ?? '' });
      await expect.poll(async () => await healthOf(uuid), { timeout: 30_000 }).toBe('ACTIVE');
      await cloud.swift(colleague, 'DELETE', `registry-${uuid}-upstream`);
      await expect.poll(async () => await healthOf(uuid), { timeout: 30_000 }).toContain(`DEGRADED: container registry-${uuid}-upstream is gone`);
    });

    test.runIf(SOAK)('a project that is gone keeps no cluster from going', async () => {
      umbra.start();
      const uuid = await created({});
      await cloud.removeProject(owner.projectId);
      await deleted(uuid, await cloud.adminToken());
      expect(await cloud.left([owner])).toEqual(NOTHING);
    });

    test.runIf(isLived)('the sweep removes users of this service without a cluster, and no others', async () => {
      umbra.start({ sweepMs: 300 });
      const [gone, living] = [await created({}), await created({})];
      const others = await service(await place.url(), cloud.settings);
      others.start();
      const theirs = await others.create(owner, await token(owner));
      await others.until(theirs, 'CREATE_COMPLETE');
      // As if the database had been put back to an older state.
      for (const table of ['intents', 'credentials'] as const) await umbra.database.db.deleteFrom(table).where('cluster_uuid', '=', gone).execute();
      await umbra.database.db.deleteFrom('clusters').where('uuid', '=', gone).execute();
      await expect.poll(async () => (await cloud.left([owner])).users.toSorted(), { timeout: 30_000 }).toEqual([living, theirs].map((uuid) => `${uuid}_${owner.projectId}_1`).toSorted());
      // And one whose row alone is gone: what the ledger names goes, its containers too, which are empty.
      await umbra.database.db.deleteFrom('clusters').where('uuid', '=', living).execute();
      await expect.poll(async () => (await cloud.left([owner])).users, { timeout: 30_000 }).toEqual([`${theirs}_${owner.projectId}_1`]);
      await others.ask(theirs, 'DELETE_IN_PROGRESS', await token(owner));
      await others.until(theirs, 'gone');
      await others[Symbol.asyncDispose]();
    });

    test.runIf(SOAK || !isMain)('two instances share the work', async () => {
      const [one, two] = [umbra.start(), umbra.start()];
      const uuids = await Promise.all(Array.from({ length: SOAK ? 12 : 3 }, async () => await umbra.create(owner, await token(owner))));
      one.wake();
      two.wake();
      for (const uuid of uuids) expect((await umbra.until(uuid, 'CREATE_COMPLETE', 'CREATE_FAILED'))?.status).toBe('CREATE_COMPLETE');
      expect((await cloud.left([owner])).users.toSorted()).toEqual(uuids.map((uuid) => `${uuid}_${owner.projectId}_1`).toSorted());
      expect(umbra.events.filter((event) => event.kind === 'status').map(({ cluster }) => cluster).toSorted()).toEqual(uuids.toSorted());
      for (const uuid of uuids) await umbra.ask(uuid, 'DELETE_IN_PROGRESS', await token(owner));
      for (const uuid of uuids) await umbra.until(uuid, 'gone');
      expect(await cloud.left([owner])).toEqual(NOTHING);
    });
  });
}
