/** The keys of the cluster service, `clusters:`. What holds between them is `resolve-clusters.ts`. */
import * as v from 'valibot';
import { count, duration, flag, list, map, oneOf, oneOrMany, secret, size, text } from './kinds.ts';
import type { Kind } from './kinds.ts';
import type { ClustersSettings } from './settings.ts';
import { addressProblem, clustersDatabaseProblem, encryptionKeyProblem, openStackUrlProblem, registryHostProblem, serviceUrlProblem } from './words.ts';

const MANY_NODES = 65_535;
const FIRST_FREE_PORT = 1_024;
const MIB = 1024 * 1024;

const keystone = map('Who the service is to Keystone, where it checks the tokens of its clients and makes users for nodes.', {
  url: text('Where it answers, with or without `/v3`.', openStackUrlProblem),
  username: text('The user of the service.'),
  password: v.optional(secret('The password of the user.')),
  passwordFile: v.optional(text('A file that holds the password.')),
  userDomain: v.optional(text('The domain of the user.'), 'Default'),
  project: text('The project that the user logs in to, with a role that may check tokens (`service` or `admin`).'),
  projectDomain: v.optional(text('The domain of the project. Not set: that of the user.')),
  region: v.optional(text('The region whose object store clusters use. Not set: the only one.')),
  interface: v.optional(oneOf('Which endpoints of the catalogue this service uses; nodes always use the public ones.', ['public', 'internal', 'admin']), 'public'),
  ca: v.optional(text('PEM file, or PEM text, of authorities that Keystone and the object store are trusted by, besides the usual ones.')),
  insecure: v.optional(flag('Their certificates are not checked: for tests.'), false),
  cacheFor: v.optional(duration('How long Keystone is not asked again for a token that was good, and so how late its revocation may be seen.', { timer: false }), '60s'),
});

const trusteeDomain = map('The domain in which users of nodes are made, and who may make them there.', {
  name: text('Its name.'),
  adminUsername: text('A user of that domain who has the role `admin` on it.'),
  adminPassword: v.optional(secret('The password of that user.')),
  adminPasswordFile: v.optional(text('A file that holds the password.')),
});

const words = (description: string): Kind<string[]> => v.pipe(list(description, text('A role.')), v.minLength(1, 'expected at least one, got an empty list'), v.description(description));

/** `clusters:`, whole. */
export const clustersMap: Kind<ClustersSettings> = map('The cluster service: an API as that of OpenStack Magnum, which gives the nodes of clusters registries of their own. Not set: it does not run.', {
  address: v.optional(text('Where to listen, written as `listeners[].address`.', addressProblem), 'localhost:9511'),
  tls: v.optional(
    map('HTTPS instead of HTTP. Both files are read again when they change.', {
      cert: text('PEM file of the certificate and its chain.'),
      key: text('PEM file of the private key.'),
    }),
  ),
  publicUrl: text('Where clients and nodes find the service, without `/v1`.', serviceUrlProblem),
  database: v.optional(secret('Where it keeps what it knows: `sqlite:<file>` for one machine, `postgres://user:password@host/database` for several instances. Not set, nor a file of it: `sqlite:./umbra-clusters.db`.', clustersDatabaseProblem)),
  databaseFile: v.optional(text('A file that holds the URL of the database.')),
  encryptionKey: v.optional(oneOrMany('What secrets in the database are encrypted with: 32 characters at least, random. Of several, the first encrypts and all decrypt.', secret('A key.', encryptionKeyProblem))),
  encryptionKeyFile: v.optional(oneOrMany('A file that holds the key, or several, the newest first.', text('A file.'))),
  keystone,
  trusteeDomain: v.optional(trusteeDomain),
  serviceProject: v.optional(text('The project in which users of nodes have their only role: for the credential mode `acl`.')),
  serviceProjectDomain: v.optional(text('The domain of that project. Not set: that of `trusteeDomain`, else that of `keystone.project`.')),
  roles: v.optional(
    map('Names of roles.', {
      admin: v.optional(words('Who has one of these in any project sees and changes everything, and publishes templates.'), ['admin']),
      operator: v.optional(words('Who creates a cluster with a registry needs one of these: those that may make containers in their project.'), ['admin', 'member', 'swiftoperator']),
      node: v.optional(text('What a user of nodes has in `clusters.serviceProject`, in the credential mode `acl`. Must be none of those that Swift lets do everything in a project: the access list of a container lets these users in, and nowhere else.'), 'reader'),
      delegated: v.optional(words('What nodes get of whoever creates a cluster, in the credential modes `trust` and `app_cred`. All of these are needed.'), ['member']),
    }),
    {},
  ),
  defaults: v.optional(
    map('What holds where labels of a template or cluster say nothing else.', {
      credentialMode: v.optional(oneOf('How nodes are let into the object store. The label is `registry_credential_mode`.', ['acl', 'trust', 'app_cred']), 'acl'),
      write: v.optional(oneOf('What nodes may write there: nothing, the view `upstream`, or everything. The label is `registry_write`.', ['none', 'cache', 'all']), 'cache'),
      policy: v.optional(oneOf('What nodes pull that the registry does not have, as in `upstreams.<host>.policy`. The label is `registry_policy`.', ['proxy', 'approved', 'local']), 'proxy'),
      port: v.optional(count('Where the registry listens on each node. The label is `registry_port`.', { min: FIRST_FREE_PORT, max: MANY_NODES }), 5000),
      upstreams: v.optional(list('Registries that it stands for, by their hosts in names; none are the usual ones. The label is `registry_upstreams`.', text('A host.', registryHostProblem)), []),
      fallback: v.optional(oneOf('Where clients on a node turn while its registry does not answer. Not set: `upstream` with the policy `proxy`, else `none`. The label is `registry_fallback`.', ['none', 'upstream'])),
    }),
    {},
  ),
  nodes: v.optional(
    map('What holds for every node.', {
      image: v.optional(text('Umbra’s container image, from a registry that nodes reach without it: what a DaemonSet runs.')),
      ca: v.optional(text('PEM file, or PEM text, of authorities that nodes trust `clusters.publicUrl` by, besides the usual ones.')),
      disk: v.optional(size('How much of images each keeps on its disk.', { min: 2 * MIB }), '10GiB'),
      renew: v.optional(duration('How often each tells how it is, and takes a new credential where there is one.', { min: 10_000 }), '5m'),
    }),
    {},
  ),
  openProject: v.optional(flag('In the modes `trust` and `app_cred`, nodes may be lent a role that opens every container of the project.'), false),
  accessRules: v.optional(flag('In the mode `app_cred`, credentials are bound to the paths of their containers. Works where `service_type = object-store` stands in `authtoken` of Swift, and `include_service_catalog` is not `false` there.'), false),
  allowPrivateUpstreams: v.optional(flag('Labels may name upstreams that are addresses of private networks, or `localhost`.'), false),
  programs: v.optional(text('The folder of the programs that nodes fetch: tarballs of Umbra with its own Node. Not set: `programs` beside the installation.')),
  adopt: v.optional(
    map('A Magnum whose clusters are given registries too.', {
      magnumUrl: text('Where it answers, without `/v1`.', serviceUrlProblem),
      interval: v.optional(duration('How often it is read.', { min: 1_000 }), '60s'),
    }),
  ),
});
