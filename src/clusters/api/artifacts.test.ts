/** `GET /v1/clusters/<id>/artifacts` over HTTP: what of a cluster, its template and the service goes into them. */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FORMATS } from '../render/render.ts';
import { testService, VERSION, type Reply, type TestService } from '../service.fixture.ts';

const PROGRAM = Buffer.from('a tarball');

let service: TestService;
let token = '';
let made = 0;
beforeAll(async () => {
  service = await testService({ nodes: { image: 'registry.example.org/umbra:1', ca: undefined, diskBytes: 2 ** 30, renewMs: 300_000 } });
  token = service.keystone.token();
});
afterAll(async () => await service.close());

/** @returns its UUID, as if its credential was made */
async function cluster(template: object = {}, ready = true): Promise<string> {
  const name = `t${++made}`;
  expect(await service.call(token, 'POST', '/v1/clustertemplates', { json: { name, coe: 'kubernetes', image_id: 'x', registry_enabled: true, ...template } })).toMatchObject({ status: 201 });
  const { body } = await service.call(token, 'POST', '/v1/clusters', { json: { cluster_template_id: name } });
  const uuid = String(body['uuid']);
  if (ready) await service.database.db.updateTable('clusters').set({ status: 'CREATE_COMPLETE', generation: 1 }).where('uuid', '=', uuid).execute();
  return uuid;
}

const artifacts = async (uuid: string, query = ''): Promise<Reply> => await service.call(token, 'GET', `/v1/clusters/${uuid}/artifacts${query}`);

test('without a program there are none, and it is said who puts it there', async () => {
  expect(await artifacts(await cluster(), '?role=worker&format=shell')).toMatchObject({ status: 409, detail: expect.stringContaining(`There is no program of version ${VERSION} in clusters.programs`) as string });
});

describe('with a program', () => {
  beforeAll(async () => {
    const folder = service.config.programs ?? '';
    await mkdir(folder);
    await writeFile(join(folder, `umbra-${VERSION}-linux-amd64.tar.gz`), PROGRAM);
  });

  test.each(FORMATS)('as %s they are a file of its own type, that no cache keeps', async (format) => {
    const { status, headers, text } = await artifacts(await cluster(), `?role=master&format=${format}`);
    expect([status, headers.get('cache-control'), headers.get('content-disposition')]).toEqual([200, 'no-store', expect.stringMatching(/^attachment; filename="master\.[\w.-]+"$/)]);
    expect(text.length).toBeGreaterThan(100);
  });

  test('they name the program by its digest, where the service gives it to anybody', async () => {
    const sha256 = createHash('sha256').update(PROGRAM).digest('hex');
    expect((await artifacts(await cluster(), '?role=worker&format=shell')).text).toContain(`url=http://clusters.example.org/v1/program/${sha256} sha256=${sha256} ;;`);
    expect(await service.call(undefined, 'GET', `/v1/program/${sha256}`)).toMatchObject({ status: 200, text: PROGRAM.toString() });
  });

  test('they hold what the template says of proxies and registries without TLS', async () => {
    const { text } = await artifacts(await cluster({ http_proxy: 'http://proxy.example.org:3128', no_proxy: '10.0.0.0/8', insecure_registry: '10.0.0.1:5000' }), '?role=worker&format=shell');
    expect(text).toContain('HTTP_PROXY=http://proxy.example.org:3128');
    expect(text).toMatch(/NO_PROXY=.*10\.0\.0\.0\/8/);
    expect(text).toContain('--insecure-registries 10.0.0.1:5000 ');
  });

  test('each has a token of its own, for as many nodes as was said', async () => {
    const uuid = await cluster();
    await artifacts(uuid, '?role=worker&format=shell');
    const { text } = await artifacts(uuid, '?role=master&format=shell&nodes=3');
    const rows = await service.database.db.selectFrom('bootstrap_tokens').selectAll().where('cluster_uuid', '=', uuid).orderBy('uses_left').execute();
    expect(rows.map(({ role, uses_left }) => [role, uses_left])).toEqual([['worker', 1], ['master', 3]]);
    const [secret = ''] = /umbra-token-[\w-]{43}/.exec(text) ?? [];
    expect(rows[1]?.hash).toBe(createHash('sha256').update(secret).digest('hex'));
  });

  test('are not asked for without a body: that would make a token', async () => {
    const uuid = await cluster();
    expect((await service.call(token, 'HEAD', `/v1/clusters/${uuid}/artifacts?role=worker&format=shell`)).status).toBe(405);
    expect(await service.database.db.selectFrom('bootstrap_tokens').selectAll().where('cluster_uuid', '=', uuid).execute()).toEqual([]);
  });

  test('without a query it is said what there is', async () => {
    expect(await artifacts(await cluster())).toMatchObject({ status: 200, body: { roles: ['master', 'worker'], formats: [...FORMATS] } });
  });

  test.each<[string, string, number, string]>([
    ['a role that there is not', '?role=etcd&format=shell', 400, "Invalid argument role, 'etcd': expected one of master, worker"],
    ['no role', '?format=shell', 400, "Invalid argument role, ''"],
    ['a format that there is not', '?role=worker&format=bat', 400, "Invalid argument format, 'bat'"],
    ['no nodes', '?role=worker&format=shell&nodes=0', 400, "Invalid argument nodes, '0': expected how many nodes are made of it, 1 to 10000"],
    ['too many nodes', '?role=worker&format=shell&nodes=10001', 400, 'Invalid argument nodes'],
    ['a word that is not known', '?role=worker&format=shell&node=2', 400, 'Unknown argument: "node"; expected one of role, format, nodes'],
  ])('%s is refused', async (_, query, status, detail) => {
    expect(await artifacts(await cluster(), query)).toMatchObject({ status, detail: expect.stringContaining(detail) as string });
  });

  test('a cluster without a registry, or without a credential yet, has none', async () => {
    expect(await artifacts(await cluster({ registry_enabled: false }), '?role=worker&format=shell')).toMatchObject({ status: 400, detail: expect.stringContaining('its template does not have registry_enabled') as string });
    expect(await artifacts(await cluster({}, false), '?role=worker&format=shell')).toMatchObject({ status: 409, detail: expect.stringContaining('has no artifacts while it is CREATE_IN_PROGRESS') as string });
  });

  const tokensOf = async (uuid: string): Promise<number> => (await service.database.db.selectFrom('bootstrap_tokens').select('hash').where('cluster_uuid', '=', uuid).execute()).length;

  test.each(['upgrade', 'remove', 'daemonset-upgrade', 'daemonset-remove'])('%s is for nodes that are there, and no token is made for it', async (format) => {
    const uuid = await cluster();
    const { status, text } = await artifacts(uuid, `?role=worker&format=${format}`);
    expect([status, await tokensOf(uuid)]).toEqual([200, 0]);
    expect(text).not.toContain('umbra-token-');
  });

  test('nodes of a cluster that has a registry no more, or is going, can still be rid of theirs', async () => {
    const uuid = await cluster({ http_proxy: 'http://proxy.example.org:3128' });
    const plain = `t${++made}`;
    await service.call(token, 'POST', '/v1/clustertemplates', { json: { name: plain, coe: 'kubernetes', image_id: 'x' } });
    expect(await service.call(token, 'POST', `/v1/clusters/${uuid}/actions/upgrade`, { json: { cluster_template: plain }, version: 'latest' })).toMatchObject({ status: 202 });
    for (const [status, generation] of [['UPDATE_IN_PROGRESS', 1], ['UPDATE_COMPLETE', 0], ['DELETE_IN_PROGRESS', 0]] as const) {
      await service.database.db.updateTable('clusters').set({ status, generation }).where('uuid', '=', uuid).execute();
      expect(await artifacts(uuid, '?role=worker&format=daemonset-remove')).toMatchObject({ status: 200 });
      const removal = await artifacts(uuid, '?role=worker&format=remove');
      expect(removal.status).toBe(200);
      // They may have been told of proxies, of which the template says nothing any more.
      expect(removal.text).toContain('/docker.service.d/90-umbra-proxy.conf');
    }
    expect(await artifacts(uuid)).toMatchObject({ status: 200, body: { formats: ['remove', 'daemonset-remove'] } });
    for (const format of ['shell', 'upgrade']) expect(await artifacts(uuid, `?role=worker&format=${format}`)).toMatchObject({ status: 400, detail: expect.stringContaining('What takes it from nodes that had one is there: remove, daemonset-remove.') as string });
    expect(await tokensOf(uuid)).toBe(0);
  });

  test('those of Kubernetes are for Kubernetes', async () => {
    expect(await artifacts(await cluster({ coe: 'swarm-mode' }), '?role=worker&format=daemonset')).toMatchObject({ status: 409 });
  });

  test('another project sees no cluster, a reader no token', async () => {
    const uuid = await cluster();
    const as = async (whose: string): Promise<number> => (await service.call(whose, 'GET', `/v1/clusters/${uuid}/artifacts?role=worker&format=shell`)).status;
    expect([await as(service.keystone.token({ project: 'p2' })), await as(service.keystone.token({ roles: ['reader'] }))]).toEqual([404, 403]);
  });
});
