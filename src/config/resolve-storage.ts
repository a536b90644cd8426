/**
 * Settings of a store become its configuration: files, prefixes, and who we are to an object store where the file leaves
 * that to `clouds.yaml` or the environment.
 */
import { authOf, environmentCloud, saidBy, AUTH_WORDS, type AuthWords, type Said } from '../openstack/auth-words.ts';
import type { OpenStackLogin } from '../openstack/auth.ts';
import { readCloud } from '../openstack/clouds.ts';
import type { Report } from './checks.ts';
import { Secret, type DiskConfig, type Redirect, type S3Storage, type StorageConfig, type SwiftStorage } from './config.ts';
import type { NamedFiles } from './named-files.ts';
import { formatPath, type Path } from './problem.ts';
import type { Machine } from './resolve.ts';
import type { OpenStackSettings, StorageSettings } from './settings.ts';

/** Where a value comes from that the file does not say. */
export type Elsewhere = { readonly kind: 'variable'; readonly variable: string } | { readonly kind: 'cloud'; readonly cloud: string; readonly path: string };

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
  const name = storage.cloud ?? env['OS_CLOUD'];
  const key: Path = storage.cloud === undefined ? [...at, 'auth'] : [...at, 'cloud'];
  try {
    if (name !== undefined && name !== '') {
      const wanted = storage.region ?? (storage.cloud === undefined ? env['OS_REGION_NAME'] : undefined);
      const cloud = readCloud(name, wanted === '' ? undefined : wanted, { cwd, env, parse: parseYaml });
      const where = `the cloud ${JSON.stringify(name)} in ${cloud.path}`;
      const origin = (): Elsewhere => ({ kind: 'cloud', cloud: name, path: cloud.path });
      return { ...taken(saidBy(cloud.values), where, (word) => word, origin), region: cloud.region };
    }
    const values = environmentCloud(env);
    if (values === undefined) {
      report(key, 'missing: who Umbra is to Keystone; give auth, or cloud, or set OS_CLOUD or OS_AUTH_URL and the other OS_* of an openrc file');
      return { auth: NOBODY };
    }
    const variableOf = (spelling: string): string => `OS_${spelling.toUpperCase()}`;
    return taken(saidBy(values), 'the environment', variableOf, (spelling) => ({ kind: 'variable', variable: variableOf(spelling) }));
  } catch (error) {
    report(key, (error as Error).message); // readCloud and saidBy throw nothing else
    return { auth: NOBODY };
  }

  function taken(said: Said, where: string, spell: (key: string) => string, origin: (key: string) => Elsewhere): Theirs {
    const { auth, problems } = authOf(said.words, hide, { kind: said.kind, strict: false });
    for (const { word, message } of problems) {
      const spelling = said.keys.get(word) ?? USUAL[word] ?? word;
      report(key, `${where} has no ${spell(spelling)}${message.startsWith('missing: ') ? `: ${message.slice('missing: '.length)}` : ` that can be used: ${message}`}`);
    }
    if (said.words.url !== undefined && URL.parse(said.words.url) === null) report(key, `${where} has a ${spell(said.keys.get('url') ?? 'auth_url')} that is not a URL`);
    const side = said.interface;
    if (side !== undefined && side !== 'public' && side !== 'internal' && storage.interface === undefined)
      report(key, `${where} asks for the ${side} endpoint; expected public or internal, or interface to be set here`);
    for (const [word, spelling] of said.keys) {
      const path = (AUTH_WORDS as readonly string[]).includes(word) ? [...at, 'auth', word] : [...at, word];
      elsewhere.set(formatPath(path), origin(spelling));
    }
    return { auth, region: said.region, interface: side === 'internal' ? 'internal' : 'public', cacert: said.cacert, insecure: said.insecure };
  }
}

/** Stands where a problem was reported. */
const NOBODY: OpenStackLogin = { kind: 'tempauth', url: '', username: '', password: new Secret('') };
/** What openstacksdk calls the words that cannot be done without. */
const USUAL: Readonly<Record<string, string>> = {
  url: 'auth_url', username: 'username', password: 'password', project: 'project_name',
  applicationCredentialId: 'application_credential_id', applicationCredentialSecret: 'application_credential_secret',
} satisfies { readonly [Word in keyof AuthWords]?: string };

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
