/** The Swift driver keeps the contract over a real Swift; besides: what lies in the container, and what it refuses. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, inject } from 'vitest';
import { freshContainer } from '../../../test/services/openstack.ts';
import { driverContract } from '../contract/driver.contract.ts';
import { openTestSwift, rawSwift, type RawSwift } from './swift.fixture.ts';

const container = freshContainer('driver');
let raw: RawSwift;

beforeAll(() => {
  raw = rawSwift(inject('openstack'));
});
afterAll(async () => {
  await raw.remove(container);
  await raw.close();
});

driverContract('swift', async () => {
  const prefix = `${randomBytes(5).toString('hex')}/`;
  return { open: async () => await openTestSwift(inject('openstack'), container, { prefix }), close: async () => await raw.clear(container, prefix) };
});
