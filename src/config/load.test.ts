import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Config } from './config.ts';
import { loadConfig } from './load.ts';

const MACHINE = { processors: 3 };
const HASH = `$2y$10$${'a'.repeat(53)}`;
/** Made for this test; nobody has its key. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBejCCASGgAwIBAgIURdF2PtcguQJU5/uyi5TB34eo42gwCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHY2EudGVzdDAgFw0yNjExMjIwNjU0NDVaGA8yMTI2MTAyOTA2
NTQ0NVowEjEQMA4GA1UEAwwHY2EudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABBQipN4n/a66/1mnp/j1A+zAQj/BYuWhcJyyFH2s5ogTD4VG0Tv5twUIp/W+
cY5xuvKy8R7IzLeUjNmMXGIgT8mjUzBRMB0GA1UdDgQWBBTNv041tZoqqWx8V+Gm
cmxQTOF5SDAfBgNVHSMEGDAWgBTNv041tZoqqWx8V+GmcmxQTOF5SDAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIGFcW8RMBCYmy+SeYDpS6WuK1WaF
LpwtuX5g0eOTwergAiB1zaQ1qENnnsBvBXeir5Kidi06vQQ4VDjjkBtCtixFYQ==
-----END CERTIFICATE-----`;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-config-'));
  mkdirSync(join(folder, 'empty'));
  mkdirSync(join(folder, 'sub'));
  write('password', 'from a file\n');
  write('two-newlines', 'ends in one\n\n');
  write('nothing', '\n');
  write('hash', `${HASH}\r\n`);
  write('some.pem', 'x');
  write('ca.pem', `two of them:\n${CERTIFICATE}\n${CERTIFICATE}\n`);
  write('broken-ca.pem', `${CERTIFICATE}\n${CERTIFICATE.replace('MII', 'AAA')}`);
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return name;
}

async function load(text: string, env: Record<string, string> = {}): Promise<Config> {
  const { config } = await loadConfig(write('umbra.yaml', text), { cwd: folder, env, ...MACHINE });
  return config;
}

/** Every line of the error. */
async function problems(text: string, env: Record<string, string> = {}): Promise<string[]> {
  const error = await load(text, env).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ name: 'ConfigError' });
  return (error as Error).message.split('\n');
}

describe('without a file', () => {
  test('everything has its default: loopback, a folder here, the well-known registries, anybody may push', async () => {
    const cwd = join(folder, 'empty');
    const { config, file } = await loadConfig(undefined, { cwd, env: {}, ...MACHINE });
    expect(file).toBeUndefined();
    const upstream = { policy: 'proxy', ttlMs: 60_000, negativeTtlMs: 5000, username: undefined, password: undefined, ca: undefined, timeoutMs: 10_000 };
    const hosts = ['quay.io', 'ghcr.io', 'gcr.io', 'registry.k8s.io', 'mcr.microsoft.com', 'public.ecr.aws'];
    expect(config).toEqual({
      workers: 3,
      listeners: [
        {
          address: 'localhost:5000',
          binds: [
            { host: '127.0.0.1', port: 5000 },
            { host: '::1', port: 5000 },
          ],
          publicUrl: undefined,
          tls: undefined,
          view: 'main',
          upstream: 'docker.io',
          mirror: false,
          proxy: false,
          tunnel: [],
        },
      ],
      proxyCa: { certFile: join(cwd, 'umbra-data.ca.pem'), keyFile: join(cwd, 'umbra-data.ca.key') },
      trustedProxies: [],
      storage: { driver: 'filesystem', root: join(cwd, 'umbra-data') },
      views: { hostSuffix: undefined, define: [] },
      tagStalenessMs: 1000,
      tagExpiryMs: undefined,
      upstreams: [{ host: 'docker.io', url: 'https://registry-1.docker.io', ...upstream }, ...hosts.map((host) => ({ host, url: `https://${host}`, ...upstream }))],
      upstreamStorage: undefined,
      coordination: undefined,
      fillDetachedMs: 60_000,
      readOnly: undefined,
      auth: { configured: false, keyFile: join(cwd, 'umbra-data.key'), secret: undefined, anonymous: 'push', users: [], htpasswd: undefined, rules: [], oidc: [], keystone: undefined },
      limits: { memoryBytes: 128 * 2 ** 20, manifestBytes: 4 * 2 ** 20, blobBytes: 64 * 2 ** 30, uploadsMs: 86_400_000, stallMs: 60_000, drainMs: 30_000 },
      clusters: undefined,
      node: undefined,
    } satisfies Record<keyof Config, unknown>);
  });

  test('umbra.yaml of the working directory counts, if there is one', async () => {
    write('umbra.yaml', 'workers: 7');
    const { config, file } = await loadConfig(undefined, { cwd: folder, env: {}, ...MACHINE });
    expect([config.workers, file]).toEqual([7, 'umbra.yaml']);
  });

  test.each(['', '# nothing\n', '{}'])('an empty file (%j) is as good as none', async (text) => {
    expect(await load(text)).toEqual((await loadConfig(undefined, { cwd: folder, env: {}, ...MACHINE })).config);
  });
});

test('a file that is named must be there', async () => {
  await expect(loadConfig('absent.yaml', { cwd: folder, env: {}, ...MACHINE })).rejects.toThrow(`absent.yaml: ${join(folder, 'absent.yaml')} cannot be read: there is no such file`);
  await expect(loadConfig('sub', { cwd: folder, env: {}, ...MACHINE })).rejects.toThrow(`sub: ${join(folder, 'sub')} cannot be read: it is a folder`);
});

describe('values', () => {
  type Row = [yaml: string, pick: (config: Config) => unknown, expected: unknown];
  const only = (config: Config) => config.upstreams[0];
  test.each<Row>([
    ['workers: 2', (c) => c.workers, 2],
    ['workers: auto', (c) => c.workers, 3],
    ['workers: ${WORKERS}', (c) => c.workers, 5],
    ['{ workers: 4, storage: { driver: memory } }', (c) => [c.workers, c.storage], [1, { driver: 'memory' }]],
    ['storage: { driver: filesystem, root: /srv/images }', (c) => c.storage, { driver: 'filesystem', root: '/srv/images' }],
    ['listeners: [{ address: "[::1]:0", publicUrl: "https://Registry.example.org:443/" }]', (c) => c.listeners[0]?.publicUrl, 'https://registry.example.org'],
    ['listeners: [{ address: localhost:0 }, { address: localhost:0 }]', (c) => c.listeners.length, 2],
    ['listeners: [{ address: localhost:0, mirror: ${YES} }]', (c) => c.listeners[0]?.mirror, true],
    ['{ listeners: [{ address: localhost:0, view: staging }], views: { define: { staging: { parents: [main] }, approved: {} } } }', (c) => [c.listeners[0]?.view, c.views.define], ['staging', [{ id: 'staging', parents: ['main'] }, { id: 'approved', parents: [] }]]],
    ['tagStaleness: 250ms', (c) => c.tagStalenessMs, 250],
    ['fillDetached: 0', (c) => c.fillDetachedMs, 0],
    ['readOnly: push to images.example.org', (c) => c.readOnly, 'push to images.example.org'],
    ['limits: { memory: 1GiB, manifestBytes: 512k, blobBytes: 1000, uploads: 90d, stall: 1m, drain: 0.5 }', (c) => c.limits, { memoryBytes: 2 ** 30, manifestBytes: 2 ** 19, blobBytes: 1000, uploadsMs: 90 * 86_400_000, stallMs: 60_000, drainMs: 500 }],
    ['trustedProxies: [127.0.0.1, fd00::/8]', (c) => c.trustedProxies, ['127.0.0.1', 'fd00::/8']],
    ['upstreams: {}', (c) => c.upstreams, []],
    ['upstreams: { docker.io: {}, registry.example.org:5000: {} }', (c) => c.upstreams.map(({ url }) => url), ['https://registry-1.docker.io', 'https://registry.example.org:5000']],
    ['upstreams: { docker.io: { url: "http://127.0.0.1:5000/", policy: local, timeout: 1s } }', (c) => [only(c)?.url, only(c)?.policy, only(c)?.timeoutMs], ['http://127.0.0.1:5000', 'local', 1000]],
    ['upstreams: { docker.io: { username: me, password: ${NASTY} } }', (c) => only(c)?.password?.reveal(), 'a"b\n: c'],
    ['upstreams: { docker.io: { username: me, password: "$${NASTY}" } }', (c) => only(c)?.password?.reveal(), '${NASTY}'],
    ['upstreams: { docker.io: { username: me, passwordFile: password } }', (c) => only(c)?.password?.reveal(), 'from a file'],
    ['upstreams: { docker.io: { username: me, passwordFile: two-newlines } }', (c) => only(c)?.password?.reveal(), 'ends in one\n'],
    ['upstreams: { docker.io: { ca: ca.pem } }', (c) => only(c)?.ca?.split('BEGIN CERTIFICATE').length, 3],
    ['upstreams: { docker.io: { ca: "${PEM}" } }', (c) => only(c)?.ca, CERTIFICATE],
    ['auth: { users: [{ name: a, passwordHashFile: hash, access: admin }] }', (c) => c.auth.users.map(({ passwordHash, access }) => [passwordHash?.reveal(), access]), [[HASH, 'admin']]],
    [`auth: { users: [{ name: a, passwordHash: ${HASH} }] }`, (c) => c.auth.users.map(({ passwordHash, access }) => [passwordHash?.reveal(), access]), [[HASH, 'pull']]],
    ['auth: {}', (c) => [c.auth.configured, c.auth.anonymous], [false, 'push']],
    ['auth: { keyFile: keys/key }', (c) => [c.auth.configured, c.auth.keyFile], [false, '$FOLDER/keys/key']],
    ['auth: { secret: "${NASTY}" }', (c) => [c.auth.configured, c.auth.secret?.reveal()], [false, 'a"b\n: c']],
    ['auth: { secretFile: password }', (c) => c.auth.secret?.reveal(), 'from a file'],
    ['auth: { keyFile: umbra-data/not-used, secret: x }', (c) => c.auth.secret?.reveal(), 'x'],
    ['auth: { keyFile: /etc/umbra/token.key }', (c) => c.proxyCa, { certFile: '/etc/umbra/token.ca.pem', keyFile: '/etc/umbra/token.ca.key' }],
    ['proxyCa: { certFile: ca/cert.pem, keyFile: ca/key.pem }', (c) => c.proxyCa, { certFile: '$FOLDER/ca/cert.pem', keyFile: '$FOLDER/ca/key.pem' }],
    ['listeners: [{ address: "localhost:0", proxy: true, tunnel: ["*.example.org:8443", "10.0.0.0/8"] }]', (c) => [c.listeners[0]?.proxy, c.listeners[0]?.tunnel], [true, ['*.example.org:8443', '10.0.0.0/8']]],
    ['auth: { users: [] }', (c) => [c.auth.configured, c.auth.anonymous], [true, 'pull']],
    ['auth: { anonymous: none }', (c) => [c.auth.configured, c.auth.anonymous], [true, 'none']],
    ['auth: { htpasswd: password, rules: [{ who: anybody, names: ["*"], may: [pull] }] }', (c) => [c.auth.configured, c.auth.htpasswd], [true, '$FOLDER/password']],
    ['{ auth: { anonymous: push }, listeners: [{ address: 0.0.0.0:5000 }] }', (c) => c.listeners[0]?.binds, [{ host: '0.0.0.0', port: 5000 }]],
    ['{ auth: { anonymous: pull }, listeners: [{ address: "[::]:5000", tls: { cert: some.pem, key: password } }] }', (c) => c.listeners[0]?.tls, { certFile: '$FOLDER/some.pem', keyFile: '$FOLDER/password' }],
  ])('%s', async (text, pick, expected) => {
    const config = await load(text, { WORKERS: '5', YES: 'true', NASTY: 'a"b\n: c', PEM: CERTIFICATE });
    expect(pick(config)).toEqual(JSON.parse(JSON.stringify(expected).replaceAll('$FOLDER', folder)));
  });

  test('paths are relative to the folder of the file, wherever the process stands', async () => {
    write('sub/umbra.yaml', 'auth: { htpasswd: ../password }');
    const { config } = await loadConfig('sub/umbra.yaml', { cwd: folder, env: {}, ...MACHINE });
    expect([config.auth.htpasswd, config.storage]).toEqual([join(folder, 'password'), { driver: 'filesystem', root: join(folder, 'sub', 'umbra-data') }]);
  });
});

describe('a wrong key or value is told with file, line, key and what was expected', () => {
  test.each<[string, string]>([
    // types
    ['[]', '1: expected a map, got a list'],
    ['just text', '1: expected a map, got "just text"'],
    ['listeners: {}', '1: listeners: expected a list, got a map'],
    ['listeners: []', '1: listeners: expected at least one, got an empty list'],
    ['listeners: [5000]', '1: listeners[0]: expected a map, got 5000'],
    ['listeners: [{}]', '1: listeners[0].address: missing: Where to listen: `host:port`, with an IPv6 host in brackets. `localhost` is both 127.0.0.1 and ::1; port 0 is any free one'],
    ['upstreams:', '1: upstreams: expected a map, got nothing (write {} for none)'],
    ['upstreams:\n  quay.io:', '2: upstreams.quay.io: expected a map, got nothing'],
    ['storage: []', '1: storage: expected a map, got a list'],
    ['trustedProxies: 127.0.0.1', '1: trustedProxies: expected a list, got "127.0.0.1"'],
    // keys
    ['\nlistners: []', '2: listners: unknown key; did you mean "listeners"?'],
    ['upstreams:\n  docker.io:\n    TTL: 5s', '3: upstreams.docker.io.TTL: unknown key; did you mean "ttl"?'],
    ['storage: { driver: memory, bucket: images }', '1: storage.bucket: belongs to driver: s3; this is driver: memory'],
    ['workers: 1\nworkers: 2', '2: workers: the key was given before, on line 1'],
    ['upstreams: { dockerio: {} }', '1: upstreams.dockerio: expected a registry host as in names, such as docker.io or registry.example.org:5000'],
    ['upstreams: { index.docker.io: {} }', '1: upstreams.index.docker.io: expected docker.io, which is what names call this registry'],
    ['views: { define: { A: {} } }', '1: views.define.A: expected the name of a view: up to 63 of [a-z0-9-], like a host name without dots'],
    ['views: { define: { constructor: {} } }', '1: views.define: constructor cannot be a key'],
    // values
    ['workers: many', '1: workers: expected auto or a number from 1 to 256, got "many"'],
    ['workers: 0', '1: workers: expected auto or a number from 1 to 256, got 0'],
    ['workers: 1.5', '1: workers: expected auto or a number from 1 to 256, got 1.5'],
    ['workers: 1000', '1: workers: expected auto or a number from 1 to 256, got 1000'],
    ['workers: true', '1: workers: expected auto or a number from 1 to 256, got true'],
    ['upstreams:\n  docker.io:\n    ttl: 1h\n    policy: prox', '4: upstreams.docker.io.policy: expected one of proxy, approved, local, got "prox"'],
    ['upstreams: { docker.io: { ttl: 5 minutes } }', '1: upstreams.docker.io.ttl: expected a duration such as 250ms, 60s, 5m, 1h or 1d, got "5 minutes"'],
    ['upstreams: { docker.io: { ttl: -5s } }', '1: upstreams.docker.io.ttl: expected a duration such as 250ms, 60s, 5m, 1h or 1d, got "-5s"'],
    ['upstreams: { docker.io: { timeout: 0 } }', '1: upstreams.docker.io.timeout: expected at least 1ms, got 0'],
    ['fillDetached: 30d', '1: fillDetached: expected at most 24d, got "30d"'],
    ['limits: { memory: 4MB }', '1: limits.memory: expected a size such as 512k, 4MiB or 1GiB, got "4MB"'],
    ['limits: { memory: 1k }', '1: limits.memory: expected at least 16MiB, got "1k"'],
    ['limits: { manifestBytes: 1GiB }', '1: limits.manifestBytes: expected at most 16MiB, got "1GiB"'],
    ['storage: { driver: ceph }', '1: storage.driver: expected one of filesystem, memory, swift, s3, got "ceph"'],
    ['storage: { root: x }', '1: storage.driver: missing: `filesystem` is for one machine, and not for NFS; `memory` is gone with the process, and means one worker; `swift` and `s3` are for any number of nodes'],
    ['storage: { driver: memory, root: x }', '1: storage.root: belongs to driver: filesystem; this is driver: memory'],
    ['storage: { driver: filesystem, folder: x }', '1: storage.folder: unknown key; expected one of driver, root, maxBytes, container, account, bucket, prefix, region, interface, auth, cloud, segmentSize, tempUrlKey, tempUrlKeyFile, endpoint, accessKeyId, secretAccessKey, secretAccessKeyFile, pathStyle, claims, redirect, ca, insecure, disk'],
    ['listeners: [{ address: 5000 }]', '1: listeners[0].address: expected host:port, such as localhost:5000, 0.0.0.0:5000 or [::]:5000, got 5000 (text that looks like something else needs quotes)'],
    ['listeners: [{ address: localhost:0, mirror: "yes" }]', '1: listeners[0].mirror: expected true or false, got "yes"'],
    ['listeners: [{ address: localhost:0, publicUrl: "https://me:hunter2@h" }]', '1: listeners[0].publicUrl: expected http(s)://host[:port], without a path or credentials, got "https://***@h"'],
    ['listeners: [{ address: localhost:0, upstream: Docker }]', '1: listeners[0].upstream: expected a registry host as in names, such as docker.io or registry.example.org:5000, got "Docker"'],
    ['listeners: [{ address: localhost:0, tls: { cert: some.pem } }]', '1: listeners[0].tls.key: missing: PEM file of the private key'],
    ['listeners: [{ address: localhost:0, tls: { cert: some.pem, key: absent } }]', '1: listeners[0].tls.key: $FOLDER/absent cannot be read: there is no such file'],
    ['listeners: [{ address: localhost:0, view: stagin }]', '1: listeners[0].view: expected one of main, upstream, approved, got "stagin"'],
    ['listeners:\n  - address: localhost:5000\n  - address: 127.0.0.1:5000', '3: listeners[1].address: listeners[0] listens there already'],
    ['trustedProxies:\n  - 127.0.0.1\n  - 10.0.0.0/33', '3: trustedProxies[1]: expected an IP address or a network such as 10.0.0.0/8, got "10.0.0.0/33"'],
    ['views: { hostSuffix: .views.example.org }', '1: views.hostSuffix: expected a lower-case domain without a leading dot or a port, such as views.example.org, got ".views.example.org"'],
    ['views: { define: { main: {} } }', '1: views.define.main: main is always there and cannot be defined'],
    ['views: { define: { approved: { parents: [main] } } }', '1: views.define.approved.parents: expected none: what the policy approved gives would not be only what was approved'],
    ['views: { define: { a: { parents: [b] } } }', '1: views.define.a.parents[0]: expected one of main, upstream, approved, a, got "b"'],
    ['views: { define: { a: { parents: [a] } } }', '1: views.define.a.parents: expected no cycle, got a -> a'],
    ['views: { define: { x: { parents: [b] }, a: { parents: [c] }, b: { parents: [main, a] }, c: { parents: [b] } } }', '1: views.define.a.parents: expected no cycle, got a -> c -> b -> a'],
    // secrets
    ['upstreams: { docker.io: { username: me, password: 12345 } }', '1: upstreams.docker.io.password: expected text (a number needs quotes)'],
    ['upstreams: { docker.io: { username: me } }', '1: upstreams.docker.io.username: expected a password or passwordFile with it'],
    ['upstreams: { docker.io: { password: x } }', '1: upstreams.docker.io.password: expected a username with it'],
    ['upstreams: { docker.io: { username: me, password: x, passwordFile: password } }', '1: upstreams.docker.io.passwordFile: expected password or passwordFile, got both'],
    ['upstreams: { docker.io: { username: me, passwordFile: absent } }', '1: upstreams.docker.io.passwordFile: $FOLDER/absent cannot be read: there is no such file'],
    ['upstreams: { docker.io: { username: me, passwordFile: nothing } }', '1: upstreams.docker.io.passwordFile: $FOLDER/nothing is empty'],
    ['upstreams: { docker.io: { username: me, passwordFile: sub } }', '1: upstreams.docker.io.passwordFile: $FOLDER/sub cannot be read: it is a folder'],
    ['upstreams: { docker.io: { ca: some.pem } }', '1: upstreams.docker.io.ca: expected certificates as PEM, but $FOLDER/some.pem holds none'],
    ['upstreams: { docker.io: { ca: broken-ca.pem } }', '1: upstreams.docker.io.ca: certificate 2 in $FOLDER/broken-ca.pem cannot be read'],
    // auth
    ['listeners: [{ address: 0.0.0.0:5000 }]', '1: listeners[0].address: anybody who can reach it could push, as no auth is configured; say who may do what (auth.users, auth.htpasswd, auth.oidc, auth.keystone, auth.rules or auth.anonymous), or listen on localhost'],
    ['auth: { htpasswd: absent }', '1: auth.htpasswd: $FOLDER/absent cannot be read: there is no such file'],
    ['auth: { anonymous: maybe }', '1: auth.anonymous: expected one of none, pull, push, got "maybe"'],
    ['auth: { keyFile: umbra-data }', '1: auth.keyFile: expected a file outside of the storage, $FOLDER/umbra-data'],
    ['proxyCa: { certFile: ca.pem, keyFile: umbra-data/ca.key }', '1: proxyCa.keyFile: expected a file outside of the storage, $FOLDER/umbra-data'],
    ['listeners: [{ address: "localhost:0", tunnel: ["*"] }]', '1: listeners[0].tunnel: belongs to a listener with proxy: true'],
    ['auth: { keyFile: umbra-data/key }', '1: auth.keyFile: expected a file outside of the storage, $FOLDER/umbra-data'],
    ['auth: { secret: x, secretFile: password }', '1: auth.secretFile: expected secret or secretFile, got both'],
    ['auth: { users: [{ name: a }] }', '1: auth.users[0]: the user "a" cannot log in: expected a password, passwordFile, passwordHash or passwordHashFile'],
    ['auth: { users: [{ name: a, password: x, passwordFile: password }] }', '1: auth.users[0].passwordFile: expected one password, got password and passwordFile'],
    ['auth: { users: [{ name: a, password: x }, { name: a, password: y }] }', '1: auth.users[1].name: there are two users "a"'],
    ['auth: { users: [{ name: "a:b", password: x }] }', '1: auth.users[0].name: expected a name without colons that is not anonymous or *, got "a:b"'],
    ['auth: { users: [{ name: a, passwordHash: hunter2 }] }', '1: auth.users[0].passwordHash: expected a bcrypt hash, as `htpasswd -nB name` prints it after the colon'],
    ['auth: { users: [{ name: a, passwordHashFile: password }] }', '1: auth.users[0].passwordHashFile: expected a bcrypt hash, as `htpasswd -nB name` prints it after the colon in $FOLDER/password'],
    ['auth: { rules: [{ who: ci, names: ["*"], may: [pull] }] }', '1: auth.rules[0].who: expected one of anonymous, *, got "ci"'],
    ['auth: { rules: [{ who: "*", names: [org/app], may: [pull] }] }', '1: auth.rules[0].names[0]: expected a pattern that begins with a registry host, such as docker.io/org/app, got "org/app"'],
    ['auth: { oidc: [{ issuer: "http://ci.example.org", audience: umbra, rules: [{ claims: { a: b }, names: ["*"], may: [pull] }] }] }', '1: auth.oidc[0].issuer: expected the issuer as it stands in its tokens, such as https://gitlab.example.org, got "http://ci.example.org"'],
    ['auth: { oidc: [{ issuer: "https://ci.example.org", audience: umbra, rules: [{ claims: {}, names: ["*"], may: [pull] }] }] }', '1: auth.oidc[0].rules[0].claims: expected at least one claim: this rule is for everybody whom the issuer knows'],
    ['auth: { oidc: [{ issuer: "https://ci.example.org", audience: [], rules: [{ claims: { a: b }, names: ["*"], may: [pull] }] }] }', '1: auth.oidc[0].audience: expected at least one, got an empty list'],
    ['auth: { oidc: [{ issuer: "https://ci.example.org", audience: umbra, rules: [{ claims: { a: b }, names: ["*"], views: ["{a}"], may: [pull] }] }] }', '1: auth.oidc[0].rules[0].views[0]: expected a view with one attribute in braces and other text, without *, such as change-{build-uuid}, got "{a}"'],
    ['auth: { oidc: [{ issuer: "https://ci.example.org", audience: umbra, rules: [{ claims: { a: true }, names: ["*"], may: [pull] }] }] }', '1: auth.oidc[0].rules[0].claims.a: expected text, got true (text that looks like something else needs quotes)'],
    ['auth: { rules: [{ who: "*", names: ["*"], may: [read] }] }', '1: auth.rules[0].may[0]: expected one of pull, push, delete, admin, got "read"'],
    ['auth: { rules: [{ who: "*", names: ["*"], may: [] }] }', '1: auth.rules[0].may: expected at least one, got an empty list'],
    // the environment, and YAML itself
    ['\nworkers: ${NOPE}', '2: workers: the environment variable NOPE is not set, and ${NOPE} has no default (write ${NOPE:-…})'],
    ['workers: ${NOPE:-x}', '1: workers: expected auto or a number from 1 to 256, got "x"'],
    ['workers: "1', '1:12: missing closing "quote'],
  ])('%s', async (text, problem) => {
    expect(await problems(text)).toEqual([`umbra.yaml:${problem.replaceAll('$FOLDER', folder)}`]);
  });

  test('no message repeats a secret', async () => {
    const text = [
      'upstreams: { docker.io: { username: me, password: [hunter2] }, quay.io: { url: "https://me:hunter2@quay.io" }, ghcr.io: { url: "ftp://me:hunter2@x" } }',
      'auth: { users: [{ name: a, passwordHash: hunter2 }, { name: b, password: { hunter2: x } }] }',
    ].join('\n');
    const told = await problems(text);
    expect(told).toHaveLength(5);
    expect(told.join('\n')).not.toContain('hunter2');
  });
});

describe('all problems are told at once', () => {
  test('of keys, values, the environment and between values, in the order of the file', async () => {
    const text = `workers: \${NOPE}
storage: { driver: ceph, root: x, folder: y }
views:
  define: { main: {}, a: { parents: [b] } }
upstreams:
  quay.io: { policy: prox, timeout: never }
auth:
  users: [{ name: ci }]
`;
    expect(await problems(text)).toEqual([
      expect.stringContaining('umbra.yaml:1: workers: the environment variable NOPE'),
      expect.stringContaining('umbra.yaml:2: storage.driver: expected one of'),
      expect.stringContaining('umbra.yaml:2: storage.folder: unknown key'),
      expect.stringContaining('umbra.yaml:4: views.define.main: main is always there'),
      expect.stringContaining('umbra.yaml:4: views.define.a.parents[0]: expected one of'),
      expect.stringContaining('umbra.yaml:6: upstreams.quay.io.policy'),
      expect.stringContaining('umbra.yaml:6: upstreams.quay.io.timeout'),
      expect.stringContaining('umbra.yaml:8: auth.users[0]: the user "ci" cannot log in'),
    ]);
  });

  test.each([
    ['a misspelt section', 'listeners: [{ address: 0.0.0.0:5000, view: staging }]\nauht: { anonymous: pull }\nview: {}', ['auht', 'view']],
    ['a broken section', 'listeners: [{ address: 0.0.0.0:5000, view: staging }]\nauth: { anonymous: maybe }\nviews: { define: { staging: 5 } }', ['auth.anonymous', 'views.define.staging']],
  ])('but nothing is concluded from %s', async (_, text, keys) => {
    expect((await problems(text)).map((line) => line.split(': ')[1])).toEqual(keys);
  });
});
