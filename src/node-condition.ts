/**
 * How this node of a cluster is, gathered from what its stores report, for the cluster service that it renews at. Begins
 * the node's side (`node/`), which is loaded only where it is configured.
 */
import type { Config } from './config/config.ts';
import type { DiskEvents } from './drivers/disk-tier/events.ts';
import type { ServerDeps } from './server.ts';
import type { StorageEvent } from './storage.ts';
import { VERSION } from './version.ts';

type DiskCounts = Pick<DiskEvents, 'count' | 'used'>;

/** How long a store may take to say how it is. */
const PROBE_MS = 20_000;

export class NodeCondition {
  /** Asks the store; nothing to ask before it is open. */
  probe: (signal: AbortSignal) => Promise<unknown> = async () => undefined;
  /** What became of the cluster, where it is no more: what the store says then says it worse. */
  gone: string | undefined;
  #lastError: string | undefined;
  /** By the root of the disk. */
  readonly #usedBytes = new Map<string, number>();

  /** What a store told the log, too. */
  reported(kind: string, fields: Omit<StorageEvent, 'kind'>): void {
    if (kind !== 'retry' && typeof fields['error'] === 'string') this.#lastError = fields['error'];
  }

  /** The same counts, noted here as well. */
  noting(counts: DiskCounts, root: string): DiskCounts {
    return {
      count: (what) => counts.count(what),
      used: (bytes) => {
        this.#usedBytes.set(root, bytes);
        counts.used(bytes);
      },
    };
  }

  /** What went wrong since the last time, or does now; undefined: nothing. */
  async takeError(): Promise<string | undefined> {
    const error = this.#lastError;
    this.#lastError = undefined;
    return await this.probe(AbortSignal.timeout(PROBE_MS)).then(() => error, (reason: unknown) => (reason instanceof Error ? reason.message : String(reason)));
  }

  get usedBytes(): number {
    return [...this.#usedBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
  }
}

/** Resolves when this node has its credential. Gives what ends it. @throws Error where the cluster service refuses the node */
export async function joinCluster({ storage, upstreamStorage }: Config, node: NonNullable<Config['node']>, condition: NodeCondition, { group, timers, log }: ServerDeps): Promise<() => Promise<void>> {
  const { startNode } = await import('./node/node.ts');
  const maxBytes = [storage, upstreamStorage].map(diskBytes).reduce((sum, bytes) => sum + bytes, 0);
  const member = await startNode(node, {
    group, timers, log, random: Math.random, version: VERSION,
    gone: (why) => (condition.gone = why),
    condition: async () => ({ error: await condition.takeError(), disk: maxBytes === 0 ? null : { usedBytes: condition.usedBytes, maxBytes } }),
  });
  return () => member.close();
}

function diskBytes(storage: Config['upstreamStorage']): number {
  if (storage?.driver === 'filesystem') return storage.maxBytes ?? 0;
  return storage !== undefined && 'disk' in storage ? (storage.disk?.maxBytes ?? 0) : 0;
}
