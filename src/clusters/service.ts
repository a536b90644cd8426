/** The cluster service put together, in order, and closed in reverse. Whoever starts it opens the sockets. */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { ClustersConfig } from '../config/config.ts';
import type { Timers } from '../workers/timers.ts';
import type { AdoptionEvent } from './adopt/adoption.ts';
import { artifacts } from './api/artifacts.ts';
import { clusterNodes } from './api/cluster-nodes.ts';
import { bodyOf } from './api/cluster-rows.ts';
import { clusterRoutes } from './api/cluster-routes.ts';
import { createClusters } from './api/clusters.ts';
import { createHandler, type Ended, type Handle } from './api/handler.ts';
import { isNodeCredential } from './api/node-credentials.ts';
import { nodeRoutes } from './api/node-routes.ts';
import { mustBeAllowed, mustBePossible } from './api/possible.ts';
import { createPrograms } from './api/programs.ts';
import { templateRoutes } from './api/template-routes.ts';
import { createTemplates, valuesOf } from './api/templates.ts';
import { bootstrap as createBootstrap } from './bootstrap/bootstrap.ts';
import { nodeEndpoints } from './bootstrap/endpoints.ts';
import { cloudSettings } from './cloud-settings.ts';
import { openDatabase } from './database/database.ts';
import { sealedSecrets } from './database/sealed.ts';
import { openCloud } from './keystone/cloud.ts';
import { createTokens } from './keystone/tokens.ts';
import type { LifecycleEvent } from './lifecycle/lifecycle.ts';
import { startLifecycle } from './lifecycle/worker.ts';

export interface ClustersService {
  readonly handle: Handle;
  close(): Promise<void>;
}

export interface ClustersDeps {
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly elapsedMs: () => number;
  /** From 0 to less than 1. */
  readonly random: () => number;
  readonly log: { info(fields: object, event: string): void; warn(fields: object, event: string): void; error(fields: object, event: string): void };
  readonly ended: (facts: Ended) => void;
  /** The address of a request's client, behind proxies that are trusted. */
  readonly clientOf: (req: IncomingMessage) => string;
  /** Of Umbra. */
  readonly version: string;
  /** Where `clusters.programs` is not set. */
  readonly programs: string;
  /** Does what rows ask for. */
  readonly startLifecycle?: typeof startLifecycle;
}

/** @throws Error with the reason why it cannot start: a database that is not usable, a key that opens nothing, … */
export async function startClusters(config: ClustersConfig, deps: ClustersDeps): Promise<ClustersService> {
  const closing: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (const each of closing.splice(0).toReversed()) await each();
  };
  try {
    return { handle: await start(config, deps, closing), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function start(config: ClustersConfig, deps: ClustersDeps, closing: (() => Promise<void> | void)[]): Promise<Handle> {
  const { timers, nowMs, random, log } = deps;
  const { publicUrl } = config;
  const database = await openDatabase({ url: config.database.reveal(), timers, nowMs });
  closing.push(() => database.close());
  const secrets = sealedSecrets(database, config.encryptionKeys);
  const resealed = await secrets.reseal();
  if (resealed > 0) log.info({ secrets: resealed }, 'clusters: secrets brought under the newest key');
  const settings = cloudSettings(config);
  const cloud = openCloud({ settings, timers, nowMs, random });
  closing.push(() => cloud.close());
  const tokens = createTokens({ keystone: config.keystone, nowMs });
  closing.push(() => tokens.close());
  const bootstrap = createBootstrap({ database, secrets, randomBytes, renewSeconds: Math.round(config.nodes.renewMs / 1000) });
  const programs = createPrograms(config.programs ?? deps.programs);
  const missing = async (): Promise<string | undefined> => config.nodes.image !== undefined || (await programs.of(deps.version)).length > 0
    ? undefined
    : `there is nothing that nodes could run: whoever runs this service puts the program of version ${deps.version} into clusters.programs (make dist makes it), or names clusters.nodes.image; then ask again`;
  const lifecycle = (deps.startLifecycle ?? startLifecycle)({ database, secrets, cloud, timers, nowMs, random, missing, tidy: async () => void (await bootstrap.purge()), report: (event) => report(event, log) });
  closing.push(() => lifecycle.close());
  if (config.adopt !== undefined) {
    const { startAdoption } = await import('./adopt/adoption.ts');
    const adoption = startAdoption({ database, config, adopt: config.adopt, cloud, lifecycle, timers, random, report: (event) => report(event, log) });
    closing.push(() => adoption.close());
  }
  const templates = createTemplates({ database, config, random, mustBePossible: (wanted, access) => mustBePossible(wanted, access, settings) });
  const clusters = createClusters({ database, secrets, config, random, lifecycle, template: (...args) => templates.within(...args), mustBeAllowed: (wanted, access) => mustBeAllowed(wanted, access, settings, config.roles.operator) });
  const parts = {
    artifacts: artifacts({ config, bootstrap, programs, version: deps.version, templateOf: async (row) => bodyOf(row).adopted?.template ?? valuesOf(await templates.byUuid(row.template_uuid)) }),
    nodes: clusterNodes(bootstrap),
  };
  const ofNodes = nodeRoutes(nodeEndpoints({ bootstrap, nowMs }), deps.clientOf);
  return createHandler({
    config, tokens,
    resources: {
      clustertemplates: templateRoutes(templates, 'clustertemplates', publicUrl),
      baymodels: templateRoutes(templates, 'baymodels', publicUrl),
      clusters: clusterRoutes({ clusters, resource: 'clusters', publicUrl, parts }),
      bays: clusterRoutes({ clusters, resource: 'bays', publicUrl, parts }),
    },
    open: { bootstrap: ofNodes, nodes: ofNodes, program: programs.resource },
    isNode: (access) => isNodeCredential(database, access),
    elapsedMs: deps.elapsedMs,
    ended: deps.ended,
    failed: (error, requestId) => log.error({ error, request: requestId }, 'clusters: request failed'),
  });
}

function report({ kind, ...fields }: LifecycleEvent | AdoptionEvent, log: ClustersDeps['log']): void {
  const isBad = kind === 'failed' || ('problem' in fields && fields.problem !== undefined) || ('status' in fields && /FAILED|DEGRADED/.test(fields.status));
  log[isBad ? 'warn' : 'info'](fields, `clusters: ${kind}`);
}
