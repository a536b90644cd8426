/** `clusters.accessRules` before a Swift that keeps to them, which takes one that is set up for it: in the soak. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterCloud, type ClusterCloud, type Tenant } from '../../../test/services/cluster-cloud.ts';
import { startOpenStack } from '../../../test/services/openstack.ts';
import { SOAK } from '../../../test/support/soak.ts';
import { service, type Service } from '../lifecycle/lifecycle.fixture.ts';

describe.runIf(SOAK)('an application credential with rules', () => {
  const stack = new AsyncDisposableStack();
  let cloud: ClusterCloud;
  let owner: Tenant;
  let umbra: Service;
  let origin = '';
  beforeAll(async () => {
    const { settings } = stack.use(await startOpenStack(undefined, { accessRules: true }));
    origin = settings.swiftOrigin;
    cloud = await clusterCloud(settings);
    owner = await cloud.tenant();
    umbra = stack.use(await service('sqlite::memory:', { ...cloud.settings, accessRules: true }));
  });
  afterAll(() => stack.disposeAsync());

  /** As a node, below the project's account. */
  async function asNode({ url, applicationCredentialId: id, applicationCredentialSecret: secret }: Readonly<Record<string, string>>, method: string, path: string): Promise<number> {
    const login = await fetch(`${url}/auth/tokens`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ auth: { identity: { methods: ['application_credential'], application_credential: { id, secret } } } }) });
    return (await fetch(`${origin}/v1/AUTH_${owner.projectId}${path}`, { method, headers: { 'x-auth-token': login.headers.get('x-subject-token') ?? '' } })).status;
  }

  test('is proved to open its containers, and Swift does not take it elsewhere', async () => {
    umbra.start();
    const uuid = await umbra.create(owner, await owner.token(), { credentialMode: 'app_cred' });
    expect(await umbra.until(uuid, 'CREATE_COMPLETE', 'CREATE_FAILED')).toMatchObject({ status: 'CREATE_COMPLETE', status_reason: null });
    await cloud.keepRow(owner);
    const words = (await umbra.credential(uuid, 1)) ?? {};
    const images = `/registry-${uuid}`;
    expect(await asNode(words, 'GET', images)).toBe(204);
    expect(await asNode(words, 'PUT', `${images}-upstream/docker.io/x`)).toBe(201);
    for (const path of ['', '/another', `${images}-else`]) expect(await asNode(words, 'GET', path)).toBe(401);
    await umbra.ask(uuid, 'DELETE_IN_PROGRESS', await owner.token());
    expect(await umbra.until(uuid, 'gone', 'DELETE_FAILED')).toBeUndefined();
    expect((await cloud.left([owner])).applicationCredentials).toEqual([]);
  });
});
