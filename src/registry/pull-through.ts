/**
 * The upstream view, filled on demand: manifests are asked for when stale, blobs when somebody wants them
 * (DESIGN section 4, `proxy`). Everything that comes from an upstream is stored by this file and no other.
 */
import { LRUCache } from 'lru-cache';
import { bytesMissing, type Blobs, type Stored } from '../content/blobs.ts';
import type { Content } from '../content/content.ts';
import { uploadReference, type Generation, type Repo } from '../content/keys.ts';
import type { Driver } from '../drivers/driver.ts';
import { isDriverError } from '../drivers/driver.ts';
import type { Digest } from '../oci/digest.ts';
import { hasCode, RegistryError } from '../oci/errors.ts';
import { readManifest, type ManifestFacts } from '../oci/manifest.ts';
import { hostOf, pathOf, type Name } from '../oci/name.ts';
import type { FillJob, FillReader, Fills } from '../upstream/fill.ts';
import type { RemoteManifest, Upstream } from '../upstream/upstream.ts';
import type { View } from '../views/views.ts';
import { warning, type Asker, type CacheState } from './answer.ts';

/** A manifest as upstream has it, stored or (where the store is full) in memory only. */
export interface CachedManifest {
  readonly digest: Digest;
  readonly facts: ManifestFacts;
  readonly bytes: Buffer;
  readonly cache: CacheState;
  /** A `Warning` header's value. */
  readonly warning?: string;
}

export interface UpstreamSettings {
  readonly ttlMs: number;
  readonly negativeTtlMs: number;
}

export interface PullThrough {
  /** `undefined`: upstream has no such tag. @throws RegistryError where nobody could be asked and nothing is kept */
  tag(name: Name, tag: string, asker: Asker): Promise<CachedManifest | undefined>;
  manifest(name: Name, digest: Digest, asker: Asker): Promise<CachedManifest | undefined>;
  /** The blob as stored in the upstream view. */
  held(name: Name, digest: Digest): Promise<Stored | undefined>;
  /** Size in bytes, without fetching. `undefined`: upstream has no such blob; `size` undefined: upstream does not say. */
  blobSize(name: Name, digest: Digest, asker: Asker): Promise<{ readonly size: number | undefined } | undefined>;
  /** A blob that is not held: linked where the store has the bytes and upstream confirms them, else a running fill. */
  blob(name: Name, digest: Digest, asker: Asker): Promise<Stored | FillReader | undefined>;
  /** Fetches and links a blob; `undefined`: upstream has none. */
  ensureBlob(name: Name, digest: Digest, size: number | undefined, asker: Asker): Promise<Stored | undefined>;
  /** Upstream's tags, believed for `ttl`. `undefined`: no such repository. */
  tags(name: Name, asker: Asker): Promise<readonly string[] | undefined>;
  /** Upstream's referrers, raw descriptors, believed for `ttl`. */
  referrers(name: Name, subject: Digest, asker: Asker): Promise<readonly unknown[] | undefined>;
}

export interface PullThroughDeps {
  readonly driver: Driver;
  readonly content: Content;
  readonly fills: Fills;
  /** The `upstream` view. */
  readonly view: View;
  /** Only hosts with the `proxy` policy are asked for. */
  readonly upstream: (host: string) => Upstream;
  readonly settings: (host: string) => UpstreamSettings;
  readonly nowMs: () => number;
}

const MAX_REMEMBERED = 10_000;
const MAX_LIST_BYTES = 8 * 1024 * 1024;
const SIZE_TTL_MS = 10 * 60_000;

export function isFillReader(found: Stored | FillReader): found is FillReader {
  return 'stream' in found;
}

export function pullThrough(deps: PullThroughDeps): PullThrough {
  const { driver, content, fills, nowMs } = deps;
  const { blobs, links, manifests } = content;
  const repoOf = (name: Name): Repo => ({ view: deps.view.uid, name });
  /** What upstream did not have, and until when that is believed; by name and reference. */
  const absent = new LRUCache<string, number>({ max: MAX_REMEMBERED });
  /** Hosts, or only questions, that got no answer, and until when they are not asked. */
  const blocks = new LRUCache<string, { readonly untilMs: number; readonly error: unknown }>({ max: MAX_REMEMBERED });
  /** Upstream's word for a size is a right to read too, so it does not hold for ever. */
  const sizes = new LRUCache<string, number>({ max: MAX_REMEMBERED, ttl: SIZE_TTL_MS });
  const lists = new LRUCache<string, { readonly untilMs: number; readonly value: readonly unknown[] | undefined }>({
    maxSize: MAX_LIST_BYTES,
    sizeCalculation: ({ value }) => 100 + JSON.stringify(value ?? null).length,
  });
  const running = new Map<string, Promise<unknown>>();

  /** One question at a time per key: those who ask meanwhile share the answer. A waiter that leaves does not end it. */
  async function once<T>(key: string, asker: Asker, work: () => Promise<T>): Promise<T> {
    let promise = running.get(key) as Promise<T> | undefined; // keys carry the kind, so the type is the same
    if (promise === undefined) {
      promise = work().finally(() => running.delete(key));
      promise.catch(() => undefined); // every waiter may have left
      running.set(key, promise);
    }
    return await abortable(promise, asker);
  }

  function isAbsent(key: string): boolean {
    const until = absent.get(key);
    return until !== undefined && nowMs() < until;
  }

  function rememberAbsent(host: string, key: string): undefined {
    absent.set(key, nowMs() + deps.settings(host).negativeTtlMs);
    return undefined;
  }

  /** Why the host, or this question, is not asked for now. */
  function blockedBy(host: string, key: string): { readonly error: unknown } | undefined {
    return [host, key].map((of) => blocks.get(of)).find((block) => block !== undefined && nowMs() < block.untilMs);
  }

  /** Asks upstream, and remembers for a while that there was no answer: of the host where it is the host's trouble, else of this question. */
  async function ask<T>(host: string, key: string, work: (upstream: Upstream) => Promise<T>): Promise<T> {
    try {
      const answer = await work(deps.upstream(host));
      blocks.delete(host);
      blocks.delete(key);
      return answer;
    } catch (error) {
      if (hasCode(error, 'UPSTREAM_FAILED', 'UPSTREAM_TIMEOUT', 'TOOMANYREQUESTS')) {
        const waitMs = Math.max(deps.settings(host).negativeTtlMs, (error.retryAfterSeconds ?? 0) * 1000);
        blocks.set(isOfHost(error) ? host : key, { untilMs: nowMs() + waitMs, error });
      }
      throw error;
    }
  }

  async function store(name: Name, got: RemoteManifest, facts: ManifestFacts, tags: readonly string[]): Promise<void> {
    try {
      await manifests.commit({
        repo: repoOf(name), digest: got.digest, bytes: got.bytes, facts, tags, checkedMs: nowMs(),
        blobs: [], children: [], absent: [...facts.blobs, ...facts.manifests].map((d) => d.digest),
      });
    } catch (error) {
      unlessFull(undefined)(error);
    }
  }

  async function fetchManifest(name: Name, reference: string, tags: readonly string[]): Promise<CachedManifest | undefined> {
    const got = await ask(hostOf(name), `${name}:${reference}`, (upstream) => upstream.getManifest(pathOf(name), reference));
    if (got === undefined) return undefined;
    const facts = upstreamFacts(got, name);
    await store(name, got, facts, tags);
    return { digest: got.digest, facts, bytes: got.bytes, cache: 'fill' };
  }

  async function askForTag(name: Name, tag: string): Promise<CachedManifest | undefined> {
    const host = hostOf(name);
    const repo = repoOf(name);
    const head = await ask(host, `${name}:${tag}`, (upstream) => upstream.headManifest(pathOf(name), tag));
    // What is kept stays, for when nobody can be asked: a refusal may be a mistake of ours or of theirs.
    if (head === undefined) return rememberAbsent(host, `${name}:${tag}`);
    if (head.digest !== undefined) {
      const kept = await keptManifest(repo, head.digest);
      if (kept !== undefined) {
        await retag(repo, tag, head.digest);
        return { ...kept, cache: 'revalidated' };
      }
    }
    return (await fetchManifest(name, head.digest ?? tag, [tag])) ?? rememberAbsent(host, `${name}:${tag}`);
  }

  /** Bytes that a loss of power took are no reason to fail: upstream has them. */
  async function keptManifest(repo: Repo, digest: Digest): Promise<Omit<CachedManifest, 'cache'> | undefined> {
    const record = await manifests.find(repo, digest);
    if (record === undefined) return undefined;
    try {
      return { digest, facts: record, bytes: await manifests.bytes(repo, digest, record) };
    } catch (error) {
      if (hasCode(error, 'UNAVAILABLE')) return undefined;
      throw error;
    }
  }

  /** The tag was looked at just now, and names this manifest, which is here. Losing this note costs one question. */
  async function retag(repo: Repo, tag: string, digest: Digest): Promise<void> {
    const record = await manifests.find(repo, digest);
    if (record === undefined) return;
    const now = nowMs();
    const { incarnation, mediaType, size } = record;
    await content.tags.write(repo, tag, { digest, incarnation, mediaType, size, taggedMs: now, after: 0, checkedMs: now }).catch((error: unknown) => {
      if (!isDriverError(error, 'full', 'retryable')) throw error;
    });
  }

  function job(name: Name, digest: Digest, size: number | undefined): FillJob {
    const host = hostOf(name);
    const repo = repoOf(name);
    return {
      digest, size,
      origin: name,
      stored: async () => {
        const link = await links.find(repo, digest);
        return link === undefined ? undefined : (await links.open(repo, digest, link)).source;
      },
      published: async (id, bytes) => {
        const found = await blobs.open(digest, id as Generation, bytes); // a fill's id names the generation
        if (found === undefined) throw bytesMissing(digest, repo);
        return found.source;
      },
      download: (start, signal) => deps.upstream(host).getBlob(pathOf(name), digest, { start, signal }),
      publish: (id, state, bytes) => publish(repo, digest, id as Generation, state, bytes),
    };
  }

  async function publish(repo: Repo, digest: Digest, id: Generation, state: Parameters<Blobs['store']>[2], size: number): Promise<void> {
    await blobs.reference(digest, repo, uploadReference(id));
    const shared = await blobs.shareable(digest, size);
    if (shared === undefined) await blobs.store(digest, id, state);
    else await driver.assemblies.discard(state);
    await links.ensure(repo, digest, shared ?? { generation: id, size });
  }

  /**
   * Upstream is asked for the blob under this very name first, since bytes in the store, or a fill that another name
   * began, give no right by themselves. Bytes that are here already are then linked.
   */
  async function confirm(name: Name, digest: Digest, asker: Asker): Promise<{ readonly size: number | undefined; readonly stored: Stored | undefined } | undefined> {
    const remote = await remoteSize(name, digest, asker);
    if (remote === undefined) return undefined;
    // Anything may answer 200 to a HEAD: only one that knows the size is believed to know the blob.
    const shared = remote.size === undefined ? undefined : await blobs.shareable(digest, remote.size);
    const usable = shared !== undefined && (await content.uploads.mount(repoOf(name), digest, shared).catch(unlessFull(true)));
    return { size: remote.size, stored: usable ? shared : undefined };
  }

  async function remoteSize(name: Name, digest: Digest, asker: Asker): Promise<{ size: number | undefined } | undefined> {
    const key = `${name}@${digest}`;
    const known = sizes.get(key);
    if (known !== undefined) return { size: known };
    if (isAbsent(key)) return undefined;
    const found = await once(`head ${key}`, asker, () => ask(hostOf(name), key, (upstream) => upstream.headBlob(pathOf(name), digest)));
    if (found === undefined) return rememberAbsent(hostOf(name), key);
    if (found.size !== undefined) sizes.set(key, found.size);
    return found;
  }

  async function list(key: string, name: Name, asker: Asker, work: (upstream: Upstream) => Promise<readonly unknown[] | undefined>): Promise<readonly unknown[] | undefined> {
    const held = lists.get(key);
    if (held !== undefined && nowMs() < held.untilMs) return held.value;
    const host = hostOf(name);
    const blocked = blockedBy(host, key);
    if (blocked !== undefined) throw blocked.error;
    return await once(key, asker, async () => {
      const value = await ask(host, key, work);
      const { ttlMs, negativeTtlMs } = deps.settings(host);
      lists.set(key, { untilMs: nowMs() + (value === undefined ? negativeTtlMs : ttlMs), value });
      return value;
    });
  }

  return {
    async tag(name, tag, asker) {
      const repo = repoOf(name);
      const host = hostOf(name);
      const found = await manifests.tagged(repo, tag);
      const whole = found === undefined ? undefined : await keptManifest(repo, found.tag.digest);
      const kept = whole === undefined ? undefined : { ...whole, cache: 'hit' as const };
      if (kept !== undefined && nowMs() - (found?.tag.checkedMs ?? 0) < deps.settings(host).ttlMs) return kept;
      if (isAbsent(`${name}:${tag}`)) return undefined;
      const stale = (error: unknown): CachedManifest => {
        if (kept === undefined) throw error;
        return { ...kept, cache: 'stale', warning: warning(`${host} could not be asked; this is what it had ${age(nowMs() - (found?.tag.checkedMs ?? 0))} ago`) };
      };
      // What upstream has by now could not be kept, nor its blobs: what is here is whole.
      if (kept !== undefined && content.isAway()) return { ...kept, cache: 'stale' };
      const blocked = blockedBy(host, `${name}:${tag}`);
      if (kept !== undefined && blocked !== undefined) return stale(blocked.error);
      try {
        return await once(`tag ${name}:${tag}`, asker, () => askForTag(name, tag));
      } catch (error) {
        if (!hasCode(error, 'UPSTREAM_FAILED', 'UPSTREAM_TIMEOUT', 'TOOMANYREQUESTS')) throw error;
        return stale(error);
      }
    },

    async manifest(name, digest, asker) {
      const repo = repoOf(name);
      const kept = await keptManifest(repo, digest);
      if (kept !== undefined) return { ...kept, cache: 'hit' };
      const key = `${name}@${digest}`;
      if (isAbsent(key)) return undefined;
      const got = await once(`manifest ${key}`, asker, () => fetchManifest(name, digest, []));
      return got ?? rememberAbsent(hostOf(name), key);
    },

    async held(name, digest) {
      return await links.find(repoOf(name), digest);
    },

    async blobSize(name, digest, asker) {
      const held = await links.find(repoOf(name), digest);
      if (held !== undefined) return held;
      return blockedBy(hostOf(name), `${name}@${digest}`) === undefined ? await remoteSize(name, digest, asker) : undefined;
    },

    async blob(name, digest, asker) {
      const confirmed = await confirm(name, digest, asker);
      if (confirmed === undefined) return undefined;
      if (confirmed.stored !== undefined) return confirmed.stored;
      const reader = await fills.open(job(name, digest, confirmed.size), asker.signal);
      return reader ?? rememberAbsent(hostOf(name), `${name}@${digest}`);
    },

    async ensureBlob(name, digest, size, asker) {
      const held = await links.find(repoOf(name), digest);
      if (held !== undefined && (await blobs.holds(digest, held))) return held;
      const confirmed = await confirm(name, digest, asker);
      if (confirmed === undefined || confirmed.stored !== undefined) return confirmed?.stored;
      if (!(await fills.complete(job(name, digest, confirmed.size ?? size), asker.signal))) return undefined;
      // Another name may have led the fill: then only that one has the link, and ours is made now.
      return (await links.find(repoOf(name), digest)) ?? (await confirm(name, digest, asker))?.stored;
    },

    async tags(name, asker) {
      const found = await list(`tags ${name}`, name, asker, (upstream) => upstream.listTags(pathOf(name)));
      return found as readonly string[] | undefined; // as listTags gives
    },

    async referrers(name, subject, asker) {
      return await list(`referrers ${name}@${subject}`, name, asker, (upstream) => upstream.listReferrers(pathOf(name), subject));
    },
  };
}

/** No connection, no answer in time, or told to wait: whatever is asked next would fare the same. A bad answer to one question is not that. */
function isOfHost(error: RegistryError): boolean {
  const { cause } = error;
  const broken = typeof cause === 'object' && cause !== null && 'code' in cause && typeof cause.code === 'string' && !(cause instanceof RegistryError);
  return error.code === 'TOOMANYREQUESTS' || error.code === 'UPSTREAM_TIMEOUT' || error.retryAfterSeconds !== undefined || broken;
}

/** A full store must not fail a pull: what cannot be written down goes out all the same. */
function unlessFull<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (!isDriverError(error, 'full')) throw error;
    return instead;
  };
}

/** An upstream manifest that does not parse is still passed on byte for byte; it then holds nothing. */
function upstreamFacts(got: RemoteManifest, name: Name): ManifestFacts {
  try {
    return readManifest(got.bytes, got.mediaType);
  } catch (error) {
    throw new RegistryError('UPSTREAM_FAILED', `${hostOf(name)} answered ${pathOf(name)} with something that is no manifest: ${error instanceof Error ? error.message : 'unreadable'}`, { cause: error });
  }
}

/** Waits for `promise` as long as the asker does; the work itself goes on. */
async function abortable<T>(promise: Promise<T>, { signal }: Asker): Promise<T> {
  signal.throwIfAborted();
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error /* AbortSignal's own */);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}

function age(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} seconds`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} minutes`;
  return `${Math.round(seconds / 3600)} hours`;
}

