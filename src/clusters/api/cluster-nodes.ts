/** `GET /v1/clusters/<id>/nodes`: the nodes that have a registry, as each told when it last came. */
import type { Bootstrap } from '../bootstrap/bootstrap.ts';
import type { ClusterPart } from './cluster-routes.ts';
import { mustKnowAll } from './query.ts';
import { timestamp } from './resource.ts';

export function clusterNodes(bootstrap: Pick<Bootstrap, 'nodesOf'>): ClusterPart {
  return async ({ uuid, generation: current }, query) => {
    mustKnowAll(query, []);
    const nodes = await bootstrap.nodesOf(uuid);
    return {
      status: 200,
      body: {
        nodes: nodes.map(({ id, name, role, arch, version, generation, lastError, disk, joinedMs, seenMs }) => ({
          id, name, role, arch, version,
          credential: generation === current ? 'current' : 'old',
          last_error: lastError,
          disk: disk && { used_bytes: disk.usedBytes, max_bytes: disk.maxBytes },
          joined_at: timestamp(joinedMs),
          seen_at: timestamp(seenMs),
        })),
      },
    };
  };
}
