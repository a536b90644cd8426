/**
 * Settings become the effective configuration: paths, secrets out of files, and the defaults that depend on other
 * values. Reads the files that the settings name and reports what is wrong with them; checks between values are
 * `checks.ts`.
 */
import type { ViewId } from '../oci/name.ts';
import { parseAddress } from './address.ts';
import { authConfigured, checkListeners, checkOidc, checkRules, checkUpstream, checkUser, checkViews } from './checks.ts';
import type { Report } from './checks.ts';
import type { Config, KeystoneConfig, ListenerConfig, Secret, StorageConfig, UpstreamConfig, UserConfig } from './config.ts';
import { NamedFiles } from './named-files.ts';
import { formatPath } from './problem.ts';
import type { Path } from './problem.ts';
import type { KeystoneSettings, ListenerSettings, Settings, StorageSettings, UpstreamSettings, UserSettings } from './settings.ts';
import { pushUsersFile, resolveNode } from './node-schema.ts';
import { resolveClusters } from './resolve-clusters.ts';
import { resolveStorage } from './resolve-storage.ts';
import type { Elsewhere, Given } from './resolve-storage.ts';
import { checkKeyFile, checkStorage, checkTwoStores } from './storage-checks.ts';
import type { Environment } from './substitution.ts';
import { bcryptProblem, postgresUrlProblem } from './words.ts';

export interface Machine {
  /** What relative paths are relative to. */
  readonly folder: string;
  readonly processors: number;
  /** Where the process stands, for what OpenStack's tools look for there. */
  readonly cwd: string;
  readonly env: Environment;
  /** YAML 1.1, of other programs' files. */
  readonly parseYaml: (text: string) => unknown;
}

export interface Resolved {
  /** Complete and consistent only where nothing was reported. */
  readonly config: Config;
  /** The files that values were read from, by key. */
  readonly contents: ReadonlyMap<string, string>;
  /** Values that come from neither the file nor a file that it names; by key. */
  readonly elsewhere: ReadonlyMap<string, Elsewhere>;
  /** Why a value is what it is, where the file does not say so; by key. */
  readonly notes: ReadonlyMap<string, string>;
}

const DEFAULT_URLS: Readonly<Record<string, string>> = { 'docker.io': 'https://registry-1.docker.io' };

export function resolveSettings(settings: Settings, machine: Machine, report: Report): Resolved {
  const { views, auth, limits } = settings;
  const files = new NamedFiles(machine.folder, report);
  const elsewhere = new Map<string, Elsewhere>();
  const given: Given = { files, machine, report, elsewhere };
  const storage = resolveStore(settings.storage, 'storage', given);
  const upstreamStorage = settings.upstreamStorage && resolveStore(settings.upstreamStorage, 'upstreamStorage', given);
  const keyFile = files.path(auth.keyFile);
  const proxyCa = resolveProxyCa(settings.proxyCa, keyFile, files);
  const configured = authConfigured(auth);
  const node = settings.node && resolveNode(settings.node, files);

  checkListeners(settings, report);
  checkViews(settings, report);
  checkRules(auth, report);
  checkOidc(auth, report);
  const secret = resolveSecret(auth, files, report);
  const usesKeyFile = auth.secret === undefined && auth.secretFile === undefined;
  for (const one of [storage, upstreamStorage]) {
    if (one === undefined) continue;
    if (usesKeyFile) checkKeyFile(['auth', 'keyFile'], keyFile, one, report);
    // The default is beside the other.
    if (settings.proxyCa !== undefined || (!usesKeyFile && settings.listeners.some(({ proxy }) => proxy))) checkKeyFile(['proxyCa', 'keyFile'], proxyCa.keyFile, one, report);
  }
  if (upstreamStorage !== undefined) checkTwoStores(storage, upstreamStorage, report);
  // Processes share no memory.
  const alone = storage.driver === 'memory' || upstreamStorage?.driver === 'memory';

  const config: Config = {
    workers: alone ? 1 : settings.workers === 'auto' ? machine.processors : settings.workers,
    listeners: settings.listeners.map((listener, i) => resolveListener(listener, ['listeners', i], files)),
    proxyCa,
    trustedProxies: settings.trustedProxies,
    storage,
    upstreamStorage,
    coordination: resolveCoordination(settings.coordination, files, report),
    views: {
      hostSuffix: views.hostSuffix,
      define: Object.entries(views.define).map(([id, { parents }]) => ({ id: id as ViewId, parents })), // the schema checked the keys
    },
    tagStalenessMs: settings.tagStaleness,
    tagExpiryMs: settings.tagExpiry,
    upstreams: Object.entries(settings.upstreams).map(([host, upstream]) =>
      resolveUpstream(host, upstream, ['upstreams', host], files, report),
    ),
    fillDetachedMs: settings.fillDetached,
    readOnly: settings.readOnly,
    auth: {
      configured,
      keyFile,
      secret,
      anonymous: auth.anonymous ?? (configured ? 'pull' : 'push'),
      users: (auth.users ?? []).map((user, i, all) => {
        checkUser(['auth', 'users', i], user, all.slice(0, i), report);
        return resolveUser(user, ['auth', 'users', i], files);
      }),
      htpasswd: resolveHtpasswd(auth, node, files),
      rules: (auth.rules ?? []).map(({ who, names, views: where, may }) => ({ who, names, views: where, may })),
      oidc: (auth.oidc ?? []).map(({ issuer, audience, ca, rules }, i) => ({
        issuer, audience,
        ca: files.certificates(ca, ['auth', 'oidc', i, 'ca']),
        rules: rules.map(({ claims, names, views: where, may }) => ({ where: new Map(Object.entries(claims)), names, views: where, may })),
      })),
      keystone: auth.keystone && resolveKeystone(auth.keystone, files),
    },
    limits: {
      memoryBytes: limits.memory,
      manifestBytes: limits.manifestBytes,
      blobBytes: limits.blobBytes,
      uploadsMs: limits.uploads,
      stallMs: limits.stall,
      drainMs: limits.drain,
    },
    clusters: settings.clusters && resolveClusters(settings.clusters, settings, files, report),
    node,
  };
  return { config, contents: files.contents, elsewhere, notes: notesOf(settings, machine, { configured, alone }) };
}

export function resolveStore(settings: StorageSettings, key: 'storage' | 'upstreamStorage', given: Given): StorageConfig {
  checkStorage([key], settings, given.report);
  return resolveStorage(settings, [key], given);
}

/** Not set: beside the key that signs tokens, which is likewise made here and kept out of the storage. */
function resolveProxyCa(proxyCa: Settings['proxyCa'], keyFile: string, files: NamedFiles): Config['proxyCa'] {
  const beside = keyFile.replace(/\.key$/, '');
  return proxyCa === undefined
    ? { certFile: `${beside}.ca.pem`, keyFile: `${beside}.ca.key` }
    : { certFile: files.path(proxyCa.certFile), keyFile: files.path(proxyCa.keyFile) };
}

function resolveCoordination(coordination: Settings['coordination'], files: NamedFiles, report: Report): Config['coordination'] {
  if (coordination === undefined) return undefined;
  const { driver, url, urlFile } = coordination;
  if (url !== undefined && urlFile !== undefined) report(['coordination', 'urlFile'], 'expected url or urlFile, got both');
  if (url === undefined && urlFile === undefined) report(['coordination', 'url'], 'missing: where the database is (or urlFile)');
  const secret = files.secret(url, urlFile, ['coordination'], 'url', postgresUrlProblem);
  return secret && { driver, url: secret };
}

function resolveSecret({ secret, secretFile }: Settings['auth'], files: NamedFiles, report: Report): Secret | undefined {
  if (secret !== undefined && secretFile !== undefined) report(['auth', 'secretFile'], 'expected secret or secretFile, got both');
  return files.secret(secret, secretFile, ['auth'], 'secret');
}

/** That of a node is made before anything reads it. */
function resolveHtpasswd({ htpasswd }: Settings['auth'], node: Config['node'], files: NamedFiles): string | undefined {
  const made = node && pushUsersFile(node);
  if (made !== undefined && (htpasswd === undefined || files.path(htpasswd) === made)) return made;
  return files.readable(htpasswd, ['auth', 'htpasswd']);
}

function resolveListener({ address, publicUrl, tls, view, upstream, mirror, proxy, tunnel }: ListenerSettings, at: Path, files: NamedFiles): ListenerConfig {
  return {
    address,
    binds: parseAddress(address) ?? [],
    publicUrl: publicUrl === undefined ? undefined : new URL(publicUrl).origin,
    tls: tls && { certFile: files.required(tls.cert, [...at, 'tls', 'cert']), keyFile: files.required(tls.key, [...at, 'tls', 'key']) },
    view,
    upstream,
    mirror,
    proxy,
    tunnel,
  };
}

function resolveUpstream(host: string, upstream: UpstreamSettings, at: Path, files: NamedFiles, report: Report): UpstreamConfig {
  checkUpstream(at, upstream, report);
  return {
    host,
    url: (upstream.url ?? DEFAULT_URLS[host] ?? `https://${host}`).replace(/\/+$/, ''),
    policy: upstream.policy,
    ttlMs: upstream.ttl,
    negativeTtlMs: upstream.negativeTtl,
    username: upstream.username,
    password: files.secret(upstream.password, upstream.passwordFile, at, 'password'),
    ca: files.certificates(upstream.ca, [...at, 'ca']),
    timeoutMs: upstream.timeout,
  };
}

function resolveUser({ name, access, ...user }: UserSettings, at: Path, files: NamedFiles): UserConfig {
  return {
    name,
    password: files.secret(user.password, user.passwordFile, at, 'password'),
    passwordHash: files.secret(user.passwordHash, user.passwordHashFile, at, 'passwordHash', bcryptProblem),
    access,
  };
}

/**
 * A name is unique in its domain only, and whoever administers another domain can make users and projects of any name there:
 * a rule that names no domain means the usual one.
 */
function resolveKeystone({ url, ca, insecure, cacheFor, domain, rules }: KeystoneSettings, files: NamedFiles): KeystoneConfig {
  return {
    url, insecure, domain,
    ca: files.certificates(ca, ['auth', 'keystone', 'ca']),
    cacheForMs: cacheFor,
    rules: rules.map(({ names, views, may, ...said }) => {
      const inProject = said.project !== undefined || said.role !== undefined;
      const where = { ...said, domain: said.domain ?? [domain], projectDomain: said.projectDomain ?? (inProject ? [domain] : undefined) };
      return { where: new Map(Object.entries(where).filter((entry): entry is [string, string[]] => entry[1] !== undefined)), names, views, may };
    }),
  };
}

function notesOf(
  { workers, auth }: Settings,
  { processors }: Machine,
  { configured, alone }: { readonly configured: boolean; readonly alone: boolean },
): ReadonlyMap<string, string> {
  const notes = new Map<string, string>();
  if (alone) notes.set('workers', 'memory storage means one worker');
  else if (workers === 'auto') notes.set('workers', `auto, with ${processors} processors`);
  if (auth.secret !== undefined || auth.secretFile !== undefined) notes.set(formatPath(['auth', 'keyFile']), 'not used: auth.secret is set');
  if (auth.anonymous === undefined)
    notes.set(formatPath(['auth', 'anonymous']), configured ? 'auth is configured' : 'no auth is configured');
  return notes;
}
