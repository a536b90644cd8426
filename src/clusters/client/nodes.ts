/** What the cluster service tells of the nodes of a cluster (`api/cluster-nodes.ts`). What it may tell besides is passed on. */
import * as v from 'valibot';
import { askService, type Asking } from './service-client.ts';

export interface NodeOfCluster {
  readonly name: string;
  readonly role: string;
  readonly arch: string;
  /** Of Umbra. */
  readonly version: string;
  /** Whether it has the cluster's credential as it is now: `current` or `old`. */
  readonly credential: string;
  readonly last_error: string | null;
  readonly disk: { readonly used_bytes: number; readonly max_bytes: number } | null;
  readonly seen_at: string | null;
}

export interface NodesOfCluster {
  readonly nodes: readonly NodeOfCluster[];
  /** By the service's clock; undefined: it did not say. */
  readonly nowMs: number | undefined;
}

const ANSWER: v.GenericSchema<unknown, { readonly nodes: readonly NodeOfCluster[] }> = v.looseObject({
  nodes: v.array(
    v.looseObject({
      name: v.string(),
      role: v.string(),
      arch: v.string(),
      version: v.string(),
      credential: v.string(),
      last_error: v.nullable(v.string()),
      disk: v.nullable(v.looseObject({ used_bytes: v.number(), max_bytes: v.number() })),
      seen_at: v.nullable(v.string()),
    }),
  ),
});

/**
 * @param cluster its name or UUID
 * @throws Error in words
 */
export async function nodesOfCluster(cluster: string, asking: Asking): Promise<NodesOfCluster> {
  const { body, nowMs, url } = await askService(`clusters/${encodeURIComponent(cluster)}/nodes`, asking);
  const told = v.safeParse(ANSWER, body);
  if (!told.success) throw new Error(`${url} does not answer as Umbra's cluster service does: expected a list of nodes`);
  return { nodes: told.output.nodes, nowMs };
}
