/**
 * A registry's node side, in each of its workers: one of them joins the cluster and renews, the others wait until it has
 * the credential. Whoever dies is followed by another.
 */
import { hostname } from 'node:os';
import type { NodeConfig } from '../config/config.ts';
import type { Following, Group, Leading } from '../workers/group.ts';
import type { Timers } from '../workers/timers.ts';
import { join, stay, type Condition, type MembershipDeps, type NodeLog } from './membership.ts';
import { clustersService } from './service.ts';
import { nodeState } from './state.ts';

export interface NodeDeps {
  readonly group: Group;
  readonly timers: Timers;
  readonly log: NodeLog;
  readonly random: () => number;
  /** Of Umbra. */
  readonly version: string;
  readonly condition: () => Promise<Condition>;
  /** Told where the cluster turns out to be deleted. */
  readonly gone: (why: string) => void;
  /** Default: bcrypt. */
  readonly hashPassword?: (password: string) => Promise<string>;
}

export interface Node {
  close(): Promise<void>;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64' };
const BCRYPT_COST = 10;

/**
 * Resolves when the node has a credential, and goes on renewing until closed.
 * @throws Error where the service refuses the node's token, saying what to do
 */
export async function startNode(config: NodeConfig, deps: NodeDeps): Promise<Node> {
  const { group, timers, log, random, version, condition, gone } = deps;
  const closing = new AbortController();
  const service = clustersService({ url: config.clusters, ca: config.ca });
  const membership: MembershipDeps = {
    service, log, timers, random, condition, gone,
    state: nodeState(config.state, { hashPassword: deps.hashPassword ?? bcrypt }),
    url: config.clusters,
    tokenFile: config.tokenFile,
    storage: config.storage,
    node: { name: config.name ?? hostname(), role: config.role, arch: ARCHITECTURES[process.arch] ?? process.arch, version },
  };
  const ready = Promise.withResolvers<void>();
  let place: Leading | Following | undefined;
  let running: Promise<void> = Promise.resolve();

  const lead = async (leading: Leading): Promise<void> => {
    await join(membership, closing.signal);
    leading.announce('ready');
    ready.resolve();
    await stay(membership, closing.signal);
  };
  const enter = async (): Promise<void> => {
    place = await group.join('node', (event) => {
      if (event.kind === 'announcement') ready.resolve();
      else if (!closing.signal.aborted) enter().catch(ready.reject);
    }, () => undefined);
    if (place.role === 'leader') running = lead(place).catch(ready.reject);
  };
  const close = async (): Promise<void> => {
    closing.abort(new Error('the server is closing'));
    await running;
    if (place?.role === 'leader') place.end(undefined);
    else place?.leave();
    await service.close();
  };

  try {
    await enter();
    await ready.promise;
  } catch (error) {
    await close();
    throw error;
  }
  return { close };
}

async function bcrypt(password: string): Promise<string> {
  const { hash } = await import('@node-rs/bcrypt');
  return await hash(password, BCRYPT_COST);
}
