/** What every request meets: discovery, microversions, tokens and what becomes of errors. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { testService, type TestService } from '../service.fixture.ts';

let service: TestService;
let clockMs = 1_800_000_000_000;
beforeAll(async () => void (service = await testService({}, { nowMs: () => clockMs })));
afterAll(async () => await service.close());
beforeEach(() => {
  service.keystone.trouble = undefined;
  clockMs += 3_600_000; // nothing is remembered
});

const LIST = '/v1/clustertemplates';

describe('discovery', () => {
  test.each(['/', '/v1', '/v1/'])('%s answers anybody', async (path) => {
    const { status, body } = await service.call(undefined, 'GET', path);
    expect(status).toBe(200);
    const version = path === '/' ? (body['versions'] as readonly object[])[0] : body;
    expect(version).toMatchObject({ id: 'v1', links: [{ rel: 'self', href: 'http://clusters.example.org/v1/' }], max_version: '1.11', min_version: '1.1' });
    expect((await service.call(undefined, 'POST', path)).status).toBe(405);
  });

  test('names the resources', async () => {
    expect((await service.call(undefined, 'GET', '/v1')).body).toMatchObject({ clustertemplates: [{ rel: 'self', href: 'http://clusters.example.org/v1/clustertemplates/' }, { rel: 'bookmark' }], bays: [{}, {}] });
  });
});

describe('a microversion', () => {
  test.each<[string | undefined, string]>([[undefined, '1.1'], ['container-infra latest', '1.11'], ['container-infra 1.7', '1.7'], ['compute 2.1, container-infra 1.3', '1.3']])('asked for as %s is %s', async (header, version) => {
    const { headers, status } = await service.call(service.keystone.token(), 'GET', LIST, header === undefined ? {} : { headers: { 'openstack-api-version': header } });
    expect(status).toBe(200);
    expect([headers.get('openstack-api-version'), headers.get('openstack-api-minimum-version'), headers.get('openstack-api-maximum-version'), headers.get('vary')]).toEqual([`container-infra ${version}`, 'container-infra 1.1', 'container-infra 1.11', 'OpenStack-API-Version']);
  });

  test.each(['container-infra 1.99', 'container-infra 0.9', 'container-infra 2.0', 'container-infra one', 'container-infra', 'compute 2.1', 'container-infra 1.1 1.2'])('%s is unknown: 406', async (header) => {
    const { status, body, headers } = await service.call(service.keystone.token(), 'GET', LIST, { headers: { 'openstack-api-version': header } });
    expect(status).toBe(406);
    expect(body['errors']).toMatchObject([{ status: 406, code: 'magnum.microversion-unsupported', title: 'Requested microversion is unsupported', max_version: '1.11', min_version: '1.1', links: [{ rel: 'help' }] }]);
    expect(headers.get('openstack-api-maximum-version')).toBe('container-infra 1.11');
  });

  test.each<[string, number]>([['1.1', 200], ['1.10', 200], ['1.11', 404], ['latest', 404]])('%s: baymodels %i', async (version, status) => {
    const token = service.keystone.token({ project: 'bays' });
    await service.call(token, 'POST', LIST, { json: { coe: 'swarm', image_id: 'x', name: 'old' } });
    const { status: got, body } = await service.call(token, 'GET', '/v1/baymodels', { version });
    expect(got).toBe(status);
    if (status === 200) expect((body['baymodels'] as readonly unknown[])[0]).toMatchObject({ name: 'old', links: [{ href: expect.stringContaining('/v1/baymodels/') as string }, {}] });
  });
});

describe('a token', () => {
  test.each<[string, () => string | undefined]>([['missing', () => undefined], ['unknown', () => 'nobody'], ['empty', () => ''], ['longer than any', () => 'x'.repeat(9_000)]])('that is %s: 401', async (_, token) => {
    const { status, headers, body } = await service.call(token(), 'GET', LIST);
    expect([status, headers.get('www-authenticate')]).toEqual([401, `Keystone uri="${service.keystone.url}"`]);
    expect(body['errors']).toMatchObject([{ status: 401, title: expect.stringContaining('requires authentication') as string }]);
  });

  test('for no project: 403', async () => {
    expect(await service.call(service.keystone.token({ project: undefined }), 'GET', LIST)).toMatchObject({ status: 403, detail: 'The token is for no project: log in to one' });
  });

  test('of a node: 403', async () => {
    expect(await service.call(service.keystone.token({ domain: 'umbra-nodes' }), 'GET', LIST)).toMatchObject({ status: 403, detail: 'Users of nodes may do nothing here.' });
  });

  test('is asked about once by many at once, and not again until it is old', async () => {
    const token = service.keystone.token();
    const count = (): number => service.keystone.asked.filter((asked) => asked === token).length;
    const answers = await Promise.all(Array.from({ length: 20 }, () => service.call(token, 'GET', LIST)));
    expect([new Set(answers.map(({ status }) => status)), count()]).toEqual([new Set([200]), 1]);
    service.keystone.forget(token);
    clockMs += 59_000;
    expect([(await service.call(token, 'GET', LIST)).status, count()]).toEqual([200, 1]);
    clockMs += 2_000;
    expect([(await service.call(token, 'GET', LIST)).status, count()]).toEqual([401, 2]);
    expect([(await service.call(token, 'GET', LIST)).status, count()]).toEqual([401, 2]);
  });

  test("is checked when the service's own has ended", async () => {
    const { keystone } = service;
    expect((await service.call(keystone.token(), 'GET', LIST)).status).toBe(200);
    const { logins } = keystone;
    keystone.expireService();
    const answers = await Promise.all([keystone.token(), keystone.token(), keystone.token()].map((token) => service.call(token, 'GET', LIST)));
    expect([answers.map(({ status }) => status), keystone.logins]).toEqual([[200, 200, 200], logins + 1]);
  });
});

describe('while Keystone is down', () => {
  test.each<[string, NonNullable<TestService['keystone']['trouble']>, string]>([
    ['hangs up', (response) => void response.destroy(), '5'],
    ['fails', (response) => void response.writeHead(500).end(), '5'],
    ['is busy', (response) => void response.writeHead(503, { 'retry-after': '17' }).end(), '17'],
    ['is another server', (response) => void response.writeHead(200).end('hello'), '5'],
    ['refuses the service', (response) => void response.writeHead(403).end(), '5'],
  ])('as it %s: 503 with Retry-After, and good when it is back', async (_, trouble, retryAfter) => {
    const token = service.keystone.token();
    service.keystone.trouble = trouble;
    const { status, headers, detail } = await service.call(token, 'GET', LIST);
    expect([status, headers.get('retry-after'), detail]).toEqual([503, retryAfter, expect.stringContaining('cannot be asked whose token this is')]);
    service.keystone.trouble = undefined;
    expect((await service.call(token, 'GET', LIST)).status).toBe(200);
  });

  test('a token that was good a moment ago still is', async () => {
    const token = service.keystone.token();
    await service.call(token, 'GET', LIST);
    service.keystone.trouble = (response) => void response.destroy();
    expect((await service.call(token, 'GET', LIST)).status).toBe(200);
  });
});

describe('an answer', () => {
  test('has an id, which errors repeat', async () => {
    const { headers, body } = await service.call(undefined, 'GET', LIST);
    const id = headers.get('x-openstack-request-id');
    expect(id).toMatch(/^req-[0-9a-f-]{36}$/);
    expect(body['errors']).toMatchObject([{ request_id: id, code: 'client', links: [] }]);
  });

  test.each<[string, string, number]>([['GET', '/v1/frobnicate', 404], ['GET', '/v1/__proto__', 404], ['GET', `${LIST}/a/b`, 404], ['PUT', LIST, 405], ['POST', `${LIST}/x`, 405], ['GET', `${LIST}/%`, 400], ['GET', '/clustertemplates', 200], ['HEAD', LIST, 200]])('%s %s: %i', async (method, path, status) => {
    expect((await service.call(service.keystone.token(), method, path)).status).toBe(status);
  });

  test('to what went wrong inside says nothing of it, but the log does', async () => {
    const broken = await testService();
    try {
      const token = broken.keystone.token();
      const { DatabaseSync } = await import('node:sqlite');
      const file = new DatabaseSync(broken.config.database.reveal().slice('sqlite:'.length));
      file.exec('drop table templates');
      file.close();
      const { status, text } = await broken.call(token, 'GET', LIST);
      expect([status, text]).toEqual([500, expect.not.stringContaining('templates')]);
      expect(broken.logged.join()).toContain('no such table: templates');
      expect(broken.logged.join()).not.toContain(token);
    } finally {
      await broken.close();
    }
  });
});

test.each<[string, string, string | undefined, object]>([
  ['GET', '/', undefined, { route: 'discovery', status: 200, bytesIn: 0, user: undefined }],
  ['GET', '/v1/', undefined, { route: 'discovery', status: 200 }],
  ['POST', LIST, '{"coe":"nothing"}', { route: 'clustertemplates', status: 400, bytesIn: 17, user: 'u1' }],
  ['POST', '/v1/bootstrap', '{}', { route: 'bootstrap', status: 400, bytesIn: 2 }],
  ['GET', '/v1/program/0', undefined, { route: 'program', status: 404 }],
  ['GET', '/v1/made-up', undefined, { route: 'unknown', status: 404 }],
])('%s %s is counted as what it is, with its bytes', async (method, path, body, facts) => {
  const before = service.ended.length;
  const { text } = await service.call(service.keystone.token(), method, path, body === undefined ? {} : { body });
  await expect.poll(() => service.ended.slice(before)).toMatchObject([{ ...facts, bytesOut: Buffer.byteLength(text), cut: false }]);
});

test('below a path, with links that have it', async () => {
  const below = await testService({ publicUrl: 'https://cloud.example.org/container-infra' });
  try {
    for (const path of ['/container-infra/v1', '/v1']) expect((await below.call(undefined, 'GET', path)).body).toMatchObject({ links: [{ href: 'https://cloud.example.org/container-infra/v1/' }] });
    expect((await below.call(below.keystone.token(), 'GET', '/container-infra/v1/clustertemplates')).status).toBe(200);
  } finally {
    await below.close();
  }
});
