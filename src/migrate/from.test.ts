import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Secret } from '../config/config.ts';
import { readFrom } from './from.ts';
import type { From } from './old-config.ts';

let cwd = '';
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'umbra-from-'));
  mkdirSync(join(cwd, 'dist/docker/registry/v2'), { recursive: true });
  mkdirSync(join(cwd, 'zuul/_local'), { recursive: true });
});
afterAll(() => rmSync(cwd, { recursive: true }));

async function read(text: string, env: Record<string, string> = {}): Promise<From> {
  writeFileSync(join(cwd, 'config.yml'), text);
  return await readFrom('config.yml', { cwd, env });
}

/** Secrets as what they hide, so that they can be compared. */
const shown = (value: unknown): unknown =>
  value instanceof Secret ? `secret ${value.reveal()}` : typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shown(inner)])) : value;

const swift = (more: string): string => `version: 0.1\nstorage:\n  swift: { container: images, authurl: "https://keystone:5000/v3", username: me, password: pw, ${more} }\n  delete: { enabled: true }\n  cache: { blobdescriptor: inmemory }\n`;

describe('a configuration of Distribution', () => {
  test.each<[string, string, Record<string, string>, object]>([
    ['a filesystem', 'storage: { filesystem: { rootdirectory: /data } }', {}, { storage: { driver: 'filesystem', root: '/data' }, root: 'docker/registry/v2/' }],
    ['a filesystem where it is by default', 'storage: filesystem', {}, { storage: { driver: 'filesystem', root: '/var/lib/registry' } }],
    ['the environment, which outranks the file', 'storage: { inmemory: {}, delete: { enabled: true } }', { REGISTRY_STORAGE: 'filesystem', REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: '/env' }, { storage: { root: '/env' } }],
    [
      'swift by password', swift('tenant: demo, domain: Corp, region: one, endpointtype: internalURL, insecureskipverify: true'), {},
      { storage: { driver: 'swift', container: 'images', prefix: '', region: 'one', interface: 'internal', insecure: true, auth: { kind: 'password', url: 'https://keystone:5000/v3', user: { name: 'me', domain: { name: 'Corp' } }, password: 'secret pw', project: { name: 'demo', domain: { name: 'Corp' } } } }, root: 'files/docker/registry/v2/' },
    ],
    ['swift with a prefix', swift('tenant: demo, tenantdomain: Other, prefix: /some/where/'), {}, { storage: { interface: 'public', auth: { user: { domain: { name: 'Default' } }, project: { name: 'demo', domain: { name: 'Other' } } } }, root: 'some/where/files/docker/registry/v2/' }],
    ['swift by a trust', swift('trustid: abc, domainid: default'), {}, { storage: { auth: { kind: 'trust', trustId: 'secret abc', user: { name: 'me', domain: { id: 'default' } } } } }],
    ['swift by ids', swift('tenantid: f00, domainid: ba5'), {}, { storage: { auth: { user: { name: 'me', domain: { id: 'ba5' } }, project: { id: 'f00' } } } }],
    ['swift with its password in the environment', swift('tenant: demo'), { REGISTRY_STORAGE_SWIFT_PASSWORD: 'of env' }, { storage: { auth: { password: 'secret of env' } } }],
    ['swift without Keystone', 'storage: { swift: { container: c, authurl: "http://swift:8080/auth/v1.0", username: "test:tester", password: testing } }', {}, { storage: { auth: { kind: 'tempauth', url: 'http://swift:8080/auth/v1.0', username: 'test:tester' } } }],
    [
      's3 elsewhere', 'storage: { s3: { bucket: b, region: r, regionendpoint: "ceph:7480", secure: false, accesskey: ak, secretkey: sk, rootdirectory: /deep } }', {},
      { storage: { driver: 's3', endpoint: 'http://ceph:7480', region: 'r', bucket: 'b', pathStyle: true, credentials: { accessKeyId: 'ak', secretAccessKey: 'secret sk' } }, root: 'deep/docker/registry/v2/' },
    ],
    ['s3 at AWS, by role', 'storage: { s3: { bucket: b, region: eu-west-1 } }', {}, { storage: { endpoint: undefined, pathStyle: false, credentials: undefined, insecure: false }, root: 'docker/registry/v2/' }],
  ])('%s', async (_, text, env, expected) => {
    const from = await read(text, env);
    expect(from.kind).toBe('distribution');
    expect(shown(from)).toMatchObject(expected);
  });

  test.each([
    ['storage: { azure: { accountname: x } }', 'storage.azure: only filesystem, s3 and swift can be read'],
    ['storage: { delete: { enabled: true } }', 'storage: expected one driver, found none'],
    ['storage: { swift: {}, filesystem: {} }', 'storage: expected one driver, found swift, filesystem'],
    ['storage: { swift: { container: c, authurl: x, username: me } }', 'storage.swift.password: expected a value'],
    ['storage: { swift: { container: [c] } }', 'storage.swift.container: expected text'],
    [swift(''), 'storage.swift.tenant: expected a value'],
    [swift('tenant: x').replace('/v3', '/v2.0'), 'storage.swift.authurl: Keystone v2 is gone'],
    ['storage: { s3: { bucket: b, accesskey: a } }', 'storage.s3.secretkey: expected a value'],
    ['version: 0.1', 'expected a configuration of Distribution, which has storage:'],
    ['just text', 'expected a map of keys'],
  ])('%s', async (text, message) => {
    await expect(read(text)).rejects.toThrow(`config.yml: ${message}`);
  });
});

describe('a configuration of a zuul-registry', () => {
  test('with variables in its text', async () => {
    const text = 'registry:\n  secret: "%(ZUUL_SECRET)"\n  storage: { driver: filesystem, root: "%(ZUUL_registry_root)/x" }\n';
    expect(await read(text, { ZUUL_registry_root: '/storage' })).toEqual({ kind: 'zuul-registry', storage: { driver: 'filesystem', root: '/storage/x' }, root: '_local/' });
  });

  test('in Swift, by a cloud of clouds.yaml', async () => {
    writeFileSync(join(cwd, 'clouds.yaml'), 'clouds: { corp: { auth: { auth_url: "https://keystone:5000/v3", username: me, password: pw, project_name: p }, region_name: one } }');
    const text = 'registry: { storage: { driver: swift, cloud: corp, container: c } }';
    expect(shown(await read(text))).toMatchObject({ storage: { driver: 'swift', container: 'c', prefix: '', region: 'one', auth: { kind: 'password', user: { name: 'me' }, password: 'secret pw', project: { name: 'p' } } }, root: '_local/' });
    await expect(read(text.replace('corp', 'other'))).rejects.toThrow('config.yml:1: registry.storage.cloud: ');
  });

  test('in S3', async () => {
    const text = 'registry: { storage: { driver: s3, endpoint: "https://s3.example.org", bucket: images, access-key: a, secret-key: s } }';
    expect(shown(await read(text))).toMatchObject({ storage: { driver: 's3', endpoint: 'https://s3.example.org', pathStyle: true, credentials: { accessKeyId: 'a', secretAccessKey: 'secret s' } } });
  });

  test.each([
    ['registry: { secrt: x, storage: { driver: tape } }', '1: registry.storage.driver: expected one of filesystem, swift, s3, got "tape"'],
    ['registry: { storage: { driver: filesystem } }', '1: registry.storage.root: missing: the folder'],
    ['registry: {}', '1: registry.storage: expected a map, got nothing'],
  ])('%s', async (text, message) => {
    await expect(read(text)).rejects.toThrow(`config.yml:${message}`);
  });

  test('of which nothing but the storage matters', async () => {
    expect(await read('registry: { tls-key: /not/here, addres: x, storage: { driver: filesystem, root: /storage } }')).toMatchObject({ storage: { root: '/storage' } });
  });
});

test.each([['dist', 'distribution', 'docker/registry/v2/'], ['zuul', 'zuul-registry', '_local/']])('the folder of a store: %s', async (folder, kind, root) => {
  expect(await readFrom(folder, { cwd, env: {} })).toEqual({ kind, storage: { driver: 'filesystem', root: join(cwd, folder) }, root });
});
