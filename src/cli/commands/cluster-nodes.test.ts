/** `umbra cluster nodes` against the cluster service itself, with a Keystone that logs in whoever has the password. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { testService, type TestService } from '../../clusters/service.fixture.ts';
import { createOutput } from '../output.ts';
import { run } from '../program.ts';

const UUID = '5f0e7a1c-3a54-4a3e-9d0a-0d5a1c2b3d4e';
const HOUR_MS = 3_600_000;

let cwd = '';
let service: TestService;
/** What the login gives, and the type and URL of the service in its catalogue. */
let login: { token: string; type: string; url: string };
let keystone: Server;
let keystoneUrl = '';

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'umbra-nodes-'));
  service = await testService();
  keystone = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      const answer = (status: number, body: object, headers = {}): void => void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
      if (!Buffer.concat(chunks).toString().includes('"password":"right"')) return answer(401, { error: { code: 401, message: 'The request you have made requires authentication.' } });
      const [issued, expires] = [0, HOUR_MS].map((ms) => new Date(Date.now() + ms).toISOString());
      const endpoints = ['one', 'two'].map((region) => ({ interface: 'public', region_id: region, url: login.url }));
      answer(201, { token: { issued_at: issued, expires_at: expires, project: { id: 'p1', name: 'production' }, catalog: [{ type: login.type, endpoints: endpoints.slice(0, 1) }] } }, { 'x-subject-token': login.token });
    });
  });
  keystoneUrl = await listening(keystone);
  const cloud = (auth: object): object => ({ auth: { auth_url: keystoneUrl, username: 'me', password: 'right', project_name: 'production', ...auth } });
  const closed = createServer();
  const nobody = await listening(closed);
  closed.close();
  writeFileSync(join(cwd, 'clouds.yaml'), JSON.stringify({ clouds: { mine: cloud({}), wrong: cloud({ password: 'wrong' }), half: cloud({ username: '' }), away: cloud({ auth_url: nobody }), unread: { ...cloud({}), cacert: 'nowhere.pem' }, swift: cloud({ auth_url: `${keystoneUrl}/auth/v1.0` }) } }));
});
afterAll(async () => {
  await service.close();
  keystone.close();
  rmSync(cwd, { recursive: true });
});

beforeEach(async () => {
  login = { token: service.keystone.token(), type: 'container-infra', url: `${service.origin}/v1` };
  const made = await service.call(login.token, 'POST', '/v1/clustertemplates', { json: { name: 'plain', coe: 'kubernetes', image_id: 'fedora' } });
  await service.call(login.token, 'POST', '/v1/clusters', { json: { name: 'prod', cluster_template_id: made.body['uuid'] } });
  await service.database.db.updateTable('clusters').set({ uuid: UUID, generation: 2 }).execute();
});
afterEach(async () => {
  for (const table of ['nodes', 'clusters', 'templates'] as const) await service.database.db.deleteFrom(table).execute();
});

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`; // not a pipe
}

async function node(name: string, changes: object = {}): Promise<void> {
  const seen = Date.now() - 185_000;
  await service.database.db.insertInto('nodes').values({ id: name, cluster_uuid: UUID, name, role: 'worker', key_hash: '', token_hash: null, arch: 'amd64', version: '0.1.0', generation: 2, last_error: null, disk_used_bytes: 3 * 2 ** 29, disk_max_bytes: 10 * 2 ** 30, joined_ms: 0, seen_ms: seen, ...changes }).execute();
}

async function nodes(args: readonly string[], env: Record<string, string> = { OS_CLOUD: 'mine' }): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  const output = createOutput({ write: (text) => (stdout += String(text)) }, { write: (text) => (stderr += String(text)) });
  const code = await run(['cluster', 'nodes', ...args], { cwd, env, processors: 2, output }, { umbra: '0', node: '0', platform: 'none' });
  return { code, stdout, stderr };
}

describe('the nodes of a cluster', () => {
  test('are a table for people, by role and name', async () => {
    await node('worker-10', { last_error: 'storage: \u001B[2Jfull', generation: 1 });
    await node('worker-2', { disk_used_bytes: null, disk_max_bytes: null, seen_ms: Date.now() - 3 * 86_400_000 - 5_000 });
    await node('master-1', { role: 'master', arch: 'arm64', disk_used_bytes: 0, disk_max_bytes: 2 ** 29 });
    const { code, stdout, stderr } = await nodes(['prod']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.split('\n')).toEqual([
      'NAME       ROLE    ARCH   VERSION  CREDENTIAL  SEEN        DISK              LAST ERROR',
      'master-1   master  arm64  0.1.0    current     3 min ago   0.0 of 512.0 MiB  -',
      'worker-2   worker  amd64  0.1.0    current     3 days ago  -                 -',
      'worker-10  worker  amd64  0.1.0    old         3 min ago   1.5 of 10.0 GiB   storage: [2Jfull',
      '',
    ]);
  });

  test('are JSON for programs, as the service gives them', async () => {
    await node('worker-1', { last_error: 'full' });
    const { code, stdout } = await nodes([UUID, '--json']);
    expect([code, JSON.parse(stdout)]).toEqual([0, [expect.objectContaining({ id: 'worker-1', name: 'worker-1', role: 'worker', credential: 'current', last_error: 'full', disk: { used_bytes: 3 * 2 ** 29, max_bytes: 10 * 2 ** 30 }, joined_at: '1970-01-01T00:00:00+00:00' })]]);
  });

  test('that are none yet', async () => {
    expect(await nodes(['prod'])).toEqual({ code: 0, stdout: '', stderr: 'umbra: no node of prod has come for its credential yet\n' });
    expect(await nodes(['prod', '--json'])).toEqual({ code: 0, stdout: '[]\n', stderr: '' });
  });
});

describe('who asks, and where', () => {
  test.each<[string, string[], Record<string, string>]>([
    ['a cloud by option, over that of the environment', ['--os-cloud', 'mine'], { OS_CLOUD: 'wrong' }],
    ['a region of the catalogue', [], { OS_CLOUD: 'mine', OS_REGION_NAME: 'one' }],
  ])('%s', async (_, args, env) => {
    await node('worker-1');
    expect((await nodes(['prod', ...args], env)).stdout).toContain('worker-1');
  });

  test('an openrc file', async () => {
    await node('worker-1');
    const env = { OS_AUTH_URL: keystoneUrl, OS_USERNAME: 'me', OS_PASSWORD: 'right', OS_PROJECT_NAME: 'production' };
    expect((await nodes(['prod'], env)).stdout).toContain('worker-1');
  });

  test('a service of the later name, and one that is in no catalogue', async () => {
    await node('worker-1');
    login.type = 'container-infrastructure-management';
    expect((await nodes(['prod'])).stdout).toContain('worker-1');
    login.type = 'volume';
    for (const url of [service.origin, `${service.origin}/`, `${service.origin}/v1`]) expect((await nodes(['prod', '--url', url])).stdout).toContain('worker-1');
  });
});

describe('failures say what to do', () => {
  test.each<[string, string[], Record<string, string>, number, RegExp]>([
    ['no cluster', [], {}, 2, /missing required argument 'cluster'/],
    ['no URL', ['prod', '--url', 'clusters.example.org'], {}, 2, /--url clusters\.example\.org: expected a URL such as/],
    ['nobody', ['prod'], {}, 1, /nothing says who you are to Keystone: give --os-cloud, or set OS_CLOUD/],
    ['half of somebody', ['prod', '--os-cloud', 'half'], {}, 1, /the cloud "half" in .*clouds\.yaml has no username/],
    ['a cloud that is not there', ['prod', '--os-cloud', 'other'], {}, 1, /has no cloud "other"; it has mine, wrong, /],
    ['a login to Swift', ['prod', '--os-cloud', 'swift'], {}, 1, /is a login to Swift alone .*; the cluster service wants a token of Keystone/],
    ['a wrong password', ['prod', '--os-cloud', 'wrong'], {}, 1, /Keystone at .* refused user "me" .*the password is wrong/],
    ['a Keystone that is away', ['prod', '--os-cloud', 'away'], {}, 1, /127\.0\.0\.1:\d+ cannot be reached: .*ECONNREFUSED/],
    ['an authority that is not there', ['prod', '--os-cloud', 'unread'], {}, 1, /nowhere\.pem cannot be read: there is no such file/],
    ['a region that is not there', ['prod'], { OS_CLOUD: 'mine', OS_REGION_NAME: 'three' }, 1, /in region "three"; it has regions: one; .*Give --url/],
    ['no such cluster', ['other'], { OS_CLOUD: 'mine' }, 1, /^umbra: Cluster other could not be found\. Seen are those of the project "production", by name or UUID\n$/],
  ])('%s', async (_, args, env, code, stderr) => {
    expect(await nodes(args, env)).toEqual({ code, stdout: '', stderr: expect.stringMatching(stderr) });
  });

  test('a service that is in no catalogue', async () => {
    login.type = 'volume';
    expect((await nodes(['prod'])).stderr).toMatch(/Keystone does not say where the cluster service is: the catalogue has no service of type container-infra; it has volume\. Give --url/);
  });

  test('a service that is away', async () => {
    const closed = createServer();
    login.url = await listening(closed);
    closed.close();
    expect((await nodes(['prod'])).stderr).toMatch(/the cluster service at http:\S+ cannot be asked: .*ECONNREFUSED.*; its address is that of Keystone's catalogue, --url names another/);
    expect((await nodes(['prod', '--url', login.url])).stderr).toMatch(/ECONNREFUSED [\d.:]+\n$/);
  });

  test('a service with another Keystone', async () => {
    login.token = 'of another Keystone';
    const { stderr } = await nodes(['prod']);
    expect(stderr).toMatch(/does not take the token that Keystone at \S+ gave to user "me" .*: does it ask the same Keystone\?/);
    expect(stderr).not.toContain(login.token);
  });

  test('a cluster of others', async () => {
    login.token = service.keystone.token({ project: 'p2' });
    expect((await nodes(['prod'])).stderr).toContain('Cluster prod could not be found.');
  });

  test.each<[string, number, string, RegExp]>([
    ['something else', 404, 'nothing here', /does not know \/v1\/clusters\/prod\/nodes \(404\): is it Umbra's\?/],
    ['a page', 200, '<html>', /does not answer as Umbra's cluster service does: expected a list of nodes/],
    ['other JSON', 200, '{"nodes":[{}]}', /expected a list of nodes/],
    ['a proxy', 502, 'bad gateway', /answered 502; its log says more/],
    ['a refusal', 403, '{"errors":[{"detail":"No."}]}', /refuses user "me" .*: No\.$/m],
    ['two clusters', 409, '{"errors":[{"detail":"Multiple clusters exist with same name. Please use the cluster uuid instead."}]}', /^umbra: Multiple clusters exist/],
  ])('%s at that address', async (_, status, text, message) => {
    const other = createServer((request, response) => void response.writeHead(status).end(request.url === '/v1/clusters/prod/nodes' ? text : 'wrong'));
    const result = await nodes(['prod', '--url', await listening(other)]);
    other.close();
    expect(result).toEqual({ code: 1, stdout: '', stderr: expect.stringMatching(message) });
  });
});
