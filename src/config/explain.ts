/**
 * The effective configuration as rows: every key in the file's words, its value as the file would say it, and where
 * the value comes from. Secrets show as `***`.
 */
import { Secret } from './config.ts';
import type { Config } from './config.ts';
import type { Loaded } from './load.ts';
import { formatDuration, formatSize } from './quantity.ts';
import { clustersInWords } from './explain-clusters.ts';
import { storageInWords } from './explain-storage.ts';

export type Origin =
  | { readonly kind: 'default' }
  | ({ readonly kind: 'file' } & Written)
  /** The file refers to these environment variables. */
  | ({ readonly kind: 'environment'; readonly variables: readonly string[] } & Written)
  /** The environment itself says it, in words of OpenStack or AWS. */
  | { readonly kind: 'variable'; readonly variable: string }
  | { readonly kind: 'cloud'; readonly cloud: string; readonly path: string }
  /** The file names a file that holds the value. */
  | ({ readonly kind: 'contents'; readonly path: string } & Written);

interface Written {
  readonly file: string;
  readonly line: number;
}

/** In the file's units; null where nothing is set, `{}` or `[]` where nothing is in it. */
export type Value = string | number | boolean | null | readonly string[] | Readonly<Record<string, never>>;

export interface Row {
  /** As in the file: `upstreams.docker.io.ttl`. */
  readonly key: string;
  readonly value: Value;
  readonly origin: Origin;
  /** Why the value is what it is, where its origin does not tell. */
  readonly note: string | undefined;
}

export function explain({ config, file, document: { places }, contents, elsewhere, notes }: Loaded): readonly Row[] {
  return flatten(inWords(config)).map(([key, value]): Row => {
    const place = places.get(key) ?? places.get(`${key}File`);
    const variables = [...places].flatMap(([other, { variables: names }]) => (other === key || other.startsWith(`${key}[`) ? names : []));
    const path = contents.get(key);
    return { key, value, origin: originOf(), note: notes.get(key) };

    function originOf(): Origin {
      if (file === undefined || place === undefined) return elsewhere.get(key) ?? { kind: 'default' };
      const written = { file, line: place.line };
      if (path !== undefined) return { kind: 'contents', path, ...written };
      return variables.length > 0 ? { kind: 'environment', variables, ...written } : { kind: 'file', ...written };
    }
  });
}

/** `environment variable HUB_USER (umbra.yaml:12)`. */
export function formatOrigin(origin: Origin): string {
  if (origin.kind === 'default') return 'default';
  if (origin.kind === 'variable') return `environment variable ${origin.variable}`;
  if (origin.kind === 'cloud') return `cloud ${origin.cloud} in ${origin.path}`;
  const written = `${origin.file}:${origin.line}`;
  if (origin.kind === 'contents') return `file ${origin.path} (${written})`;
  if (origin.kind === 'file') return written;
  return `environment variable${origin.variables.length > 1 ? 's' : ''} ${origin.variables.join(', ')} (${written})`;
}

export function formatValue(value: Value): string {
  if (value === null) return '(not set)';
  if (typeof value !== 'object') return String(value);
  return Array.isArray(value) ? `[${value.join(', ')}]` : '{}';
}

/** A configuration as a file would say it, with nothing left out; what it says means the same when it is loaded. */
export function inWords({
  workers,
  listeners,
  proxyCa,
  trustedProxies,
  storage,
  upstreamStorage,
  coordination,
  views,
  tagStalenessMs,
  tagExpiryMs,
  upstreams,
  fillDetachedMs,
  readOnly,
  auth,
  limits,
  clusters,
  node,
}: Config): Words {
  return {
    workers,
    listeners: listeners.map(({ address, publicUrl, tls, view, upstream, mirror, proxy, tunnel }) => ({
      address,
      publicUrl,
      tls: tls && { cert: tls.certFile, key: tls.keyFile },
      view,
      upstream,
      mirror,
      proxy,
      tunnel,
    })),
    proxyCa: { ...proxyCa },
    trustedProxies,
    storage: storageInWords(storage),
    upstreamStorage: upstreamStorage && storageInWords(upstreamStorage),
    coordination: coordination && { ...coordination },
    views: { hostSuffix: views.hostSuffix, define: Object.fromEntries(views.define.map(({ id, parents }) => [id, { parents }])) },
    tagStaleness: formatDuration(tagStalenessMs),
    tagExpiry: tagExpiryMs === undefined ? undefined : formatDuration(tagExpiryMs),
    upstreams: Object.fromEntries(
      upstreams.map(({ host, ttlMs, negativeTtlMs, timeoutMs, url, policy, username, password, ca }) => [
        host,
        {
          url,
          policy,
          ttl: formatDuration(ttlMs),
          negativeTtl: formatDuration(negativeTtlMs),
          username,
          password,
          ca,
          timeout: formatDuration(timeoutMs),
        },
      ]),
    ),
    fillDetached: formatDuration(fillDetachedMs),
    readOnly,
    auth: {
      keyFile: auth.keyFile,
      secret: auth.secret,
      anonymous: auth.anonymous,
      users: auth.users.map((user) => ({ ...user })),
      htpasswd: auth.htpasswd,
      rules: auth.rules.map((rule) => ({ ...rule })),
      oidc: auth.oidc.map(({ issuer, audience, ca, rules }) => ({
        issuer, audience, ca,
        rules: rules.map(({ where, ...grant }) => ({ claims: Object.fromEntries(where), ...grant })),
      })),
      keystone: auth.keystone && {
        url: auth.keystone.url,
        ca: auth.keystone.ca,
        insecure: auth.keystone.insecure,
        cacheFor: formatDuration(auth.keystone.cacheForMs),
        domain: auth.keystone.domain,
        rules: auth.keystone.rules.map(({ where, ...grant }) => ({ ...Object.fromEntries(where), ...grant })),
      },
    },
    limits: {
      memory: formatSize(limits.memoryBytes),
      manifestBytes: formatSize(limits.manifestBytes),
      blobBytes: formatSize(limits.blobBytes),
      uploads: formatDuration(limits.uploadsMs),
      stall: formatDuration(limits.stallMs),
      drain: formatDuration(limits.drainMs),
    },
    clusters: clusters && clustersInWords(clusters),
    node: node && { ...node },
  };
}

export type Word = string | number | boolean | Secret | undefined;
/** What a configuration file is made of. */
export interface Words {
  readonly [key: string]: Word | readonly string[] | readonly Words[] | Words | undefined;
}

/** Down to single values and lists of text. */
function flatten(words: Words, prefix = ''): readonly (readonly [key: string, value: Value])[] {
  return Object.entries(words).flatMap(([name, value]) => {
    const key = `${prefix}${name}`;
    if (value === undefined) return [[key, null]];
    if (value instanceof Secret) return [[key, value.toString()]];
    // Whoever wants to read certificates has their file.
    if (typeof value === 'string' && value.includes('-----BEGIN')) return [[key, 'PEM text']];
    if (typeof value !== 'object') return [[key, value]];
    if (isList(value)) return isTexts(value) ? [[key, value]] : value.flatMap((item, i) => flatten(item, `${key}[${i}].`));
    return Object.keys(value).length === 0 ? [[key, {}]] : flatten(value, `${key}.`);
  });
}

function isList(value: Words | readonly string[] | readonly Words[]): value is readonly string[] | readonly Words[] {
  return Array.isArray(value);
}

function isTexts(list: readonly string[] | readonly Words[]): list is readonly string[] {
  return typeof list[0] !== 'object';
}
