/**
 * The composition root: configuration in, running server out. The only file that sees everything and picks
 * implementations; things are built in order and closed in reverse.
 */
import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { createAuth } from './auth/auth.ts';
import type { Guess, ThrottlePeers } from './auth/throttle.ts';
import type { Config, ListenerConfig, Redirect, StorageConfig } from './config/config.ts';
import { openClusters } from './clusters-listener.ts';
import { content } from './content/content.ts';
import { keys } from './content/keys.ts';
import { isDriverError, type CallOptions, type Driver } from './drivers/driver.ts';
import { keepHouse, type Swept } from './housekeeping.ts';
import { bodies } from './http/bodies.ts';
import { BufferPool } from './http/buffers.ts';
import { clientAddress, trustedProxies, type TrustedProxies } from './http/client-address.ts';
import { handler, type HandlerDeps } from './http/handler.ts';
import { openListener, type Handle, type OpenListener } from './http/listener.ts';
import type { Proxy } from './http/proxy/proxy.ts';
import { redirects, type Redirects } from './http/redirect.ts';
import { joinCluster, NodeCondition } from './node-condition.ts';
import { gatherMetrics } from './observe/gathering.ts';
import { createHealth } from './observe/health.ts';
import type { Log } from './observe/log.ts';
import { createMetrics, type Metrics } from './observe/metrics.ts';
import { measureProcess } from './observe/process-metrics.ts';
import { registry } from './registry/registry.ts';
import { oneStore, storesWithCache, type Store, type Stores } from './registry/stores.ts';
import { openStore, poolThreads, type StorageDeps } from './storage.ts';
import type { FillEvent } from './upstream/fill-event.ts';
import { machineFills } from './upstream/fill-group.ts';
import { sweepLeases } from './upstream/fill-lease.ts';
import { fills } from './upstream/fills.ts';
import { upstreams } from './upstream/set.ts';
import { sharedFills } from './upstream/shared-fills.ts';
import { VERSION } from './version.ts';
import { configuredViews } from './views/views.ts';
import type { Group } from './workers/group.ts';
import type { Timers } from './workers/timers.ts';

export interface Server {
  /** One for each socket. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  /** Stops accepting, finishes what is in flight within `limits.drain`, closes everything. */
  close(): Promise<void>;
}

export interface ServerDeps {
  readonly group: Group;
  readonly timers: Timers;
  readonly log: Log;
  /** Names the proxy towards upstreams. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly nowMs: () => number;
}

/** How `limits.memory` is divided: bodies of clients, downloads from upstreams, manifests kept; and a quarter as much again for segments on their way to an object store. */
const POOL_SHARE = 1 / 4;
const FILL_SHARE = 1 / 2;
const MANIFEST_CACHE_SHARE = 1 / 8;
const SEGMENT_SHARE = 1 / 4;
/** How long buffers are kept for the next body. */
const POOL_IDLE_MS = 5_000;

/** @throws Error with the reason why it cannot start: a store that is not usable, an address in use, … */
export async function startServer(config: Config, deps: ServerDeps): Promise<Server> {
  const closing: (() => Promise<void> | void)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of closing.splice(0).toReversed()) await close();
  };
  try {
    return { addresses: await start(config, deps, closing), close: closeAll };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function start(config: Config, deps: ServerDeps, closing: (() => Promise<void> | void)[]): Promise<Server['addresses']> {
  const { group, timers, log, nowMs } = deps;
  const memory = config.limits.memoryBytes;
  const newId = (): string => randomBytes(16).toString('hex');
  const metrics = createMetrics({ upstreams: config.upstreams.map(({ host }) => host), version: VERSION, nowMs });
  closing.push(measureProcess(metrics.exposition, nowMs()));

  const condition = new NodeCondition();
  // Before the stores: on its first start a node gets what opens them.
  if (config.node !== undefined) closing.push(await joinCluster(config, config.node, condition, deps));

  const views = configuredViews(config.views.define);
  const toStorage: StorageDeps = {
    nowMs, timers,
    threads: poolThreads(deps.env),
    memoryBytes: Math.floor(memory * SEGMENT_SHARE),
    report: ({ kind, ...fields }) => {
      log.warn(fields, `storage: ${kind}`);
      condition.reported(kind, fields);
    },
    diskCounts: (root) => condition.noting(metrics.disk(root), root),
  };
  const open = async (storage: StorageConfig, check: typeof readable): Promise<Store> => {
    const driver = await openStore(storage, config.coordination, toStorage);
    closing.push(() => driver.close());
    const refusal = await check(driver, {}).catch((error: unknown) => {
      if (driver.lastSeen?.mayServe !== true) throw error;
      log.error({ error }, 'the storage cannot be used: this node serves what its disk has, and nothing can be pushed');
      return undefined;
    });
    if (refusal !== undefined) log.warn({ error: refusal.message }, 'storage: read-only, so nothing can be pushed here');
    const tell = (key: string): Promise<void> => group.broadcast('forget', key);
    return { driver, content: content({ driver, nowMs, newId, tell, unswept: (id, error) => log.warn({ upload: id, error }, 'an upload could not be swept'), staleMs: config.tagStalenessMs, manifestCacheBytes: Math.floor(memory * MANIFEST_CACHE_SHARE) }) };
  };
  // A node that has a cache of its own may be one that must not write images.
  const checkImages = config.upstreamStorage === undefined ? writable : readable;
  // Side by side: to open one takes half a dozen answers of it.
  const opening = [open(config.storage, checkImages), config.upstreamStorage === undefined ? Promise.resolve(undefined) : open(config.upstreamStorage, writable)] as const;
  await Promise.allSettled(opening); // whatever becomes of one, the other is there to be closed
  const [images, upstream] = await Promise.all(opening);
  condition.probe = (signal) => checkImages(images.driver, { signal });
  const stores = upstream === undefined ? oneStore(images) : storesWithCache(images, upstream, views.upstream.uid);
  group.subscribe('forget', (key) => {
    for (const { content: held } of stores.all) held.forget(key as string); // what `tell` broadcasts
  });

  const remote = upstreams(config.upstreams, { nowMs, env: deps.env, version: VERSION, manifestBytes: config.limits.manifestBytes, observe: metrics.upstream });
  closing.push(() => remote.close());
  const { driver: cache } = stores.of(views.upstream.uid);
  const filling = fills({
    driver: cache, timers, nowMs, newId,
    // Only an object store is shared by other machines.
    group: cache.assemblies.exclusive ? machineFills(group) : sharedFills({ group, driver: cache, timers, nowMs, newId }),
    detachedMs: config.fillDetachedMs,
    maxBytes: config.limits.blobBytes,
    bufferBytes: Math.floor(memory * FILL_SHARE),
    observe: (event) => observeFill(event, metrics, log),
  });
  closing.push(() => filling.close());
  const umbra = registry({
    stores, views, fills: filling, nowMs,
    policies: new Map(config.upstreams.map(({ host, policy }) => [host, policy])),
    ...byHost(config, remote),
  });

  const peers: ThrottlePeers = {
    tell: (guess) => void group.broadcast('wrong password', guess),
    hear: (handler) => group.subscribe('wrong password', (guess) => handler(guess as Guess)), // what `tell` broadcasts
  };
  const auth = await createAuth(config, { nowMs, randomBytes, log, peers });
  closing.push(() => auth.close());
  const health = createHealth({ check: async (signal) => void (await Promise.all(stores.all.map(({ driver }) => (driver === images.driver ? checkImages : writable)(driver, { signal })))), failed: (error) => log.warn({ error }, 'not ready: the storage cannot be used'), nowMs });
  const pool = new BufferPool({ maxBytes: Math.floor(memory * POOL_SHARE), idleMs: POOL_IDLE_MS, timers });
  closing.push(() => pool.close());
  const trusted = trustedProxies(config.trustedProxies);
  const handling: Omit<HandlerDeps, 'gate'> = {
    registry: umbra,
    bodies: bodies({ pool, timers, stallMs: config.limits.stallMs, maxBlobBytes: config.limits.blobBytes, running: metrics.uploadsRunning }),
    redirects: redirects(stores, ({ view }) => redirectOf(view === views.upstream.uid ? (config.upstreamStorage ?? config.storage) : config.storage), trusted),
    viewHostSuffix: config.views.hostSuffix,
    readOnly: config.readOnly,
    whyRefused: () => condition.gone,
    trustedProxies: trusted,
    maxManifestBytes: config.limits.manifestBytes,
    patienceMs: config.limits.stallMs,
    elapsedMs: () => performance.now(),
    pages: { healthz: () => health.alive(), readyz: () => health.ready(), metrics: gatherMetrics(group, metrics.exposition) },
    log, metrics,
  };
  const addresses: { host: string; port: number }[] = [];
  const listening: OpenListener[] = [];
  // Together, so that draining takes as long as the slowest and nothing new comes in beside.
  closing.push(async () => void (await Promise.all(listening.map((listener) => listener.close(config.limits.drainMs)))));
  const warn = (event: string, fields: Record<string, unknown>): void => log.warn(fields, event);
  const handlerOf = (listener: ListenerConfig): Handle => handler(listener, { ...handling, gate: auth.gate(listener) });
  // A proxy's client reaches an object store by the proxy at best.
  const proxies = config.listeners.some(({ proxy }) => proxy)
    ? await proxyMaker(config, { own: handlerOf, handlerOf: (listener) => handler(listener, { ...handling, redirects: NO_REDIRECTS, gate: auth.gate(listener) }), log, metrics, trusted, nowMs, warn })
    : undefined;
  for (const listener of config.listeners) {
    const open = await openListener(listener, { ...((listener.proxy ? proxies?.(listener) : undefined) ?? { handle: handlerOf(listener) }), warn });
    listening.push(open);
    addresses.push(...open.addresses);
  }

  if (config.clusters !== undefined) {
    const { drainMs } = config.limits;
    const open = await openClusters(config.clusters, { timers, nowMs, log, metrics, trusted, warn });
    closing.push(() => open.close(drainMs));
    addresses.push(...open.addresses);
  }

  const house = await keepHouse({
    group, timers,
    sweep: async (signal) => {
      await sweepLeases({ driver: cache, nowMs, signal });
      return await sweepAll(stores, config.limits.uploadsMs, signal);
    },
    swept: ({ removed, kept }) => (removed > 0 ? log.info({ removed, kept }, 'abandoned uploads swept') : undefined),
    failed: (error) => log.error({ error }, 'sweeping uploads failed'),
  });
  closing.push(() => house.close());
  closing.push(() => health.drain());
  log.debug({ version: VERSION, node: process.version, addresses }, 'serving');
  return addresses;
}

const NO_REDIRECTS: Redirects = { of: async () => undefined };

interface ProxyParts {
  readonly own: (listener: ListenerConfig) => Handle;
  readonly handlerOf: (listener: ListenerConfig) => Handle;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly trusted: TrustedProxies;
  readonly nowMs: () => number;
  readonly warn: (event: string, fields: Record<string, unknown>) => void;
}

/** Loaded and opened only where a listener is a proxy. */
async function proxyMaker(config: Config, { own, handlerOf, log, metrics, trusted, nowMs, warn }: ProxyParts): Promise<(listener: ListenerConfig) => Proxy> {
  const [{ createProxy }, { openAuthority }] = await Promise.all([import('./http/proxy/proxy.ts'), import('./certificates/authority.ts')]);
  const authority = await openAuthority(config.proxyCa, { nowMs, randomBytes, warn });
  return (listener) =>
    createProxy(listener, {
      own: own(listener),
      authority, handlerOf, nowMs,
      upstreams: config.upstreams.map(({ host }) => host),
      lookup: (host) => lookup(host, { all: true }),
      idleMs: config.limits.stallMs,
      elapsedMs: () => performance.now(),
      ended: ({ req, ...facts }) => {
        metrics.request({ route: 'connect', method: 'CONNECT', source: undefined, ...facts });
        log.request({ method: 'CONNECT', url: req.url ?? '', cut: false, client: clientAddress(req, trusted), agent: req.headers['user-agent'], ...facts });
      },
      distrusted: (fields) => log.info(fields, 'a client of the proxy broke off TLS; does it trust what `umbra ca` prints?'),
    });
}

/** What the registry wants to know of the host in a name. It asks only for hosts whose policy is `proxy`. */
function byHost(config: Config, remote: ReturnType<typeof upstreams>): Pick<Parameters<typeof registry>[0], 'upstream' | 'settings'> {
  const settings = new Map(config.upstreams.map((upstream) => [upstream.host, upstream]));
  const known = <T>(value: T | undefined, host: string): T => {
    if (value === undefined) throw new Error(`${host} is no upstream of the configuration`);
    return value;
  };
  return { upstream: (host) => known(remote.get(host), host), settings: (host) => known(settings.get(host), host) };
}

function redirectOf(storage: StorageConfig): Redirect {
  return 'redirect' in storage ? storage.redirect : 'never';
}

function observeFill(event: FillEvent, metrics: Metrics, log: Log): void {
  if (event.kind === 'began') {
    metrics.fillsRunning.value++;
    return;
  }
  if (event.kind === 'ended') metrics.fillsRunning.value--;
  metrics.fill(event);
  const { kind: _, ...fields } = event;
  switch (event.kind) {
    case 'ended':
      return log[event.outcome === 'failed' ? 'warn' : 'info'](fields, 'fill ended');
    case 'resuming':
      return log.warn(fields, 'fill broke off and is resumed');
    case 'mismatch':
      return log.warn(fields, 'upstream sent other bytes than the digest says');
    case 'refused':
      return log.error(fields, 'the storage refuses a fill');
    case 'full':
      return log.warn(fields, 'no space to store a fill: its readers get it past the store');
  }
}

async function sweepAll(stores: Stores, untouchedMs: number, signal: AbortSignal): Promise<Swept> {
  let [removed, kept] = [0, 0];
  for (const { content: held } of stores.all) {
    const swept = await held.sweepUploads(untouchedMs, signal);
    removed += swept.removed;
    kept += swept.kept;
  }
  return { removed, kept };
}

/** A full store still serves what it has, and what upstream has: taking it out of service would help nobody. */
function unlessFull(error: unknown): void {
  if (!isDriverError(error, 'full')) throw error;
}

async function writable(driver: Driver, options: CallOptions): Promise<undefined> {
  await driver.check(options).catch(unlessFull);
}

/** Gives why the store can only be read, where that is so. */
async function readable(driver: Driver, options: CallOptions): Promise<Error | undefined> {
  try {
    return await writable(driver, options);
  } catch (error) {
    if (!isDriverError(error, 'permanent')) throw error;
    // Absent or not: whoever may not read is refused.
    await driver.head(keys.storeName(), options).catch(() => {
      throw error;
    });
    return error;
  }
}
