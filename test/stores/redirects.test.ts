/** Clients that fetch blobs from Swift itself, by TempURL. Those that fetch them from an S3: `s3.store.test.ts`. */
import { afterAll, describe, inject } from 'vitest';
import { freshContainer } from '../services/openstack.ts';
import { SwiftAccount } from '../services/swift-account.ts';
import { redirecting } from './redirects.contract.ts';

describe('by TempURL of Swift', () => {
  const openstack = inject('openstack');
  const container = freshContainer('redirects');
  afterAll(() => new SwiftAccount(openstack).remove(container));

  redirecting(async () => ({
    storage: {
      driver: 'swift', container, tempUrlKey: openstack.tempUrlKey,
      auth: {
        url: openstack.authUrl, username: openstack.username, password: openstack.password,
        userDomain: openstack.domain, project: openstack.project, projectDomain: openstack.domain,
      },
    },
    origin: openstack.swiftOrigin,
    signature: 'temp_url_sig',
  }));
});
