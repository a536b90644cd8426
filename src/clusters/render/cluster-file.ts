/** A cluster as a file says it, for `umbra cluster render`: its keys, and how they become models of its nodes. */
import { dirname, resolve as resolvePath } from 'node:path';
import * as v from 'valibot';
import type { Surroundings } from '../../config/load.ts';
import { readDocument } from '../../config/document.ts';
import type { ParsedDocument } from '../../config/document.ts';
import { readTextFile } from '../../config/files.ts';
import { list, map, oneOf, secret, size, text } from '../../config/kinds.ts';
import type { Kind } from '../../config/kinds.ts';
import { NamedFiles } from '../../config/named-files.ts';
import { ConfigError, formatPath, show } from '../../config/problem.ts';
import type { Path, Problem } from '../../config/problem.ts';
import { DEFAULT_UPSTREAMS } from '../../config/schema.ts';
import { accountProblem, containerProblem, openStackUrlProblem, registryHostProblem, userNameProblem } from '../../config/words.ts';
import { authOf } from '../../openstack/auth-words.ts';
import type { AuthWords } from '../../openstack/auth-words.ts';
import { COES, FALLBACKS, FIRST_FREE_PORT, LAST_PORT, POLICIES, TAKEN_PORTS, UUID, WRITES } from '../words.ts';
import type { Coe, Fallback, RegistryPolicy, Role, Write } from '../words.ts';
import type { NodeLogin, NodeModel, NodeProxies, Tarball } from './node-model.ts';

const MIB = 1024 * 1024;

/** Everything of a node that its role does not say. */
export type ClusterModel = Omit<NodeModel, 'role'>;

export function nodeOf(cluster: ClusterModel, role: Role): NodeModel {
  return { ...cluster, role };
}

/**
 * @param file as the user named it; relative to the working folder
 * @throws ConfigError with all that is wrong with it
 */
export function loadCluster(file: string, { cwd, env }: Surroundings): ClusterModel {
  const path = resolvePath(cwd, file);
  let written: string;
  try {
    written = readTextFile(path);
  } catch (error) {
    throw new ConfigError([{ file, line: undefined, column: undefined, key: '', message: (error as Error).message }]); // files.ts throws nothing else
  }
  return readCluster(written, file, { folder: dirname(path), env });
}

/** @param folder what paths in it are relative to */
export function readCluster(written: string, file: string, { folder, env }: { readonly folder: string; readonly env: Surroundings['env'] }): ClusterModel {
  const document = readDocument(written, env);
  const problems: Problem[] = document.faults.map(({ line, column, path, message }) => ({ file, line, column, key: formatPath(path), message }));
  const report = (path: Path, message: string): void => {
    if (!document.faults.some((fault) => formatPath(fault.path) === formatPath(path))) problems.push({ file, line: lineOf(path, document), column: undefined, key: formatPath(path), message });
  };
  if (document.value === undefined) throw new ConfigError(problems);
  const { output, issues = [], success } = v.safeParse(CLUSTER, document.value);
  for (const { path = [], message } of issues) report(path.map(({ key }) => key as string | number), message); // of maps and lists only
  if (!success || problems.length > 0) throw new ConfigError(problems);
  const cluster = clusterOf(output, new NamedFiles(folder, report), report);
  if (problems.length > 0) throw new ConfigError(problems);
  return cluster;
}

function lineOf(path: Path, { places }: ParsedDocument): number | undefined {
  for (let length = path.length; length >= 0; length--) {
    const place = places.get(formatPath(path.slice(0, length)));
    if (place !== undefined) return place.line;
  }
  return undefined;
}

type Report = (path: Path, message: string) => void;
type Settings = v.InferOutput<typeof CLUSTER>;

function clusterOf(settings: Settings, files: NamedFiles, report: Report): ClusterModel {
  const { uuid, name, coe, port, policy, upstreams, insecureRegistries, write, disk, storage, program, proxies } = settings;
  const { amd64, arm64, version, image } = program;
  if (amd64 === undefined && arm64 === undefined && image === undefined) report(['program'], 'missing: amd64, arm64 or both, with url and sha256 of a tarball of `make dist`; or image');
  return {
    cluster: { uuid, name, coe },
    port, policy, upstreams, insecureRegistries, write,
    // To go to upstream instead would be to pass the policy by.
    fallback: settings.fallback ?? (policy === 'proxy' ? 'upstream' : 'none'),
    diskBytes: disk,
    storage: { container: storage.container ?? `registry-${uuid}`, account: storage.account, region: storage.region, interface: storage.interface, ca: files.certificates(storage.ca, ['storage', 'ca']) },
    login: loginOf(settings, files, report),
    program: { version, image, tarballs: { ...(amd64 && { amd64 }), ...(arm64 && { arm64 }) } },
    proxies: proxies && { http: proxies.http, https: proxies.https, none: proxies.none },
  };
}

function loginOf({ bootstrap, credential, pushUser }: Settings, files: NamedFiles, report: Report): NodeLogin {
  if (bootstrap !== undefined && credential !== undefined) report(['credential'], 'expected bootstrap or credential, got both');
  if (bootstrap !== undefined) {
    if (pushUser !== undefined) report(['pushUser'], 'goes with credential; with bootstrap, nodes are told by the service');
    const token = secretAt(['bootstrap'], 'token', bootstrap.token, bootstrap.tokenFile);
    return { kind: 'bootstrap', url: bootstrap.url, ca: files.certificates(bootstrap.ca, ['bootstrap', 'ca']), token };
  }
  if (credential === undefined) {
    report([], 'missing: bootstrap (where nodes exchange a one-time token for their credential), or credential (in clear, for a cluster without that service)');
    return { kind: 'literal', credential: {}, pushUser: undefined };
  }
  const { passwordFile, applicationCredentialSecretFile, ...words } = credential;
  const of = (key: 'password' | 'applicationCredentialSecret', file: string | undefined): AuthWords =>
    words[key] === undefined && file === undefined ? {} : { [key]: secretAt(['credential'], key, words[key], file) };
  const said: AuthWords = { ...words, ...of('password', passwordFile), ...of('applicationCredentialSecret', applicationCredentialSecretFile) };
  for (const { word, message } of authOf(said, (hidden) => ({ reveal: () => hidden }), { strict: true }).problems) report(['credential', word], message);
  return { kind: 'literal', credential: said, pushUser: pushUser && { name: pushUser.name, password: secretAt(['pushUser'], 'password', pushUser.password, pushUser.passwordFile) } };

  function secretAt(at: Path, key: string, here: string | undefined, file: string | undefined): string {
    if (here !== undefined && file !== undefined) report([...at, `${key}File`], `expected ${key} or ${key}File, got both`);
    if (here === undefined && file === undefined) report([...at, key], `missing: ${key} or ${key}File`);
    return files.secret(here, file, at, key)?.reveal() ?? '';
  }
}

const line = (word: string): string | undefined => (/\p{Cc}/u.test(word) ? 'expected one line of text' : undefined);
const urlProblem = (word: string): string | undefined => (/^https?:\/\/[^\s'"\\]+$/.test(word) && URL.canParse(word) ? undefined : 'expected an http(s) URL');

const tarball: Kind<Tarball> = map('A tarball of `make dist`.', {
  url: text('Where nodes fetch it.', urlProblem),
  sha256: text('Its SHA-256.', (word) => (/^[0-9a-f]{64}$/.test(word) ? undefined : 'expected 64 hexadecimal digits, as sha256sum prints them')),
});

const proxies: Kind<NodeProxies> = v.pipe(
  map('How programs of a node reach the world where there is a proxy between.', {
    http: v.optional(text('HTTP_PROXY.', urlProblem)),
    https: v.optional(text('HTTPS_PROXY.', urlProblem)),
    none: v.optional(list('NO_PROXY; loopback is always in it.', text('A host, a domain or a network.', (word) => (/^[^\s,"]+$/.test(word) ? undefined : 'expected one host, domain or network'))), []),
  }),
  v.transform(({ http, https, none }) => ({ http, https, none })),
);

const CLUSTER: Kind<{
  readonly uuid: string; readonly name: string; readonly coe: Coe; readonly port: number; readonly policy: RegistryPolicy; readonly upstreams: readonly string[]; readonly insecureRegistries: readonly string[];
  readonly fallback?: Fallback | undefined; readonly write: Write; readonly disk: number;
  readonly storage: { readonly container?: string | undefined; readonly account?: string | undefined; readonly region?: string | undefined; readonly interface: 'public' | 'internal'; readonly ca?: string | undefined };
  readonly bootstrap?: { readonly url: string; readonly ca?: string | undefined; readonly token?: string | undefined; readonly tokenFile?: string | undefined } | undefined;
  readonly credential?: (AuthWords & { readonly passwordFile?: string | undefined; readonly applicationCredentialSecretFile?: string | undefined }) | undefined;
  readonly pushUser?: { readonly name: string; readonly password?: string | undefined; readonly passwordFile?: string | undefined } | undefined;
  readonly program: { readonly version: string; readonly image?: string | undefined; readonly amd64?: Tarball | undefined; readonly arm64?: Tarball | undefined };
  readonly proxies?: NodeProxies | undefined;
}> = map('A cluster, for `umbra cluster render`.', {
  uuid: text('Its UUID.', (word) => (UUID.test(word) ? undefined : 'expected a UUID in lower case, such as one of uuidgen')),
  name: text('Its name.', line),
  coe: oneOf('What orchestrates its containers.', COES),
  port: v.optional(
    v.pipe(
      v.number(({ input }) => `expected a number, got ${show(input)}`),
      v.check((port) => Number.isInteger(port) && port >= FIRST_FREE_PORT && port <= LAST_PORT, ({ input }) => `expected a port from ${FIRST_FREE_PORT} to ${LAST_PORT}, got ${show(input)}`),
      v.check((port) => !TAKEN_PORTS.has(port), ({ input }) => `expected another port: ${show(input)} is that of ${TAKEN_PORTS.get(Number(input)) ?? ''}`),
      v.description('Where the registry listens, on both loopback addresses of a node.'),
    ),
    5000,
  ),
  policy: v.optional(oneOf('What is pulled that the registry has not: `proxy` asks upstream, `approved` gives what was approved, `local` gives nothing.', POLICIES), 'proxy'),
  upstreams: v.optional(list('The registries that are pulled from.', text('A host.', registryHostProblem)), () => [...DEFAULT_UPSTREAMS]),
  insecureRegistries: v.optional(list('Other registries that the runtimes of nodes reach over plain HTTP.', text('A host, with its port.', registryHostProblem)), () => []),
  fallback: v.optional(oneOf('Where clients turn when the registry fails. Not set: `upstream` with the policy `proxy`, else `none`.', FALLBACKS)),
  write: v.optional(oneOf('What nodes may write: nothing but their disk, a cache for all nodes, or images, too.', WRITES), 'cache'),
  disk: v.optional(size('How much of images a node keeps on its disk.', { min: 2 * MIB }), '10GiB'),
  storage: map('Where images are kept.', {
    container: v.optional(text('The container of a Swift. Not set: `registry-` and the UUID.', containerProblem)),
    account: v.optional(text('Whose account it is in. Not set: that of the project of the credential.', accountProblem)),
    region: v.optional(text('Its region. Not set: the only one.', line)),
    interface: v.optional(oneOf('Which endpoint of Swift nodes use.', ['public', 'internal']), 'public'),
    ca: v.optional(text('PEM file, or PEM text, of authorities that Keystone and Swift are trusted by, besides the usual ones.')),
  }),
  bootstrap: v.optional(
    map('Where nodes exchange a one-time token for their credential.', {
      url: text('The clusters service.', openStackUrlProblem),
      ca: v.optional(text('PEM file, or PEM text, of authorities that it is trusted by, besides the usual ones.')),
      token: v.optional(secret('The token.', (word) => (/^[\u0021-\u007E]+$/.test(word) ? undefined : 'expected a token, without spaces'))),
      tokenFile: v.optional(text('A file that holds it.')),
    }),
  ),
  credential: v.optional(
    map('Who nodes are to Keystone, in clear.', {
      url: text('Where Keystone answers.', openStackUrlProblem),
      username: v.optional(text('The user.')),
      userId: v.optional(text('The user by id.')),
      password: v.optional(secret('The password.')),
      passwordFile: v.optional(text('A file that holds it.')),
      userDomain: v.optional(text('The domain of the user.')),
      userDomainId: v.optional(text('The same by id.')),
      project: v.optional(text('The project to log in to.')),
      projectId: v.optional(text('The same by id.')),
      projectDomain: v.optional(text('The domain of the project.')),
      projectDomainId: v.optional(text('The same by id.')),
      applicationCredentialId: v.optional(text('An application credential instead.')),
      applicationCredentialName: v.optional(text('The same by name.')),
      applicationCredentialSecret: v.optional(secret('Its secret.')),
      applicationCredentialSecretFile: v.optional(text('A file that holds it.')),
      trustId: v.optional(secret('A trust.')),
    }),
  ),
  pushUser: v.optional(
    map('Who may push, with `write: all` and a credential in clear.', {
      name: text('Whom to log in as.', userNameProblem),
      password: v.optional(secret('The password.')),
      passwordFile: v.optional(text('A file that holds it.')),
    }),
  ),
  program: map('Umbra itself.', {
    version: text('As `umbra version` says.', (word) => (/^\d[\w.+-]*$/.test(word) ? undefined : 'expected a version such as 0.1.0')),
    image: v.optional(text('Its container image, for the DaemonSet.', (word) => (/^[\w./:@-]+$/.test(word) ? undefined : 'expected the name of an image'))),
    amd64: v.optional(tarball),
    arm64: v.optional(tarball),
  }),
  proxies: v.optional(proxies),
});
