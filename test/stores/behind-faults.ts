/** Umbra's storage configuration for a store of its own behind fault proxies, with which nothing is left in the store. */
import { FaultProxy } from '../services/fault-proxy.ts';
import { freshContainer, type OpenStackSettings } from '../services/openstack.ts';
import type { RadosgwSettings } from '../services/radosgw.ts';
import { SwiftAccount } from '../services/swift-account.ts';

export interface StoreBehindFaults extends AsyncDisposable {
  /** `storage:` of umbra.yaml. */
  readonly storage: Readonly<Record<string, unknown>>;
  /** In front of the store itself. */
  readonly store: FaultProxy;
  /** In front of what gives credentials, where there is such a thing. */
  readonly keystone: FaultProxy | undefined;
}

/** Keystone's catalogue leads to Swift through the proxy. */
export async function swiftBehindFaults(openstack: OpenStackSettings, seed: number, options: { readonly segmentSize?: string } = {}): Promise<StoreBehindFaults> {
  await using stack = new AsyncDisposableStack();
  const container = freshContainer('faults');
  const account = new SwiftAccount(openstack);
  stack.defer(() => account.remove(container));
  const store = stack.use(await FaultProxy.start({ origin: openstack.swiftOrigin, store: 'swift', seed }));
  const { origin, pathname } = new URL(openstack.authUrl);
  const keystone = stack.use(await FaultProxy.start({ origin, store: 'keystone', seed: seed + 1, replace: new Map([[openstack.swiftOrigin, store.url]]) }));
  const owned = stack.move();
  return {
    storage: {
      driver: 'swift',
      container,
      segmentSize: options.segmentSize ?? '1MiB',
      auth: {
        url: `${keystone.url}${pathname}`, username: openstack.username, password: openstack.password,
        userDomain: openstack.domain, project: openstack.project, projectDomain: openstack.domain,
      },
    },
    store,
    keystone,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Its buckets go with it. */
export async function s3BehindFaults({ endpoint, region, accessKeyId, secretAccessKey }: RadosgwSettings, seed: number): Promise<StoreBehindFaults> {
  const store = await FaultProxy.start({ origin: endpoint, store: 's3', seed });
  return {
    storage: { driver: 's3', endpoint: store.url, region, bucket: freshContainer('faults'), accessKeyId, secretAccessKey },
    store,
    keystone: undefined,
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}
