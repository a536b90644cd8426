/** Tags, referrers and the catalogue (distribution-spec end-8, end-12; Docker's `_catalog`). */
import { MEDIA_TYPES, type Descriptor } from '../../oci/manifest.ts';
import { parseDigest } from '../../oci/digest.ts';
import { RegistryError } from '../../oci/errors.ts';
import type { ViewId } from '../../oci/name.ts';
import type { PageRequest } from '../../registry/lists.ts';
import type { Registry } from '../../registry/registry.ts';
import type { View } from '../../views/views.ts';
import type { Exchange } from '../exchange.ts';
import type { Target } from '../target.ts';

/** Names that a page of the catalogue holds at most. */
const CATALOGUE_PAGE = 1_000;

export async function getTags(x: Exchange, target: Target, registry: Registry): Promise<void> {
  const request = pageOf(x);
  const page = await registry.lists.tags(target.view, target.name, request, x);
  const headers: string[] = [];
  // n=0 asks for nothing, so nothing follows: a Link would lead back here.
  if (page.more && request.n !== 0) headers.push('Link', nextLink(x, request.n, page.items.at(-1) ?? request.last));
  if (page.warning !== undefined) headers.push('Warning', page.warning);
  x.sendJson(200, { name: target.entrance.spelling, tags: page.items }, headers);
}

export async function getReferrers(x: Exchange, target: Target, text: string, registry: Registry): Promise<void> {
  const subject = parseDigest(text);
  const { items, warning } = await registry.lists.referrers(target.view, target.name, subject, x);
  const artifactType = x.query.get('artifactType');
  const wanted = artifactType === null ? items : items.filter((d) => d.artifactType === artifactType);
  const { page: manifests, more } = cutReferrers(wanted, x.query.get('last'));
  const headers = ['Content-Type', MEDIA_TYPES.ociIndex];
  if (artifactType !== null) headers.push('OCI-Filters-Applied', 'artifactType');
  if (more) headers.push('Link', nextLink(x, undefined, manifests.at(-1)?.digest));
  if (warning !== undefined) headers.push('Warning', warning);
  x.send(200, headers, JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }));
}

/** The spec bounds an answer by the size of a manifest, which is 4 MiB for most clients; the rest comes by Link. */
const MAX_REFERRERS_CHARACTERS = 4 * 1024 * 1024;

function cutReferrers(all: readonly Descriptor[], last: string | null): { page: Descriptor[]; more: boolean } {
  const page: Descriptor[] = [];
  let characters = 0;
  for (const descriptor of all.toSorted((a, b) => (a.digest < b.digest ? -1 : 1))) {
    if (last !== null && descriptor.digest <= last) continue;
    characters += JSON.stringify(descriptor).length + 1;
    if (characters > MAX_REFERRERS_CHARACTERS && page.length > 0) return { page, more: true };
    page.push(descriptor);
  }
  return { page, more: false };
}

/** @param viewPrefix the view of a path `/v2/<view>.view/_catalog`, which the names then carry too */
export async function getCatalogue(x: Exchange, view: View, viewPrefix: ViewId | undefined, registry: Registry): Promise<void> {
  const { n = CATALOGUE_PAGE, last } = pageOf(x);
  const spelling = { defaultUpstream: x.listener.upstream, viewPrefix };
  const { names: repositories, more } = await registry.catalogue.page(view, spelling, Math.min(n, CATALOGUE_PAGE), last);
  const headers = more && n > 0 ? ['Link', nextLink(x, Math.min(n, CATALOGUE_PAGE), repositories.at(-1) ?? last)] : [];
  x.sendJson(200, { repositories }, headers);
}

function pageOf(x: Exchange): PageRequest {
  const n = x.query.get('n');
  const last = x.query.get('last') ?? undefined;
  if (n === null) return { n: undefined, last };
  if (!/^[0-9]{1,9}$/.test(n)) throw new RegistryError('PARAMETER_INVALID', `invalid n ${JSON.stringify(n.slice(0, 40))}: expected a whole number of entries`);
  return { n: Number(n), last };
}

/** RFC 8288, relative to the same path, with every other parameter kept. */
function nextLink(x: Exchange, n: number | undefined, last: string | undefined): string {
  const query = new URLSearchParams(x.query);
  if (n !== undefined) query.set('n', String(n));
  if (last !== undefined) query.set('last', last);
  return `<${encodeURI(x.path)}?${query.toString()}>; rel="next"`;
}
