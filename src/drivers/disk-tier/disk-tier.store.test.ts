/** The disk tier over a real Swift keeps the contract. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, inject } from 'vitest';
import { freshContainer } from '../../../test/services/openstack.ts';
import { digestOfData } from '../../content/keys.ts';
import { systemTimers } from '../../workers/timers.ts';
import { diskTier } from './disk-tier.ts';
import { driverContract } from '../contract/driver.contract.ts';
import { openTestSwift, rawSwift, type RawSwift } from '../swift/swift.fixture.ts';

const container = freshContainer('disk');
let raw: RawSwift;

beforeAll(() => {
  raw = rawSwift(inject('openstack'));
});
afterAll(async () => {
  await raw.remove(container);
  await raw.close();
});

driverContract('the disk tier over swift', async () => {
  const prefix = `${randomBytes(5).toString('hex')}/`;
  const root = await mkdtemp(join(tmpdir(), 'umbra-disk-'));
  return {
    open: async () =>
      diskTier(await openTestSwift(inject('openstack'), container, { prefix }), {
        root,
        maxBytes: 1024 ** 3,
        digestOf: digestOfData,
        timers: systemTimers,
        nowMs: Date.now,
        events: { count: () => undefined, used: () => undefined, report: () => undefined },
      }),
    close: async () => {
      await rm(root, { recursive: true });
      await raw.clear(container, prefix);
    },
  };
});
