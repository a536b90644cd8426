/** What a driver before another one begins with: everything that it does not do itself is the other's. */
import type { Assemblies, CallOptions, Claimed, Driver, Entry, LastSeen, PutOptions, Source, Stat, Value } from './driver.ts';

export abstract class DriverAround implements Driver {
  readonly kind: string;
  readonly claims: Driver['claims'];
  readonly listingLagSeconds: number;
  readonly assemblies: Assemblies;
  readonly lastSeen?: LastSeen;
  readonly stampNow?: (key: string) => string;
  readonly isNear?: (key: string) => boolean;
  readonly clock?: (options?: CallOptions) => Promise<number>;
  readonly redirect?: (key: string, options?: CallOptions) => Promise<string | undefined>;
  protected readonly inner: Driver;

  constructor(inner: Driver) {
    this.inner = inner;
    this.kind = inner.kind;
    this.claims = inner.claims;
    this.listingLagSeconds = inner.listingLagSeconds;
    this.assemblies = inner.assemblies;
    if (inner.lastSeen !== undefined) this.lastSeen = inner.lastSeen;
    if (inner.stampNow !== undefined) this.stampNow = inner.stampNow.bind(inner);
    if (inner.isNear !== undefined) this.isNear = inner.isNear.bind(inner);
    if (inner.clock !== undefined) this.clock = inner.clock.bind(inner);
    if (inner.redirect !== undefined) this.redirect = inner.redirect.bind(inner);
  }

  head(key: string, options?: CallOptions): Promise<Stat | undefined> {
    return this.inner.head(key, options);
  }

  get(key: string, options?: CallOptions & { readonly maxBytes?: number }): Promise<Value | undefined> {
    return this.inner.get(key, options);
  }

  open(key: string, options?: CallOptions): Promise<Source | undefined> {
    return this.inner.open(key, options);
  }

  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<Stat> {
    return this.inner.put(key, bytes, options);
  }

  list(prefix: string, options?: CallOptions & { readonly startAfter?: string }): AsyncIterable<Entry> {
    return this.inner.list(prefix, options);
  }

  children(prefix: string, options?: CallOptions & { readonly startAfter?: string }): AsyncIterable<{ readonly name: string; readonly leaf: boolean }> {
    return this.inner.children(prefix, options);
  }

  delete(keys: readonly string[], options?: CallOptions): Promise<void> {
    return this.inner.delete(keys, options);
  }

  sync(keys: readonly string[], options?: CallOptions): Promise<void> {
    return this.inner.sync(keys, options);
  }

  claim(key: string, value: Uint8Array, options?: CallOptions): Promise<Claimed> {
    return this.inner.claim(key, value, options);
  }

  check(options?: CallOptions): Promise<void> {
    return this.inner.check(options);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
