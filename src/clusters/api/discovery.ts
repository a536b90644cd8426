/** What `/` and `/v1` say, to anybody: which versions and resources there are. */
import { MAX_VERSION, MIN_VERSION, spelled } from './versions.ts';

export interface Link {
  readonly href: string;
  readonly rel: string;
  readonly type?: string;
}

export function rootDocument(publicUrl: string): object {
  const v1 = { id: 'v1', links: [{ href: `${publicUrl}/v1/`, rel: 'self' }], status: 'CURRENT', max_version: spelled(MAX_VERSION), min_version: spelled(MIN_VERSION) };
  return { name: 'OpenStack Magnum API', description: 'Umbra: registries on the nodes of clusters, by the API of Magnum.', default_version: v1, versions: [v1] };
}

const RESOURCES = ['clustertemplates', 'clusters', 'baymodels', 'bays'] as const;

export function v1Document(publicUrl: string): object {
  return {
    id: 'v1',
    links: [{ href: `${publicUrl}/v1/`, rel: 'self' }],
    media_types: [{ base: 'application/json', type: 'application/vnd.openstack.magnum.v1+json' }],
    max_version: spelled(MAX_VERSION),
    min_version: spelled(MIN_VERSION),
    ...Object.fromEntries(RESOURCES.map((resource) => [resource, resourceLinks(publicUrl, resource, '')])),
  };
}

export function resourceLinks(publicUrl: string, resource: string, id: string): readonly Link[] {
  return [
    { href: `${publicUrl}/v1/${resource}/${id}`, rel: 'self' },
    { href: `${publicUrl}/${resource}/${id}`, rel: 'bookmark' },
  ];
}
