/** Cluster templates over HTTP, with a Keystone at the other end of a socket. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testService, type Reply, type TestService } from '../service.fixture.ts';

let service: TestService;
let [mine, colleague, other, admin, reader] = ['', '', '', '', ''];
beforeAll(async () => {
  service = await testService();
  const { keystone } = service;
  [mine, colleague, other, admin, reader] = [keystone.token(), keystone.token({ user: 'u2' }), keystone.token({ user: 'u3', project: 'p2' }), keystone.token({ user: 'root', project: 'p0', roles: ['admin'] }), keystone.token({ user: 'u4', roles: ['reader'] })];
});
afterAll(async () => await service.close());

const LEAST = { coe: 'kubernetes', image_id: 'fedora' };
const TEMPLATES = '/v1/clustertemplates';

async function made(token: string, fields: object = {}): Promise<Readonly<Record<string, unknown>> & { readonly uuid: string }> {
  const { status, body, text } = await service.call(token, 'POST', TEMPLATES, { json: { ...LEAST, ...fields } });
  expect(`${status} ${text}`).toMatch(/^201/);
  return body as typeof body & { readonly uuid: string };
}

async function names(token: string, query = '', resource = TEMPLATES): Promise<readonly unknown[]> {
  const { body, text } = await service.call(token, 'GET', `${resource}${query}`);
  const list = body['clustertemplates'] as readonly { readonly name: string }[] | undefined;
  return list?.map(({ name }) => name) ?? [text];
}

describe('a template', () => {
  test('is made, found by name and by UUID, and gone when it is deleted', async () => {
    const answer = await service.call(mine, 'POST', TEMPLATES, { json: { ...LEAST, name: 'k8s', registry_enabled: true, labels: { registry_port: '5001', other: 7 }, insecure_registry: '10.0.0.1:5000/', fixed_network: null } });
    expect(answer.status).toBe(201);
    const { uuid } = answer.body as { readonly uuid: string };
    expect(answer.body).toMatchObject({
      name: 'k8s', coe: 'kubernetes', image_id: 'fedora', registry_enabled: true, insecure_registry: '10.0.0.1:5000', labels: { registry_port: '5001', other: '7' },
      public: false, hidden: false, server_type: 'vm', floating_ip_enabled: true, tags: null, fixed_network: null, project_id: 'p1', user_id: 'u1', updated_at: null,
      links: [{ rel: 'self', href: `http://clusters.example.org/v1/clustertemplates/${uuid}` }, { rel: 'bookmark', href: `http://clusters.example.org/clustertemplates/${uuid}` }],
    });
    expect(answer.body['created_at']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$/);
    expect(answer.headers.get('location')).toBe(`http://clusters.example.org/v1/clustertemplates/${uuid}`);
    for (const ident of ['k8s', uuid]) expect((await service.call(colleague, 'GET', `${TEMPLATES}/${ident}`)).body).toEqual(answer.body);
    expect((await service.call(colleague, 'DELETE', `${TEMPLATES}/k8s`)).status).toBe(204);
    expect(await service.call(colleague, 'DELETE', `${TEMPLATES}/k8s`)).toMatchObject({ status: 404, detail: 'ClusterTemplate k8s could not be found.' });
  });

  test('that has no name is given one', async () => {
    expect((await made(mine))['name']).toMatch(/^[a-z]+-\d+-template$/);
  });

  test('whose name others have too is found by its UUID only', async () => {
    const [{ uuid }] = [await made(mine, { name: 'twin' }), await made(mine, { name: 'twin' })];
    expect(await service.call(mine, 'GET', `${TEMPLATES}/twin`)).toMatchObject({ status: 409, detail: 'Multiple cluster templates exist with same name. Please use the cluster template uuid instead.' });
    expect((await service.call(mine, 'GET', `${TEMPLATES}/${uuid}`)).status).toBe(200);
  });

  test('with a registry has another port than the API of its Kubernetes, also where none is asked for', async () => {
    expect(await service.call(mine, 'POST', TEMPLATES, { json: { ...LEAST, registry_enabled: true, apiserver_port: 5000 } })).toMatchObject({ status: 400, detail: "Invalid label registry_port, '5000': expected another port: this is that of the API of Kubernetes (apiserver_port)" });
    const { uuid } = await made(mine, { apiserver_port: 5000 });
    const patch = [{ op: 'replace', path: '/registry_enabled', value: true }];
    expect((await service.call(mine, 'PATCH', `${TEMPLATES}/${uuid}`, { json: patch })).status).toBe(400);
    expect((await service.call(mine, 'PATCH', `${TEMPLATES}/${uuid}`, { json: [...patch, { op: 'add', path: '/labels/registry_port', value: '5001' }] })).status).toBe(200);
  });

  // PostgreSQL fails over it.
  test.each<[string, string, object | undefined]>([['POST', '', { ...LEAST, name: 'a\0b' }], ['GET', '/a%00b', undefined], ['GET', '?name=a%00b', undefined]])('with a NUL is none: %s %s', async (method, path, json) => {
    expect(await service.call(mine, method, `${TEMPLATES}${path}`, { json })).toMatchObject({ status: 400, detail: expect.stringContaining('NUL') as string });
  });

  test.each<[string, readonly object[]]>([
    ['removes a label that every object has', [{ op: 'remove', path: '/labels/constructor' }]],
    ['makes labels of a text', [{ op: 'replace', path: '/labels', value: 'text' }, { op: 'add', path: '/labels/a', value: 'b' }]],
    ['is deeper than any', [{ op: 'replace', path: '/labels', value: JSON.parse(`${'['.repeat(4_000)}${']'.repeat(4_000)}`) as unknown }]],
  ])('a patch that %s: 400', async (_, json) => {
    const { uuid } = await made(mine, {});
    expect((await service.call(mine, 'PATCH', `${TEMPLATES}/${uuid}`, { json })).status).toBe(400);
  });

  test.each(['true', 'True', '1', 'on', 'yes', true])('takes registry_enabled %j as true', async (registry_enabled) => {
    expect((await made(mine, { registry_enabled }))['registry_enabled']).toBe(true);
  });

  test('keeps a label whatever is in it', async () => {
    const labels = { a: `it's "quoted"\n$HOME \${x} \\`, b: '0123', c: '' };
    expect((await made(mine, { labels }))['labels']).toEqual(labels);
  });
});

describe('who sees which', () => {
  test('a project its own, everybody the public ones, but hidden ones not in lists; administrators all', async () => {
    const tag = { tags: 'seen' };
    await made(mine, { name: 'seen-own', ...tag });
    await made(other, { name: 'seen-other', ...tag });
    await made(admin, { name: 'seen-public', public: true, ...tag });
    const hidden = await made(admin, { name: 'seen-hidden', public: true, hidden: true, ...tag });
    const seen = async (token: string): Promise<readonly unknown[]> => (await names(token)).filter((name) => String(name).startsWith('seen-'));
    expect(await seen(mine)).toEqual(['seen-own', 'seen-public']);
    expect(await seen(reader)).toEqual(['seen-own', 'seen-public']);
    expect(await seen(other)).toEqual(['seen-other', 'seen-public']);
    expect(await seen(admin)).toEqual(['seen-own', 'seen-other', 'seen-public', 'seen-hidden']);
    expect((await service.call(mine, 'GET', `${TEMPLATES}/${hidden.uuid}`)).status).toBe(200);
  });

  test("another project's is not there", async () => {
    const { uuid } = await made(other);
    for (const method of ['GET', 'PATCH', 'DELETE']) expect(await service.call(mine, method, `${TEMPLATES}/${uuid}`, method === 'PATCH' ? { json: [] } : {})).toMatchObject({ status: 404, detail: `ClusterTemplate ${uuid} could not be found.` });
  });

  test('a public one of another project may be seen and not changed, but by administrators', async () => {
    const { uuid } = await made(admin, { public: true });
    const rename = { json: [{ op: 'replace', path: '/name', value: 'renamed' }] };
    expect(await service.call(mine, 'PATCH', `${TEMPLATES}/${uuid}`, rename)).toMatchObject({ status: 403, detail: expect.stringContaining('belongs to another project') as string });
    expect((await service.call(mine, 'DELETE', `${TEMPLATES}/${uuid}`)).status).toBe(403);
    const theirs = await made(mine);
    expect((await service.call(admin, 'PATCH', `${TEMPLATES}/${theirs.uuid}`, rename)).body).toMatchObject({ name: 'renamed', project_id: 'p1' });
  });

  test('a reader changes nothing', async () => {
    const { uuid } = await made(mine);
    for (const [method, path, json] of [['POST', TEMPLATES, LEAST], ['PATCH', `${TEMPLATES}/${uuid}`, []], ['DELETE', `${TEMPLATES}/${uuid}`, undefined]] as const)
      expect(await service.call(reader, method, path, json === undefined ? {} : { json })).toMatchObject({ status: 403, detail: expect.stringContaining('ask for the role member') as string });
  });
});

describe('a list', () => {
  let lister = '';
  beforeAll(async () => {
    lister = service.keystone.token({ user: 'lister', project: 'lists' });
    for (const [name, coe] of [['b', 'swarm'], ['a', 'kubernetes'], ['c', 'swarm'], ['d', 'swarm-mode']] as const) await made(lister, { name, coe, registry_enabled: name === 'c' });
  });
  const own = (query: string): string => `?project_id=lists${query}`;

  test.each<[string, readonly string[]]>([
    ['', ['b', 'a', 'c', 'd']],
    ['&sort_key=name', ['a', 'b', 'c', 'd']],
    ['&sort_key=name&sort_dir=desc', ['d', 'c', 'b', 'a']],
    ['&sort_key=coe', ['a', 'b', 'c', 'd']],
    ['&sort_key=updated_at&sort_dir=desc', ['d', 'c', 'a', 'b']],
    ['&coe=swarm', ['b', 'c']],
    ['&registry_enabled=true', ['c']],
    ['&name=a', ['a']],
    ['&name=none', []],
  ])('%s', async (query, expected) => {
    expect(await names(lister, own(query))).toEqual(expected);
    expect(await names(lister, own(query), `${TEMPLATES}/detail`)).toEqual(expected);
  });

  test.each(['', '&sort_key=coe', '&sort_key=coe&sort_dir=desc', '&sort_key=updated_at'])('is the same in pages: %s', async (query) => {
    const whole = await names(lister, own(query));
    const paged: unknown[] = [];
    let next: string | undefined = `${TEMPLATES}${own(query)}&limit=1`;
    for (let pages = 0; next !== undefined && pages < 9; pages++) {
      const { body }: Reply = await service.call(lister, 'GET', next);
      paged.push(...(body['clustertemplates'] as readonly { readonly name: string }[]).map(({ name }) => name));
      next = (body['next'] as string | undefined)?.replace('http://clusters.example.org', '');
    }
    expect(paged).toEqual(whole);
  });

  test('has the fields that were asked for', async () => {
    const { body } = await service.call(lister, 'GET', `${TEMPLATES}?name=a&fields=name,coe`);
    expect(Object.keys((body['clustertemplates'] as readonly object[])[0] ?? {})).toEqual(['name', 'coe', 'links']);
  });

  test.each<[string, string]>([
    ['limit=0', 'Limit must be positive'],
    ['limit=-1', 'Limit must be positive'],
    ['limit=x', "Invalid input for field/attribute limit. Value: 'x'. unable to convert to int"],
    ['sort_dir=up', "Invalid sort direction: up. Acceptable values are 'asc' or 'desc'"],
    ['sort_key=body', 'The sort_key value "body" is an invalid field for sorting'],
    ['sort_key=__proto__', 'is an invalid field for sorting'],
    ['marker=x', 'Expected a uuid but received x.'],
    ['fields=secret', 'Unknown field: secret'],
    ['frobnicate=1', 'Unknown argument: "frobnicate"'],
    ['public=maybe', "Invalid input for field/attribute public. Value: 'maybe'"],
  ])('%s is refused', async (query, detail) => {
    expect(await service.call(lister, 'GET', `${TEMPLATES}?${query}`)).toMatchObject({ status: 400, detail: expect.stringContaining(detail) as string });
  });

  test('after what is not there is refused', async () => {
    expect((await service.call(lister, 'GET', `${TEMPLATES}?marker=27e3153e-d5bf-4b7e-b517-fb518e17f34c`)).status).toBe(404);
  });
});

describe('a patch', () => {
  const patch = async (ident: string, ...json: readonly object[]): Promise<Reply> => await service.call(mine, 'PATCH', `${TEMPLATES}/${ident}`, { json });

  test('replaces, adds and removes', async () => {
    const { uuid } = await made(mine, { labels: { a: '1', b: '2' }, fixed_network: 'net' });
    const { status, body } = await patch(uuid, { op: 'replace', path: '/registry_enabled', value: 'True' }, { op: 'add', path: '/flavor_id', value: 'm1' }, { op: 'remove', path: '/fixed_network' }, { op: 'replace', path: '/labels/a', value: 7 }, { op: 'remove', path: '/labels/b' }, { op: 'add', path: '/labels/registry_port', value: 5002 });
    expect([status, body]).toMatchObject([200, { registry_enabled: true, flavor_id: 'm1', fixed_network: null, labels: { a: '7', registry_port: '5002' } }]);
    expect(body['updated_at']).not.toBeNull();
    expect((await service.call(mine, 'GET', `${TEMPLATES}/${uuid}`)).body).toEqual(body);
  });

  test.each([`{'registry_port': '5003', "x": 'it\\'s'}`, '{"registry_port": "5003", "x": "it\'s"}', { registry_port: 5003, x: "it's" }])('takes labels as clients write them: %j', async (value) => {
    const { uuid } = await made(mine, { labels: { a: '1' } });
    expect((await patch(uuid, { op: 'replace', path: '/labels', value })).body['labels']).toEqual({ registry_port: '5003', x: "it's" });
  });

  test.each<[string, object, string]>([
    ['removes what must be there', { op: 'remove', path: '/registry_enabled' }, "'/registry_enabled' is a mandatory attribute and can not be removed"],
    ['removes the image', { op: 'remove', path: '/image_id' }, "'/image_id' is a mandatory attribute and can not be removed"],
    ['changes the trust', { op: 'replace', path: '/registry_trust_id', value: 'x' }, "'/registry_trust_id' is an internal attribute and can not be updated"],
    ['changes the address', { op: 'add', path: '/registry_address', value: 'x' }, "'/registry_address' is an internal attribute and can not be updated"],
    ['changes the UUID', { op: 'replace', path: '/uuid', value: 'x' }, "'/uuid' is an internal attribute and can not be updated"],
    ['changes the project', { op: 'replace', path: '/project_id', value: 'p2' }, "'/project_id' is an internal attribute"],
    ['adds what there is not', { op: 'add', path: '/frobnicate', value: 'x' }, 'Adding a new attribute /frobnicate to the root of the resource is not allowed.'],
    ['replaces what there is not', { op: 'replace', path: '/frobnicate', value: 'x' }, "Couldn't apply patch: there is no attribute /frobnicate"],
    ['adds what is there', { op: 'add', path: '/coe', value: 'swarm' }, "The attribute /coe has existed, please use 'replace' operation instead."],
    ['gives no value', { op: 'replace', path: '/name' }, "'add' and 'replace' operations needs value"],
    ['is of another kind', { op: 'move', path: '/name', from: '/coe' }, 'Unknown attribute: from'],
    ['tests', { op: 'test', path: '/name', value: 'x' }, "Invalid input for field/attribute op. Value: 'test'"],
    ['has no path', { op: 'replace', path: 'name', value: 'x' }, "Invalid input for field/attribute path. Value: 'name'"],
    ['gives a wrong value', { op: 'replace', path: '/registry_enabled', value: 'maybe' }, "Invalid input for field/attribute registry_enabled. Value: 'maybe'"],
    ['gives a wrong label', { op: 'add', path: '/labels/registry_port', value: '80' }, "Invalid label registry_port, '80'"],
    ['removes a label that is not there', { op: 'remove', path: '/labels/none' }, "Couldn't apply patch: there is no label none"],
    ['publishes', { op: 'replace', path: '/public', value: true }, 'Not authorized to set public or hidden flag'],
  ])('that %s is refused', async (_, operation, detail) => {
    const { uuid } = await made(mine, { name: 'patched' });
    const { status, detail: said } = await patch(uuid, { op: 'replace', path: '/name', value: 'new' }, operation);
    expect([status, said]).toEqual([detail.includes('authorized') ? 403 : 400, expect.stringContaining(detail)]);
    expect((await service.call(mine, 'GET', `${TEMPLATES}/${uuid}`)).body['name']).toBe('patched');
    await service.call(mine, 'DELETE', `${TEMPLATES}/${uuid}`);
  });
});

describe('bad input (facts C8)', () => {
  const enabled = (labels: object, more: object = {}): object => ({ registry_enabled: true, labels, ...more });
  test.each<[string, object, string]>([
    ['a word that is no boolean', { registry_enabled: 'maybe' }, "Invalid input for field/attribute registry_enabled. Value: 'maybe'. Unrecognized value 'maybe'"],
    ['an unknown field', { registry_enbled: true }, 'Unknown attribute: registry_enbled'],
    ['a field of the service', { uuid: '27e3153e-d5bf-4b7e-b517-fb518e17f34c' }, "Invalid input for field/attribute uuid. Value: '27e3153e-d5bf-4b7e-b517-fb518e17f34c'. Cannot set read only field."],
    ['no image', { image_id: null }, "Invalid input for field/attribute image_id. Value: 'None'. Mandatory field missing."],
    ['an empty name', { name: '' }, 'Invalid input for field/attribute name'],
    ['a long name', { name: 'x'.repeat(256) }, 'maximum character requirement of 255'],
    ['a size of none', { docker_volume_size: 0 }, 'Invalid input for field/attribute docker_volume_size'],
    ['a size that is no number', { docker_volume_size: 'big' }, 'Value should be an integer.'],
    ['labels that are a list', { labels: [] }, 'Invalid input for field/attribute labels'],
    ['a label that is a map', { labels: { a: {} } }, 'Wrong type of label a'],
    ['an insecure registry that is a URL', { insecure_registry: 'http://10.0.0.1:5000' }, 'Invalid input for field/attribute insecure_registry'],
    ['an insecure registry with a path', { insecure_registry: '10.0.0.1:5000/x' }, 'Value should be host[:port]'],
    ['an engine that is not supported', { coe: 'mesos', registry_enabled: true }, "Invalid input for field/attribute coe. Value: 'mesos'. Value should be one of: 'kubernetes', 'swarm', 'swarm-mode'"],
    ['a port of root', enabled({ registry_port: '1023' }), "Invalid label registry_port, '1023': expected a port from 1024 to 65535"],
    ['a port beyond', enabled({ registry_port: '65536' }), 'expected a port from 1024 to 65535'],
    ['a port that is a word', enabled({ registry_port: 'x' }), 'expected a port from 1024 to 65535'],
    ['the port of etcd', enabled({ registry_port: '2379' }), 'this is that of etcd'],
    ['the port of the API', enabled({ registry_port: 6443 }), 'this is that of the API of Kubernetes'],
    ['the port of kubelet', enabled({ registry_port: '10250' }), 'this is that of kubelet'],
    ['the port of the API by its field', enabled({ registry_port: '8443' }, { apiserver_port: 8443 }), 'this is that of the API of Kubernetes (apiserver_port)'],
    ['an upstream over HTTP', enabled({ registry_upstreams: 'docker.io,http://registry.example.org' }), "Invalid label registry_upstreams, 'http://registry.example.org': expected https"],
    ...['10.0.0.1:5000', '127.0.0.1', 'localhost:5000', '169.254.169.254', '[::1]:5000', '[fd00::1]', '[::ffff:10.0.0.1]', '192.168.1.1', 'https://172.16.0.1', '2130706433', '0x7f.1', '127.1', '10.0.0.1.'].map((host): [string, object, string] => [`the upstream ${host}`, enabled({ registry_upstreams: host }), 'Invalid label registry_upstreams']),
    ['an upstream with a path', enabled({ registry_upstreams: 'docker.io/library' }), 'expected a registry host'],
    ['no upstream', enabled({ registry_upstreams: ' , ' }), 'expected hosts such as docker.io,quay.io'],
    ['a policy that is none', enabled({ registry_policy: 'cache' }), "Invalid label registry_policy, 'cache': expected one of proxy, approved, local"],
    ['a fallback past a policy', enabled({ registry_policy: 'approved', registry_fallback: 'upstream' }), 'clients would go past registry_policy approved'],
    ['a mode that is none', enabled({ registry_credential_mode: 'root' }), 'expected one of acl, trust, app_cred'],
    ['a container with a slash', enabled({ registry_container: 'a/b' }), 'expected the name of a container'],
    ['a long container', enabled({ registry_container: 'x'.repeat(248) }), 'expected at most 247 bytes'],
    ['a quota that is no size', enabled({ registry_quota: 'much' }), 'expected a size such as 500GiB'],
    ['a purge that is no boolean', enabled({ registry_purge: 'maybe' }), "Invalid label registry_purge, 'maybe': expected true or false"],
    ['an unknown label', enabled({ registry_mode: 'cache' }), "Invalid label registry_mode, 'cache': there is no such label"],
  ])('%s: 400', async (_, fields, detail) => {
    expect(await service.call(mine, 'POST', TEMPLATES, { json: { ...LEAST, ...fields } })).toMatchObject({ status: 400, detail: expect.stringContaining(detail) as string });
  });

  test.each<[string, string, number]>([['not JSON', '{', 400], ['a list', '[]', 400], ['nothing', '', 400], ['null', 'null', 400], ['too much', `{"name":"${'x'.repeat(300_000)}"}`, 413]])('a body that is %s', async (_, body, status) => {
    expect((await service.call(mine, 'POST', TEMPLATES, { body })).status).toBe(status);
  });

  test('a body that is no JSON by its type: 415', async () => {
    expect((await service.call(mine, 'POST', TEMPLATES, { body: 'name=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } })).status).toBe(415);
  });

  test.each<[string, readonly string[], string]>([
    ['there is no object store', [], 'registry_enabled needs an object store, but the catalogue has no service of type object-store'],
    ['it is in several regions', ['one', 'two'], 'in several regions'],
  ])('a registry where %s: 400 when the template is made', async (_, regions, detail) => {
    const token = service.keystone.token({ regions });
    expect(await service.call(token, 'POST', TEMPLATES, { json: { ...LEAST, registry_enabled: true } })).toMatchObject({ status: 400, detail: expect.stringContaining(detail) as string });
    expect((await service.call(token, 'POST', TEMPLATES, { json: LEAST })).status).toBe(201);
  });

  test('a mode that is disabled: 400 when the template is made', async () => {
    const bare = await testService({ trusteeDomain: undefined, serviceProject: undefined, defaults: { ...service.config.defaults, credentialMode: 'app_cred' } });
    try {
      const token = bare.keystone.token();
      const at = async (mode?: string): Promise<Reply> => await bare.call(token, 'POST', TEMPLATES, { json: { ...LEAST, registry_enabled: true, ...(mode === undefined ? {} : { labels: { registry_credential_mode: mode } }) } });
      for (const mode of ['trust', 'acl']) expect(await at(mode)).toMatchObject({ status: 400, detail: expect.stringContaining(`registry_credential_mode ${mode} is not available here`) as string });
      expect((await at()).status).toBe(201);
    } finally {
      await bare.close();
    }
  });
});
