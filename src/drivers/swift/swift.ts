/**
 * The driver over OpenStack Swift. Keys are object names behind a prefix (names.ts); uploads become segments and
 * one SLO (assemblies.ts). Swift is eventually consistent and has no lock: `head` and `get`, which decisions rest
 * on, ask every replica for the newest; `open`, which reads bytes that never change under their key, takes any; a claim
 * is believed only once it has settled.
 */
import type { OpenStackSession } from '../../openstack/session.ts';
import type { Timers } from '../../workers/timers.ts';
import type { Attempts } from '../object-store/attempts.ts';
import { DriverError, type Assemblies, type CallOptions, type Claimed, type Driver, type Entry, type PutOptions, type Source, type Stat, type Value } from '../driver.ts';
import { checkKey, checkLevel, checkPrefix } from '../key.ts';
import type { Component } from '../object-store/level-order.ts';
import { Limiter } from '../limiter.ts';
import { SwiftAssemblies } from './assemblies.ts';
import { SwiftClient } from './client.ts';
import { Completions } from './completions.ts';
import { ensureContainer, tryContainer } from './container.ts';
import { swiftInfo, type SwiftInfo } from './info.ts';
import { listChildren, listKeys } from './listing.ts';
import { checkRoot } from './names.ts';
import { openObject } from './opening.ts';
import { SwiftObjects } from './objects.ts';
import { Redirects, standingKey } from './redirect.ts';
import { checkValueSize } from '../value-size.ts';

export interface SwiftOptions {
  /** Closed with the driver. */
  readonly session: OpenStackSession;
  readonly attempts: Attempts;
  readonly container: string;
  /** Before every key; '' or ending in `/`, at most 84 bytes. */
  readonly prefix: string;
  /** The most that one segment holds. */
  readonly segmentBytes: number;
  /** Of all segments that this process has in memory at a time. */
  readonly memoryBytes: number;
  /** Clients may be sent to Swift itself, by TempURL. */
  readonly redirect: boolean;
  /** Undefined: the one that the container or the account has. */
  readonly tempUrlKey: string | undefined;
  /** Who we are to Keystone, in messages; never a secret. */
  readonly who: string;
  /** PEM text of authorities trusted beside those that Node trusts. */
  readonly ca: string | undefined;
  /** Certificates are not checked. */
  readonly insecure: boolean;
  /** Random: 16 and more of [0-9a-z]. */
  readonly newId: () => string;
  readonly nowMs: () => number;
  readonly timers: Timers;
  /** What one manifest takes; default: what the cluster says. */
  readonly manifestSegments?: number;
  /** A connection that gives or takes nothing for so long is broken; default 30 s. */
  readonly stallMs?: number;
}

/** How long a listing may miss what a point read shows: a container server that was away is told later. */
const LISTING_LAG_SECONDS = 24 * 60 * 60;
/** Deletions of one process at once. */
const DELETIONS = 16;
const STALL_MS = 30_000;
/** The store's clock is asked again after this; between, ours counts on. */
const CLOCK_MS = 60_000;

/** Makes the container where it is missing; whether it can be written is for `check` to say. @throws DriverError that names it, what was refused and what to do */
export async function openSwift(options: SwiftOptions): Promise<SwiftDriver> {
  checkRoot(options.prefix);
  const { session, attempts, container, who, ca, insecure, stallMs = STALL_MS, redirect } = options;
  const client = new SwiftClient({ session, attempts, container, who, ca, insecure, stallMs });
  try {
    await ensureContainer({ client });
    const info = await swiftInfo(client, {});
    if (info.maxSegments === undefined) throw new DriverError('permanent', `the object store that holds container ${container} has no static large objects; enable Swift's slo middleware`);
    const key = redirect ? (options.tempUrlKey ?? (await standingKey(client, {}))) : undefined;
    if (redirect && (key === undefined || info.tempUrlDigest === undefined)) {
      throw new DriverError('permanent', `storage.redirect: ${key === undefined ? `container ${container} has no TempURL key that ${who} may see; set storage.tempUrlKey` : 'this Swift has no TempURLs'}, or turn it off`);
    }
    return new SwiftDriver(options, client, { ...info, maxSegments: options.manifestSegments ?? info.maxSegments }, key);
  } catch (error) {
    await client.close();
    throw error;
  }
}

export class SwiftDriver implements Driver {
  readonly kind = 'swift';
  readonly claims = 'settle';
  readonly listingLagSeconds: number = LISTING_LAG_SECONDS;
  readonly assemblies: Assemblies;
  readonly redirect?: (key: string, options?: CallOptions) => Promise<string | undefined>;
  readonly #options: SwiftOptions;
  readonly #client: SwiftClient;
  readonly #objects: SwiftObjects;
  readonly #completions: Completions;
  readonly #root: string;
  readonly #deletions = new Limiter(DELETIONS);
  readonly #closeAssemblies: () => void;

  constructor(options: SwiftOptions, client: SwiftClient, info: SwiftInfo & { readonly maxSegments: number }, tempUrlKey: string | undefined) {
    this.#options = options;
    this.#client = client;
    const { newId, nowMs, timers, memoryBytes, prefix: root } = options;
    this.#root = root;
    const objects = new SwiftObjects({ client, newId });
    this.#objects = objects;
    const completions = new Completions({ client, objects, root, newId, maxSegments: info.maxSegments });
    this.#completions = completions;
    const segmentBytes = Math.min(options.segmentBytes, info.maxObjectBytes);
    const assemblies = new SwiftAssemblies({ client, objects, completions, root, segmentBytes, memoryBytes, newId, nowMs, timers });
    this.assemblies = assemblies;
    this.#closeAssemblies = () => assemblies.close();
    if (tempUrlKey !== undefined && info.tempUrlDigest !== undefined) {
      const redirects = new Redirects({ client, key: tempUrlKey, digest: info.tempUrlDigest });
      this.redirect = async (key, call = {}) => await redirects.sign(this.#begin(key, call), await this.clock(call), call);
    }
  }

  async head(key: string, options: CallOptions = {}): Promise<Stat | undefined> {
    const name = this.#begin(key, options);
    return await this.#objects.head({ name, what: `head ${key}`, signal: options.signal });
  }

  async get(key: string, options: CallOptions & { readonly maxBytes?: number } = {}): Promise<Value | undefined> {
    const name = this.#begin(key, options);
    const read = await this.#objects.get({ name, what: `get ${key}`, signal: options.signal, check: (size) => checkValueSize(key, size, options.maxBytes) });
    return read === undefined ? undefined : { ...read.stat, bytes: read.bytes };
  }

  async open(key: string, options: CallOptions = {}): Promise<Source | undefined> {
    const name = this.#begin(key, options);
    return await openObject({ client: this.#client, objects: this.#objects, timers: this.#options.timers, name, what: key, signal: options.signal });
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<Stat> {
    const name = this.#begin(key, options);
    const stat = await this.#objects.put({ name, bytes, what: `put ${key}`, signal: options.signal, absent: options.when === 'absent' });
    this.#completions.wasPut(key);
    return stat;
  }

  async *list(prefix: string, options: CallOptions & { readonly startAfter?: string } = {}): AsyncGenerator<Entry> {
    checkPrefix(prefix);
    options.signal?.throwIfAborted();
    yield* listKeys(this.#client, prefix, { root: this.#root, ...options });
  }

  async *children(prefix: string, options: CallOptions & { readonly startAfter?: string } = {}): AsyncGenerator<Component> {
    checkLevel(prefix);
    options.signal?.throwIfAborted();
    yield* listChildren(this.#client, prefix, { root: this.#root, ...options });
  }

  async delete(keys: readonly string[], options: CallOptions = {}): Promise<void> {
    for (const key of keys) this.#begin(key, options);
    await Promise.all(keys.map((key) => this.#deletions.run(async () => await this.#completions.deleteObject(key, options))));
  }

  /** Whatever Swift answered 201 is durable: a majority of its replicas has it. */
  async sync(keys: readonly string[], options: CallOptions = {}): Promise<void> {
    for (const key of keys) this.#begin(key, options);
  }

  async claim(key: string, value: Uint8Array, options: CallOptions = {}): Promise<Claimed> {
    const name = this.#begin(key, options);
    return await this.#objects.claim({ name, bytes: value, what: `claim ${key}`, signal: options.signal });
  }

  async clock(options: CallOptions = {}): Promise<number> {
    options.signal?.throwIfAborted();
    const heardMs = this.#client.storeNowMs(CLOCK_MS);
    if (heardMs !== undefined) return heardMs;
    await this.#client.call({ method: 'HEAD', what: 'ask for the time', expect: [200, 204, 403, 404], signal: options.signal });
    return this.#client.storeNowMs(Infinity) ?? this.#options.nowMs();
  }

  async check(options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    await tryContainer({ client: this.#client, objects: this.#objects, root: this.#root, newId: this.#options.newId, signal: options.signal });
  }

  async close(): Promise<void> {
    this.#closeAssemblies();
    await this.#client.close();
    await this.#options.session.close();
  }

  /** The object's name. @throws DriverError permanent, or the signal's reason */
  #begin(key: string, { signal }: CallOptions): string {
    checkKey(key);
    signal?.throwIfAborted();
    return this.#root + key;
  }
}
