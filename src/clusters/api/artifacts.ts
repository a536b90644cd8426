/** `GET /v1/clusters/<id>/artifacts?role=&format=&nodes=`: what makes a machine a node with a registry, with a one-time token in it; or what upgrades or takes away the registry of one. */
import type { ClustersConfig } from '../../config/config.ts';
import { DEFAULT_UPSTREAMS } from '../../config/schema.ts';
import { MAX_USES, type Bootstrap } from '../bootstrap/bootstrap.ts';
import { nodeStorage, storageFingerprint } from '../credentials/node-storage.ts';
import type { NodeModel, NodeProxies } from '../render/node-model.ts';
import { FORMATS, problemOf, purposeOf, render, warningsOf, type FormatName } from '../render/render.ts';
import { ROLES } from '../words.ts';
import { settingsOf, type ClusterRow } from './cluster-rows.ts';
import type { ClusterPart } from './cluster-routes.ts';
import { notAllowed } from './handler.ts';
import { ApiProblem, shown } from './problem.ts';
import type { Programs } from './programs.ts';
import { mustKnowAll } from './query.ts';
import type { Values } from './resource.ts';

export interface ArtifactsDeps {
  readonly config: Pick<ClustersConfig, 'publicUrl' | 'keystone' | 'nodes'>;
  readonly bootstrap: Pick<Bootstrap, 'makeToken'>;
  readonly programs: Pick<Programs, 'of'>;
  /** Of Umbra here: nodes run the same. */
  readonly version: string;
  /** Of the cluster's template. */
  readonly templateOf: (row: ClusterRow) => Promise<Values>;
}

export function artifacts({ config, bootstrap, programs, version, templateOf }: ArtifactsDeps): ClusterPart {
  const word = <const Word extends string>(query: URLSearchParams, name: string, words: readonly Word[]): Word => {
    const found = words.find((each) => each === query.get(name));
    if (found === undefined) throw new ApiProblem('invalid', `Invalid argument ${name}, '${shown(query.get(name) ?? '')}': expected one of ${words.join(', ')}`);
    return found;
  };

  return async (row, { method, query, rest }) => {
    if (rest.length > 0) return undefined;
    // A token is made of most, so that HEAD is none of it.
    if (method !== 'GET') throw notAllowed('GET');
    mustKnowAll(query, ['role', 'format', 'nodes']);
    if (query.size === 0) return { status: 200, body: { roles: ROLES, formats: row.registry_enabled === 1 ? FORMATS : FORMATS.filter(isRemoval) } };
    const [role, format] = [word(query, 'role', ROLES), word(query, 'format', FORMATS)];
    const uses = Number(query.get('nodes') ?? '1');
    if (!Number.isInteger(uses) || uses < 1 || uses > MAX_USES) throw new ApiProblem('invalid', `Invalid argument nodes, '${shown(query.get('nodes'))}': expected how many nodes are made of it, 1 to ${MAX_USES}`);
    // Nodes may have one still, which their cluster has no more.
    if (!isRemoval(format)) mustHaveRegistry(row);
    const tarballs = await programs.of(version);
    const settings = settingsOf(row);
    const storage = nodeStorage(row, settings);
    const { container, account } = storage;
    const template = await templateOf(row);
    const modelWith = (token: string): NodeModel => ({
      cluster: { uuid: row.uuid, name: row.name, coe: row.coe },
      role,
      port: settings.port,
      policy: settings.policy,
      upstreams: settings.upstreams.length === 0 ? DEFAULT_UPSTREAMS : settings.upstreams,
      insecureRegistries: typeof template['insecure_registry'] === 'string' ? [template['insecure_registry']] : [],
      fallback: settings.fallback,
      write: settings.write,
      diskBytes: config.nodes.diskBytes,
      storage: { container, account, region: config.keystone.region, interface: 'public', ca: config.keystone.ca },
      login: { kind: 'bootstrap', url: config.publicUrl, ca: config.nodes.ca, token, storage: storageFingerprint(storage) },
      program: { version, tarballs: Object.fromEntries(tarballs.map(({ architecture, sha256 }) => [architecture, { url: `${config.publicUrl}/v1/program/${sha256}`, sha256 }])), image: config.nodes.image },
      proxies: proxiesOf(template),
    });
    const problem = problemOf(modelWith(''), format);
    if (problem !== undefined) {
      const missing = tarballs.length === 0 ? ` There is no program of version ${version} in clusters.programs, which nodes would fetch; whoever runs this service puts it there.` : '';
      throw new ApiProblem('conflict', `Cluster ${row.uuid} has no such artifacts: ${problem.replace('program.image', 'clusters.nodes.image')}.${missing}`);
    }
    const model = modelWith(purposeOf(format) === 'new node' ? (await bootstrap.makeToken({ clusterUuid: row.uuid, role, uses })).token.reveal() : '');
    const { fileName, mediaType, body } = render(model, format);
    const warnings = warningsOf(model);
    return {
      status: 200,
      headers: ['Cache-Control', 'no-store', 'Content-Disposition', `attachment; filename="${fileName}"`, ...warnings.flatMap((warning) => ['Warning', `299 umbra "${warning.replace(/["\\]/g, "'").replace(/[^\x20-\x7e]/g, '?')}"`])],
      raw: { type: mediaType, bytes: body },
    };
  };
}

function isRemoval(format: FormatName): boolean {
  return purposeOf(format) === 'removal';
}

/** @throws ApiProblem */
function mustHaveRegistry({ uuid, registry_enabled: enabled, generation, status }: ClusterRow): void {
  if (enabled === 0) throw new ApiProblem('invalid', `Cluster ${uuid} has no registry: its template does not have registry_enabled. What takes it from nodes that had one is there: ${FORMATS.filter(isRemoval).join(', ')}.`);
  if (generation === 0 || status.startsWith('DELETE')) throw new ApiProblem('conflict', `Cluster ${uuid} has no artifacts while it is ${status}.`);
}

function proxiesOf(template: Values): NodeProxies | undefined {
  const [http, https, none] = ['http_proxy', 'https_proxy', 'no_proxy'].map((name) => (typeof template[name] === 'string' && template[name] !== '' ? template[name] : undefined));
  if (http === undefined && https === undefined) return undefined;
  return { http, https, none: (none ?? '').split(',').map((host) => host.trim()).filter((host) => host !== '') };
}
