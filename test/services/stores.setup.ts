/** Set-up of the vitest projects `stores` and `stores-e2e`: one Keystone and Swift for all its files, which `inject('openstack')` gives, and one radosgw where it is asked for. */
import type { TestProject } from 'vitest/node';
import { startOpenStack, type OpenStackSettings } from './openstack.ts';
import { radosgwOnDemand } from './shared-radosgw.ts';

declare module 'vitest' {
  interface ProvidedContext {
    openstack: OpenStackSettings;
    /** For `sharedRadosgw`. */
    radosgw: string;
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await using stack = new AsyncDisposableStack();
  const openstack = stack.use(await startOpenStack(process.env['UMBRA_TEST_OPENSTACK']));
  project.provide('openstack', openstack.settings);
  project.provide('radosgw', stack.use(await radosgwOnDemand()).url);
  const owned = stack.move();
  return async () => owned.disposeAsync();
}
