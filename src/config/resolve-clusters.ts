/** The `clusters:` section becomes what the cluster service takes: paths, secrets out of files, and what must hold between its values. */
import { parseAddress } from './address.ts';
import type { Report } from './checks.ts';
import { Secret, type ClustersConfig } from './config.ts';
import type { NamedFiles } from './named-files.ts';
import type { Path } from './problem.ts';
import type { ClustersSettings, Settings } from './settings.ts';
import { clustersDatabaseProblem, encryptionKeyProblem } from './words.ts';

const AT: Path = ['clusters'];
const SQLITE = 'sqlite:';
/** Where something is missing that was reported: the configuration is not used. */
const NOTHING = new Secret('');

export function resolveClusters(clusters: ClustersSettings, { listeners }: Pick<Settings, 'listeners'>, files: NamedFiles, report: Report): ClustersConfig {
  const { address, tls, publicUrl, keystone, trusteeDomain, serviceProject, defaults, adopt } = clusters;
  const binds = parseAddress(address) ?? [];
  const taken = new Set(listeners.flatMap((listener) => parseAddress(listener.address) ?? []).map(({ host, port }) => `${host} ${port}`));
  if (binds.some(({ host, port }) => port !== 0 && taken.has(`${host} ${port}`))) report([...AT, 'address'], 'a listener of the registry listens there already', ['listeners']);

  const either = (text: string | undefined, file: string | undefined, at: Path, key: string, what: string): Secret => {
    if (text !== undefined && file !== undefined) report([...at, `${key}File`], `expected ${key} or ${key}File, got both`);
    if (text === undefined && file === undefined) report([...at, key], `missing: ${what} (or ${key}File)`);
    return files.secret(text, file, at, key) ?? NOTHING;
  };
  if (defaults.credentialMode === 'acl' && serviceProject === undefined) report([...AT, 'serviceProject'], 'missing: the credential mode acl, which is the default one, needs it; or set defaults.credentialMode to trust or app_cred');
  if (defaults.credentialMode === 'trust' && trusteeDomain === undefined) report([...AT, 'trusteeDomain'], 'missing: the credential mode trust, which is the default one, needs it');
  if (defaults.fallback === 'upstream' && defaults.policy !== 'proxy') report([...AT, 'defaults', 'fallback'], `expected none: with upstream, clients would go past the policy ${defaults.policy} while a node's registry is away`);

  const projectDomain = keystone.projectDomain ?? keystone.userDomain;
  return {
    address, binds,
    tls: tls && { certFile: files.required(tls.cert, [...AT, 'tls', 'cert']), keyFile: files.required(tls.key, [...AT, 'tls', 'key']) },
    publicUrl: publicUrl.replace(/\/+$/, ''),
    database: databaseOf(clusters, files, report),
    encryptionKeys: encryptionKeysOf(clusters, files, report),
    keystone: {
      url: keystone.url,
      username: keystone.username,
      password: either(keystone.password, keystone.passwordFile, [...AT, 'keystone'], 'password', 'the password of the user'),
      userDomain: keystone.userDomain,
      project: keystone.project,
      projectDomain,
      region: keystone.region,
      interface: keystone.interface,
      ca: files.certificates(keystone.ca, [...AT, 'keystone', 'ca']),
      insecure: keystone.insecure,
      cacheForMs: keystone.cacheFor,
    },
    trusteeDomain: trusteeDomain && {
      name: trusteeDomain.name,
      adminUsername: trusteeDomain.adminUsername,
      adminPassword: either(trusteeDomain.adminPassword, trusteeDomain.adminPasswordFile, [...AT, 'trusteeDomain'], 'adminPassword', 'the password of adminUsername'),
    },
    serviceProject: serviceProject === undefined ? undefined : { name: serviceProject, domain: clusters.serviceProjectDomain ?? trusteeDomain?.name ?? projectDomain },
    roles: clusters.roles,
    defaults: { ...defaults, fallback: defaults.fallback },
    nodes: { image: clusters.nodes.image, ca: files.certificates(clusters.nodes.ca, [...AT, 'nodes', 'ca']), diskBytes: clusters.nodes.disk, renewMs: clusters.nodes.renew },
    openProject: clusters.openProject,
    accessRules: clusters.accessRules,
    allowPrivateUpstreams: clusters.allowPrivateUpstreams,
    programs: clusters.programs === undefined ? undefined : files.path(clusters.programs),
    adopt: adopt && { magnumUrl: adopt.magnumUrl.replace(/\/+$/, ''), intervalMs: adopt.interval },
  };
}

function databaseOf({ database, databaseFile }: ClustersSettings, files: NamedFiles, report: Report): Secret {
  if (database !== undefined && databaseFile !== undefined) report([...AT, 'databaseFile'], 'expected database or databaseFile, got both');
  const fallback = databaseFile === undefined ? 'sqlite:./umbra-clusters.db' : undefined;
  const url = files.secret(database ?? fallback, databaseFile, AT, 'database', clustersDatabaseProblem)?.reveal() ?? '';
  return new Secret(url.startsWith(SQLITE) ? `${SQLITE}${files.path(url.slice(SQLITE.length))}` : url);
}

function encryptionKeysOf({ encryptionKey = [], encryptionKeyFile = [] }: ClustersSettings, files: NamedFiles, report: Report): readonly Secret[] {
  const [text, file] = [encryptionKey.length > 0, encryptionKeyFile.length > 0];
  if (text && file) report([...AT, 'encryptionKeyFile'], 'expected encryptionKey or encryptionKeyFile, got both');
  if (!text && !file) report([...AT, 'encryptionKeyFile'], 'missing: the key that secrets in the database are encrypted with; `openssl rand -base64 32` prints one (or encryptionKey)');
  if (text) return encryptionKey.map((key) => new Secret(key));
  return encryptionKeyFile.flatMap((path) => files.secret(undefined, path, AT, 'encryptionKey', encryptionKeyProblem) ?? []);
}
