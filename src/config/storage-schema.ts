/**
 * The keys that say where images are kept. One map for every driver, so that a key that belongs to another driver can be
 * told as that; which go with which is `storage-checks.ts`.
 */
import * as v from 'valibot';
import { flag, flagOrList, map, oneOf, secret, size, text } from './kinds.ts';
import type { Kind } from './kinds.ts';
import type { DiskSettings, OpenStackSettings, StorageSettings } from './settings.ts';
import { accountProblem, bucketProblem, containerProblem, networkProblem, openStackUrlProblem, originProblem, postgresUrlProblem, prefixProblem } from './words.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

const auth: Kind<OpenStackSettings> = map('Who Umbra is to Keystone. Not set: as `cloud` says, else `OS_CLOUD`, else `OS_*` in the environment.', {
  url: v.optional(text('Where Keystone answers, with or without `/v3`. One that ends in `/v1.0` means TempAuth, with a `username` such as `account:user`.', openStackUrlProblem)),
  username: v.optional(text('The user.')),
  userId: v.optional(text('The user by id, instead of `username` and its domain.')),
  password: v.optional(secret('The password of the user.')),
  passwordFile: v.optional(text('A file that holds the password.')),
  userDomain: v.optional(text('The domain of the user. Not set: `Default`.')),
  userDomainId: v.optional(text('The same by id.')),
  project: v.optional(text('The project to log in to; the container belongs to it, unless `account` says otherwise.')),
  projectId: v.optional(text('The same by id.')),
  projectDomain: v.optional(text('The domain of the project. Not set: that of the user.')),
  projectDomainId: v.optional(text('The same by id.')),
  applicationCredentialId: v.optional(text('An application credential instead of a user; it has a project of its own.')),
  applicationCredentialName: v.optional(text('The same by name, with the user that it belongs to.')),
  applicationCredentialSecret: v.optional(secret('Its secret.')),
  applicationCredentialSecretFile: v.optional(text('A file that holds the secret.')),
  trustId: v.optional(secret('A trust in which another user lent roles to this one; it has a project of its own.')),
  credentialFile: v.optional(text('A JSON file that holds these words instead, with secrets in it. Read again when it changes or Keystone refuses what it says, so that a credential is replaced without a restart; it may come to be after the start.')),
});

const disk: Kind<DiskSettings> = map('A cache of whole blobs on a local disk, before an object store; safe to lose.', {
  root: text('Its folder, shared by the workers of a node and by nobody else.'),
  maxBytes: size('How much it may hold.', { min: MIB }),
});

/** @param description of the map as a whole */
export function storageMap(description: string): Kind<StorageSettings> {
  return map(description, {
    driver: oneOf('`filesystem` is for one machine, and not for NFS; `memory` is gone with the process, and means one worker; `swift` and `s3` are for any number of nodes.', [
      'filesystem',
      'memory',
      'swift',
      's3',
    ]),
    root: v.optional(text('The folder of a filesystem. Not set: `./umbra-data`.')),
    maxBytes: v.optional(size('How much a filesystem may hold that is a cache alone, in `upstreamStorage`: what was used least recently goes. Not set: what the disk has.', { min: MIB })),
    container: v.optional(text('The container of a Swift. Made if it is missing and that is permitted.', containerProblem)),
    account: v.optional(text("Whose account the container is in, as it stands in Swift's URLs, such as `AUTH_` and the project's id: for a container of another project, whose ACL lets Umbra in. Not set: that of the project that Umbra logs in to.", accountProblem)),
    bucket: v.optional(text('The bucket of an S3.', bucketProblem)),
    prefix: v.optional(text('What every key in an object store begins with, such as `umbra/`: one container may hold several registries.', prefixProblem)),
    region: v.optional(text('The region. Not set, Swift: that of the cloud or `OS_REGION_NAME`, else the only one; S3: `AWS_REGION`, else `us-east-1`.')),
    interface: v.optional(oneOf('Which endpoint of Swift in the catalogue. Redirects always use the public one. Not set: that of the cloud or `OS_INTERFACE`, else `public`.', ['public', 'internal'])),
    auth: v.optional(auth),
    cloud: v.optional(text('A cloud of `clouds.yaml` instead of `auth`: in the working folder, `~/.config/openstack` or `/etc/openstack`, with `secure.yaml`.')),
    segmentSize: v.optional(size('The most that one segment of a Swift object holds. Not set: `64MiB`.', { min: MIB, max: 5 * GIB })),
    tempUrlKey: v.optional(secret('The TempURL key of the container or account, which signs redirects. Not set: the one that stands there, where Umbra may see it.')),
    tempUrlKeyFile: v.optional(text('A file that holds the TempURL key.')),
    endpoint: v.optional(text('Where an S3 answers. Not set: AWS.', originProblem)),
    accessKeyId: v.optional(text("The access key of an S3. Not set: as AWS's tools find one.")),
    secretAccessKey: v.optional(secret('Its secret.')),
    secretAccessKeyFile: v.optional(text('A file that holds the secret.')),
    pathStyle: v.optional(flag('The bucket is in the path of an S3 URL, not in its host. Not set: `true` where there is an `endpoint`.')),
    claims: v.optional(oneOf('Whether a conditional write of the S3 decides between two at once (`strict`) or not (`settle`). Not set: found out at start.', ['strict', 'settle'])),
    redirect: v.optional(
      flagOrList('Who is sent to the object store for the bytes of a blob: nobody, everybody (`true`: every client reaches it), or clients in these networks. Not set: `false`.', text('An IP address or a network.', networkProblem)),
    ),
    ca: v.optional(text('PEM file, or PEM text, of authorities that an object store and its Keystone are trusted by, besides the usual ones.')),
    insecure: v.optional(flag('Certificates of an object store and its Keystone are not checked. Not set: `false`.')),
    disk: v.optional(disk),
  });
}

export const coordination: Kind<{ readonly driver: 'postgres'; readonly url?: string | undefined; readonly urlFile?: string | undefined }> = map(
  'A database that decides claims at once where the store cannot (Swift, many S3 look-alikes). Holds nothing else.',
  {
    driver: oneOf('What it is.', ['postgres']),
    url: v.optional(secret('Where it is: `postgres://user:password@host/database`.', postgresUrlProblem)),
    urlFile: v.optional(text('A file that holds the URL.')),
  },
);
