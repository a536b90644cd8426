/**
 * Settings become the effective configuration: paths, secrets out of files, and the defaults that depend on other
 * values. Reads the files that the settings name and reports what is wrong with them; checks between values are
 * `checks.ts`.
 */
import { resolve as resolvePath } from 'node:path';
import type { ViewId } from '../oci/name.ts';
import { parseAddress } from './address.ts';
import { authConfigured, checkKeyFile, checkListeners, checkRules, checkStorage, checkUpstream, checkUser, checkViews } from './checks.ts';
import type { Report } from './checks.ts';
import { Secret } from './config.ts';
import type { Config, ListenerConfig, UpstreamConfig, UserConfig } from './config.ts';
import { checkReadable, checkedCertificates, readSecretFile, readTextFile } from './files.ts';
import { formatPath } from './problem.ts';
import type { Path } from './problem.ts';
import type { ListenerSettings, Settings, UpstreamSettings, UserSettings } from './settings.ts';
import { bcryptProblem } from './words.ts';
import type { ProblemOf } from './words.ts';

export interface Machine {
  /** What relative paths are relative to. */
  readonly folder: string;
  readonly processors: number;
}

export interface Resolved {
  /** Complete and consistent only where nothing was reported. */
  readonly config: Config;
  /** The files that values were read from, by key. */
  readonly contents: ReadonlyMap<string, string>;
  /** Why a value is what it is, where the file does not say so; by key. */
  readonly notes: ReadonlyMap<string, string>;
}

const DEFAULT_URLS: Readonly<Record<string, string>> = { 'docker.io': 'https://registry-1.docker.io' };

export function resolveSettings(settings: Settings, machine: Machine, report: Report): Resolved {
  const { storage, views, auth, limits } = settings;
  const files = new Files(machine.folder, report);
  const root = files.path(storage.root ?? './umbra-data');
  const keyFile = files.path(auth.keyFile);
  const configured = authConfigured(auth);

  checkListeners(settings, report);
  checkStorage(settings, report);
  checkViews(settings, report);
  checkRules(auth, report);
  if (storage.driver === 'filesystem') checkKeyFile(keyFile, root, report);

  const config: Config = {
    workers: storage.driver === 'memory' ? 1 : settings.workers === 'auto' ? machine.processors : settings.workers,
    listeners: settings.listeners.map((listener, i) => resolveListener(listener, ['listeners', i], files)),
    trustedProxies: settings.trustedProxies,
    storage: storage.driver === 'memory' ? { driver: 'memory' } : { driver: 'filesystem', root },
    upstreamStorage: undefined,
    coordination: undefined,
    views: {
      hostSuffix: views.hostSuffix,
      define: Object.entries(views.define).map(([id, { parents }]) => ({ id: id as ViewId, parents })), // the schema checked the keys
    },
    tagStalenessMs: settings.tagStaleness,
    upstreams: Object.entries(settings.upstreams).map(([host, upstream]) =>
      resolveUpstream(host, upstream, ['upstreams', host], files, report),
    ),
    fillDetachedMs: settings.fillDetached,
    auth: {
      configured,
      keyFile,
      anonymous: auth.anonymous ?? (configured ? 'pull' : 'push'),
      users: (auth.users ?? []).map((user, i, all) => {
        checkUser(['auth', 'users', i], user, all.slice(0, i), report);
        return resolveUser(user, ['auth', 'users', i], files);
      }),
      htpasswd: files.readable(auth.htpasswd, ['auth', 'htpasswd']),
      rules: (auth.rules ?? []).map(({ who, names, views: where, may }) => ({ who, names, views: where, may })),
    },
    limits: {
      memoryBytes: limits.memory,
      manifestBytes: limits.manifestBytes,
      blobBytes: limits.blobBytes,
      uploadsMs: limits.uploads,
      stallMs: limits.stall,
      drainMs: limits.drain,
    },
  };
  return { config, contents: files.contents, notes: notesOf(settings, machine, configured) };
}

function resolveListener({ address, publicUrl, tls, view, upstream, mirror }: ListenerSettings, at: Path, files: Files): ListenerConfig {
  return {
    address,
    binds: parseAddress(address) ?? [],
    publicUrl: publicUrl === undefined ? undefined : new URL(publicUrl).origin,
    tls: tls && { certFile: files.required(tls.cert, [...at, 'tls', 'cert']), keyFile: files.required(tls.key, [...at, 'tls', 'key']) },
    view,
    upstream,
    mirror,
  };
}

function resolveUpstream(host: string, upstream: UpstreamSettings, at: Path, files: Files, report: Report): UpstreamConfig {
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

function resolveUser({ name, access, ...user }: UserSettings, at: Path, files: Files): UserConfig {
  return {
    name,
    password: files.secret(user.password, user.passwordFile, at, 'password'),
    passwordHash: files.secret(user.passwordHash, user.passwordHashFile, at, 'passwordHash', bcryptProblem),
    access,
  };
}

function notesOf({ workers, storage, auth }: Settings, { processors }: Machine, configured: boolean): ReadonlyMap<string, string> {
  const notes = new Map<string, string>();
  if (storage.driver === 'memory') notes.set('workers', 'memory storage means one worker');
  else if (workers === 'auto') notes.set('workers', `auto, with ${processors} processors`);
  if (auth.anonymous === undefined)
    notes.set(formatPath(['auth', 'anonymous']), configured ? 'auth is configured' : 'no auth is configured');
  return notes;
}

/** Files as values of the configuration name them; what is wrong with one is reported at that value. */
class Files {
  readonly #folder: string;
  readonly #report: Report;
  readonly #contents = new Map<string, string>();

  constructor(folder: string, report: Report) {
    this.#folder = folder;
    this.#report = report;
  }

  /** What was read, by the key of the value. */
  get contents(): ReadonlyMap<string, string> {
    return this.#contents;
  }

  path(text: string): string {
    return resolvePath(this.#folder, text);
  }

  required(text: string, at: Path): string {
    const path = this.path(text);
    this.#try(at, () => checkReadable(path));
    return path;
  }

  readable(text: string | undefined, at: Path): string | undefined {
    return text === undefined ? undefined : this.required(text, at);
  }

  /** A secret that stands in the file, or in the file that `<key>File` names. */
  secret(
    text: string | undefined,
    file: string | undefined,
    at: Path,
    key: string,
    problemOf: ProblemOf = () => undefined,
  ): Secret | undefined {
    if (file === undefined) return text === undefined ? undefined : new Secret(text);
    const path = this.path(file);
    this.#contents.set(formatPath([...at, key]), path);
    return this.#try([...at, `${key}File`], () => {
      const secret = readSecretFile(path);
      const problem = problemOf(secret);
      if (problem !== undefined) throw new Error(`${problem} in ${path}`);
      return new Secret(secret);
    });
  }

  /** PEM text, or the path of a file that holds it. */
  certificates(text: string | undefined, at: Path): string | undefined {
    if (text === undefined) return undefined;
    if (text.includes('-----BEGIN')) return this.#try(at, () => checkedCertificates(text, 'the text'));
    const path = this.path(text);
    this.#contents.set(formatPath(at), path);
    return this.#try(at, () => checkedCertificates(readTextFile(path), path));
  }

  #try<T>(at: Path, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      this.#report(at, (error as Error).message); // files.ts throws nothing else
      return undefined;
    }
  }
}
