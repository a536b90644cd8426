/** The client of one remote registry: the endpoints of the distribution API that a pull needs, over `requests.ts`. */
import type { UpstreamConfig } from '../config/config.ts';
import { algorithmOf, hexOf, type Digest } from '../oci/digest.ts';
import { ACCEPT_MANIFESTS } from '../oci/manifest.ts';
import { readReferrers, readTags } from './lists.ts';
import type { Environment } from './proxy.ts';
import { readRemoteBlob } from './remote-blob.ts';
import { lengthOf, readManifestHead, readRemoteManifest } from './remote-manifest.ts';
import { requests, type Question, type UpstreamObserver } from './requests.ts';
import { transport } from './transport.ts';
import type { RemoteManifest, Upstream } from './upstream.ts';

export interface UpstreamDeps {
  /** Milliseconds since the epoch. */
  readonly nowMs: () => number;
  /** Names the proxy: HTTPS_PROXY, HTTP_PROXY, NO_PROXY. */
  readonly env: Environment;
  /** Ours, for User-Agent. */
  readonly version: string;
  /** The largest manifest taken. */
  readonly manifestBytes: number;
  readonly observe: UpstreamObserver;
}

/** A list may take this many times the upstream's `timeout`, all pages together. */
const LIST_TIMEOUTS = 6;
/** "The tag is the digest with `:` replaced, the encoded part truncated to 64" (spec, "Referrers tag schema"). */
const FALLBACK_HEX = 64;

export function upstreamClient(config: UpstreamConfig, deps: UpstreamDeps): Upstream {
  const { host } = config;
  const wire = transport({ ca: config.ca, timeoutMs: config.timeoutMs, userAgent: `umbra/${deps.version}`, env: deps.env });
  const registry = requests(config, { transport: wire, nowMs: deps.nowMs, observe: deps.observe });

  function manifestQuestion(method: 'GET' | 'HEAD', path: string, reference: string): Question {
    return { kind: 'manifest', method, path, target: `${path}/manifests/${reference}`, headers: { accept: ACCEPT_MANIFESTS } };
  }

  function manifestName(path: string, reference: string): string {
    return `manifest ${path}${reference.includes(':') ? '@' : ':'}${reference} of upstream ${host}`;
  }

  async function fetchManifest(path: string, reference: string, signal: AbortSignal): Promise<RemoteManifest | undefined> {
    const answer = await registry.ask(manifestQuestion('GET', path, reference), signal);
    return answer && (await readRemoteManifest(answer, reference, deps.manifestBytes, manifestName(path, reference)));
  }

  /** Where upstream keeps referrers under a tag. HEAD first: it is free where GETs are counted, and mostly finds nothing. */
  async function fallbackReferrers(path: string, digest: Digest, signal: AbortSignal): Promise<readonly unknown[] | undefined> {
    const tag = `${algorithmOf(digest)}-${hexOf(digest).slice(0, FALLBACK_HEX)}`;
    const head = await registry.ask(manifestQuestion('HEAD', path, tag), signal);
    if (head === undefined) return undefined;
    head.body.discard();
    const found = await fetchManifest(path, tag, signal);
    if (found === undefined) return undefined;
    const { manifests } = JSON.parse(found.bytes.toString('utf8')) as { readonly manifests?: unknown };
    return Array.isArray(manifests) ? manifests : undefined;
  }

  return {
    host,

    headManifest: (path, reference, options = {}) =>
      registry.within('manifest', options.signal, async (signal) => {
        const answer = await registry.ask(manifestQuestion('HEAD', path, reference), signal);
        return answer && readManifestHead(answer, manifestName(path, reference));
      }),

    getManifest: (path, reference, options = {}) => registry.within('manifest', options.signal, (signal) => fetchManifest(path, reference, signal)),

    headBlob: (path, digest, options = {}) =>
      registry.within('blob', options.signal, async (signal) => {
        const answer = await registry.ask({ kind: 'blob', method: 'HEAD', path, target: `${path}/blobs/${digest}` }, signal);
        answer?.body.discard();
        return answer && { size: lengthOf(answer.headers) };
      }),

    getBlob: (path, digest, { signal: caller, start = 0 } = {}) =>
      registry.within('blob', caller, async (signal) => {
        const range = start === 0 ? {} : { headers: { range: `bytes=${start}-` } };
        const answer = await registry.ask({ kind: 'blob', method: 'GET', path, target: `${path}/blobs/${digest}`, ...range }, signal);
        return answer && readRemoteBlob(answer, start, `blob ${path}@${digest} of upstream ${host}`, (error) => registry.failed('blob', caller, error));
      }),

    listTags: (path, options = {}) => registry.within('tags', options.signal, (signal) => readTags(registry, host, path, signal), LIST_TIMEOUTS * config.timeoutMs),

    listReferrers: (path, digest, options = {}) =>
      registry.within('referrers', options.signal, async (signal) => (await readReferrers(registry, host, path, digest, signal)) ?? (await fallbackReferrers(path, digest, signal)), LIST_TIMEOUTS * config.timeoutMs),

    close: () => wire.close(),
  };
}
