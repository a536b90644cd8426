/**
 * The composition root: configuration in, running server out. The only file that sees everything and picks
 * implementations; things are built in order and closed in reverse.
 */
import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { createAuth } from './auth/auth.ts';
import type { Config } from './config/config.ts';
import { content } from './content/content.ts';
import { hashes } from './content/hashing.ts';
import { trustedProxies } from './http/client-address.ts';
import { handler } from './http/handler.ts';
import { bodies } from './http/bodies.ts';
import { BufferPool, DEFAULT_POOL_BYTES } from './http/buffers.ts';
import { interimLog } from './interim-log.ts';
import { openListener } from './http/listener.ts';
import { keepHouse } from './housekeeping.ts';
import { registry } from './registry/registry.ts';
import { openDriver } from './storage.ts';
import { fills } from './upstream/fills.ts';
import { upstreams } from './upstream/set.ts';
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
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly nowMs: () => number;
}

/** Part of `limits.memory` that manifests may take. */
const MANIFEST_CACHE_SHARE = 1 / 4;

/** How long buffers are kept for the next body. */
const POOL_IDLE_MS = 5_000;

/** @throws Error with the reason why it cannot start: a store that is not usable, an address in use, … */
export async function startServer(config: Config, deps: ServerDeps): Promise<Server> {
  const closing: (() => Promise<void> | void)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of closing.splice(0).toReversed()) await close();
  };
  try {
    return await start(config, deps, closing, closeAll);
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function start(config: Config, deps: ServerDeps, closing: (() => Promise<void> | void)[], closeAll: () => Promise<void>): Promise<Server> {
  const { group, timers, nowMs } = deps;
  const log = interimLog();
  const newId = (): string => randomBytes(16).toString('hex');

  const driver = await openDriver(config.storage);
  closing.push(() => driver.close());
  await driver.check();

  const hashing = hashes(availableParallelism());
  closing.push(() => hashing.close());
  const store = content({
    driver, hashes: hashing, nowMs, newId,
    staleMs: config.tagStalenessMs,
    tell: (key) => group.broadcast('forget', key),
    manifestCacheBytes: config.limits.memoryBytes * MANIFEST_CACHE_SHARE,
  });
  group.subscribe('forget', (key) => store.forget(key as string)); // what `tell` broadcasts
  const remote = upstreams(config.upstreams, { nowMs, env: deps.env, version: VERSION, manifestBytes: config.limits.manifestBytes, observe: { answered: () => undefined, failed: () => undefined, rateLimit: () => undefined } });
  closing.push(() => remote.close());
  const filling = fills({ driver, group, timers, nowMs, detachedMs: config.fillDetachedMs, newId, observe: () => undefined, maxBytes: config.limits.blobBytes });
  closing.push(() => filling.close());

  const byHost = new Map(config.upstreams.map((upstream) => [upstream.host, upstream]));
  const known = <T>(value: T | undefined, host: string): T => {
    if (value === undefined) throw new Error(`${host} is no upstream of the configuration`);
    return value;
  };
  const umbra = registry({
    driver, content: store, fills: filling, nowMs,
    views: configuredViews(config.views.define),
    policies: new Map(config.upstreams.map(({ host, policy }) => [host, policy])),
    upstream: (host) => known(remote.get(host), host),
    settings: (host) => known(byHost.get(host), host),
  });
  const house = await keepHouse({
    uploads: store.uploads, uploadsMs: config.limits.uploadsMs, group, timers, nowMs,
    swept: ({ removed, kept }) => (removed > 0 ? log.info({ removed, kept }, 'abandoned uploads swept') : undefined),
    failed: (error) => log.error({ error }, 'sweeping uploads failed'),
  });
  closing.push(() => house.close());
  const auth = await createAuth(config, { nowMs, randomBytes, log });

  const pool = new BufferPool({ maxBytes: Math.min(config.limits.memoryBytes, DEFAULT_POOL_BYTES), idleMs: POOL_IDLE_MS, timers });
  const handling = {
    registry: umbra,
    bodies: bodies({ pool, timers, stallMs: config.limits.stallMs, maxBlobBytes: config.limits.blobBytes }),
    viewHostSuffix: config.views.hostSuffix,
    trustedProxies: trustedProxies(config.trustedProxies),
    maxManifestBytes: config.limits.manifestBytes,
    nowMs,
    pages: {
      healthz: () => ({ status: 200, contentType: 'text/plain', body: 'ok\n' }),
      readyz: () => ({ status: 200, contentType: 'text/plain', body: 'ok\n' }),
      metrics: () => ({ status: 200, contentType: 'text/plain', body: '' }),
    },
    done: log.request,
  };
  const addresses: { host: string; port: number }[] = [];
  for (const listener of config.listeners) {
    const handle = handler(listener, { ...handling, gate: auth.gate(listener) });
    const open = await openListener(listener, { handle, warn: (event, fields) => log.warn(fields, event) });
    closing.push(() => open.close(config.limits.drainMs));
    addresses.push(...open.addresses);
  }
  return { addresses, close: closeAll };
}
