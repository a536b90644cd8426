/** Listings of the container, page by page. They may lag behind what point reads show; no decision rests on them alone. */
import { DriverError, type CallOptions, type Entry } from '../driver.ts';
import { isComponent, isKey } from '../key.ts';
import { inOwnOrder, type Component } from '../object-store/level-order.ts';
import { rowsOf, type SwiftClient } from './client.ts';
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
    const found = await page(client, { ...options, marker, limit: Math.min(limit, client.maxListed) });
    const asked = Math.min(limit, client.maxListed); // it may have said so just now
    yield* found;
    const last = found.at(-1);
    // Ceph's gateway gives 1000 whatever is asked for: of the larger pages only an empty one is the end.
    if (last === undefined || (found.length < asked && asked <= FIRST_PAGE)) return;
    const next = 'name' in last ? last.name : last.subdir;
    if (Buffer.compare(Buffer.from(next), Buffer.from(marker)) <= 0) throw new DriverError('permanent', `list ${options.prefix}: Swift listed ${next} behind ${marker}, where it does not belong`);
    marker = next;
  }
}

async function page(client: SwiftClient, { prefix, marker, delimited = false, container, limit, signal }: PageOptions): Promise<readonly ListedRow[]> {
  const query = new URLSearchParams({ format: 'json', limit: String(limit), prefix, ...(marker === '' ? {} : { marker }), ...(delimited ? { delimiter: '/' } : {}) });
  const what = `list ${prefix}`;
  let rows: readonly ListedRow[] = [];
  const { status, body } = await client.call({
    method: 'GET', ...(container === undefined ? {} : { container }), query: query.toString(), expect: [200, 204, 412], what, signal,
    verify: (answer) => {
      rows = answer.status === 200 ? rowsOf<ListedRow>(answer.body, what) : [];
    },
  });
  if (status !== 412) return rows;
  // An operator may lower `container_listing_limit`, and hide what the cluster says of itself.
  const most = Number(/maximum limit is (\d+)/i.exec(body.toString('utf8'))?.[1]);
  if (!(most >= 1 && most < limit)) throw new DriverError('permanent', `${what}: Swift answered 412: ${body.toString('utf8', 0, 200)}`);
  client.maxListed = most;
  return await page(client, { prefix, marker, delimited, container, limit: most, signal });
}
