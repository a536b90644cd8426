/** Stores that answer by HTTPS under an authority of their own: whom `ca` names is trusted, and `insecure` trusts anybody. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { RegistryClient } from '../e2e/registry-client.ts';
import { makeAuthority } from '../services/certificates.ts';
import { FaultProxy } from '../services/fault-proxy.ts';
import { freshContainer } from '../services/openstack.ts';
import { SwiftAccount } from '../services/swift-account.ts';
import { startUmbra, type Overrides } from '../support/umbra.ts';

const openstack = inject('openstack');
const container = freshContainer('tls');
const stack = new AsyncDisposableStack();
/** Keystone and Swift are run by different people. */
const ca = { keystone: '', store: '', both: '' };
let swift: Overrides;
let s3: Overrides;

beforeAll(async () => {
  const dir = await mkdtemp(join(tmpdir(), 'umbra-tls-'));
  stack.defer(() => rm(dir, { recursive: true }));
  stack.defer(() => new SwiftAccount(openstack).remove(container));
  const [one, other] = [await makeAuthority(dir), await makeAuthority(await mkdtemp(join(dir, 'other-')))];
  [ca.keystone, ca.store, ca.both] = [one.certFile, other.certFile, join(dir, 'both.pem')];
  await writeFile(ca.both, one.pem + other.pem);
  const store = stack.use(await FaultProxy.start({ origin: openstack.swiftOrigin, store: 'swift', tls: await other.issue('swift') }));
  const { origin, pathname } = new URL(openstack.authUrl);
  const keystone = stack.use(await FaultProxy.start({ origin, store: 'keystone', tls: await one.issue('keystone'), replace: new Map([[openstack.swiftOrigin, store.url]]) }));
  const { username, password, domain, project, region } = openstack;
  swift = { driver: 'swift', container, auth: { url: `${keystone.url}${pathname}`, username, password, userDomain: domain, project, projectDomain: domain } };
  s3 = { driver: 's3', bucket: container, endpoint: store.url, region, ...openstack.s3, prefix: 's3' };
});
afterAll(() => stack.disposeAsync());

describe.each([['swift', () => swift, () => ca.both], ['s3', () => s3, () => ca.store]] as const)('%s over TLS', (_, storage, trusted) => {
  test.each([
    ['the authorities that ca names are trusted', () => ({ ca: trusted() })],
    ['insecure trusts anybody', () => ({ insecure: true })],
  ])('%s', async (_name, settings) => {
    const umbra = await startUmbra({ storage: { ...storage(), ...settings() } });
    try {
      await using client = new RegistryClient(umbra.origin);
      const bytes = Buffer.alloc(2 * 1024 * 1024, 'bytes'); // more than a small call holds
      const digest = await client.pushBlob('org/x', bytes);
      expect(await client.getBlob('org/x', digest)).toMatchObject({ status: 200, digest });
    } finally {
      await umbra.close();
    }
  });
});

const UNTRUSTED = /the certificate of (.*) is not trusted \([A-Z_]+\); name the authority that signed it in storage\.ca$/;

test.each<[string, () => Overrides, RegExp]>([
  ['of Keystone', () => swift, /^127\.0\.0\.1:\d+$/],
  ['of Swift', () => ({ ...swift, ca: ca.keystone }), /^the Swift that holds container umbra-tls-/],
  ['of an S3', () => s3, /^S3 at https:\/\/127\.0\.0\.1:\d+$/],
])('a certificate %s that nothing vouches for ends the start, with one message that says what to set', async (_, storage, whose) => {
  const failure = await startUmbra({ storage: storage() }).then(() => undefined, (error: unknown) => error);
  expect(failure).toBeInstanceOf(Error);
  const { message } = failure as Error; // seen above
  expect(message).toMatch(UNTRUSTED);
  expect(UNTRUSTED.exec(message)?.[1]).toMatch(whose);
});
