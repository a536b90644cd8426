/** Listings of the container, page by page. They may lag behind what point reads show; no decision rests on them alone. */
import type { CallOptions, Entry } from '../driver.ts';
import { isComponent, isKey } from '../key.ts';
import { inOwnOrder, type Component } from '../object-store/level-order.ts';
import { parsed, type SwiftClient } from './client.ts';
import { BEHIND_INTERNAL } from './names.ts';
import { listedStat, type ListedObject } from './stat.ts';

export interface ListingOptions extends CallOptions {
  /** Before every key. */
  readonly root: string;
  readonly startAfter?: string;
}

interface PageOptions extends CallOptions {
  /** What names begin with. */
  readonly prefix: string;
  /** Names come behind this one. */
  readonly marker: string;
  readonly delimited?: boolean;
  /** Another than the client's. */
  readonly container?: string | undefined;
  readonly limit: number;
}

type ListedRow = ListedObject | { readonly subdir: string };

/** Many callers want a few; who wants all of many gets larger pages from then on. */
const FIRST_PAGE = 1_000;
const LATER_PAGES = 5_000;

/** The keys that begin with `prefix`, in byte order, which is Swift's. */
export async function* listKeys(client: SwiftClient, prefix: string, { root, startAfter = '', signal }: ListingOptions): AsyncGenerator<Entry> {
  const marker = root + (startAfter > BEHIND_INTERNAL ? startAfter : BEHIND_INTERNAL);
  for await (const object of listObjects(client, { prefix: root + prefix, marker, signal })) {
    signal?.throwIfAborted();
    const key = object.name.slice(root.length);
    // What others wrote under other names is none of ours.
    if (isKey(key)) yield { key, ...listedStat(object) };
  }
  signal?.throwIfAborted();
}

/** The components of a level, in their own order. */
export async function* listChildren(client: SwiftClient, level: string, { root, startAfter = '', signal }: ListingOptions): AsyncGenerator<Component> {
  const lead = root + level;
  const exists = async (name: string): Promise<boolean> =>
    (await page(client, { prefix: `${lead}${name}/`, marker: '', limit: 1, signal })).length > 0;
  const listed = componentsOf(client, lead, startAfter, signal);
  for await (const component of inOwnOrder(listed, exists)) {
    signal?.throwIfAborted();
    yield component;
  }
  signal?.throwIfAborted();
}

/** Every object whose name begins with `prefix`, internal ones too, from behind `marker`. */
export async function* listObjects(client: SwiftClient, { prefix, marker = '', container, signal }: CallOptions & { readonly prefix: string; readonly marker?: string; readonly container?: string }): AsyncGenerator<ListedObject> {
  for await (const row of rows(client, { prefix, marker, container, signal })) if ('name' in row) yield row;
}

async function* componentsOf(client: SwiftClient, lead: string, startAfter: string, signal: AbortSignal | undefined): AsyncGenerator<Component> {
  for await (const row of rows(client, { prefix: lead, marker: lead + startAfter, delimited: true, signal })) {
    const leaf = 'name' in row;
    const name = leaf ? row.name.slice(lead.length) : row.subdir.slice(lead.length, -1);
    // `a/` stands behind the marker `a-`, though `a` comes before it.
    if (name > startAfter && isComponent(name)) yield { name, leaf };
  }
}

async function* rows(client: SwiftClient, options: Omit<PageOptions, 'limit'>): AsyncGenerator<ListedRow> {
  let { marker } = options;
  for (let limit = FIRST_PAGE; ; limit = LATER_PAGES) {
    const found = await page(client, { ...options, marker, limit });
    yield* found;
    const last = found.at(-1);
    if (last === undefined || found.length < limit) return;
    marker = 'name' in last ? last.name : last.subdir;
  }
}

async function page(client: SwiftClient, { prefix, marker, delimited = false, container, limit, signal }: PageOptions): Promise<readonly ListedRow[]> {
  const query = new URLSearchParams({ format: 'json', limit: String(limit), prefix, ...(marker === '' ? {} : { marker }), ...(delimited ? { delimiter: '/' } : {}) });
  const what = `list ${prefix}`;
  let rows: readonly ListedRow[] = [];
  await client.call({
    method: 'GET', ...(container === undefined ? {} : { container }), query: query.toString(), expect: [200, 204], what, signal,
    verify: ({ status, body }) => {
      rows = status === 204 ? [] : (parsed(body, what) as ListedRow[]); // Swift's own, as its API reference has it
    },
  });
  return rows;
}
