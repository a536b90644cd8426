/** The contract of the S3 driver, over Swift's s3api, behind everything that can come between them. */
import { inject } from 'vitest';
import { freshContainer } from '../../../test/services/openstack.ts';
import { SwiftAccount } from '../../../test/services/swift-account.ts';
import { contractBehindFaults } from '../../../test/support/contract-behind-faults.ts';
import { Secret } from '../../config/config.ts';

const openstack = inject('openstack');
const bucket = freshContainer('s3-faults');

contractBehindFaults({
  style: 's3',
  onlySoak: true, // s3api has several requests to Keystone and Swift for each of ours
  origin: openstack.swiftOrigin,
  storage: (endpoint, prefix) => ({
    driver: 's3', endpoint, bucket, prefix, region: openstack.region, pathStyle: true, redirect: 'never', claims: 'settle', ca: undefined, insecure: false, disk: undefined,
    credentials: { accessKeyId: openstack.s3.accessKeyId, secretAccessKey: new Secret(openstack.s3.secretAccessKey) },
  }),
  // s3api keeps a bucket's parts in a container of their own, whose name begins so.
  remove: () => new SwiftAccount(openstack).remove(bucket),
});
