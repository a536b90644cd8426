/**
 * How nodes of a cluster come to their credential: a one-time token, told to them in their user-data, is exchanged for a
 * key of the node's own and the cluster's credential; with the key the node comes again, says how it is, and takes a new
 * credential when there is one. Any instance over the database answers; a token is used at most its uses.
 */
import { randomUUID } from 'node:crypto';
import type { BootstrapAnswer, BootstrapRequest, RenewAnswer, RenewRequest } from '../../bootstrap-wire.ts';
import { isBootstrapToken, isNodeKey } from '../../bootstrap-wire.ts';
import type { Secret } from '../../config/config.ts';
import { settingsOf } from '../api/cluster-rows.ts';
import { nodeStorage, storageFingerprint } from '../credentials/node-storage.ts';
import type { ClusterDatabase } from '../database/database.ts';
import { laterBy } from '../database/leases.ts';
import { SealError, type SealedSecrets, type Writer } from '../database/sealed.ts';
import type { ClusterStatus, Role } from '../words.ts';
import { batches, type Outcome } from './batches.ts';
import { handoutOf, type Handout } from './handout.ts';
import { BootstrapRefusal } from './refusal.ts';
import { hashOf, isHashOf, newKey, newToken, type RandomBytes } from './words.ts';

export interface TokenWish {
  readonly clusterUuid: string;
  /** Of the nodes that have it. */
  readonly role: Role;
  /** How many nodes may exchange it, at most `MAX_USES`. */
  readonly uses: number;
}

/** A node as its last renewal told. */
export interface ClusterNode {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly arch: string;
  readonly version: string;
  /** The credential that it has. */
  readonly generation: number;
  readonly lastError: string | null;
  readonly disk: { readonly usedBytes: number; readonly maxBytes: number } | null;
  readonly joinedMs: number;
  readonly seenMs: number;
}

export interface Bootstrap {
  /** The token is told once: the database has its hash. */
  makeToken(wish: TokenWish): Promise<{ readonly token: Secret; readonly expiresMs: number }>;
  /** @throws BootstrapRefusal */
  exchange(request: BootstrapRequest): Promise<BootstrapAnswer>;
  /** @throws BootstrapRefusal */
  renew(nodeId: string, key: string, report: RenewRequest): Promise<RenewAnswer>;
  /** By name, then by when they joined. */
  nodesOf(clusterUuid: string): Promise<readonly ClusterNode[]>;
  /** Neither its key nor the token that it came with is good any more. False: the cluster has no such node. */
  removeNode(clusterUuid: string, nodeId: string): Promise<boolean>;
  /** Removes tokens that expired and nodes that were not seen for long. Any instance may, at any time. */
  purge(): Promise<{ readonly tokens: number; readonly nodes: number }>;
}

export interface BootstrapDeps {
  readonly database: ClusterDatabase;
  readonly secrets: SealedSecrets;
  readonly randomBytes: RandomBytes;
  /** How often nodes come. */
  readonly renewSeconds: number;
}

export const MAX_USES = 10_000;
const TOKEN_MS = 24 * 3600_000;
/** A machine that was off for a month begins anew, with another token. */
const FORGOTTEN_MS = 30 * 24 * 3600_000;
/** For a cluster whose credential is still being made. */
const NOT_YET_SECONDS = 10;

/** Exchanges in one transaction. */
const BATCH = 50;

const NO_TOKEN = 'this bootstrap token is wrong, used up or expired; get new artifacts of the cluster, which hold another';
const NO_NODE = 'no node has this key';
const OUTDATED = 'this node is configured for another storage than its cluster has now; give it what format=upgrade renders';
const GONE = 'the cluster of this node is deleted';

export function bootstrap({ database, secrets, randomBytes, renewSeconds }: BootstrapDeps): Bootstrap {
  const { db, nowMs } = database;

  /** What the nodes of a cluster are to have now. @throws BootstrapRefusal */
  async function current(writer: Writer, clusterUuid: string, has: number | undefined, storage?: string): Promise<{ readonly generation: number; readonly handout: Handout | undefined; readonly outdated?: true }> {
    const cluster = await writer.selectFrom('clusters').select(['uuid', 'project_id', 'status', 'settings', 'generation']).where('uuid', '=', clusterUuid).executeTakeFirst();
    if (cluster === undefined || isGoing(cluster.status)) throw new BootstrapRefusal(410, GONE);
    const { generation } = cluster;
    // The credential of now would open nothing that this node is configured for.
    if (has !== undefined && has < generation && storage !== undefined && storage !== storageFingerprint(nodeStorage(cluster, settingsOf(cluster)))) {
      if (has === 0) throw new BootstrapRefusal(503, OUTDATED, NOT_YET_SECONDS);
      return { generation: has, handout: undefined, outdated: true };
    }
    if (generation === has && generation > 0) return { generation, handout: undefined };
    const handout = generation === 0 ? undefined : await handoutOf(secrets, writer, clusterUuid, generation);
    if (handout === undefined) throw new BootstrapRefusal(503, 'the credential of this cluster is not ready yet', NOT_YET_SECONDS);
    return { generation, handout };
  }

  const exchanges = batches<Joining, BootstrapAnswer>(BATCH, async (all) => await db.transaction().execute(async (transaction) => {
    const outcomes: Outcome<BootstrapAnswer>[] = [];
    const known = new Map<string, Awaited<ReturnType<typeof current>>>();
    for (const joining of all) outcomes.push(await join(joining, transaction, known).then((value) => ({ value }), refusalOf));
    return outcomes;
  }));

  /** Refuses, and finds what is sealed unfit, before it writes: the others of the transaction are committed. @param known of clusters in this transaction */
  async function join({ hash, name, arch, version, self }: Joining, writer: Writer, known: Map<string, Awaited<ReturnType<typeof current>>>): Promise<BootstrapAnswer> {
    const there = self && (await writer.selectFrom('nodes').select(['key_hash', 'cluster_uuid']).where('id', '=', self.id).executeTakeFirst());
    const isSame = self !== undefined && there !== undefined && isHashOf(there.key_hash, self.key);
    const token = await writer.selectFrom('bootstrap_tokens').select(['cluster_uuid', 'role']).where('hash', '=', hash)
      // One that is known by its key has no need of a use.
      .$if(!isSame, (query) => query.where('uses_left', '>', 0).where('expires_ms', '>', nowMs))
      .executeTakeFirst();
    const stays = isSame && (token === undefined || token.cluster_uuid === there.cluster_uuid);
    if (token === undefined && !stays) throw new BootstrapRefusal(401, NO_TOKEN);
    const clusterUuid = stays ? there.cluster_uuid : (token?.cluster_uuid ?? '');
    const now = known.get(clusterUuid) ?? (await current(writer, clusterUuid, undefined));
    known.set(clusterUuid, now);
    const { generation, handout } = now;
    const answer = (node: BootstrapAnswer['node']): BootstrapAnswer => ({ node, renewSeconds, generation, ...(handout as Handout) }); // there always is one for who has none
    if (stays) {
      await writer.updateTable('nodes').set({ name, arch, version, generation, seen_ms: nowMs, ...(token && { token_hash: hash }) }).where('id', '=', self.id).execute();
      return answer(self);
    }
    // Another instance may have had the last use meanwhile.
    const { numUpdatedRows } = await writer.updateTable('bootstrap_tokens').set((row) => ({ uses_left: row('uses_left', '-', 1) })).where('hash', '=', hash).where('uses_left', '>', 0).where('expires_ms', '>', nowMs).executeTakeFirst();
    if (numUpdatedRows === 0n || token === undefined) throw new BootstrapRefusal(401, NO_TOKEN);
    const insert = async ({ id, key }: BootstrapAnswer['node']): Promise<boolean> => {
      const { numInsertedOrUpdatedRows } = await writer.insertInto('nodes').values({
        id, name, arch, version, generation, cluster_uuid: clusterUuid, role: token.role,
        key_hash: hashOf(key), token_hash: hash, last_error: null, disk_used_bytes: null, disk_max_bytes: null, joined_ms: nowMs, seen_ms: nowMs,
      }).onConflict((conflict) => conflict.column('id').doNothing()).executeTakeFirst();
      return numInsertedOrUpdatedRows === 1n;
    };
    // A node of another cluster is another node here; and one may ask at two instances at once.
    if (self !== undefined && there === undefined && (await insert(self))) return answer(self);
    const node = { id: randomUUID(), key: newKey(randomBytes).reveal() };
    await insert(node);
    return answer(node);
  }

  return {
    async makeToken({ clusterUuid, role, uses }) {
      if (!Number.isInteger(uses) || uses < 1 || uses > MAX_USES) throw new RangeError(`expected 1 to ${MAX_USES} uses of a token, got ${uses}`);
      const token = newToken(randomBytes);
      const { expires_ms: expiresMs } = await db.insertInto('bootstrap_tokens')
        .values({ hash: hashOf(token.reveal()), cluster_uuid: clusterUuid, role, uses_left: uses, expires_ms: laterBy(database, TOKEN_MS), created_ms: nowMs })
        .returning('expires_ms')
        .executeTakeFirstOrThrow();
      return { token, expiresMs };
    },

    async exchange({ token, node: { name, arch, version }, self }) {
      if (!isBootstrapToken(token)) throw new BootstrapRefusal(401, NO_TOKEN);
      return await exchanges.add({ hash: hashOf(token), name, arch, version, self });
    },

    async renew(nodeId, key, { version, lastError, disk, generation: has, storage }) {
      const node = isNodeKey(key) ? await db.selectFrom('nodes').select(['key_hash', 'cluster_uuid']).where('id', '=', nodeId).executeTakeFirst() : undefined;
      if (node === undefined || !isHashOf(node.key_hash, key)) throw new BootstrapRefusal(401, NO_NODE);
      const { generation, handout, outdated } = await current(db, node.cluster_uuid, has, storage);
      await db.updateTable('nodes')
        // Nobody has a generation that there is not yet.
        .set({ version, generation: Math.min(has, generation), last_error: lastError, disk_used_bytes: disk?.usedBytes ?? null, disk_max_bytes: disk?.maxBytes ?? null, seen_ms: nowMs })
        .where('id', '=', nodeId)
        .execute();
      return { generation, renewSeconds, ...handout, ...(outdated && { outdated }) };
    },

    async nodesOf(clusterUuid) {
      const rows = await db.selectFrom('nodes').selectAll().where('cluster_uuid', '=', clusterUuid).orderBy('name').orderBy('joined_ms').orderBy('id').execute();
      return rows.map(({ id, name, role, arch, version, generation, last_error: lastError, disk_used_bytes: usedBytes, disk_max_bytes: maxBytes, joined_ms: joinedMs, seen_ms: seenMs }) => ({
        id, name, role, arch, version, generation, lastError, joinedMs, seenMs,
        disk: usedBytes === null || maxBytes === null ? null : { usedBytes, maxBytes },
      }));
    },

    async removeNode(clusterUuid, nodeId) {
      return await db.transaction().execute(async (transaction) => {
        const node = await transaction.deleteFrom('nodes').where('cluster_uuid', '=', clusterUuid).where('id', '=', nodeId).returning('token_hash').executeTakeFirst();
        if (node?.token_hash != null) await transaction.deleteFrom('bootstrap_tokens').where('hash', '=', node.token_hash).execute();
        return node !== undefined;
      });
    },

    async purge() {
      const tokens = await db.deleteFrom('bootstrap_tokens').where('expires_ms', '<=', nowMs).executeTakeFirst();
      const nodes = await db.deleteFrom('nodes').where('seen_ms', '<', laterBy(database, -FORGOTTEN_MS)).executeTakeFirst();
      return { tokens: Number(tokens.numDeletedRows), nodes: Number(nodes.numDeletedRows) };
    },
  };
}

/** An exchange, its token already hashed. */
interface Joining {
  readonly hash: string;
  readonly name: string;
  readonly arch: string;
  readonly version: string;
  readonly self: BootstrapRequest['self'];
}

/** What is wrong with one cluster or node keeps no other out. Anything else, such as the database, fails the whole transaction. */
function refusalOf(error: unknown): { readonly refusal: BootstrapRefusal | SealError } {
  if (error instanceof BootstrapRefusal || error instanceof SealError) return { refusal: error };
  throw error;
}

/** A delete that failed is tried again until it is done. Nodes outlive their cluster, so that they can be told. */
function isGoing(status: ClusterStatus): boolean {
  return status === 'DELETE_IN_PROGRESS' || status === 'DELETE_FAILED';
}
