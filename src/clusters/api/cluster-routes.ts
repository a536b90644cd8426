/** `/v1/clusters` with what can be done to them and, as they were called before, `/v1/bays`. */
import { fromBay, patchFromBay, type ClusterResource, type ClusterRow } from './cluster-rows.ts';
import type { Clusters } from './clusters.ts';
import type { Answer } from './exchange.ts';
import { notAllowed, type Call, type Resource } from './handler.ts';
import { mustOwn } from './policy.ts';
import { ASYNC_BAYS, isBefore, RESIZE, UPGRADE } from './versions.ts';

/** What else there is of a cluster that the caller may change, at `/v1/clusters/<id>/<name>` and, with `rest`, below. Undefined: there is no such path. */
export type ClusterPart = (row: ClusterRow, request: PartRequest) => Promise<Answer | undefined>;

export interface PartRequest {
  readonly method: string;
  readonly query: URLSearchParams;
  readonly rest: readonly string[];
}

export interface ClusterRoutesOptions {
  readonly clusters: Clusters;
  readonly resource: ClusterResource;
  readonly publicUrl: string;
  readonly parts: Readonly<Record<string, ClusterPart>>;
}

export function clusterRoutes({ clusters, resource, publicUrl, parts }: ClusterRoutesOptions): Resource {
  const asBay = resource === 'bays';
  const accepted = (row: ClusterRow): Answer => ({ status: 202, headers: ['Location', `${publicUrl}/v1/${resource}/${row.uuid}`], body: { uuid: row.uuid } });

  async function act({ x, access, version }: Call, ident: string, action: string): Promise<Answer | undefined> {
    const is = (name: string, since = version): boolean => action === name && !isBefore(version, since);
    if (asBay || !(is('rotate') || is('resize', RESIZE) || is('upgrade', UPGRADE))) return undefined;
    if (x.method !== 'POST') throw notAllowed('POST');
    if (action === 'rotate') return accepted(await clusters.rotate(access, ident));
    const body = await x.json();
    return accepted(await (action === 'resize' ? clusters.resize(access, ident, body) : clusters.upgrade(access, ident, body)));
  }

  return async (call): Promise<Answer | undefined> => {
    const { x, access, rest, version } = call;
    const [ident, part, action, ...more] = rest;
    const isRead = x.method === 'GET' || x.method === 'HEAD';
    const isOld = asBay && isBefore(version, ASYNC_BAYS);
    if (ident === undefined) {
      if (isRead) return { status: 200, body: await clusters.list(access, x.query, resource, false) };
      if (x.method !== 'POST') throw notAllowed('GET, POST');
      const body = await x.json();
      const row = await clusters.create(access, asBay ? fromBay(body) : body);
      return isOld ? { ...accepted(row), status: 201, body: clusters.document(row, resource) } : accepted(row);
    }
    if (part === 'actions' && action !== undefined && more.length === 0) return await act(call, ident, action);
    if (part !== undefined) {
      const own = !asBay && Object.hasOwn(parts, part) ? parts[part] : undefined;
      if (own === undefined) return undefined;
      const row = await clusters.find(access, ident);
      mustOwn(access, row.project_id, `cluster:${part}`);
      return await own(row, { method: x.method, query: x.query, rest: rest.slice(2) });
    }
    if (ident === 'detail' && isRead) return { status: 200, body: await clusters.list(access, x.query, resource, true) };
    if (isRead) return { status: 200, body: clusters.document(await clusters.find(access, ident), resource) };
    switch (x.method) {
      case 'PATCH': {
        const patch = await x.json();
        const row = await clusters.change(access, ident, asBay ? patchFromBay(patch) : patch);
        return isOld ? { status: 200, body: clusters.document(row, resource) } : accepted(row);
      }
      case 'DELETE':
        await clusters.remove(access, ident);
        return { status: 204 };
      default:
        throw notAllowed('GET, PATCH, DELETE');
    }
  };
}
