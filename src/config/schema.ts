/**
 * Every key of the configuration file: its type, its default, and the description that editors, `umbra config schema`
 * and docs/configure.md show. Knows one value at a time; what holds between values is `resolve.ts`.
 */
import * as v from 'valibot';
import { clustersMap } from './clusters-schema.ts';
import { countOr, duration, flag, list, map, oneOf, oneOrMany, record, secret, size, text, viewId } from './kinds.ts';
import type { Kind } from './kinds.ts';
import { nodeMap } from './node-schema.ts';
import type { Settings } from './settings.ts';
import { coordination, storageMap } from './storage-schema.ts';
import {
  addressProblem,
  bcryptProblem,
  domainProblem,
  issuerProblem,
  namePatternProblem,
  networkProblem,
  openStackUrlProblem,
  originProblem,
  registryHostProblem,
  registryUrlProblem,
  tunnelProblem,
  userNameProblem,
  viewPatternProblem,
  viewTemplateProblem,
  viewProblem,
} from './words.ts';

export const DEFAULT_UPSTREAMS: readonly string[] = ['docker.io', 'quay.io', 'ghcr.io', 'gcr.io', 'registry.k8s.io', 'mcr.microsoft.com', 'public.ecr.aws'];
const MANY_WORKERS = 256;
const KIB = 1024;
const MIB = 1024 * KIB;

const listener = map('A socket to serve on.', {
  address: text(
    'Where to listen: `host:port`, with an IPv6 host in brackets. `localhost` is both 127.0.0.1 and ::1; port 0 is any free one.',
    addressProblem,
  ),
  publicUrl: v.optional(
    text(
      'What clients are told where they need a whole URL, e.g. as the realm of tokens. Not set: as the client called the server.',
      originProblem,
    ),
  ),
  tls: v.optional(
    map('HTTPS instead of HTTP. Both files are read again when they change.', {
      cert: text('PEM file of the certificate and its chain.'),
      key: text('PEM file of the private key.'),
    }),
  ),
  view: v.optional(viewId('The view that is served where a request names no other.'), 'main'),
  upstream: v.optional(text('The registry that a name without a host means.', registryHostProblem), 'docker.io'),
  mirror: v.optional(flag('Pull only, and never asks for credentials: for clients that would send it those of another registry.'), false),
  proxy: v.optional(
    flag('Also an HTTP proxy (`HTTPS_PROXY`) that answers for the upstreams under their own names, with certificates of `proxyCa`.'),
    false,
  ),
  tunnel: v.optional(
    list(
      'Where else the proxy lets clients through: hosts and addresses, port 443 unless one is given. An address that is not public is reached only where an address or network here has it.',
      text('A host, a pattern such as *.example.org, an address or a network.', tunnelProblem),
    ),
    [],
  ),
});

const views = map('Sets of repositories that shadow their parents.', {
  hostSuffix: v.optional(text('Requests to `<view>.<suffix>` are for that view.', domainProblem)),
  define: v.optional(
    record(
      'Views besides `main`, `upstream` and `approved`, which are always there.',
      viewProblem,
      map('A view.', { parents: v.optional(list('Where to look for what the view does not have, in this order.', viewId('A view.')), []) }),
    ),
    {},
  ),
});

const upstream = map('A registry to pull from.', {
  url: v.optional(
    text('Where it answers. Not set: `https://<host>`, and `https://registry-1.docker.io` for docker.io.', registryUrlProblem),
  ),
  policy: v.optional(
    oneOf(
      'What is pulled that no view has: `proxy` asks the registry, `approved` gives what the view `approved` has, `local` gives nothing.',
      ['proxy', 'approved', 'local'],
    ),
    'proxy',
  ),
  ttl: v.optional(duration('How long a tag is served before the registry is asked whether it moved.', { timer: false }), '60s'),
  negativeTtl: v.optional(duration('How long the registry is not asked again for what it does not have.', { timer: false }), '5s'),
  username: v.optional(text('Whom to log in as.')),
  password: v.optional(secret('The password for `username`.')),
  passwordFile: v.optional(text('A file that holds the password.')),
  ca: v.optional(text('PEM file, or PEM text, of authorities to trust besides the usual ones.')),
  timeout: v.optional(duration('How long to wait for a connection, an answer, or the next bytes of one.', { min: 1 }), '10s'),
});

const user = map('Somebody who can log in. Give one of the four passwords.', {
  name: text('What the user logs in as.', userNameProblem),
  password: v.optional(secret('In plain text.')),
  passwordFile: v.optional(text('A file that holds it in plain text.')),
  passwordHash: v.optional(secret('Its bcrypt hash, as `htpasswd -nB name` prints it after the colon.', bcryptProblem)),
  passwordHashFile: v.optional(text('A file that holds the bcrypt hash.')),
  access: v.optional(
    oneOf(
      'What the user may do where no rule speaks of them: `push` includes pulling and deleting, `admin` is everything, whatever rules say.',
      ['pull', 'push', 'admin'],
    ),
    'pull',
  ),
});

const grantNames = atLeastOne(
  list('Patterns of whole names, in which `*` stands for anything.', text('A pattern such as docker.io/org/*.', namePatternProblem)),
);
const grantMay = atLeastOne(list('What is allowed; each word stands for itself alone.', oneOf('An action.', ['pull', 'push', 'delete', 'admin'])));
/** Views of a rule for whom another service vouches for. */
const grantViews = v.optional(
  atLeastOne(
    list(
      'Patterns of views, or views such as `change-{build-uuid}` that hold an attribute. `approved` and `upstream` are only ever meant where they are spelled out.',
      text('A pattern such as change-*.', viewTemplateProblem),
    ),
  ),
);

const oidc = map('An issuer of ID tokens, which are taken as passwords: GitHub Actions, GitLab CI, Zuul, Kubernetes and others.', {
  issuer: text('Its URL, to the letter as in the `iss` of its tokens. Its keys are found by OpenID Connect Discovery.', issuerProblem),
  audience: atLeastOne(oneOrMany('Whom a token must be meant for (`aud`). Make it one that no other service takes.', text('An audience.'))),
  ca: v.optional(text('PEM file, or PEM text, of authorities to trust besides the usual ones.')),
  rules: atLeastOne(
    list(
      'What tokens allow. Several rules add up; a token that no rule fits is refused.',
      map('A rule.', {
        claims: record(
          'Patterns of claims: each must fit, and in a claim that is a list, one of its values. `kubernetes.io.namespace` is a claim within a claim.',
          () => undefined,
          oneOrMany('A pattern, in which `*` stands for anything, or several of which one must fit.', text('A pattern.')),
        ),
        names: grantNames,
        views: grantViews,
        may: grantMay,
      }),
    ),
  ),
});

const keystonePatterns = (description: string): Kind<string[]> => oneOrMany(description, text('A pattern, in which `*` stands for anything.'));

const keystone = map('A Keystone whose users and application credentials may log in.', {
  url: text('Where it answers, with or without `/v3`.', openStackUrlProblem),
  ca: v.optional(text('PEM file, or PEM text, of authorities to trust besides the usual ones.')),
  insecure: v.optional(flag('Its certificate is not checked, so that whoever is on the way reads passwords: for tests.'), false),
  cacheFor: v.optional(duration('How long Keystone is not asked again for a login that was right; for one that was wrong, at most 10s.', { timer: false }), '60s'),
  domain: v.optional(text('The domain of users who write none, and what rules mean that name none.'), 'Default'),
  rules: atLeastOne(
    list(
      'What its users may do. What a rule names must fit, and several rules add up.',
      map('A rule.', {
        user: v.optional(keystonePatterns('The name of the user.')),
        domain: v.optional(keystonePatterns("The user's domain. Not set: that of `auth.keystone.domain`.")),
        project: v.optional(keystonePatterns('The project that they logged in to.')),
        projectDomain: v.optional(keystonePatterns("The project's domain. Not set, with `project` or `role`: that of `auth.keystone.domain`.")),
        role: v.optional(keystonePatterns('A role that they have in the project.')),
        names: grantNames,
        views: grantViews,
        may: grantMay,
      }),
    ),
  ),
});

const rule = map('Lets somebody do something. Whom a rule speaks of may do what rules say, and `access` no longer counts.', {
  who: text('A user, `anonymous`, or `*` for everybody who logged in.'),
  names: grantNames,
  views: v.optional(
    atLeastOne(
      list(
        'Patterns of views. `approved` and `upstream` are only ever meant where they are spelled out.',
        text('A pattern such as change-*.', viewPatternProblem),
      ),
    ),
  ),
  may: grantMay,
});

const auth = map('Who may do what. Without any of it, anybody on this machine may push, and the server listens to no other.', {
  keyFile: v.optional(
    text('The key that signs tokens: made on first start, shared by the nodes of one registry, kept out of the storage.'),
    './umbra-data.key',
  ),
  secret: v.optional(secret('A text that the key is derived from, instead of `keyFile`: long, random, and the same on all nodes.')),
  secretFile: v.optional(text('A file that holds it.')),
  anonymous: v.optional(
    oneOf(
      'What may be done without logging in; `push` includes pulling and deleting. Not set: `pull`, but `push` where no auth is configured.',
      ['none', 'pull', 'push'],
    ),
  ),
  users: v.optional(list('Who can log in.', user)),
  htpasswd: v.optional(
    text('A file of more users, with bcrypt hashes. They may push where no rule speaks of them. Read again when it changes.'),
  ),
  rules: v.optional(list('What users may do, name by name.', rule)),
  oidc: v.optional(list('Whose ID tokens are taken as passwords.', oidc)),
  keystone: v.optional(keystone),
});

const limits = map('Bounds.', {
  memory: v.optional(size('For the buffers of bodies in flight (a quarter), downloads from upstreams (half), and manifests and small blobs kept (an eighth each), in each process. Each store over Swift or S3 takes a quarter as much again for what is on its way there, a second store a quarter for what is kept of it.', { min: 16 * MIB }), '128MiB'),
  manifestBytes: v.optional(size('The largest manifest.', { min: KIB, max: 16 * MIB }), '4MiB'),
  blobBytes: v.optional(size('The largest blob.', { min: 1 }), '64GiB'),
  uploads: v.optional(duration('Uploads that nobody touched for so long are removed.', { min: 300_000, timer: false }), '1d'),
  stall: v.optional(duration('A client that neither takes nor gives a byte for so long is cut off.', { min: 1 }), '60s'),
  drain: v.optional(duration('How long a server that stops waits for requests in flight.'), '30s'),
});

/** The root of the file. `{}` is valid, and means the defaults. */
export const SETTINGS: Kind<Settings> = map('The configuration of Umbra.', {
  workers: v.optional(
    countOr('How many processes serve; `auto` is one for each processor.', 'auto', { min: 1, max: MANY_WORKERS }),
    'auto',
  ),
  listeners: v.optional(atLeastOne(list('Where to serve.', listener)), [{ address: 'localhost:5000' }]),
  proxyCa: v.optional(
    map('The authority that a listener with `proxy` signs with, made on first start; `umbra ca` shows it. Not set: beside `auth.keyFile`, with `.ca.pem` and `.ca.key` at the end.', {
      certFile: text('Its certificate, as PEM.'),
      keyFile: text('Its key, as PEM: whoever has it can pose as any server to those who trust the certificate.'),
    }),
  ),
  trustedProxies: v.optional(list('Whose X-Forwarded-* headers are believed.', text('An IP address or a network.', networkProblem)), []),
  storage: v.optional(storageMap('Where images are kept.'), { driver: 'filesystem' }),
  upstreamStorage: v.optional(
    storageMap('Where the view `upstream` is kept, which is a cache; the keys are those of `storage`. Not set: with the others.'),
  ),
  coordination: v.optional(coordination),
  views: v.optional(views, {}),
  tagStaleness: v.optional(duration('How late a tag moved on another node may be seen; the workers of one node see it at once.'), '1s'),
  tagExpiry: v.optional(
    duration('Tags of the view `main` that were pushed longer ago are deleted by `umbra prune --tags`, and by nothing else. Not set: none.', { min: 1, timer: false }),
  ),
  upstreams: v.optional(
    record(
      'The registries to pull from, by their hosts in names. A list here replaces the default one; `{}` is none. Other hosts are local.',
      registryHostProblem,
      upstream,
    ),
    Object.fromEntries(DEFAULT_UPSTREAMS.map((host) => [host, {}])),
  ),
  fillDetached: v.optional(duration('How long a download from an upstream goes on after its last reader left. Over an object store, 3 s at least.'), '60s'),
  readOnly: v.optional(
    text('Why nothing is pushed here, and what to do instead: whoever pushes or deletes is answered 405 with this text, in every view and whatever rules say. Pulling goes on, and so does keeping what was pulled. Not set: clients push as they may.'),
  ),
  auth: v.optional(auth, {}),
  limits: v.optional(limits, {}),
  clusters: v.optional(clustersMap),
  node: v.optional(nodeMap),
});

function atLeastOne<Item>(items: Kind<Item[]>): Kind<Item[]> {
  return v.pipe(items, v.minLength(1, 'expected at least one, got an empty list'));
}
