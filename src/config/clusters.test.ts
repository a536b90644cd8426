/** The section `clusters:`: what must be there, what cannot be, and what its values become. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { ClustersConfig } from './config.ts';
import { loadConfig } from './load.ts';

const folder = mkdtempSync(join(tmpdir(), 'umbra-clusters-config-'));
afterAll(() => rmSync(folder, { recursive: true }));
for (const [name, text] of Object.entries({ password: 'of the service', key: 'n'.repeat(32), 'old-key': 'o'.repeat(32), short: 'too short', db: 'postgres://umbra:pw@db/umbra' })) writeFileSync(join(folder, name), `${text}\n`);

const KEYSTONE = { url: 'https://keystone.example.org', username: 'umbra', passwordFile: 'password', project: 'service' };
const LEAST = { publicUrl: 'https://clusters.example.org', encryptionKeyFile: 'key', keystone: KEYSTONE, serviceProject: 'umbra-nodes' };

async function load(clusters: object): Promise<ClustersConfig> {
  writeFileSync(join(folder, 'umbra.yaml'), JSON.stringify({ clusters })); // JSON is YAML
  const { config } = await loadConfig('umbra.yaml', { cwd: folder, env: {}, processors: 1 });
  if (config.clusters === undefined) throw new Error('no clusters');
  return config.clusters;
}

test('what is not said has its default', async () => {
  const { database, encryptionKeys, keystone, ...rest } = await load(LEAST);
  expect(database.reveal()).toBe(`sqlite:${join(folder, 'umbra-clusters.db')}`);
  expect(encryptionKeys.map((key) => key.reveal())).toEqual(['n'.repeat(32)]);
  expect({ ...keystone, password: keystone.password.reveal() }).toEqual({ ...KEYSTONE, passwordFile: undefined, password: 'of the service', userDomain: 'Default', projectDomain: 'Default', region: undefined, interface: 'public', ca: undefined, insecure: false, cacheForMs: 60_000 });
  expect(rest).toEqual({
    address: 'localhost:9511',
    binds: [{ host: '127.0.0.1', port: 9511 }, { host: '::1', port: 9511 }],
    tls: undefined,
    publicUrl: 'https://clusters.example.org',
    trusteeDomain: undefined,
    serviceProject: { name: 'umbra-nodes', domain: 'Default' },
    roles: { admin: ['admin'], operator: ['admin', 'member', 'swiftoperator'], node: 'reader', delegated: ['member'] },
    defaults: { credentialMode: 'acl', write: 'cache', policy: 'proxy', port: 5000, upstreams: [], fallback: undefined },
    nodes: { ca: undefined, diskBytes: 10 * 2 ** 30, renewMs: 300_000 },
    openProject: false,
    accessRules: false,
    allowPrivateUpstreams: false,
    programs: undefined,
    adopt: undefined,
  });
});

test('keys rotate: the newest first', async () => {
  const { encryptionKeys } = await load({ ...LEAST, encryptionKeyFile: ['key', 'old-key'] });
  expect(encryptionKeys.map((key) => key.reveal()[0])).toEqual(['n', 'o']);
});

test('the database may be named by a file, and its password shows nowhere', async () => {
  const config = await load({ ...LEAST, databaseFile: 'db' });
  expect(config.database.reveal()).toBe('postgres://umbra:pw@db/umbra');
  expect(JSON.stringify(config)).not.toContain('pw@');
});

describe('is refused', () => {
  test.each<[string, object, string]>([
    ['no keystone', { keystone: undefined }, 'clusters.keystone: missing: Who the service is to Keystone'],
    ['no password', { keystone: { ...KEYSTONE, passwordFile: undefined } }, 'clusters.keystone.password: missing: the password of the user (or passwordFile)'],
    ['two passwords', { keystone: { ...KEYSTONE, password: 'x' } }, 'clusters.keystone.passwordFile: expected password or passwordFile, got both'],
    ['no key', { encryptionKeyFile: undefined }, 'clusters.encryptionKeyFile: missing: the key that secrets'],
    ['both ways of a key', { encryptionKey: 'k'.repeat(32) }, 'expected encryptionKey or encryptionKeyFile, got both'],
    ['a short key', { encryptionKeyFile: 'short' }, `expected at least 32 characters, such as \`openssl rand -base64 32\` prints in ${join(folder, 'short')}`],
    ['a database of another kind', { database: 'mysql://me:secret@db/umbra' }, 'clusters.database: expected sqlite:<file> or postgres://user:password@host/database'],
    ['a public URL with /v1', { publicUrl: 'https://clusters.example.org/v1' }, 'clusters.publicUrl: expected an http(s) URL without /v1'],
    ['the address of a listener', { address: '127.0.0.1:5000' }, 'clusters.address: a listener of the registry listens there already'],
    ['the mode acl without its project', { serviceProject: undefined }, 'clusters.serviceProject: missing: the credential mode acl'],
    ['the mode trust without its domain', { defaults: { credentialMode: 'trust' } }, 'clusters.trusteeDomain: missing: the credential mode trust'],
    ['a domain without a password', { trusteeDomain: { name: 'umbra', adminUsername: 'admin' } }, 'clusters.trusteeDomain.adminPassword: missing'],
    ['a port for root', { defaults: { port: 80 } }, 'clusters.defaults.port: expected a number from 1024 to 65535, got 80'],
    ['clients going past a policy', { defaults: { policy: 'approved', fallback: 'upstream' } }, 'clusters.defaults.fallback: expected none'],
    ['no delegated role', { roles: { delegated: [] } }, 'clusters.roles.delegated: expected at least one'],
    ['an unknown key', { adress: 'localhost:1' }, 'clusters.adress: unknown key; did you mean "address"?'],
    ['an upstream that is no host', { defaults: { upstreams: ['https://docker.io'] } }, 'clusters.defaults.upstreams[0]: expected a registry host'],
  ])('%s', async (_, change, message) => {
    await expect(load({ ...LEAST, ...change })).rejects.toThrow(message);
  });

  test('without repeating a password', async () => {
    await expect(load({ ...LEAST, database: 'mysql://me:secret@db/umbra' })).rejects.not.toThrow('secret');
  });
});
