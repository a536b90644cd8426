/**
 * What a fault proxy saw written to a store, and how a listing looks without the newest of it: as a replica that lags
 * would answer. Knows Swift's JSON and S3's XML. What was written past the proxy is taken for old.
 */

/** An entry of Swift's JSON listing, or a level of it. */
export type SwiftEntry = { readonly name: string } | { readonly subdir: string };

interface Write {
  readonly key: string;
  readonly atMs: number;
  /** What the listing had before; undefined: nothing. */
  readonly before: SwiftEntry | undefined;
}

/** What a listing asked for. */
export interface ListingQuery {
  readonly prefix: string;
  readonly delimiter: string;
  readonly marker: string;
  readonly endMarker: string;
  readonly limit: number;
}

export class ListingHistory {
  readonly #clock: () => number;
  readonly #writes: Write[] = [];
  /** Of every key seen: when it was last written, and whether it stands. */
  readonly #keys = new Map<string, { readonly atMs: number; readonly stands: boolean }>();

  /** @param clock milliseconds */
  constructor(clock: () => number = Date.now) {
    this.#clock = clock;
  }

  get writes(): number {
    return this.#writes.length;
  }

  wrote(key: string, stands: boolean, before?: SwiftEntry): void {
    const atMs = this.#clock();
    this.#writes.push({ key, atMs, before });
    this.#keys.set(key, { atMs, stands });
  }

  /** The page of a Swift listing as it stood before the last `count` writes. `newest` may be longer than the page asked for. */
  before(count: number, newest: readonly SwiftEntry[], query: ListingQuery): SwiftEntry[] {
    const then = new Map<string, SwiftEntry | undefined>();
    for (const { key, before } of this.#writes.slice(Math.max(0, this.#writes.length - count)).toReversed()) then.set(key, before);
    const gone = (key: string): boolean => then.has(key) && then.get(key) === undefined;
    const kept = newest.filter((entry) => ('subdir' in entry ? !this.#allBelow(entry.subdir, gone) : !then.has(entry.name)));
    const complete = newest.length < query.limit;
    const last = nameOf(newest.at(-1)) ?? '';
    const back = new Map<string, SwiftEntry>();
    for (const [key, entry] of then) {
      if (entry === undefined) continue;
      const shown = levelOf(entry, key, query);
      const name = nameOf(shown) ?? '';
      if (key.startsWith(query.prefix) && name > query.marker && (query.endMarker === '' || name < query.endMarker) && (complete || name <= last)) back.set(name, shown);
    }
    for (const entry of kept) back.set(nameOf(entry) ?? '', entry);
    return [...back].toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))).map(([, entry]) => entry).slice(0, query.limit);
  }

  /** A Swift listing without what was written in the last `ms`. */
  withoutNewest(ms: number, newest: readonly SwiftEntry[], query: ListingQuery): SwiftEntry[] {
    const isNew = this.#newerThan(ms);
    return newest.filter((entry) => ('subdir' in entry ? !this.#allBelow(entry.subdir, isNew) : !isNew(entry.name))).slice(0, query.limit);
  }

  /** An S3 listing without what was written in the last `ms`; its pages may be short, as S3 allows. */
  withoutNewestXml(ms: number, xml: string): string {
    const isNew = this.#newerThan(ms);
    return xml
      .replaceAll(/<Contents>.*?<Key>(.*?)<\/Key>.*?<\/Contents>/gs, (entry: string, key: string) => (isNew(unescaped(key)) ? '' : entry))
      .replaceAll(/<CommonPrefixes>\s*<Prefix>(.*?)<\/Prefix>\s*<\/CommonPrefixes>/gs, (entry: string, prefix: string) =>
        this.#allBelow(unescaped(prefix), isNew) ? '' : entry);
  }

  #newerThan(ms: number): (key: string) => boolean {
    const fromMs = this.#clock() - ms;
    return (key) => (this.#keys.get(key)?.atMs ?? -Infinity) > fromMs;
  }

  /** Whether all that is known to stand below is so; a level of which nothing is known is old. */
  #allBelow(level: string, is: (key: string) => boolean): boolean {
    const below = [...this.#keys].filter(([key, { stands }]) => stands && key.startsWith(level));
    return below.length > 0 && below.every(([key]) => is(key));
  }
}

function nameOf(entry: SwiftEntry | undefined): string | undefined {
  if (entry === undefined) return undefined;
  return 'subdir' in entry ? entry.subdir : entry.name;
}

/** How a listing shows a key: itself, or the level that it is under. */
function levelOf(entry: SwiftEntry, key: string, { prefix, delimiter }: ListingQuery): SwiftEntry {
  const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
  return cut < 0 ? entry : { subdir: key.slice(0, cut + delimiter.length) };
}

function unescaped(xml: string): string {
  const plain = xml.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&amp;', '&');
  return /%[0-9A-F]{2}/i.test(plain) ? decodeURIComponent(plain.replaceAll('+', ' ')) : plain;
}
