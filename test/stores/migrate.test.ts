/**
 * Moving in from object stores that other registries wrote: docker-registry with dynamic large objects in Swift, let in by
 * a trust as Magnum had it, and, in the soak, by a password; a zuul-registry with static ones; and both in S3.
 */
import { CompleteMultipartUploadCommand, CreateBucketCommand, CreateMultipartUploadCommand, HeadObjectCommand, PutObjectCommand, S3Client, UploadPartCommand } from '@aws-sdk/client-s3';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { inject } from 'vitest';
import { parse, stringify } from 'yaml';
import { rawSwift, type RawSwift } from '../../src/drivers/swift/swift.fixture.ts';
import { movingIn } from '../e2e/migrate.contract.ts';
import { oldDistribution } from '../e2e/old-distribution.ts';
import { oldZuulRegistry, type ZuulStore } from '../e2e/old-zuul-registry.ts';
import { SOAK } from '../support/soak.ts';
import { openKeystone } from '../services/keystone.ts';
import { freshContainer } from '../services/openstack.ts';
import { sharedRadosgw } from '../services/shared-radosgw.ts';

const { authUrl, username, password, userId, project, projectId, domain, swiftOrigin, region, s3 } = inject('openstack');

function openedSwift(stack: AsyncDisposableStack): RawSwift {
  return stack.adopt(rawSwift(inject('openstack')), (raw) => raw.close());
}

/** Made here, and gone with the stack. */
async function container(stack: AsyncDisposableStack): Promise<string> {
  const raw = openedSwift(stack);
  const name = freshContainer('migrate');
  await raw.fetch(name, { method: 'PUT' });
  stack.defer(() => raw.remove(name));
  return name;
}

const umbraOnSwift = async (stack: AsyncDisposableStack): Promise<Record<string, unknown>> => ({
  driver: 'swift', container: await container(stack), auth: { url: authUrl, username, password, userDomain: domain, project, projectDomain: domain },
});

// One file for both: docker-registry writes with what stands in it, and `umbra migrate` reads with the same.
movingIn('from the Swift of a node of Magnum to the Swift of the owner', async (dir, stack) => {
  const from = join(dir, 'registry-config.yml');
  await writeFile(from, await magnumConfig(stack));
  const { storage } = parse(await readFile(from, 'utf8')) as { readonly storage: Record<string, unknown> }; // as it is written below
  return { old: { ...(await oldDistribution(dir, stack, { ...storage, redirect: { disable: true } })), from }, umbra: await umbraOnSwift(stack), copies: true };
});

if (SOAK) movingIn('from Swift to Swift', async (dir, stack) => ({
  old: await oldDistribution(dir, stack, {
    swift: { authurl: authUrl, username, password, tenant: project, domain, tenantdomain: domain, container: await container(stack), prefix: 'some/where' },
    redirect: { disable: true },
  }),
  umbra: await umbraOnSwift(stack),
  copies: true,
}));

if (SOAK) movingIn('from S3 to S3', async (dir, stack) => ({
  old: await oldDistribution(dir, stack, {
    s3: { regionendpoint: swiftOrigin, region, bucket: await container(stack), accesskey: s3.accessKeyId, secretkey: s3.secretAccessKey, secure: false, rootdirectory: '/registry' },
    redirect: { disable: true },
  }),
  umbra: { driver: 's3', endpoint: swiftOrigin, region, bucket: await container(stack), accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
  copies: true,
}));

if (SOAK) movingIn('from the Swift of a zuul-registry to Swift', async (dir, stack) => ({
  old: await oldZuulRegistry(dir, await zuulSwift(dir, stack)),
  umbra: await umbraOnSwift(stack),
  copies: true,
}));

if (SOAK) movingIn('from the S3 of a zuul-registry to S3', async (dir, stack) => {
  const { endpoint, region: ceph, accessKeyId, secretAccessKey } = await sharedRadosgw(inject('radosgw'));
  return {
    old: await oldZuulRegistry(dir, await zuulS3(stack)),
    umbra: { driver: 's3', endpoint, region: ceph, bucket: freshContainer('migrate'), accessKeyId, secretAccessKey },
    copies: true,
  };
});

/**
 * `/etc/sysconfig/registry-config.yml` as `configure-docker-registry.sh` wrote it (magnum 679a174a): the node's user, in a
 * domain of such users and without any role, acts in the owner's project by the owner's trust. Only the prefix is ours.
 */
async function magnumConfig(stack: AsyncDisposableStack): Promise<string> {
  const keystone = stack.use(await openKeystone(inject('openstack')));
  const trusteeDomain = await keystone.domain();
  const trustee = await keystone.user(trusteeDomain);
  const trust = await keystone.trust({ id: userId, name: username, password }, trustee.id, projectId, [{ name: 'member' }]);
  return `version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    layerinfo: inmemory
  swift:
    authurl: "${authUrl}"
    region: "${region}"
    username: "${trustee.name}"
    password: "${trustee.password}"
    domainid: "${trusteeDomain.id}"
    trustid: "${trust.id}"
    container: "${await container(stack)}"
    insecureskipverify: True
    chunksize: 5242880
    prefix: "some/where"
http:
    addr: :5000
`;
}

/** Chunks stay, beside the static large object that is made of them. */
async function zuulSwift(dir: string, stack: AsyncDisposableStack): Promise<ZuulStore> {
  const clouds = join(dir, 'clouds.yaml');
  const auth = { auth_url: authUrl, username, password, user_domain_name: domain, project_name: project, project_domain_name: domain };
  await writeFile(clouds, stringify({ clouds: { images: { auth } } }));
  const [raw, name] = [openedSwift(stack), await container(stack)];
  const send = async (method: string, key: string, body?: Uint8Array | string): Promise<Response> => {
    const answer = await raw.fetch(`${name}/${key}`, { method, ...(body !== undefined && { body: Buffer.from(body) }) });
    if (!answer.ok) throw new Error(`${method} ${key}: ${answer.status} ${await answer.text()}`);
    return answer;
  };
  const put = async (key: string, bytes: Uint8Array): Promise<void> => void (await (await send('PUT', key, bytes)).text());
  return {
    config: { driver: 'swift', cloud: 'images', container: name },
    env: { OS_CLIENT_CONFIG_FILE: clouds },
    put,
    async gather(key, chunks) {
      const names = chunks.map((_, index) => `${dirname(key)}/${index + 1}`);
      for (const [index, chunk] of chunks.entries()) await put(names[index] ?? '', chunk);
      await (await send('PUT', `${key}?multipart-manifest=put`, JSON.stringify(names.map((chunk, index) => ({ path: `/${name}/${chunk}`, size_bytes: chunks[index]?.length }))))).text();
    },
    writtenMs: async (key) => Date.parse((await send('HEAD', key)).headers.get('last-modified') ?? ''),
  };
}

async function zuulS3(stack: AsyncDisposableStack): Promise<ZuulStore> {
  const { endpoint, region: ceph, accessKeyId, secretAccessKey } = await sharedRadosgw(inject('radosgw'));
  const bucket = freshContainer('migrate');
  const client = stack.adopt(new S3Client({ endpoint, region: ceph, credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED' }), (made) => made.destroy());
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  return {
    config: { driver: 's3', endpoint, region: ceph, bucket, 'access-key': accessKeyId, 'secret-key': secretAccessKey },
    put: async (key, bytes) => void (await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: bytes }))),
    async gather(key, chunks) {
      const at = { Bucket: bucket, Key: key };
      const { UploadId } = await client.send(new CreateMultipartUploadCommand(at));
      const parts: { readonly PartNumber: number; readonly ETag: string | undefined }[] = [];
      for (const [index, chunk] of chunks.entries()) {
        const { ETag } = await client.send(new UploadPartCommand({ ...at, UploadId, PartNumber: index + 1, Body: chunk }));
        parts.push({ PartNumber: index + 1, ETag });
      }
      await client.send(new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload: { Parts: parts.map(({ PartNumber, ETag }) => ({ PartNumber, ...(ETag !== undefined && { ETag }) })) } }));
    },
    writtenMs: async (key) => (await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }))).LastModified?.getTime() ?? 0,
  };
}
