/** How a file, `clouds.yaml` and the environment say where images are kept. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OpenStackLogin } from '../openstack/auth.ts';
import type { Config, S3Storage, SwiftStorage } from './config.ts';
import { explain, formatOrigin } from './explain.ts';
import { loadConfig } from './load.ts';
import { packConfig, unpackConfig } from './transfer.ts';

const MIB = 1024 * 1024;
const KEYSTONE = 'https://keystone.example.org:5000/v3';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-storage-'));
  write('password', 'from a file\n');
  write('nothing', '\n');
  write('pg', 'postgres://umbra:from-a-file@db/umbra\n');
  write('home/.config/openstack/clouds.yaml', `
clouds:
  ci:
    auth: { auth_url: ${KEYSTONE}, username: registry, project_name: images, domain-name: cloud }
    region_name: RegionTwo
    interface: internalURL
    verify: false
  two:
    auth: { auth_url: "https://{region_name}.example.org/v3", username: registry, password: 12345, project_id: p1, user_domain_id: default }
    regions: [north, { name: south, values: { interface: internal, auth: { project_id: p2 } } }]
  node:
    auth_type: v3applicationcredential
    auth: { auth_url: ${KEYSTONE}, application_credential_id: a1, application_credential_secret: hidden, project_name: left over }
  public: { profile: vendor, auth: { username: u, password: p, project_name: x } }
  old: { auth_type: v2password, auth: { auth_url: ${KEYSTONE}, username: u, password: hidden } }
  admin: { interface: admin, auth: { auth_url: ${KEYSTONE}, username: u, password: p, project_name: x } }
  bare: { auth: { username: u } }
`);
  write('home/.config/openstack/secure.yaml', 'clouds: { ci: { auth: { password: hidden } } }\n');
  write('home/.config/openstack/clouds-public.yaml', `public-clouds: { vendor: { auth: { auth_url: "https://vendor.example.org" }, region_name: far } }\n`);
  write('other.json', JSON.stringify({ clouds: { here: { auth: { auth_url: KEYSTONE, username: 'u', password: 'p', project_name: 'here' } } } }));
  write('work/clouds.yml', `clouds: { work: { auth: { auth_url: ${KEYSTONE}, username: u, password: p, project_name: work } } }\n`);
  write('broken.yaml', 'clouds: { ci: { auth: { password: hidden\n');
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): void {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), text);
}

async function loaded(text: string, env: Record<string, string> = {}, cwd = folder): Promise<Awaited<ReturnType<typeof loadConfig>>> {
  write('umbra.yaml', text);
  return await loadConfig(join(folder, 'umbra.yaml'), { cwd, env: { HOME: join(folder, 'home'), ...env }, processors: 3 });
}

async function load(text: string, env: Record<string, string> = {}, cwd = folder): Promise<Config> {
  return (await loaded(text, env, cwd)).config;
}

/** The lines of the error, without the file. */
async function problems(text: string, env: Record<string, string> = {}, cwd = folder): Promise<string[]> {
  const error = await load(text, env, cwd).then(() => undefined, (reason: unknown) => reason);
  expect(error).toMatchObject({ name: 'ConfigError' });
  return (error as Error).message.split('\n').map((line) => line.replace(`${folder}/umbra.yaml:`, '').replaceAll(folder, '.'));
}

async function swift(rest: string, env: Record<string, string> = {}, cwd = folder): Promise<SwiftStorage> {
  return (await load(`storage: { driver: swift, container: images, ${rest} }`, env, cwd)).storage as SwiftStorage; // as the file says
}

async function s3(rest: string, env: Record<string, string> = {}): Promise<S3Storage> {
  return (await load(`storage: { driver: s3, bucket: images, ${rest} }`, env)).storage as S3Storage; // as the file says
}

const OPENRC = {
  OS_AUTH_URL: KEYSTONE, OS_USERNAME: 'demo', OS_PASSWORD: 'hidden', OS_PROJECT_NAME: 'demo', OS_USER_DOMAIN_NAME: 'Default', OS_PROJECT_DOMAIN_NAME: 'Other',
};

/** What an auth comes to; secrets are compared apart. */
function facts(auth: OpenStackLogin): unknown {
  if (auth.kind === 'file') return auth;
  const secret = auth.kind === 'application-credential' ? auth.secret : auth.password;
  const trust = auth.kind === 'trust' ? { trustId: auth.trustId.reveal() } : {};
  return { ...(JSON.parse(JSON.stringify(auth)) as object), ...trust, [auth.kind === 'application-credential' ? 'secret' : 'password']: secret.reveal() };
}

const DEFAULT = { name: 'Default' };

describe('who Umbra is to OpenStack, by the file', () => {
  test.each<[string, object]>([
    ['username: me, password: x, project: p', { kind: 'password', user: { name: 'me', domain: DEFAULT }, password: 'x', project: { name: 'p', domain: DEFAULT } }],
    ['username: me, userDomain: d, passwordFile: password, project: p', { kind: 'password', user: { name: 'me', domain: { name: 'd' } }, password: 'from a file', project: { name: 'p', domain: { name: 'd' } } }],
    ['username: me, userDomainId: d1, password: x, project: p, projectDomain: e', { kind: 'password', user: { name: 'me', domain: { id: 'd1' } }, password: 'x', project: { name: 'p', domain: { name: 'e' } } }],
    ['userId: u1, password: x, projectId: p1', { kind: 'password', user: { id: 'u1' }, password: 'x', project: { id: 'p1' } }],
    ['userId: u1, password: x, project: p', { kind: 'password', user: { id: 'u1' }, password: 'x', project: { name: 'p', domain: DEFAULT } }],
    ['applicationCredentialId: a1, applicationCredentialSecret: s', { kind: 'application-credential', credential: { id: 'a1' }, secret: 's' }],
    ['applicationCredentialName: a, username: me, applicationCredentialSecretFile: password', { kind: 'application-credential', credential: { name: 'a', user: { name: 'me', domain: DEFAULT } }, secret: 'from a file' }],
    ['username: me, password: x, trustId: t1', { kind: 'trust', user: { name: 'me', domain: DEFAULT }, password: 'x', trustId: 't1' }],
  ])('%s', async (words, expected) => {
    const { auth } = await swift(`auth: { url: "${KEYSTONE}", ${words} }`);
    expect(facts(auth)).toEqual({ url: KEYSTONE, ...expected });
  });

  test('a file may say it all, and need not be there yet', async () => {
    const storage = 'storage: { driver: swift, container: images, auth: { credentialFile: state/credential.json } }';
    const { config, ...rest } = await loaded(storage);
    expect(config.storage).toMatchObject({ auth: { kind: 'file', path: join(folder, 'state/credential.json') } });
    expect((unpackConfig(packConfig(config)).storage as SwiftStorage).auth).toEqual({ kind: 'file', path: join(folder, 'state/credential.json') });
    expect(explain({ config, ...rest }).map(({ key }) => key)).toContain('storage.auth.credentialFile');
    expect(await problems('storage: { driver: swift, container: images, auth: { credentialFile: c.json, username: me } }')).toEqual(['1: storage.auth.username: expected nothing beside credentialFile, which says it all']);
    expect(await problems(`${storage}\nupstreamS${storage.slice(1)}`)).toEqual(['2: upstreamStorage.container: expected a place of its own, apart from storage.container']);
  });

  test('TempAuth is known by its URL', async () => {
    const { auth } = await swift('auth: { url: "https://swift.example.org/auth/v1.0", username: "test:tester", password: testing }');
    expect(facts(auth)).toEqual({ kind: 'tempauth', url: 'https://swift.example.org/auth/v1.0', username: 'test:tester', password: 'testing' });
  });

  test('what is not said has its default, whatever the environment says of it', async () => {
    const storage = await swift(`auth: { url: "${KEYSTONE}", username: me, password: x, project: p }`, { ...OPENRC, OS_REGION_NAME: 'r', OS_INTERFACE: 'internal', OS_INSECURE: '1' });
    expect({ ...storage, auth: undefined }).toEqual({
      driver: 'swift', container: 'images', account: undefined, prefix: '', region: undefined, interface: 'public', auth: undefined, segmentBytes: 64 * MIB, tempUrlKey: undefined,
      redirect: 'never', ca: undefined, insecure: false, disk: undefined,
    });
  });

  test('everything is taken', async () => {
    const storage = await swift(`prefix: a/b, region: r, interface: internal, segmentSize: 1GiB, tempUrlKeyFile: password, redirect: [10.0.0.0/8], insecure: "true",
      disk: { root: cache, maxBytes: 10GiB }, auth: { url: "${KEYSTONE}", username: me, password: x, project: p }`);
    expect(storage).toMatchObject({
      prefix: 'a/b/', region: 'r', interface: 'internal', segmentBytes: 1024 * MIB, redirect: ['10.0.0.0/8'], insecure: true, disk: { root: join(folder, 'cache'), maxBytes: 10_240 * MIB },
    });
    expect(storage.tempUrlKey?.reveal()).toBe('from a file');
  });
});

describe('who Umbra is to OpenStack, by the environment', () => {
  test.each<[string, Record<string, string>, object]>([
    ['an openrc file', OPENRC, { kind: 'password', user: { name: 'demo', domain: DEFAULT }, password: 'hidden', project: { name: 'demo', domain: { name: 'Other' } } }],
    ['one of Horizon, with ids', { ...OPENRC, OS_PROJECT_ID: 'p1', OS_PROJECT_DOMAIN_ID: 'default' }, { kind: 'password', user: { name: 'demo', domain: DEFAULT }, password: 'hidden', project: { id: 'p1' } }],
    ['an old one, with a tenant', { OS_AUTH_URL: KEYSTONE, OS_USERNAME: 'u', OS_PASSWORD: 'p', OS_TENANT_NAME: 't', OS_DOMAIN_NAME: 'd' }, { kind: 'password', user: { name: 'u', domain: { name: 'd' } }, password: 'p', project: { name: 't', domain: { name: 'd' } } }],
    ['an application credential', { OS_AUTH_TYPE: 'v3applicationcredential', OS_AUTH_URL: KEYSTONE, OS_APPLICATION_CREDENTIAL_ID: 'a1', OS_APPLICATION_CREDENTIAL_SECRET: 's', OS_PROJECT_NAME: 'left over' }, { kind: 'application-credential', credential: { id: 'a1' }, secret: 's' }],
    ['a trust, beside a project', { ...OPENRC, OS_TRUST_ID: 't1' }, { kind: 'trust', user: { name: 'demo', domain: DEFAULT }, password: 'hidden', trustId: 't1' }],
    ['a password, though a credential is about', { ...OPENRC, OS_AUTH_TYPE: 'password', OS_APPLICATION_CREDENTIAL_ID: 'a1' }, { kind: 'password', user: { name: 'demo', domain: DEFAULT }, password: 'hidden', project: { name: 'demo', domain: { name: 'Other' } } }],
  ])('%s', async (_name, env, expected) => {
    expect(facts((await swift('', env)).auth)).toEqual({ url: KEYSTONE, ...expected });
  });

  test('region, interface, authorities and insecure come along, and the file wins over each', async () => {
    const env = { ...OPENRC, OS_REGION_NAME: 'r', OS_INTERFACE: 'internal', OS_INSECURE: 'true' };
    expect(await swift('', env)).toMatchObject({ region: 'r', interface: 'internal', insecure: true });
    expect(await swift('region: q, interface: public, insecure: false', env)).toMatchObject({ region: 'q', interface: 'public', insecure: false });
    expect(await problems('storage: { driver: swift, container: images }', { ...OPENRC, OS_CACERT: 'absent.pem' })).toEqual(['1: storage.ca: ./absent.pem cannot be read: there is no such file']);
  });

  test('a region of AWS', async () => {
    expect(await s3('')).toMatchObject({ region: 'us-east-1', endpoint: undefined, credentials: undefined, pathStyle: false, claims: undefined, redirect: 'never' });
    expect(await s3('', { AWS_DEFAULT_REGION: 'a', AWS_REGION: 'b' })).toMatchObject({ region: 'b' });
    expect(await s3('region: c', { AWS_REGION: 'b' })).toMatchObject({ region: 'c' });
    expect(await s3('endpoint: "https://s3.example.org/", redirect: true')).toMatchObject({ endpoint: 'https://s3.example.org', pathStyle: true, redirect: 'always' });
    expect(await s3('endpoint: "https://s3.example.org", pathStyle: false, claims: settle')).toMatchObject({ pathStyle: false, claims: 'settle' });
  });
});

describe('who Umbra is to OpenStack, by clouds.yaml', () => {
  test('a cloud with its secret beside it, its region, interface and trust in certificates', async () => {
    const storage = await swift('cloud: ci');
    expect(facts(storage.auth)).toEqual({ kind: 'password', url: KEYSTONE, user: { name: 'registry', domain: { name: 'cloud' } }, password: 'hidden', project: { name: 'images', domain: { name: 'cloud' } } });
    expect(storage).toMatchObject({ region: 'RegionTwo', interface: 'internal', insecure: true });
    expect(await swift('cloud: ci, interface: public, insecure: false')).toMatchObject({ interface: 'public', insecure: false });
  });

  test.each<[string, Record<string, string>]>([
    ['cloud: node', {}],
    ['', { OS_CLOUD: 'node' }],
    ['', { ...OPENRC, OS_CLOUD: 'node' }],
  ])('{ %s } %o', async (words, env) => {
    expect(facts((await swift(words, env)).auth)).toEqual({ kind: 'application-credential', url: KEYSTONE, credential: { id: 'a1' }, secret: 'hidden' });
  });

  test('the first region of a cloud, or the one that is asked for, with its values', async () => {
    const first = await swift('cloud: two');
    expect([first.region, facts(first.auth)]).toEqual(['north', { kind: 'password', url: 'https://north.example.org/v3', user: { name: 'registry', domain: { id: 'default' } }, password: '12345', project: { id: 'p1' } }]);
    for (const other of [await swift('cloud: two, region: south'), await swift('', { OS_CLOUD: 'two', OS_REGION_NAME: 'south' })])
      expect([other.region, other.interface, facts(other.auth)]).toEqual(['south', 'internal', { kind: 'password', url: 'https://south.example.org/v3', user: { name: 'registry', domain: { id: 'default' } }, password: '12345', project: { id: 'p2' } }]);
  });

  test('a profile of clouds-public.yaml', async () => {
    expect(await swift('cloud: public')).toMatchObject({ region: 'far', auth: { url: 'https://vendor.example.org' } });
  });

  test('the first file that is found: OS_CLIENT_CONFIG_FILE, the working folder, the home', async () => {
    const work = join(folder, 'work');
    expect(await swift('cloud: here', { OS_CLIENT_CONFIG_FILE: join(folder, 'other.json') }, work)).toMatchObject({ auth: { project: { name: 'here' } } });
    expect(await swift('cloud: work', { OS_CLIENT_CONFIG_FILE: '/nowhere' }, work)).toMatchObject({ auth: { project: { name: 'work' } } });
    expect(await swift('cloud: work', { HOME: folder, XDG_CONFIG_HOME: join(folder, 'xdg') }, work)).toMatchObject({ auth: { project: { name: 'work' } } });
    expect(await problems('storage: { driver: swift, container: images, cloud: two }', {}, work)).toEqual(['1: storage.cloud: ./work/clouds.yml has no cloud "two"; it has work, ci']);
  });
});

describe('where a value comes from is told', () => {
  test.each<[string, Record<string, string>, string]>([
    ['cloud: ci', {}, 'storage.auth.password <- cloud ci in ./home/.config/openstack/clouds.yaml'],
    ['cloud: ci', {}, 'storage.region <- cloud ci in ./home/.config/openstack/clouds.yaml'],
    ['cloud: ci, region: RegionTwo', {}, 'storage.region <- ./umbra.yaml:1'],
    ['', OPENRC, 'storage.auth.password <- environment variable OS_PASSWORD'],
    ['', { ...OPENRC, OS_TENANT_NAME: 'x', OS_PROJECT_NAME: '' }, 'storage.auth.project <- environment variable OS_TENANT_NAME'],
    ['', { ...OPENRC, OS_ENDPOINT_TYPE: 'publicURL' }, 'storage.interface <- environment variable OS_ENDPOINT_TYPE'],
    ['', OPENRC, 'storage.segmentSize <- default'],
  ])('{ %s } %o', async (words, env, row) => {
    const rows = explain(await loaded(`storage: { driver: swift, container: images, ${words} }`, env)).map(({ key, origin }) => `${key} <- ${formatOrigin(origin).replaceAll(folder, '.')}`);
    expect(rows).toContain(row);
  });

  test('AWS_REGION', async () => {
    const rows = explain(await loaded('storage: { driver: s3, bucket: images }', { AWS_REGION: 'x' }));
    expect(rows.find(({ key }) => key === 'storage.region')?.origin).toEqual({ kind: 'variable', variable: 'AWS_REGION' });
  });
});

describe('a store that cannot be is told with line, key and what was expected', () => {
  const AUTH = `auth: { url: "${KEYSTONE}", username: me, password: x, project: p }`;
  test.each<[string, string, Record<string, string>?]>([
    // keys of another driver
    ['{ driver: filesystem, container: c }', 'storage.container: belongs to driver: swift; this is driver: filesystem'],
    ['{ driver: swift, container: c, auth: { url: "http://k", username: u, password: p, project: p }, maxBytes: 1GiB }', 'storage.maxBytes: belongs to driver: filesystem; this is driver: swift'],
    ['{ driver: filesystem, maxBytes: 1GiB }', 'storage.maxBytes: expected only in upstreamStorage: images that were pushed are not to be had again'],
    ['{ driver: filesystem, disk: { root: x, maxBytes: 1GiB } }', 'storage.disk: belongs to driver: swift or s3; this is driver: filesystem'],
    [`{ driver: swift, container: c, root: x, ${AUTH} }`, 'storage.root: belongs to driver: filesystem; this is driver: swift'],
    ['{ driver: s3, bucket: images, auth: {} }', 'storage.auth: belongs to driver: swift; this is driver: s3'],
    [`{ driver: swift, container: c, claims: strict, ${AUTH} }`, 'storage.claims: belongs to driver: s3; this is driver: swift'],
    // what is missing
    [`{ driver: swift, ${AUTH} }`, 'storage.container: missing: the name of the container'],
    ['{ driver: s3 }', 'storage.bucket: missing: the name of the bucket'],
    ['{ driver: swift, container: c }', 'storage.auth: missing: who Umbra is to Keystone; give auth, or cloud, or set OS_CLOUD or OS_AUTH_URL and the other OS_* of an openrc file'],
    ['{ driver: swift, container: c, auth: { username: me, password: x, project: p } }', 'storage.auth.url: missing: where Keystone answers, such as https://keystone.example.org:5000/v3'],
    [`{ driver: swift, container: c, auth: { url: "${KEYSTONE}", username: me, password: x } }`, 'storage.auth.project: missing: the project that the container belongs to (or projectId)'],
    [`{ driver: swift, container: c, auth: { url: "${KEYSTONE}", username: me, project: p } }`, 'storage.auth.password: missing: the password of the user'],
    [`{ driver: swift, container: c, auth: { url: "${KEYSTONE}", password: x, project: p } }`, 'storage.auth.username: missing: the name of the user (or userId)'],
    [`{ driver: swift, container: c, auth: { url: "${KEYSTONE}", applicationCredentialId: a } }`, 'storage.auth.applicationCredentialSecret: missing: the secret of the application credential'],
    [`{ driver: swift, container: c, auth: { url: "${KEYSTONE}", applicationCredentialSecret: a } }`, 'storage.auth.applicationCredentialId: missing: the id of the application credential (or applicationCredentialName)'],
    // what is too much
    [`{ driver: swift, container: c, cloud: x, ${AUTH} }`, 'storage.cloud: expected auth or cloud, got both'],
    [`{ driver: swift, container: c, auth: { url: "${KEYSTONE}", applicationCredentialId: a, applicationCredentialSecret: s, project: p } }`, 'storage.auth.project: an application credential has a project and a secret of its own; leave this out'],
    [`{ driver: swift, container: c, auth: { url: "${KEYSTONE}", username: u, password: x, trustId: t, projectId: p } }`, 'storage.auth.projectId: a trust has a project of its own; leave this out'],
    ['{ driver: swift, container: c, auth: { url: "http://swift/auth/v1.0", username: "a:u", password: x, userDomain: d } }', 'storage.auth.userDomain: TempAuth, which auth.url ending in v1.0 means, knows nothing but username (account:user) and password; leave this out'],
    [`{ driver: swift, container: c, auth: { url: "${KEYSTONE}", username: me, userId: u, password: x, project: p } }`, 'storage.auth.username: expected username or userId, got both'],
    [`{ driver: swift, container: c, auth: { url: "${KEYSTONE}", username: me, password: x, passwordFile: password, project: p } }`, 'storage.auth.passwordFile: expected password or passwordFile, got both'],
    [`{ driver: swift, container: c, tempUrlKey: x, tempUrlKeyFile: password, ${AUTH} }`, 'storage.tempUrlKeyFile: expected tempUrlKey or tempUrlKeyFile, got both'],
    ['{ driver: s3, bucket: images, accessKeyId: a, secretAccessKey: x, secretAccessKeyFile: password }', 'storage.secretAccessKeyFile: expected secretAccessKey or secretAccessKeyFile, got both'],
    // halves
    ['{ driver: s3, bucket: images, accessKeyId: a }', 'storage.accessKeyId: expected secretAccessKey or secretAccessKeyFile with it'],
    ['{ driver: s3, bucket: images, secretAccessKeyFile: password }', 'storage.secretAccessKeyFile: expected accessKeyId with it'],
    // values
    [`{ driver: swift, container: a/b, ${AUTH} }`, 'storage.container: expected the name of a container: up to 256 bytes, without a slash, got "a/b"'],
    [`{ driver: swift, container: c, account: /v1/AUTH_x, ${AUTH} }`, "storage.account: expected an account as it stands in Swift's URLs, such as AUTH_0cc367a30c2a4cf7a33c8789665998fd, got \"/v1/AUTH_x\""],
    ['{ driver: s3, bucket: images, account: AUTH_x }', 'storage.account: belongs to driver: swift; this is driver: s3'],
    [`{ driver: swift, container: c, prefix: ../x, ${AUTH} }`, 'storage.prefix: expected parts of letters, digits and any of ._:@[]~+- with slashes between them, such as registries/umbra, got "../x"'],
    [`{ driver: swift, container: c, prefix: /x, ${AUTH} }`, 'storage.prefix: expected parts of letters, digits and any of ._:@[]~+- with slashes between them, such as registries/umbra, got "/x"'],
    [`{ driver: s3, bucket: images, prefix: ${'a'.repeat(84)} }`, `storage.prefix: expected at most 83 characters, got "${'a'.repeat(80)}…"`],
    [`{ driver: swift, container: c, segmentSize: 1k, ${AUTH} }`, 'storage.segmentSize: expected at least 1MiB, got "1k"'],
    [`{ driver: swift, container: c, segmentSize: 6GiB, ${AUTH} }`, 'storage.segmentSize: expected at most 5GiB, got "6GiB"'],
    [`{ driver: swift, container: c, interface: admin, ${AUTH} }`, 'storage.interface: expected one of public, internal, got "admin"'],
    [`{ driver: swift, container: c, tempUrlKey: k, redirect: maybe, ${AUTH} }`, 'storage.redirect: expected true, false or a list, got "maybe"'],
    ['{ driver: s3, bucket: images, redirect: [10.0.0.0/99] }', 'storage.redirect[0]: expected an IP address or a network such as 10.0.0.0/8, got "10.0.0.0/99"'],
    ['{ driver: s3, bucket: images, endpoint: s3.example.org }', 'storage.endpoint: expected http(s)://host[:port], without a path or credentials, got "s3.example.org"'],
    ['{ driver: s3, bucket: images, disk: { root: x } }', 'storage.disk.maxBytes: missing: How much it may hold'],
    ['{ driver: swift, container: c, auth: { url: "https://me:hunter2@keystone" } }', 'storage.auth.url: expected an http(s) URL without credentials or a query, such as https://keystone.example.org:5000/v3, got "https://***@keystone"'],
    [`{ driver: swift, container: c, auth: { url: "${KEYSTONE}", user: me } }`, 'storage.auth.user: unknown key; expected one of url, username, userId, password, passwordFile, userDomain, userDomainId, project, projectId, projectDomain, projectDomainId, applicationCredentialId, applicationCredentialName, applicationCredentialSecret, applicationCredentialSecretFile, trustId, credentialFile'],
    // files
    [`{ driver: swift, container: c, auth: { url: "${KEYSTONE}", username: me, passwordFile: nothing, project: p } }`, 'storage.auth.passwordFile: ./nothing is empty'],
    [`{ driver: swift, container: c, tempUrlKeyFile: absent, ${AUTH} }`, 'storage.tempUrlKeyFile: ./absent cannot be read: there is no such file'],
    ['{ driver: s3, bucket: images, ca: absent }', 'storage.ca: ./absent cannot be read: there is no such file'],
    // clouds.yaml and the environment
    ['{ driver: swift, container: c, cloud: ci, region: RegionOne }', 'storage.cloud: the cloud "ci" in ./home/.config/openstack/clouds.yaml has no region "RegionOne"; it has RegionTwo'],
    ['{ driver: swift, container: c, cloud: cii }', 'storage.cloud: ./home/.config/openstack/clouds.yaml has no cloud "cii"; it has ci, two, node, public, old, admin, bare'],
    ['{ driver: swift, container: c, cloud: old }', 'storage.cloud: auth_type "v2password" cannot be used; expected one of password, v3password, v3applicationcredential, v1password'],
    ['{ driver: swift, container: c, cloud: admin }', 'storage.cloud: the cloud "admin" in ./home/.config/openstack/clouds.yaml asks for the admin endpoint; expected public or internal, or interface to be set here'],
    ['{ driver: swift, container: c, cloud: ci }', 'storage.cloud: there is no clouds.yaml that can be read in ., ./nobody/.config/openstack, /etc/openstack (or where OS_CLIENT_CONFIG_FILE says)', { HOME: '$FOLDER/nobody' }],
    ['{ driver: swift, container: c, cloud: ci }', 'storage.cloud: ./broken.yaml cannot be understood: line 2 is not YAML (BAD_INDENT)', { OS_CLIENT_CONFIG_FILE: '$FOLDER/broken.yaml' }],
    ['{ driver: swift, container: c }', 'storage.auth: the environment has no OS_PASSWORD: the password of the user', { ...OPENRC, OS_PASSWORD: '' }],
    ['{ driver: swift, container: c }', 'storage.auth: the environment has a OS_AUTH_URL that is not a URL', { ...OPENRC, OS_AUTH_URL: 'keystone' }],
  ])('%s', async (storage, problem, env = {}) => {
    const here = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, value.replace('$FOLDER', folder)]));
    expect(await problems(`\nstorage: ${storage}`, here)).toEqual([`2: ${problem}`]);
  });

  test('everything that a cloud does not say is told', async () => {
    expect(await problems('storage: { driver: swift, container: c, cloud: bare }')).toEqual([
      '1: storage.cloud: the cloud "bare" in ./home/.config/openstack/clouds.yaml has no auth_url: where Keystone answers, such as https://keystone.example.org:5000/v3',
      '1: storage.cloud: the cloud "bare" in ./home/.config/openstack/clouds.yaml has no password: the password of the user',
      '1: storage.cloud: the cloud "bare" in ./home/.config/openstack/clouds.yaml has no project_name: the project that the container belongs to (or projectId)',
    ]);
  });

  test.each<[string, string]>([
    ['storage: { driver: s3, bucket: images }\nupstreamStorage: { driver: s3, bucket: images }', '2: upstreamStorage.bucket: expected a place of its own, apart from storage.bucket'],
    ['storage: { driver: s3, bucket: images, prefix: a }\nupstreamStorage: { driver: s3, bucket: images, prefix: a/b }', '2: upstreamStorage.bucket: expected a place of its own, apart from storage.bucket'],
    ['storage: { driver: filesystem, root: a }\nupstreamStorage: { driver: filesystem, root: a/b }', '2: upstreamStorage.root: expected a place of its own, apart from storage.root'],
    ['storage: { driver: s3, bucket: images, disk: { root: a, maxBytes: 1GiB } }\nupstreamStorage: { driver: s3, bucket: cache, disk: { root: a, maxBytes: 1GiB } }', '2: upstreamStorage.disk.root: expected a place of its own, apart from storage.disk.root'],
    ['storage: { driver: s3, bucket: images, disk: { root: umbra-data, maxBytes: 1GiB } }\nauth: { keyFile: umbra-data/key }', '2: auth.keyFile: expected a file outside of the storage, ./umbra-data'],
    ['storage: { driver: s3, bucket: images }\nupstreamStorage: { driver: filesystem, root: cache }\nauth: { keyFile: cache/key }', '3: auth.keyFile: expected a file outside of the storage, ./cache'],
    ['upstreamStorage: { driver: s3, bukket: images }\nviews: { define: { main: {} } }', '1: upstreamStorage.bukket: unknown key; did you mean "bucket"?\n2: views.define.main: main is always there and cannot be defined'],
    ['coordination: { driver: postgres }', '1: coordination.url: missing: where the database is (or urlFile)'],
    ['coordination: { driver: postgres, url: "mysql://me:hunter2@db/x" }', '1: coordination.url: expected postgres://user:password@host/database'],
    ['coordination: { driver: postgres, url: "postgres://db/x", urlFile: pg }', '1: coordination.urlFile: expected url or urlFile, got both'],
    ['coordination: { driver: postgres, urlFile: password }', '1: coordination.urlFile: expected postgres://user:password@host/database in ./password'],
  ])('%s', async (text, expected) => {
    expect((await problems(text)).join('\n')).toBe(expected);
  });

  test('no message repeats a secret', async () => {
    const told = [
      await problems('storage: { driver: swift, container: c, tempUrlKey: [hunter2], auth: { url: "https://me:hunter2@k", password: { hunter2: x }, applicationCredentialSecret: hunter2 } }'),
      await problems('storage: { driver: swift, container: c }', { OS_AUTH_URL: 'https://x', OS_PASSWORD: 'hunter2' }),
      await problems('coordination: { driver: postgres, url: "hunter2" }'),
    ].flat();
    expect(told.length).toBeGreaterThan(4);
    expect(told.join('\n')).not.toContain('hunter2');
  });
});

describe('what goes together', () => {
  test('two stores side by side, each of its own kind', async () => {
    const config = await load(`storage: { driver: filesystem, root: a }\nupstreamStorage: { driver: s3, bucket: cache, prefix: "a/" }\ncoordination: { driver: postgres, urlFile: pg }`);
    expect([config.storage, config.upstreamStorage]).toMatchObject([{ driver: 'filesystem', root: join(folder, 'a') }, { driver: 's3', bucket: 'cache', prefix: 'a/' }]);
    expect(config.coordination?.url.reveal()).toBe('postgres://umbra:from-a-file@db/umbra');
  });

  test('one bucket for two registries', async () => {
    const config = await load('storage: { driver: s3, bucket: images, prefix: a }\nupstreamStorage: { driver: s3, bucket: images, prefix: ab }');
    expect(config.upstreamStorage).toMatchObject({ prefix: 'ab/' });
  });

  test('a cache in memory means one worker', async () => {
    expect(await load('storage: { driver: filesystem }\nupstreamStorage: { driver: memory }\nworkers: 4')).toMatchObject({ workers: 1 });
  });

  test('the way to a worker keeps all of it, secrets included', async () => {
    const config = await load(`storage: { driver: swift, container: images, cloud: ci, tempUrlKey: k, redirect: [10.0.0.0/8] }\ncoordination: { driver: postgres, url: "postgres://db/x" }`);
    const arrived = unpackConfig(JSON.parse(JSON.stringify(packConfig(config))));
    expect(facts((arrived.storage as SwiftStorage).auth)).toEqual(facts((config.storage as SwiftStorage).auth));
    expect(arrived.storage).toMatchObject({ redirect: ['10.0.0.0/8'], region: 'RegionTwo' });
    expect(arrived.coordination?.url.reveal()).toBe('postgres://db/x');
  });
});
