/**
 * The disk tier over real object stores keeps the contract. Over S3 outside `make soak` only what it has a part in: what is
 * put, listed and claimed passes it by.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, inject } from 'vitest';
import { freshContainer } from '../../../test/services/openstack.ts';
import { sharedRadosgw } from '../../../test/services/shared-radosgw.ts';
import { SOAK } from '../../../test/support/soak.ts';
import { digestOfData } from '../../content/keys.ts';
import { systemTimers } from '../../workers/timers.ts';
import { diskTier } from './disk-tier.ts';
import { driverContract, type ContractPart, type ContractStore } from '../contract/driver.contract.ts';
import type { Driver } from '../driver.ts';
import { s3Storage } from '../s3/s3.fixture.ts';
import { openS3 } from '../s3/s3.ts';
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

/** Of the contract: what the tier does itself. What it hands on is each store's, and in the soak. */
const PARTS: readonly ContractPart[] | undefined = SOAK ? undefined : ['sources'];

async function behindDisk(open: () => Promise<Driver>, clear: () => Promise<void>): Promise<ContractStore> {
  const root = await mkdtemp(join(tmpdir(), 'umbra-disk-'));
  return {
    open: async () =>
      diskTier(await open(), {
        root,
        maxBytes: 1024 ** 3,
        digestOf: digestOfData,
        timers: systemTimers,
        nowMs: Date.now,
        events: { count: () => undefined, used: () => undefined, report: () => undefined },
      }),
    close: async () => {
      await rm(root, { recursive: true });
      await clear();
    },
  };
}

driverContract('the disk tier over swift', () => {
  const prefix = `${randomBytes(5).toString('hex')}/`;
  return behindDisk(() => openTestSwift(inject('openstack'), container, { prefix }), () => raw.clear(container, prefix));
}, PARTS);

driverContract('the disk tier over S3', async () => {
  const radosgw = await sharedRadosgw(inject('radosgw'));
  const storage = s3Storage(radosgw, { bucket: container, prefix: `${randomBytes(5).toString('hex')}/`, claims: 'strict' });
  const deps = { nowMs: Date.now, timers: systemTimers, memoryBytes: 32 * 1024 * 1024, report: () => undefined };
  return await behindDisk(() => openS3(storage, deps), async () => undefined);
}, PARTS);
