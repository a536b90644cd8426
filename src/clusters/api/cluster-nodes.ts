/** `/v1/clusters/<id>/nodes`: the nodes that have a registry, as each told when it last came; one of them removed, its key is no good. */
import type { Bootstrap } from '../bootstrap/bootstrap.ts';
import type { ClusterPart } from './cluster-routes.ts';
import { notAllowed } from './handler.ts';
import { ApiProblem, shown } from './problem.ts';
import { mustKnowAll } from './query.ts';
import { timestamp } from './resource.ts';

export function clusterNodes(bootstrap: Pick<Bootstrap, 'nodesOf' | 'removeNode'>): ClusterPart {
  return async ({ uuid, generation: current }, { method, query, rest: [id, ...more] }) => {
    if (more.length > 0) return undefined;
    mustKnowAll(query, []);
    if (id !== undefined) {
      if (method !== 'DELETE') throw notAllowed('DELETE');
      if (!(await bootstrap.removeNode(uuid, id))) throw new ApiProblem('not found', `Cluster ${uuid} has no node ${shown(id)}: expected the id of one, which the list of its nodes tells.`);
      return { status: 204 };
    }
    if (method !== 'GET' && method !== 'HEAD') throw notAllowed('GET');
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
