/**
 * Which store a view lives in: all in one, or the view `upstream` in a store of its own (`upstreamStorage`), so that a
 * node may write its cache where it may not write images.
 */
import type { Content } from '../content/content.ts';
import type { ViewUid } from '../content/keys.ts';
import type { Driver } from '../drivers/driver.ts';

export interface Store {
  readonly driver: Driver;
  readonly content: Content;
}

export interface Stores {
  of(view: ViewUid): Store;
  /** Each once. */
  readonly all: readonly Store[];
}

export function oneStore(store: Store): Stores {
  return { of: () => store, all: [store] };
}

export function storesWithCache(images: Store, cache: Store, upstream: ViewUid): Stores {
  return { of: (view) => (view === upstream ? cache : images), all: [images, cache] };
}
