/** Paginated lists of an upstream: tags and referrers (distribution-spec 1.1, "Listing Tags", "Listing Referrers"). */
import { RegistryError } from '../oci/errors.ts';
import { MEDIA_TYPES } from '../oci/manifest.ts';
import { isTag } from '../oci/name.ts';
import { headerOf } from '../drivers/exchange.ts';
import { nextLink } from './link.ts';
import type { Question, Requests } from './requests.ts';

const MAX_PAGES = 100;
const MAX_ITEMS = 100_000;
const MAX_PAGE_BYTES = 16 * 1024 * 1024;

/** `undefined`: no such repository. What lies beyond 100 pages or 100 000 tags is left out. */
export async function readTags(requests: Requests, host: string, path: string, signal: AbortSignal): Promise<readonly string[] | undefined> {
  const tags = await readPages(requests, host, { kind: 'tags', method: 'GET', path, target: `${path}/tags/list?n=1000` }, 'tags', signal);
  return tags?.filter((tag): tag is string => typeof tag === 'string' && isTag(tag));
}

/** The raw descriptors. `undefined`: upstream does not have the endpoint. */
export async function readReferrers(requests: Requests, host: string, path: string, digest: string, signal: AbortSignal): Promise<readonly unknown[] | undefined> {
  const question: Question = { kind: 'referrers', method: 'GET', path, target: `${path}/referrers/${digest}`, headers: { accept: MEDIA_TYPES.ociIndex } };
  return await readPages(requests, host, question, 'manifests', signal);
}

async function readPages(requests: Requests, host: string, first: Question, field: string, signal: AbortSignal): Promise<readonly unknown[] | undefined> {
  const items: unknown[] = [];
  const seen = new Set<string>();
  let target: string | undefined = first.target;
  while (target !== undefined && !seen.has(target) && seen.size < MAX_PAGES && items.length < MAX_ITEMS) {
    seen.add(target);
    const what = `upstream ${host} answered /v2/${first.target}`;
    const answer = await requests.ask({ ...first, target }, signal);
    if (answer === undefined) return undefined;
    const bytes = await answer.body.gather(MAX_PAGE_BYTES);
    if (bytes === undefined) throw new RegistryError('UPSTREAM_FAILED', `${what} with more than ${MAX_PAGE_BYTES} bytes on a page`);
    for (const item of readItems(bytes, field, what)) items.push(item);
    target = nextTarget(headerOf(answer.headers, 'link'), target);
  }
  return items.slice(0, MAX_ITEMS);
}

/** An empty list is `null` in the JSON of registries written in Go. */
function readItems(bytes: Buffer, field: string, what: string): readonly unknown[] {
  let page: unknown;
  try {
    page = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new RegistryError('UPSTREAM_FAILED', `${what} with something that is not JSON`, { cause: error });
  }
  const items = typeof page === 'object' && page !== null && !Array.isArray(page) ? (page as Readonly<Record<string, unknown>>)[field] ?? [] : undefined;
  if (!Array.isArray(items)) throw new RegistryError('UPSTREAM_FAILED', `${what} without a list of ${field}`);
  return items;
}

/**
 * Of the next link only path and query count, on the upstream itself: registries behind a front end name hosts and
 * schemes that only they can reach, and no other host shall be asked with our credentials.
 */
function nextTarget(link: string | undefined, current: string): string | undefined {
  const next = nextLink(link);
  if (next === undefined || !URL.canParse(next, `http://upstream/v2/${current}`)) return undefined;
  const { pathname, search } = new URL(next, `http://upstream/v2/${current}`);
  const [, target] = /\/v2\/(.*)$/.exec(pathname) ?? [];
  return target === undefined ? undefined : target + search;
}
