/**
 * The effective configuration as rows: every key in the file's words, its value as the file would say it, and where
 * the value comes from. Secrets show as `***`.
 */
import { Secret } from './config.ts';
import type { Config } from './config.ts';
import type { Loaded } from './load.ts';
import { formatDuration, formatSize } from './quantity.ts';

export type Origin =
  | { readonly kind: 'default' }
  | ({ readonly kind: 'file' } & Written)
  /** The file refers to these environment variables. */
  | ({ readonly kind: 'environment'; readonly variables: readonly string[] } & Written)
  /** The file names a file that holds the value. */
  | ({ readonly kind: 'contents'; readonly path: string } & Written);

interface Written {
  readonly file: string;
  readonly line: number;
}

export interface Row {
  /** As in the file: `upstreams.docker.io.ttl`. */
  readonly key: string;
  /** In the file's units; null where nothing is set. */
  readonly value: unknown;
  readonly origin: Origin;
  /** Why the value is what it is, where its origin does not tell. */
  readonly note: string | undefined;
}

export function explain({ config, file, places, contents, notes }: Loaded): readonly Row[] {
  return flatten(inWords(config)).map(([key, value]): Row => {
    const place = places.get(key) ?? places.get(`${key}File`);
    const variables = [...places].flatMap(([other, { variables: names }]) => (other === key || other.startsWith(`${key}[`) ? names : []));
    const path = contents.get(key);
    return { key, value, origin: originOf(), note: notes.get(key) };

    function originOf(): Origin {
      if (file === undefined || place === undefined) return { kind: 'default' };
      const written = { file, line: place.line };
      if (path !== undefined) return { kind: 'contents', path, ...written };
      return variables.length > 0 ? { kind: 'environment', variables, ...written } : { kind: 'file', ...written };
    }
  });
}

/** `environment variable HUB_USER (umbra.yaml:12)`. */
export function formatOrigin(origin: Origin): string {
  if (origin.kind === 'default') return 'default';
  const written = `${origin.file}:${origin.line}`;
  if (origin.kind === 'contents') return `file ${origin.path} (${written})`;
  if (origin.kind === 'file') return written;
  return `environment variable${origin.variables.length > 1 ? 's' : ''} ${origin.variables.join(', ')} (${written})`;
}

export function formatValue(value: unknown): string {
  if (value === null) return '(not set)';
  if (Array.isArray(value)) return `[${value.join(', ')}]`;
  return typeof value === 'object' ? '{}' : String(value);
}

/** A configuration as a file would say it, with nothing left out; what it says means the same when it is loaded. */
export function inWords({ workers, listeners, trustedProxies, storage, views, tagStalenessMs, upstreams, fillDetachedMs, auth, limits }: Config): object {
  return {
    workers,
    listeners: listeners.map(({ address, publicUrl, tls, view, upstream, mirror }) => ({
      address,
      publicUrl,
      tls: tls && { cert: tls.certFile, key: tls.keyFile },
      view,
      upstream,
      mirror,
    })),
    trustedProxies,
    storage,
    views: { hostSuffix: views.hostSuffix, define: Object.fromEntries(views.define.map(({ id, parents }) => [id, { parents }])) },
    tagStaleness: formatDuration(tagStalenessMs),
    upstreams: Object.fromEntries(
      upstreams.map(({ host, ttlMs, negativeTtlMs, timeoutMs, url, policy, username, password, ca }) => [
        host,
        { url, policy, ttl: formatDuration(ttlMs), negativeTtl: formatDuration(negativeTtlMs), username, password, ca: ca && 'PEM text', timeout: formatDuration(timeoutMs) },
      ]),
    ),
    fillDetached: formatDuration(fillDetachedMs),
    auth: { keyFile: auth.keyFile, anonymous: auth.anonymous, users: auth.users, htpasswd: auth.htpasswd, rules: auth.rules },
    limits: {
      memory: formatSize(limits.memoryBytes),
      manifestBytes: formatSize(limits.manifestBytes),
      blobBytes: formatSize(limits.blobBytes),
      uploads: formatDuration(limits.uploadsMs),
      stall: formatDuration(limits.stallMs),
      drain: formatDuration(limits.drainMs),
    },
  };
}

/** Down to single values and lists of them. */
function flatten(value: unknown, key = ''): readonly (readonly [string, unknown])[] {
  if (value === undefined) return [[key, null]];
  if (value instanceof Secret) return [[key, value.toString()]];
  if (Array.isArray(value)) {
    const maps = value.some((item) => typeof item === 'object');
    return maps ? value.flatMap((item, i) => flatten(item, `${key}[${i}]`)) : [[key, value]];
  }
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return [[key, value]];
  return Object.entries(value).flatMap(([name, child]) => flatten(child, key === '' ? name : `${key}.${name}`));
}
