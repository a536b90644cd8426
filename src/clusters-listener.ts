/** The cluster service (`clusters/`) and its sockets: loaded and opened only where it is configured. */
import { join } from 'node:path';
import type { ClustersConfig } from './config/config.ts';
import { clientAddress, type TrustedProxies } from './http/client-address.ts';
import { openListener, type ListenerDeps, type OpenListener } from './http/listener.ts';
import type { Metrics } from './observe/metrics.ts';
import type { ServerDeps } from './server.ts';
import { VERSION } from './version.ts';

export interface ClustersListenerDeps extends Pick<ServerDeps, 'timers' | 'nowMs' | 'log'>, Pick<ListenerDeps, 'warn'> {
  readonly metrics: Pick<Metrics, 'request'>;
  readonly trusted: TrustedProxies;
}

/** Before the names of its routes in metrics, beside those of the registry. */
const ROUTES = 'clusters/';

/** Closing it drains its requests, then ends the service. @throws Error with the reason why it cannot start */
export async function openClusters(config: ClustersConfig, { timers, nowMs, log, metrics, trusted, warn }: ClustersListenerDeps): Promise<OpenListener> {
  const { startClusters } = await import('./clusters/service.ts');
  const service = await startClusters(config, {
    timers, nowMs, log,
    elapsedMs: () => performance.now(),
    random: Math.random,
    version: VERSION,
    programs: join(import.meta.dirname, '..', 'programs'),
    clientOf: (req) => clientAddress(req, trusted),
    ended: ({ req, route, ...facts }) => {
      const method = req.method ?? 'GET';
      metrics.request({ route: `${ROUTES}${route}`, method, source: undefined, ...facts });
      log.request({ method, url: req.url ?? '', client: clientAddress(req, trusted), agent: req.headers['user-agent'], ...facts });
    },
  });
  try {
    const open = await openListener(config, { handle: service.handle, warn });
    return {
      addresses: open.addresses,
      close: async (drainMs) => {
        await open.close(drainMs);
        await service.close();
      },
    };
  } catch (error) {
    await service.close();
    throw error;
  }
}
