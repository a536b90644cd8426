/** The contract of the Swift driver behind everything that can come between them. */
import { afterAll, expect, inject, test } from 'vitest';
import { FaultProxy } from '../../../test/services/fault-proxy.ts';
import { freshContainer } from '../../../test/services/openstack.ts';
import { SwiftAccount } from '../../../test/services/swift-account.ts';
import { contractBehindFaults } from '../../../test/support/contract-behind-faults.ts';
import { Secret } from '../../config/config.ts';
import { patterned, wholeOf } from '../contract/store.contract.ts';
import { openTestSwift } from './swift.fixture.ts';

const MIB = 1024 * 1024;
const openstack = inject('openstack');
const container = freshContainer('swift-faults');
const { username, password, project } = openstack;
const domain = { name: openstack.domain };

/** Leads from Keystone's catalogue to the proxy before Swift; spoils nothing. One for each place to lead to. */
const keystones = new Map<string, FaultProxy>();
async function keystoneTo(url: string): Promise<FaultProxy> {
  const known = keystones.get(url);
  if (known !== undefined) return known;
  const proxy = await FaultProxy.start({ origin: new URL(openstack.authUrl).origin, store: 'keystone', replace: new Map([[openstack.swiftOrigin, url]]) });
  keystones.set(url, proxy);
  return proxy;
}
afterAll(async () => {
  for (const proxy of keystones.values()) await proxy[Symbol.asyncDispose]();
});

test('a manifest whose bytes change on the way is sent again, and no upload is given up for it', async () => {
  await using proxy = await FaultProxy.start({ origin: openstack.swiftOrigin, store: 'swift' });
  const driver = await openTestSwift(openstack, container, { url: (url) => url.replace(openstack.swiftOrigin, proxy.url), prefix: 'manifest/', segmentBytes: MIB });
  try {
    // The middle of a manifest of one segment is in its name, of two in the first one's sums.
    for (const segments of [1, 2]) {
      const bytes = patterned(segments * MIB, segments);
      const appender = await driver.assemblies.append(driver.assemblies.create(`uploads/${segments}`));
      await appender.write(bytes);
      const state = await appender.finish();
      const rule = proxy.add({ fault: { kind: 'corrupted', body: 'request' }, match: { methods: ['PUT'], query: /multipart-manifest=put/ }, when: { first: 2 } });
      await driver.assemblies.complete(state, `blobs/${segments}`);
      expect(rule.happened).toBe(2);
      expect((await wholeOf(driver.open(`blobs/${segments}`)))?.equals(bytes)).toBe(true);
    }
  } finally {
    await driver.close();
  }
});

contractBehindFaults({
  name: 'swift',
  style: 'swift',
  inTest: 'parts',
  origin: openstack.swiftOrigin,
  storage: async (url, prefix) => ({
    driver: 'swift', container, account: undefined, prefix, region: openstack.region, interface: 'public', segmentBytes: 1024 * 1024, tempUrlKey: undefined, redirect: 'never', ca: undefined, insecure: false, disk: undefined,
    auth: { kind: 'password', url: `${(await keystoneTo(url)).url}/v3`, user: { name: username, domain }, password: new Secret(password), project: { name: project, domain } },
  }),
  remove: () => new SwiftAccount(openstack).remove(container),
});
