import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { explain, formatOrigin, formatValue, inWords } from './explain.ts';
import { settingsJsonSchema } from './json-schema.ts';
import { loadConfig } from './load.ts';
import type { Loaded } from './load.ts';

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
const EVERYTHING = `
workers: \${WORKERS:-2}
listeners:
  - address: "[::]:\${PORT}"
    publicUrl: https://registry.example.org
    tls: { cert: secret, key: secret }
    upstream: quay.io
    mirror: true
  - address: localhost:0
    view: staging
    proxy: true
    tunnel: ["*.example.org", "[::1]:8443"]
proxyCa: { certFile: ca.pem, keyFile: ca.key }
trustedProxies: [127.0.0.1, \${PROXY}]
views: { hostSuffix: views.example.org, define: { staging: { parents: [main] }, approved: {} } }
tagStaleness: 250ms
upstreams:
  docker.io: { policy: approved, ttl: 90s, username: me, passwordFile: secret }
  localhost:5001: { url: "http://localhost:5001", password: \${PASSWORD}, username: me }
auth:
  keyFile: keys
  users:
    - { name: ci, password: "in plain text", access: push }
  htpasswd: secret
  rules:
    - { who: ci, names: ["docker.io/org/*", "quay.io/*"], views: [main, "change-*"], may: [pull, push] }
  oidc:
    - issuer: https://ci.example.org
      audience: [umbra, other]
      ca: ca.pem
      rules:
        - { claims: { repository: "org/*", kubernetes.io.namespace: [a, b] }, names: ["docker.io/org/*"], views: ["change-{build-uuid}"], may: [push] }
  keystone:
    url: https://keystone.example.org
    ca: ca.pem
    rules:
      - { user: [a, b], project: images, role: member, names: ["docker.io/org/*"], views: ["change-{project}"], may: [push] }
limits: { memory: 64MiB, manifestBytes: 1000000, blobBytes: 1GiB, uploads: 36h, stall: 30s, drain: 0 }
clusters:
  address: localhost:9511
  tls: { cert: secret, key: secret }
  publicUrl: https://cloud.example.org/clusters/
  database: postgres://umbra:hidden-0@db/umbra
  encryptionKey: \${SEALING_KEY}
  keystone: { url: "https://keystone.example.org", username: umbra, passwordFile: secret, project: service, region: one, ca: ca.pem, cacheFor: 30s }
  trusteeDomain: { name: umbra, adminUsername: umbra_admin, adminPasswordFile: secret }
  serviceProject: umbra-nodes
  roles: { delegated: [member, reader] }
  defaults: { credentialMode: trust, write: none, port: 5001, upstreams: [docker.io], fallback: none }
  programs: programs
  adopt: { magnumUrl: "https://magnum.example.org/", interval: 5m }
node: { clusters: "https://cloud.example.org/clusters/", ca: ca.pem, tokenFile: secret, state: state, role: master, name: node-1 }
`;
/** A store of each kind, in turn. */
const STORES = [
  `storage: { driver: filesystem, root: images }`,
  `storage:
  driver: swift
  container: images
  prefix: umbra/
  region: RegionOne
  interface: internal
  auth: { url: "https://keystone.example.org/v3", username: registry, password: "hidden 1", userDomain: cloud, project: images, projectDomain: others }
  segmentSize: 1GiB
  tempUrlKey: "hidden 2"
  redirect: [10.0.0.0/8, "fd00::/8"]
  ca: ca.pem
  insecure: true
  disk: { root: /var/cache/umbra, maxBytes: 100GiB }
upstreamStorage:
  driver: s3
  endpoint: https://s3.example.org
  region: eu-west-1
  bucket: cache
  prefix: umbra
  accessKeyId: us
  secretAccessKey: "hidden 3"
  pathStyle: false
  redirect: true
  claims: settle
  ca: ca.pem
  insecure: true
  disk: { root: /var/cache/upstream, maxBytes: 2000001 }
coordination: { driver: postgres, url: "postgres://umbra:hidden-4@db/umbra" }`,
  `storage:
  driver: swift
  container: images
  auth: { url: "https://keystone.example.org", userId: u1, password: "hidden 5", projectId: p1 }
upstreamStorage:
  driver: swift
  container: cache
  auth: { url: "https://keystone.example.org", username: u, userDomainId: d1, passwordFile: secret, project: p, projectDomainId: d2 }`,
  `storage:
  driver: swift
  container: images
  auth: { url: "https://keystone.example.org", applicationCredentialId: a1, applicationCredentialSecret: "hidden 6" }
upstreamStorage:
  driver: swift
  container: cache
  auth: { url: "https://keystone.example.org", applicationCredentialName: a, userId: u1, applicationCredentialSecretFile: secret }`,
  `storage:
  driver: swift
  container: images
  auth: { url: "https://keystone.example.org", username: node, password: "hidden 7", trustId: t1 }
upstreamStorage:
  driver: swift
  container: images
  auth: { url: "https://swift.example.org/auth/v1.0", username: "test:tester", password: "hidden 8" }`,
  `storage: { driver: s3, bucket: images, disk: { root: cache, maxBytes: 1GiB } }`,
];
const ENV = { PORT: '5000', PROXY: 'fd00::/8', PASSWORD: 'hunter2', SEALING_KEY: 'hunter3'.repeat(5) };

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'umbra-explain-'));
  writeFileSync(join(folder, 'secret'), 'from a file\n');
  writeFileSync(join(folder, 'ca.pem'), CERTIFICATE);
});
afterAll(() => rmSync(folder, { recursive: true }));

function load(text: string, env: Record<string, string> = {}): Promise<Loaded> {
  writeFileSync(join(folder, 'umbra.yaml'), text);
  return loadConfig('umbra.yaml', { cwd: folder, env, processors: 2 });
}

/** Rows as `key: value <- origin; note`. */
async function lines(text: string, env: Record<string, string> = {}): Promise<string[]> {
  return explain(await load(text, env)).map(({ key, value, origin, note }) =>
    `${key}: ${formatValue(value)} <- ${formatOrigin(origin)}${note === undefined ? '' : `; ${note}`}`.replaceAll(folder, '.'),
  );
}

describe('every value is told with where it comes from', () => {
  test.each([
    // defaults, where the file does not say, or only says something else
    'tagStaleness: 1s <- default',
    'upstreams.docker.io.url: https://registry-1.docker.io <- default',
    'upstreams.docker.io.negativeTtl: 5s <- default',
    'listeners[0].view: main <- default',
    'listeners[0].tls: (not set) <- default',
    'storage.root: ./umbra-data <- default',
    'upstreamStorage: (not set) <- default',
    'coordination: (not set) <- default',
    'views.define: {} <- default',
    'auth.anonymous: pull <- default; auth is configured',
    // the file
    'listeners[0].address: localhost:5000 <- umbra.yaml:2',
    'trustedProxies: [127.0.0.1, ::1] <- umbra.yaml:3',
    'upstreams.docker.io.policy: local <- umbra.yaml:4',
    'auth.users[0].name: ci <- umbra.yaml:6',
    // the environment
    'upstreams.docker.io.ttl: 2m <- environment variable TTL (umbra.yaml:4)',
    'upstreams.docker.io.username: a-b <- environment variables A, B (umbra.yaml:4)',
    'auth.users[0].password: *** <- environment variable PASSWORD (umbra.yaml:6)',
    // other files
    'upstreams.docker.io.password: *** <- file ./secret (umbra.yaml:4)',
    // a value that is not what the file says
    'workers: 2 <- umbra.yaml:1; auto, with 2 processors',
  ])('%s', async (line) => {
    const text = [
      'workers: auto',
      'listeners: [{ address: localhost:5000 }]',
      'trustedProxies: [127.0.0.1, ::1]',
      'upstreams: { docker.io: { policy: local, ttl: ${TTL}, username: "${A}-${B}", passwordFile: secret } }',
      'auth:',
      '  users: [{ name: ci, password: ${PASSWORD} }]',
    ].join('\n');
    expect(await lines(text, { TTL: '120s', A: 'a', B: 'b', PASSWORD: 'x' })).toContain(line);
  });

  test.each([
    ['storage: { driver: memory }\nworkers: 4', 'workers: 1 <- umbra.yaml:2; memory storage means one worker'],
    ['trustedProxies: ["${A}"]', 'trustedProxies: [127.0.0.1] <- environment variable A (umbra.yaml:1)'],
    ['fillDetached: ${UNSET:-5s}', 'fillDetached: 5s <- umbra.yaml:1'],
    ['upstreams: {}', 'upstreams: {} <- umbra.yaml:1'],
  ])('%s', async (text, line) => {
    expect(await lines(text, { A: '127.0.0.1' })).toContain(line);
  });
});

test.each(STORES)('no secret is shown: %s', async (store) => {
  const shown = JSON.stringify(explain(await load(`${EVERYTHING}${store}`, ENV)));
  for (const secret of ['hunter2', 'from a file', 'in plain text', 'hidden', 'BEGIN CERTIFICATE']) expect(shown).not.toContain(secret);
});

test('every secret is told as ***', async () => {
  const rows = explain(await load(`${EVERYTHING}${STORES[1]}`, ENV));
  expect(rows.filter(({ value }) => value === '***').map(({ key }) => key)).toEqual([
    'storage.auth.password',
    'storage.tempUrlKey',
    'upstreamStorage.secretAccessKey',
    'coordination.url',
    'upstreams.docker.io.password',
    'upstreams.localhost:5001.password',
    'auth.users[0].password',
    'clusters.database',
    'clusters.keystone.password',
    'clusters.trusteeDomain.adminPassword',
  ]);
});

test('every key of the file is among the rows', async () => {
  const loaded = await Promise.all(STORES.map((store) => load(`${EVERYTHING}${store}`, ENV)));
  const rows = loaded.flatMap(explain).map(({ key }) => key.replace(/\[\d+\]/g, '[]').replace('upstreamStorage', 'storage'));
  const { properties: { upstreamStorage: _, ...properties } = {} } = settingsJsonSchema();
  // What a cloud says is told as auth, region and so on.
  const leaves = Object.entries(properties).flatMap(([key, schema]) => leavesOf(schema, key)).filter((leaf) => leaf !== 'storage.cloud');
  expect(leaves.length).toBeGreaterThan(35);
  expect(
    leaves.filter((leaf) => !leaf.endsWith('File') || leaf === 'auth.keyFile').filter((leaf) => !rows.some((row) => matches(row, leaf))),
  ).toEqual([]);

  function leavesOf(schema: unknown, key: string): string[] {
    const {
      properties: own,
      items,
      additionalProperties: chosen,
    } = schema as { properties?: object; items?: { properties?: object }; additionalProperties?: object | false }; // as JSON Schema has it
    if (own !== undefined) return Object.entries(own).flatMap(([name, child]) => leavesOf(child, `${key}.${name}`));
    if (items?.properties !== undefined) return leavesOf(items, `${key}[]`);
    return typeof chosen === 'object' ? leavesOf(chosen, `${key}.*`) : [key];
  }
  function matches(row: string, leaf: string): boolean {
    const [before = '', after = ''] = leaf.split('*');
    return row.startsWith(before) && row.endsWith(after);
  }
});

test.each(STORES)('what is explained means the same when it is a configuration file: %s', async (store) => {
  const { config } = await load(`${EVERYTHING}${store}`, ENV);
  // JSON is YAML. Secrets are shown as ***, so they are compared by that; one of them must be a URL.
  const again = await load(JSON.stringify(inWords(config)).replace('"url":"***"', '"url":"postgres://db/umbra"').replace('"encryptionKey":["***"]', `"encryptionKey":["${'x'.repeat(32)}"]`).replace('"database":"***"', '"database":"postgres://db/umbra"'));
  expect(JSON.stringify(again.config)).toBe(JSON.stringify(config));
});
