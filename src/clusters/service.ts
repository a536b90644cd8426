/** The cluster service put together, in order, and closed in reverse. Whoever starts it opens the sockets. */
import type { ClustersConfig } from '../config/config.ts';
import type { Timers } from '../workers/timers.ts';
import { createHandler, type Ended, type Handle } from './api/handler.ts';
import { mustBePossible } from './api/possible.ts';
import { templateRoutes } from './api/template-routes.ts';
import { createTemplates } from './api/templates.ts';
import { openDatabase } from './database/database.ts';
import { sealedSecrets } from './database/sealed.ts';
import { createTokens } from './keystone/tokens.ts';

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
  readonly log: { warn(fields: object, event: string): void; error(fields: object, event: string): void; info(fields: object, event: string): void };
  readonly ended: (facts: Ended) => void;
}

/** @throws Error with the reason why it cannot start: a database that is not usable, a key that opens nothing, … */
export async function startClusters(config: ClustersConfig, { timers, nowMs, elapsedMs, random, log, ended }: ClustersDeps): Promise<ClustersService> {
  const closing: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const each of closing.splice(0).toReversed()) await each();
  };
  try {
    const database = await openDatabase({ url: config.database.reveal(), timers, nowMs });
    closing.push(() => database.close());
    const secrets = sealedSecrets(database, config.encryptionKeys);
    const resealed = await secrets.reseal();
    if (resealed > 0) log.info({ secrets: resealed }, 'clusters: secrets brought under the newest key');
    const tokens = createTokens({ keystone: config.keystone, nowMs });
    closing.push(() => tokens.close());
    const templates = createTemplates({ database, config, random, mustBePossible: (settings, access) => mustBePossible(settings, access, config) });
    const { publicUrl } = config;
    const handle = createHandler({
      config, tokens, elapsedMs, ended,
      resources: {
        clustertemplates: templateRoutes(templates, 'clustertemplates', publicUrl),
        baymodels: templateRoutes(templates, 'baymodels', publicUrl),
      },
      open: {},
      isNode: async () => false,
      failed: (error, requestId) => log.error({ error, request: requestId }, 'clusters: request failed'),
    });
    return { handle, close };
  } catch (error) {
    await close();
    throw error;
  }
}
