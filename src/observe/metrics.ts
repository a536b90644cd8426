/**
 * What is counted and measured, for `/metrics`. Label values come from closed sets (routes, methods, statuses, configured
 * upstreams), so that no client can make series.
 */
import type { DiskCount } from '../drivers/disk-tier/events.ts';
import { RegistryError } from '../oci/errors.ts';
import { Exposition, type Sample, type Series } from './exposition.ts';

export interface RequestFacts {
  /** One of the server's own names for its endpoints. */
  readonly route: string;
  readonly method: string;
  readonly status: number;
  readonly ms: number;
  /** Body bytes. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** As in `Umbra-Source`. */
  readonly source: string | undefined;
}

export interface Metrics {
  readonly exposition: Exposition;
  request(facts: RequestFacts): void;
  /** What the client of upstreams observes. */
  readonly upstream: {
    answered(event: { readonly host: string; readonly kind: string; readonly status: number; readonly ms: number }): void;
    failed(event: { readonly host: string; readonly error: Error }): void;
    rateLimit(event: { readonly host: string; readonly remaining: number }): void;
  };
  /** What fills observe: how one ended, and what went wrong on the way. */
  fill(event: { readonly kind: 'ended'; readonly outcome: string } | { readonly kind: 'resuming' | 'mismatch' | 'full' | 'refused' }): void;
  /** What a disk before an object store counts, by the root of that disk. */
  disk(root: string): { count(what: DiskCount): void; used(bytes: number): void };
  /** Downloads from upstreams that this process leads now. */
  readonly fillsRunning: Sample;
  /** Bodies being received into uploads now. */
  readonly uploadsRunning: Sample;
}

export interface MetricsOptions {
  /** Hosts of the configured upstreams; any other is `other`. */
  readonly upstreams: readonly string[];
  readonly version: string;
  readonly nowMs: () => number;
}

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS']);
/** Where an answer may come from. */
const SOURCES = ['view', 'hit', 'fill', 'stale', 'revalidated'] as const;
/** Seconds: from an answer out of memory to a layer over a slow line. */
const LATENCY_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
/** What upstream said of its limit is no news after so long. */
const RATE_LIMIT_FRESH_MS = 15 * 60_000;

export function createMetrics({ upstreams, version, nowMs }: MetricsOptions): Metrics {
  const exposition = new Exposition();
  const requests = exposition.counter('umbra_requests_total', 'Requests answered.', ['route', 'method', 'status']);
  const seconds = exposition.histogram('umbra_request_seconds', 'Time from a request to the end of its answer.', ['route'], LATENCY_BOUNDS);
  const bytes = exposition.counter('umbra_bytes_total', 'Body bytes received from and sent to clients.', ['direction']);
  const answers = exposition.counter(
    'umbra_answers_total',
    'Answers by where they came from: a view, or the cache of an upstream in a state.',
    ['source'],
  );
  const fills = exposition.counter('umbra_fills_total', 'Blobs downloaded from upstreams, by outcome.', ['outcome']);
  const fillTroubles = exposition.counter(
    'umbra_fill_troubles_total',
    'Downloads that broke off and were resumed, had another digest, or found the store full.',
    ['kind'],
  );
  const fillsRunning = exposition.gauge('umbra_fills_running', 'Blobs being downloaded from upstreams.');
  const uploadsRunning = exposition.gauge('umbra_uploads_running', 'Bodies of uploads being received.');
  const diskReads = exposition.counter('umbra_disk_cache_reads_total', 'Blobs asked of the disk before an object store: on it, not on it, on their way, or none of its.', ['outcome']);
  const diskFills = exposition.counter('umbra_disk_cache_fills_total', 'Blobs brought to the disk before an object store, by outcome.', ['outcome']);
  const diskDropped = exposition.counter('umbra_disk_cache_dropped_total', 'Blobs that went from the disk before an object store: evicted, or found corrupt.', ['reason']);
  const diskBytes = exposition.gauge('umbra_disk_cache_bytes', 'What blobs take of the disk before an object store.', [], 'max');
  const upstreamRequests = exposition.counter('umbra_upstream_requests_total', 'Requests to upstreams that were answered.', [
    'host',
    'kind',
    'status',
  ]);
  const upstreamErrors = exposition.counter('umbra_upstream_errors_total', 'Requests to upstreams without a usable answer.', [
    'host',
    'reason',
  ]);
  const rateLimits = exposition.gauge(
    'umbra_upstream_ratelimit_remaining',
    'Requests that an upstream still allows in its window, as it said last.',
    ['host'],
    'min',
  );
  exposition
    .gauge('umbra_build_info', 'The version that runs; the value is the number of worker processes.', ['version'])
    .with({ version }).value = 1;

  const answersFrom = new Map<string, Sample>(SOURCES.map((source) => [source, answers.with({ source })]));
  const bytesIn = bytes.with({ direction: 'in' });
  const bytesOut = bytes.with({ direction: 'out' });
  const known = new Set(upstreams);
  const hostLabel = (host: string): string => (known.has(host) ? host : 'other');

  const diskCounts: Readonly<Record<DiskCount, Sample>> = {
    hit: diskReads.with({ outcome: 'hit' }),
    miss: diskReads.with({ outcome: 'miss' }),
    joined: diskReads.with({ outcome: 'joined' }),
    passed: diskReads.with({ outcome: 'passed' }),
    stored: diskFills.with({ outcome: 'stored' }),
    failed: diskFills.with({ outcome: 'failed' }),
    mismatch: diskFills.with({ outcome: 'mismatch' }),
    abandoned: diskFills.with({ outcome: 'abandoned' }),
    evicted: diskDropped.with({ reason: 'evicted' }),
    corrupt: diskDropped.with({ reason: 'corrupt' }),
  };
  const diskUsed = new Map<string, number>();
  const diskUsedSum = diskBytes.with({});

  const heard = new Map<string, { readonly remaining: number; readonly atMs: number }>();
  exposition.onCollect(() => {
    rateLimits.clear();
    for (const [host, { remaining, atMs }] of heard) {
      if (nowMs() - atMs < RATE_LIMIT_FRESH_MS) rateLimits.with({ host }).value = remaining;
    }
  });

  // Found without building their labels' text: this runs for every request.
  const latencyOf = remembered((route: string): Series => seconds.with({ route }));
  const requestsOf = remembered((route: string) =>
    remembered((method: string) => remembered((status: number): Sample => requests.with({ route, method, status: String(status) }))),
  );

  return {
    exposition,
    fillsRunning: fillsRunning.with({}),
    uploadsRunning: uploadsRunning.with({}),
    request(facts) {
      requestsOf(facts.route)(METHODS.has(facts.method) ? facts.method : 'other')(facts.status).value++;
      latencyOf(facts.route).observe(facts.ms / 1000);
      bytesIn.value += facts.bytesIn;
      bytesOut.value += facts.bytesOut;
      const from = facts.source === undefined ? undefined : answersFrom.get(sourceOf(facts.source));
      if (from !== undefined) from.value++;
    },
    upstream: {
      answered({ host, kind, status }) {
        upstreamRequests.with({ host: hostLabel(host), kind, status: String(status) }).value++;
      },
      failed({ host, error }) {
        upstreamErrors.with({ host: hostLabel(host), reason: error instanceof RegistryError ? error.code.toLowerCase() : 'other' }).value++;
      },
      rateLimit({ host, remaining }) {
        if (known.has(host)) heard.set(host, { remaining, atMs: nowMs() });
      },
    },
    disk: (root) => ({
      count: (what) => void diskCounts[what].value++,
      used(bytes) {
        diskUsed.set(root, bytes);
        diskUsedSum.value = [...diskUsed.values()].reduce((sum, each) => sum + each, 0);
      },
    }),
    fill(event) {
      if (event.kind === 'ended') fills.with({ outcome: event.outcome }).value++;
      else fillTroubles.with({ kind: event.kind }).value++;
    },
  };
}

/** `view=main` is `view`, `upstream=docker.io; cache=hit` is `hit`. */
function sourceOf(source: string): string {
  return source.startsWith('view=') ? 'view' : source.slice(source.lastIndexOf('=') + 1);
}

function remembered<K, V>(make: (key: K) => V): (key: K) => V {
  const made = new Map<K, V>();
  return (key) => {
    let value = made.get(key);
    if (value === undefined) made.set(key, (value = make(key)));
    return value;
  };
}
