/** The registry as the API sees it: resolving, pushing, listing and deleting over views, content and upstreams. */
import type { Policy } from '../config/config.ts';
import type { Fills } from '../upstream/fill.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Views } from '../views/views.ts';
import { catalogue, type Catalogue } from './catalogue.ts';
import { deleter, type Deleter } from './delete.ts';
import { lists, type Lists } from './lists.ts';
import { pullThrough, type UpstreamSettings } from './pull-through.ts';
import { pusher, type Pusher } from './push.ts';
import { resolver, type Resolver } from './resolve.ts';
import type { Stores } from './stores.ts';

export interface Registry {
  readonly stores: Stores;
  readonly views: Views;
  readonly resolve: Resolver;
  readonly push: Pusher;
  readonly lists: Lists;
  readonly catalogue: Catalogue;
  readonly delete: Deleter;
}

export interface RegistryDeps {
  readonly stores: Stores;
  readonly views: Views;
  readonly fills: Fills;
  readonly policies: ReadonlyMap<string, Policy>;
  readonly upstream: (host: string) => Upstream;
  readonly settings: (host: string) => UpstreamSettings;
  readonly nowMs: () => number;
}

export function registry(deps: RegistryDeps): Registry {
  const { stores, views, policies } = deps;
  const through = pullThrough({ ...deps, ...stores.of(views.upstream.uid), view: views.upstream });
  const resolve = resolver({ stores, views, pullThrough: through, policies });
  return {
    stores, views, resolve,
    push: pusher({ stores, views, resolver: resolve, pullThrough: through }),
    lists: lists({ stores, views, resolver: resolve, pullThrough: through }),
    catalogue: catalogue({ stores, views }),
    delete: deleter(stores),
  };
}
