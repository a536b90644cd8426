/**
 * What was begun elsewhere for a cluster: a row before each call that leaves something, so that whoever takes over, and
 * whoever undoes, knows where to look. A row goes when what it names is gone.
 */
import type { ClusterDatabase } from '../database/database.ts';
import type { Writer } from '../database/sealed.ts';

/** In the order in which things are made; they are removed in reverse. Containers belong to generation 0: they outlive credentials. */
export type Thing =
  | { readonly kind: 'container'; readonly projectId: string; readonly name: string; /** By us: it was not there. */ readonly made: boolean }
  | { readonly kind: 'user'; readonly name: string; readonly id?: string }
  | { readonly kind: 'trust'; readonly trustorId: string }
  | { readonly kind: 'application-credential'; readonly userId: string; readonly name: string; readonly id?: string }
  /** An entry of the access list of a container, of the project. The grantee is `<project>:<user>`, by ids. */
  | { readonly kind: 'access'; readonly projectId: string; readonly name: string; readonly grantee: string; /** Besides reading. */ readonly mayWrite: boolean }
  /** The object by which a credential is tried. */
  | { readonly kind: 'probe'; readonly projectId: string; readonly name: string; readonly object: string };

export interface Entry {
  readonly id: number;
  readonly clusterUuid: string;
  readonly generation: number;
  readonly isDone: boolean;
  readonly thing: Thing;
}

export interface Ledger {
  /** @returns what stood there before: an attempt whose end is not known */
  intend(clusterUuid: string, generation: number, thing: Thing, writer?: Writer): Promise<Entry | undefined>;
  /** It is there, and known as this. */
  done(clusterUuid: string, generation: number, thing: Thing): Promise<void>;
  gone(entry: Entry): Promise<void>;
  /** The newest first. */
  of(clusterUuid: string, generation?: number): Promise<readonly Entry[]>;
  /** Of every cluster, those that are about this container. */
  aboutContainer(kind: 'container' | 'access', projectId: string, name: string): Promise<readonly Entry[]>;
  /** Clusters that have entries and no row any more. */
  orphans(limit: number): Promise<readonly string[]>;
}

export function ledger({ db, nowMs }: Pick<ClusterDatabase, 'db' | 'nowMs'>): Ledger {
  return {
    async intend(clusterUuid, generation, thing, writer = db) {
      const step = stepOf(thing);
      const row = await writer.selectFrom('intents').selectAll().where('cluster_uuid', '=', clusterUuid).where('generation', '=', generation).where('step', '=', step).executeTakeFirst();
      if (row !== undefined) return entryOf(row);
      await writer.insertInto('intents').values({ cluster_uuid: clusterUuid, generation, step, state: 'intended', detail: JSON.stringify(thing), created_ms: nowMs })
        .onConflict((conflict) => conflict.columns(['cluster_uuid', 'generation', 'step']).doNothing()).execute();
      return undefined;
    },
    async done(clusterUuid, generation, thing) {
      await db.updateTable('intents').set({ state: 'done', detail: JSON.stringify(thing) })
        .where('cluster_uuid', '=', clusterUuid).where('generation', '=', generation).where('step', '=', stepOf(thing)).execute();
    },
    async gone({ id }) {
      await db.deleteFrom('intents').where('id', '=', id).execute();
    },
    async of(clusterUuid, generation) {
      const all = db.selectFrom('intents').selectAll().where('cluster_uuid', '=', clusterUuid).orderBy('id', 'desc');
      const rows = await (generation === undefined ? all : all.where('generation', '=', generation)).execute();
      return rows.filter(({ step }) => isStep(step)).map(entryOf);
    },
    async aboutContainer(kind, projectId, name) {
      const rows = await db.selectFrom('intents').selectAll().where('step', '=', stepOf({ kind, projectId, name })).execute();
      return rows.map(entryOf);
    },
    async orphans(limit) {
      const rows = await db.selectFrom('intents').leftJoin('clusters', 'clusters.uuid', 'intents.cluster_uuid')
        .select('intents.cluster_uuid').distinct().where('clusters.uuid', 'is', null).where('intents.generation', '>=', 0).limit(limit).execute();
      return rows.map(({ cluster_uuid: uuid }) => uuid);
    },
  };
}

const PREFIX = 'there:';

/** Unique within a generation. */
function stepOf(thing: Thing | { readonly kind: 'container' | 'access'; readonly projectId: string; readonly name: string }): string {
  switch (thing.kind) {
    case 'container': case 'access': return `${PREFIX}${thing.kind}/${thing.projectId}/${thing.name}`;
    case 'probe': return `${PREFIX}probe/${thing.name}`;
    case 'user': case 'trust': case 'application-credential': return `${PREFIX}${thing.kind}`;
  }
}

/** Others keep rows of their own there. */
function isStep(step: string): boolean {
  return step.startsWith(PREFIX);
}

function entryOf(row: { readonly id: number; readonly cluster_uuid: string; readonly generation: number; readonly state: string; readonly detail: string }): Entry {
  const thing = JSON.parse(row.detail) as Thing; // written above
  // Before it was noted, whoever was let in could be let write.
  return { id: row.id, clusterUuid: row.cluster_uuid, generation: row.generation, isDone: row.state === 'done', thing: thing.kind === 'access' ? { ...thing, mayWrite: (thing.mayWrite as boolean | undefined) ?? true } : thing };
}
