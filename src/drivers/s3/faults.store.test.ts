/** The contract of the S3 driver, over Ceph's radosgw and Swift's s3api, behind everything that can come between them. */
import { inject } from 'vitest';
import { freshContainer } from '../../../test/services/openstack.ts';
import { sharedRadosgw } from '../../../test/services/shared-radosgw.ts';
import { SwiftAccount } from '../../../test/services/swift-account.ts';
import { contractBehindFaults } from '../../../test/support/contract-behind-faults.ts';
import { s3Storage } from './s3.fixture.ts';

const openstack = inject('openstack');
const radosgw = await sharedRadosgw(inject('radosgw'));
const bucket = freshContainer('s3-faults');

contractBehindFaults({
  name: 'radosgw',
  style: 's3',
  inTest: 'parts',
  origin: radosgw.endpoint,
  storage: (endpoint, prefix) => s3Storage({ ...radosgw, endpoint }, { bucket, prefix, claims: 'strict' }),
  remove: async () => undefined, // it goes with its disk
});

contractBehindFaults({
  name: 's3api',
  style: 's3',
  inTest: 'none', // it has several requests to Keystone and Swift for each of ours
  origin: openstack.swiftOrigin,
  storage: (endpoint, prefix) => s3Storage({ ...openstack.s3, region: openstack.region, endpoint }, { bucket, prefix, claims: 'settle' }),
  // s3api keeps a bucket's parts in a container of their own, whose name begins so.
  remove: () => new SwiftAccount(openstack).remove(bucket),
});
