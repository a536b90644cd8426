/** Moving in from object stores that docker-registry wrote: Swift with its dynamic large objects, and S3. */
import { inject } from 'vitest';
import { rawSwift } from '../../src/drivers/swift/swift.fixture.ts';
import { movingIn } from '../e2e/migrate.contract.ts';
import { freshContainer } from '../services/openstack.ts';

/** Made here, and gone with the stack. */
async function container(stack: AsyncDisposableStack): Promise<string> {
  const raw = rawSwift(inject('openstack'));
  stack.defer(() => raw.close());
  const name = freshContainer('migrate');
  await raw.fetch(name, { method: 'PUT' });
  stack.defer(() => raw.remove(name));
  return name;
}

const umbraOnSwift = async (stack: AsyncDisposableStack): Promise<Record<string, unknown>> => {
  const { authUrl, username, password, project, domain } = inject('openstack');
  return { driver: 'swift', container: await container(stack), auth: { url: authUrl, username, password, userDomain: domain, project, projectDomain: domain } };
};

movingIn('from Swift to Swift', async (_, stack) => {
  const { authUrl, username, password, project, domain } = inject('openstack');
  return {
    old: { swift: { authurl: authUrl, username, password, tenant: project, domain, tenantdomain: domain, container: await container(stack), prefix: 'some/where' }, redirect: { disable: true } },
    umbra: await umbraOnSwift(stack),
    copies: true,
  };
});

movingIn('from S3 to S3', async (_, stack) => {
  const { swiftOrigin, region, s3 } = inject('openstack');
  return {
    old: { s3: { regionendpoint: swiftOrigin, region, bucket: await container(stack), accesskey: s3.accessKeyId, secretkey: s3.secretAccessKey, secure: false, rootdirectory: '/registry' }, redirect: { disable: true } },
    umbra: { driver: 's3', endpoint: swiftOrigin, region, bucket: await container(stack), accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
    copies: true,
  };
});
