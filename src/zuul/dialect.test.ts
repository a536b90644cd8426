/** A zuul-registry's file as a configuration of ours: each key, what is wrong, variables, and the same once converted. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Secret, type Config } from '../config/config.ts';
import { explain, formatOrigin } from '../config/explain.ts';
import { loadConfig, type Loaded } from '../config/load.ts';
import { DEFAULT_UPSTREAMS } from '../config/schema.ts';
import { convert } from './convert.ts';
import { ZUUL } from './dialect.ts';

const CLOUDS = 'clouds: { corp: { auth: { auth_url: "https://keystone:5000/v3", username: me, password: pw, project_name: p }, region_name: one } }';
const MINIMAL = 'registry:\n  secret: a long secret of theirs\n  storage: { driver: filesystem, root: /storage }\n';

let folder = '';
let cwd = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-zuul-'));
  cwd = join(folder, 'cwd');
  mkdirSync(cwd);
  for (const name of ['cert.pem', 'cert.key']) writeFileSync(join(cwd, name), 'x');
  writeFileSync(join(cwd, 'clouds.yaml'), CLOUDS);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function load(text: string, env: Record<string, string> = {}): Promise<Loaded> {
  writeFileSync(join(folder, 'registry.yaml'), text);
  return await loadConfig('../registry.yaml', { cwd, env, processors: 2 }, ZUUL);
}

const config = async (text: string, env: Record<string, string> = {}): Promise<Config> => (await load(text, env)).config;
const withKeys = (...lines: readonly string[]): string => MINIMAL + lines.map((line) => `  ${line}\n`).join('');
/** With this instead of the folder. */
const withStorage = (storage: string): string => MINIMAL.replace(/\{.*\}/, `{ ${storage} }`);

/** Secrets as what they hide, so that they can be compared. */
const shown = (value: unknown): unknown => {
  if (value instanceof Secret) return `secret ${value.reveal()}`;
  if (Array.isArray(value)) return value.map(shown);
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shown(inner)])) : value;
};

type Row = [what: string, text: string, expected: object, env?: Record<string, string>];
const ROWS: readonly Row[] = [
  ['the least', MINIMAL, {
    listeners: [{ binds: [{ host: '::', port: 9000 }], publicUrl: undefined, tls: undefined, view: 'main', mirror: false }],
    storage: { driver: 'filesystem', root: '/storage' },
    auth: { configured: true, secret: 'secret a long secret of theirs', anonymous: 'pull', users: [] },
    tagExpiryMs: undefined,
  }],
  ['an address of IPv6, and a port', withKeys('address: "::1"', 'port: 5000'), { listeners: [{ binds: [{ host: '::1', port: 5000 }] }] }],
  ['an address of IPv4', withKeys('address: 0.0.0.0', 'port: 5000'), { listeners: [{ binds: [{ host: '0.0.0.0', port: 5000 }] }] }],
  ['a name for an address', withKeys('address: localhost'), { listeners: [{ binds: [{ host: '127.0.0.1', port: 9000 }, { host: '::1', port: 9000 }] }] }],
  ['a public URL', withKeys('public-url: https://zuul-jobs.buildset-registry:5000'), { listeners: [{ publicUrl: 'https://zuul-jobs.buildset-registry:5000' }] }],
  ['a certificate; paths are relative to where the process stands', withKeys('tls-cert: cert.pem', 'tls-key: cert.key'), { listeners: [{ tls: { certFile: '$CWD/cert.pem', keyFile: '$CWD/cert.key' } }] }],
  ['a certificate without a key, which is plain HTTP', withKeys('tls-cert: cert.pem', 'tls-key:'), { listeners: [{ tls: undefined }] }],
  ['users who write', withKeys('users:', '  - { name: zuul, pass: "a:b ${x} ü", access: write }'), { auth: { anonymous: 'pull', users: [{ name: 'zuul', password: 'secret a:b ${x} ü', access: 'push' }] } }],
  ['one user who reads, and nobody else reads', withKeys('users: [{ name: w, pass: "1", access: write }, { name: r, pass: "2", access: read }]'), { auth: { anonymous: 'none', users: [{ access: 'push' }, { name: 'r', access: 'pull' }] } }],
  ['a relative folder', withStorage('driver: filesystem, root: images'), { storage: { root: '$CWD/images' } }],
  ['swift', withStorage('driver: swift, cloud: corp, container: images'), { storage: { driver: 'swift', container: 'images', region: 'one', auth: { user: { name: 'me' }, password: 'secret pw', project: { name: 'p' } } } }],
  ['s3', withStorage('driver: s3, endpoint: "https://s3.example.org", access-key: ak, secret-key: sk, region: r, bucket: images'), { storage: { driver: 's3', endpoint: 'https://s3.example.org', region: 'r', bucket: 'images', pathStyle: true, credentials: { accessKeyId: 'ak', secretAccessKey: 'secret sk' } } }],
  ['an expiration', withStorage('driver: filesystem, root: /storage, expiration: 86400'), { tagExpiryMs: 86_400_000 }],
  ['an expiration beside the storage', withKeys('expiration: 5'), { tagExpiryMs: 5000 }],
  ['namespaced', withKeys('namespaced: true'), { auth: { anonymous: 'pull' } }],
  ['not namespaced', withKeys('namespaced: false'), { auth: { anonymous: 'pull' } }],
  ['a shadow, in each of its forms', withKeys('shadow:', '  docker.io: { hostname: mirror.example.org, port: 5000 }', '  quay.io: { hostname: "::1" }', '  ghcr.io: cache.example.org:443', '  registry.example: "http://plain.example:5000"'), {
    upstreams: [
      { host: 'docker.io', url: 'https://mirror.example.org:5000' }, { host: 'quay.io', url: 'https://[::1]' }, { host: 'ghcr.io', url: 'https://cache.example.org:443' },
      ...DEFAULT_UPSTREAMS.slice(3).map((host) => ({ host })), { host: 'registry.example', url: 'http://plain.example:5000' },
    ],
  }],
  ['a shadow and no other upstreams', `${withKeys('shadow: { docker.io: { hostname: h } }')}upstreams: {}\n`, { upstreams: [{ host: 'docker.io', url: 'https://h' }] }],
  ['keys of Umbra beside it, in which variables are Umbra’s', `${MINIMAL}workers: 1\nupstreams: { quay.io: { username: u, password: "\${HUB}" } }\nlimits: { uploads: 1h }\n`, { workers: 1, upstreams: [{ host: 'quay.io', password: 'secret of hub' }], limits: { uploadsMs: 3_600_000 } }, { HUB: 'of hub' }],
  ['variables in all kinds of values, lower-case names too, and in plain text',
    'registry: { address: "%(ZUUL_ADDRESS)", port: %(ZUUL_PORT), secret: %(ZUUL_REGISTRY_secret), users: [{ name: "%(ZUUL_user)-%(ZUUL_UNSET)", pass: %(ZUUL_PASS), access: write }], storage: { driver: filesystem, root: "/%(ZUUL_root)/x", expiration: %(ZUUL_SECONDS) } }',
    { listeners: [{ binds: [{ host: '127.0.0.1', port: 5001 }] }], auth: { secret: 'secret from the environment', users: [{ name: 'me-%(ZUUL_UNSET)', password: 'secret "\n- %(ZUUL_PORT) ${HOME} #' }] }, storage: { root: '/r/x' }, tagExpiryMs: 60_000 },
    { ZUUL_ADDRESS: '127.0.0.1', ZUUL_PORT: '5001', ZUUL_REGISTRY_secret: 'from the environment', ZUUL_user: 'me', ZUUL_PASS: '"\n- %(ZUUL_PORT) ${HOME} #', ZUUL_root: 'r', ZUUL_SECONDS: '60' }],
  ['variables of others, which are text', withKeys('users: [{ name: "%(HOME)", pass: "${HOME}", access: write }]'), { auth: { users: [{ name: '%(HOME)', password: 'secret ${HOME}' }] } }, { HOME: '/root' }],
];

describe('each key', () => {
  test.each(ROWS)('%s', async (_, text, expected, env = {}) => {
    const inCwd = JSON.parse(JSON.stringify(expected, (_key, value: unknown) => (value === undefined ? null : value)).replaceAll('$CWD', cwd)) as object;
    expect(JSON.parse(JSON.stringify(shown(await config(text, env)), (_key, value: unknown) => (value === undefined ? null : value)))).toMatchObject(inCwd);
  });

  test.each(ROWS)('%s: converted, it gives the same settings', async (_, text, _expected, env = {}) => {
    const loaded = await load(text, env);
    const { text: converted } = convert(loaded.document);
    expect(converted).not.toMatch(/^registry:/m);
    writeFileSync(join(folder, 'umbra.yaml'), converted);
    const again = await loadConfig('../umbra.yaml', { cwd, env, processors: 2 });
    expect(shown(again.config)).toEqual(shown(loaded.config));
  });

  test('nothing is said of upstreams: they are Umbra’s own', async () => {
    expect((await config(MINIMAL)).upstreams.map(({ host }) => host)).toEqual(DEFAULT_UPSTREAMS);
  });
});

test('converted, variables stay variables, and secrets in clear are told', async () => {
  const env = { ZUUL_SECRET: 'not printed', ZUUL_PASS: 'nor this' };
  const { document } = await load(withKeys('users: [{ name: a, pass: "%(ZUUL_PASS)", access: write }, { name: b, pass: hunter2, access: write }]').replace('a long secret of theirs', '%(ZUUL_SECRET)'), env);
  const { text, clear } = convert(document);
  expect(text).toContain('secret: ${ZUUL_SECRET}');
  expect(text).not.toMatch(/not printed|nor this/);
  expect(clear).toEqual(['auth.users[1].password']);
});

test('explain tells the line of the zuul-registry’s file', async () => {
  const rows = explain(await load(withKeys('port: 5000')));
  expect(rows.filter(({ key }) => ['listeners[0].address', 'auth.secret', 'storage.root'].includes(key)).map(({ key, origin }) => `${key} ${formatOrigin(origin)}`)).toEqual([
    'listeners[0].address ../registry.yaml:4', 'storage.root ../registry.yaml:3', 'auth.secret ../registry.yaml:2',
  ]);
});

describe('what is wrong is told with file, line and key, as the file spells it', () => {
  test.each<[string, readonly string[]]>([
    ['registry: {}', ['1: registry.secret: missing: What the key that signs tokens is derived from', '1: registry.storage: missing: Where images are kept']],
    [withKeys('adress: "::"', 'tls-crt: x'), ['4: registry.adress: unknown key; did you mean "address"?', '5: registry.tls-crt: unknown key; did you mean "tls-cert"?']],
    [withKeys('users: [{ name: a, pass: 1, access: admin, mail: x }]'), ['4: registry.users[0].pass: expected text (a number needs quotes)', '4: registry.users[0].access: expected one of read, write, got "admin"', '4: registry.users[0].mail: unknown key; expected one of name, pass, access']],
    [withStorage('driver: tape'), ['3: registry.storage.driver: expected one of filesystem, swift, s3, got "tape"']],
    [withStorage('driver: filesystem, bucket: b'), ['3: registry.storage.root: missing: the folder']],
    [withStorage('driver: filesystem, root: /storage, bucket: images'), ['3: registry.storage.bucket: belongs to driver: s3; this is driver: filesystem']],
    [withStorage('driver: swift, cloud: corp'), ['3: registry.storage.container: missing: the name of the container']],
    [withStorage('driver: s3, bucket: images, access-key: a'), ['3: registry.storage.access-key: expected secretAccessKey or secretAccessKeyFile with it']],
    [withKeys('address: not an address'), ['4: registry.address: expected host:port, such as localhost:5000, 0.0.0.0:5000 or [::]:5000, got "not an address:9000"']],
    [withKeys('port: many', 'public-url: ftp://x'), ['4: registry.port: expected a port, got "many"']],
    [withKeys('public-url: ftp://x'), ['4: registry.public-url: expected http(s)://host[:port], without a path or credentials, got "ftp://x"']],
    [withKeys('tls-cert: cert.pem', 'tls-key: gone.key'), ['5: registry.tls-key: $CWD/gone.key cannot be read: there is no such file']],
    [withKeys('tls-key: cert.key'), ['4: registry.tls-cert: missing: tls-key is of no use without it']],
    [withKeys('users: [{ name: "a:b", pass: x, access: write }]'), ['4: registry.users[0].name: expected a name without colons that is not anonymous or *, got "a:b"']],
    [withKeys('users: [{ name: a, pass: "%(ZUUL_PASS)", access: write }]').replace('a long secret of theirs', '"%(ZUUL_SECRET)"'), ['2: registry.secret: the environment variable ZUUL_SECRET is not set', '4: registry.users[0].pass: the environment variable ZUUL_PASS is not set']],
    [`${withKeys('shadow: { docker.io: { hostname: h } }')}upstreams: { docker.io: {} }\n`, ['4: registry.shadow.docker.io: upstreams speaks of it, too']],
    [withKeys('shadow: { Docker: { hostname: h, prot: 1 } }'), ['4: registry.shadow.Docker.prot: unknown key; did you mean "port"?']],
    [withKeys('expiration: soon'), ['4: registry.expiration: expected a duration such as 250ms, 60s, 5m, 1h or 1d, got "soon"']],
    [`${MINIMAL}auth: { anonymous: push }\nworkrs: 1\n`, ['4: auth: registry: says this; to say more, write the whole file in Umbra\'s words, as "umbra config convert" prints it']],
    [`${MINIMAL}workrs: 1\n`, ['4: workrs: unknown key; did you mean "workers"?']],
  ])('%s', async (text, expected) => {
    const error = await load(text).then(() => undefined, (reason: unknown) => reason);
    expect(String((error as Error | undefined)?.message).split('\n')).toEqual(expected.map((line) => `../registry.yaml:${line.replaceAll('$CWD', cwd)}`));
  });
});
