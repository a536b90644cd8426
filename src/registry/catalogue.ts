/**
 * The catalogue: names with something stored, in byte order of what the client writes, in pages, without ever holding
 * more than a page.
 */
import { digestAtEnd, keys } from '../content/keys.ts';
import type { Name, ViewId } from '../oci/name.ts';
import type { View, Views } from '../views/views.ts';
import { spell } from './names.ts';
import type { Stores } from './stores.ts';

/** How the client writes names here. */
export interface CatalogueSpelling {
  readonly defaultUpstream: string;
  /** The view of a path `/v2/<view>.view/_catalog`. */
  readonly viewPrefix: ViewId | undefined;
}

export interface CataloguePage {
  /** In the client's spelling. */
  readonly names: readonly string[];
  readonly more: boolean;
}

export interface Catalogue {
  /** Names stored in the views walked, the upstream and approved views included, from after `last`, at most `n`. */
  page(view: View, spelling: CatalogueSpelling, n: number, last: string | undefined): Promise<CataloguePage>;
}

export interface CatalogueDeps {
  readonly stores: Stores;
  readonly views: Views;
}

export function catalogue({ stores, views }: CatalogueDeps): Catalogue {
  async function isStored(place: View, name: Name): Promise<boolean> {
    const repo = { view: place.uid, name };
    const { driver, content } = stores.of(place.uid);
    for await (const { key } of driver.list(keys.manifests(repo))) {
      const digest = digestAtEnd(key);
      if (digest !== undefined && (await content.manifests.find(repo, digest)) !== undefined) return true;
    }
    return false;
  }

  /** Names of one place below `path` (which ends in `/`), as far as what the client writes comes after `last`. */
  async function* below(place: View, path: string, write: (path: string) => string, last: string): AsyncGenerator<string> {
    const written = write(path);
    /** Subtrees passed and not yet told: `a/…` comes after `a-b`. Each is a prefix of the next, so they are few. */
    const later: string[] = [];
    const tellBefore = async function* (limit: string | undefined): AsyncGenerator<string> {
      for (let next = later.at(-1); next !== undefined && (limit === undefined || next < limit); next = later.at(-1)) {
        later.pop();
        yield* below(place, `${path}${next}`, write, last);
      }
    };
    const startAfter = firstThatMatters(written, last);
    for await (const { name, leaf } of stores.of(place.uid).driver.children(`${keys.repositories(place.uid)}${path}`, startAfter === '' ? {} : { startAfter })) {
      if (leaf || name.startsWith('_')) continue;
      yield* tellBefore(name);
      const own = `${written}${name}`;
      if (own > last && (await isStored(place, `${path}${name}` as Name))) yield own; // keys hold names
      if (`${own}/` > last || last.startsWith(`${own}/`)) later.push(`${name}/`);
    }
    yield* tellBefore(undefined);
  }

  async function* streams(view: View, spelling: CatalogueSpelling, last: string): AsyncGenerator<AsyncGenerator<string>> {
    for (const place of new Set([...views.walk(view), views.upstream, views.approved])) {
      for await (const { name: host } of stores.of(place.uid).driver.children(keys.repositories(place.uid))) {
        const root = spell(`${host}/` as Name, spelling); // what every name of the host begins with
        yield below(place, `${host}/`, (path) => `${root}${path.slice(host.length + 1)}`, last);
      }
    }
  }

  return {
    async page(view, spelling, n, last) {
      const names: string[] = [];
      const open: AsyncGenerator<string>[] = [];
      try {
        for await (const stream of streams(view, spelling, last ?? '')) open.push(stream);
        for await (const name of merged(open)) {
          if (names.length === n) return { names, more: true };
          names.push(name);
        }
        return { names, more: false };
      } finally {
        await Promise.all(open.map((stream) => stream.return(undefined)));
      }
    },
  };
}

/**
 * Where reading the children of a level may begin: whatever comes before can be no name after `last`, nor hold one. Only
 * what `last` has before its first `-` or `.` counts, since `a/…` comes after `a-b`.
 */
function firstThatMatters(written: string, last: string): string {
  if (!last.startsWith(written)) return '';
  const stem = /^[^/.-]*/.exec(last.slice(written.length))?.[0] ?? '';
  return stem.slice(0, -1);
}

/** Sorted streams as one, each name once. */
async function* merged(streams: readonly AsyncGenerator<string>[]): AsyncGenerator<string> {
  const heads: { readonly stream: AsyncGenerator<string>; name: string }[] = [];
  for (const stream of streams) {
    const { value, done } = await stream.next();
    if (done !== true) heads.push({ stream, name: value });
  }
  while (heads.length > 0) {
    const least = heads.map(({ name }) => name).reduce((a, b) => (a <= b ? a : b));
    yield least;
    for (const head of heads.filter(({ name }) => name === least)) {
      const { value, done } = await head.stream.next();
      if (done === true) heads.splice(heads.indexOf(head), 1);
      else head.name = value;
    }
  }
}
