/**
 * Settings of a store become its configuration: files, prefixes, and who we are to an object store where the file leaves
 * that to `clouds.yaml` or the environment.
 */
import { authOf, AUTH_WORDS } from '../openstack/auth-words.ts';
import type { OpenStackLogin } from '../openstack/auth.ts';
import { findLogin, type Origin } from '../openstack/found-login.ts';
import type { Report } from './checks.ts';
import { Secret, type DiskConfig, type Redirect, type S3Storage, type StorageConfig, type SwiftStorage } from './config.ts';
import type { NamedFiles } from './named-files.ts';
import { formatPath, type Path } from './problem.ts';
import type { Machine } from './resolve.ts';
import type { OpenStackSettings, StorageSettings } from './settings.ts';

/** Where a value comes from that the file does not say. */
export type Elsewhere = Origin;

export interface Given {
  readonly files: NamedFiles;
  readonly machine: Machine;
  readonly report: Report;
  /** Filled here. */
  readonly elsewhere: Map<string, Elsewhere>;
}

const DEFAULT_SEGMENT_BYTES = 64 * 1024 * 1024;

export function resolveStorage(storage: StorageSettings, at: Path, given: Given): StorageConfig {
  switch (storage.driver) {
    case 'memory':
      return { driver: 'memory' };
    case 'filesystem':
      return { driver: 'filesystem', root: given.files.path(storage.root ?? './umbra-data'), maxBytes: storage.maxBytes };
    case 'swift':
      return resolveSwift(storage, at, given);
    case 's3':
      return resolveS3(storage, at, given);
  }
}

function resolveSwift(storage: StorageSettings, at: Path, given: Given): SwiftStorage {
  const { files } = given;
  const ours = storage.auth === undefined ? theirs(storage, at, given) : { auth: own(storage.auth, [...at, 'auth'], given) };
  return {
    driver: 'swift',
    container: storage.container ?? '',
    account: storage.account,
    prefix: prefixOf(storage.prefix),
    region: storage.region ?? ours.region,
    interface: storage.interface ?? ours.interface ?? 'public',
    auth: ours.auth,
    segmentBytes: storage.segmentSize ?? DEFAULT_SEGMENT_BYTES,
    tempUrlKey: files.secret(storage.tempUrlKey, storage.tempUrlKeyFile, at, 'tempUrlKey'),
    redirect: redirectOf(storage.redirect),
    ca: files.certificates(storage.ca ?? ours.cacert, [...at, 'ca']),
    insecure: storage.insecure ?? ours.insecure ?? false,
    disk: diskOf(storage.disk, files),
  };
}

function resolveS3(storage: StorageSettings, at: Path, { files, machine: { env }, elsewhere }: Given): S3Storage {
  const variable = ['AWS_REGION', 'AWS_DEFAULT_REGION'].find((name) => (env[name] ?? '') !== '');
  if (storage.region === undefined && variable !== undefined) elsewhere.set(formatPath([...at, 'region']), { kind: 'variable', variable });
  const secret = files.secret(storage.secretAccessKey, storage.secretAccessKeyFile, at, 'secretAccessKey');
  return {
    driver: 's3',
    endpoint: storage.endpoint === undefined ? undefined : new URL(storage.endpoint).origin,
    region: storage.region ?? (variable === undefined ? undefined : env[variable]) ?? 'us-east-1',
    bucket: storage.bucket ?? '',
    prefix: prefixOf(storage.prefix),
    credentials: storage.accessKeyId === undefined || secret === undefined ? undefined : { accessKeyId: storage.accessKeyId, secretAccessKey: secret },
    pathStyle: storage.pathStyle ?? storage.endpoint !== undefined,
    redirect: redirectOf(storage.redirect),
    claims: storage.claims,
    ca: files.certificates(storage.ca, [...at, 'ca']),
    insecure: storage.insecure ?? false,
    disk: diskOf(storage.disk, files),
  };
}

/** As the file says. */
function own({ credentialFile, passwordFile, applicationCredentialSecretFile, ...words }: OpenStackSettings, at: Path, { files, report }: Given): OpenStackLogin {
  if (credentialFile !== undefined) {
    for (const [word, said] of Object.entries({ passwordFile, applicationCredentialSecretFile, ...words })) {
      if (said !== undefined) report([...at, word], 'expected nothing beside credentialFile, which says it all');
    }
    return { kind: 'file', path: files.path(credentialFile) };
  }
  const password = secretOf('password', passwordFile);
  const applicationCredentialSecret = secretOf('applicationCredentialSecret', applicationCredentialSecretFile);
  const { auth, problems } = authOf({ ...words, password, applicationCredentialSecret }, hide, { strict: true });
  for (const { word, message } of problems) {
    // A file that gave nothing was told already.
    const fromFile = { password: passwordFile, applicationCredentialSecret: applicationCredentialSecretFile }[word as string];
    if (fromFile === undefined) report([...at, word], message);
    else if (!message.startsWith('missing')) report([...at, `${word}File`], message);
  }
  return auth;

  function secretOf(key: 'password' | 'applicationCredentialSecret', file: string | undefined): string | undefined {
    if (words[key] !== undefined && file !== undefined) report([...at, `${key}File`], `expected ${key} or ${key}File, got both`);
    return files.secret(words[key], file, at, key)?.reveal();
  }
}

interface Theirs {
  readonly auth: OpenStackLogin;
  readonly region?: string | undefined;
  readonly interface?: 'public' | 'internal' | undefined;
  readonly cacert?: string | undefined;
  readonly insecure?: boolean | undefined;
}

/** As `clouds.yaml` or the environment says: `cloud`, else `OS_CLOUD`, else `OS_*`. */
function theirs(storage: StorageSettings, at: Path, { machine, report, elsewhere }: Given): Theirs {
  const { env, cwd, parseYaml } = machine;
  const key: Path = storage.cloud === undefined ? [...at, 'auth'] : [...at, 'cloud'];
  try {
    const login = findLogin({ cloud: storage.cloud, region: storage.region }, { cwd, env, parse: parseYaml }, hide);
    if (login === undefined) {
      report(key, 'missing: who Umbra is to Keystone; give auth, or cloud, or set OS_CLOUD or OS_AUTH_URL and the other OS_* of an openrc file');
      return { auth: NOBODY };
    }
    const { where, origins, problems, interface: side } = login;
    for (const problem of problems) report(key, problem);
    if (side !== undefined && side !== 'public' && side !== 'internal' && storage.interface === undefined)
      report(key, `${where} asks for the ${side} endpoint; expected public or internal, or interface to be set here`);
    for (const [word, origin] of origins) {
      const path = (AUTH_WORDS as readonly string[]).includes(word) ? [...at, 'auth', word] : [...at, word];
      elsewhere.set(formatPath(path), origin);
    }
    return { ...login, interface: side === 'internal' ? 'internal' : 'public' };
  } catch (error) {
    report(key, (error as Error).message); // findLogin throws nothing else
    return { auth: NOBODY };
  }
}

/** Stands where a problem was reported. */
const NOBODY: OpenStackLogin = { kind: 'tempauth', url: '', username: '', password: new Secret('') };

function hide(text: string): Secret {
  return new Secret(text);
}

function prefixOf(prefix: string | undefined): string {
  return prefix === undefined ? '' : `${prefix.replace(/\/$/, '')}/`;
}

function redirectOf(redirect: boolean | readonly string[] | undefined): Redirect {
  return typeof redirect === 'object' ? redirect : redirect === true ? 'always' : 'never';
}

function diskOf(disk: StorageSettings['disk'], files: NamedFiles): DiskConfig | undefined {
  return disk && { root: files.path(disk.root), maxBytes: disk.maxBytes };
}
