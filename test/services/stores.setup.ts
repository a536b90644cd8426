/** Set-up of the vitest project `stores`: one Keystone and Swift for all its files, which `inject('openstack')` gives. */
import type { TestProject } from 'vitest/node';
import { startOpenStack, type OpenStackSettings } from './openstack.ts';

declare module 'vitest' {
  interface ProvidedContext {
    openstack: OpenStackSettings;
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const openstack = await startOpenStack(process.env['UMBRA_TEST_OPENSTACK']);
  project.provide('openstack', openstack.settings);
  return async () => openstack[Symbol.asyncDispose]();
}
