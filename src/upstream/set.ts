/** The upstreams of one server, by host. Each is built when it is first asked for. */
import type { UpstreamConfig } from '../config/config.ts';
import { upstreamClient, type UpstreamDeps } from './client.ts';
import type { Upstream } from './upstream.ts';

export interface Upstreams {
  /** `undefined`: a host that is not configured, or whose policy is `local`. It is never contacted. */
  get(host: string): Upstream | undefined;
  /** Ends every exchange under way. */
  close(): Promise<void>;
}

export function upstreams(configs: readonly UpstreamConfig[], deps: UpstreamDeps): Upstreams {
  const known = new Map(configs.filter(({ policy }) => policy !== 'local').map((config) => [config.host, config]));
  const built = new Map<string, Upstream>();
  return {
    get(host) {
      const config = known.get(host);
      if (config === undefined) return undefined;
      const upstream = built.get(host) ?? upstreamClient(config, deps);
      built.set(host, upstream);
      return upstream;
    },
    async close() {
      await Promise.all([...built.values()].map((upstream) => upstream.close()));
    },
  };
}
