/**
 * Which requests a fault proxy spoils, and how: a rule is a match, a fault, and when it strikes. Every rule counts how
 * often its fault really happened, so that a test can tell "held under the fault" from "the fault never came".
 */

/** What comes between Umbra and a store. `half` of a body is half of its bytes, rounded down. */
export type Fault =
  /** Waits before the request goes on. The only fault that goes together with another one. */
  | { readonly kind: 'latency'; readonly ms: number }
  /** Answers so. Where `done`, only after the store did what was asked, as a proxy does that lost its quorum. */
  | { readonly kind: 'status'; readonly status: number; readonly retryAfterSeconds?: number; readonly done?: boolean }
  /** Cuts the connection (RST): before anything went to the store, after half of the body sent, or of the body received. */
  | { readonly kind: 'reset'; readonly at: 'request' | 'request body' | 'response body' }
  /**
   * Half a body. `closed`: its whole length was promised, then the connection is closed. `clean`: chunked, and ended
   * as if it were whole.
   */
  | { readonly kind: 'truncated'; readonly end: 'closed' | 'clean' }
  /** The store finishes what was asked; then the connection is cut without an answer. */
  | { readonly kind: 'lost' }
  /** Nothing comes, without an end, until the client leaves: no answer at all, or half a body. */
  | { readonly kind: 'silence'; readonly at: 'answer' | 'response body' }
  /** One bit in the midst of the body is another. */
  | { readonly kind: 'corrupted'; readonly body: 'request' | 'response' }
  /** A listing as it stood before the last so many writes (Swift only). */
  | { readonly kind: 'stale listing'; readonly writes: number }
  /** A listing without what was written in the last so many milliseconds. */
  | { readonly kind: 'omitting listing'; readonly ms: number };

export interface Match {
  readonly methods?: readonly string[];
  /** Of the path, without the query. */
  readonly path?: RegExp;
  /** Of the query, without its `?`. */
  readonly query?: RegExp;
  /** Only listings of a container or bucket, or only what is none. */
  readonly listing?: boolean;
}

export type When =
  | 'always'
  /** The first request of that method and URL, so that its retry succeeds. */
  | 'once per url'
  /** The first so many. */
  | { readonly first: number }
  /** Each nth. */
  | { readonly every: number }
  /** By chance, but not where the last `inARow` (default 2) requests of that method and URL were spoiled, by any rule: retries end. */
  | { readonly probability: number; readonly inARow?: number };

export interface RuleOptions {
  /** Default: what the fault says of itself. */
  readonly name?: string;
  readonly fault: Fault;
  /** Default: every request. */
  readonly match?: Match;
  /** Default: always. */
  readonly when?: When;
}

export interface AskedFor {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly listing: boolean;
}

export class FaultRule {
  readonly name: string;
  readonly fault: Fault;
  readonly #match: Match;
  readonly #when: When;
  readonly #random: () => number;
  readonly #seen = new Set<string>();
  #matched = 0;
  #happened = 0;
  #stopped = false;

  /** @param random from 0 to below 1 */
  constructor(options: RuleOptions, random: () => number) {
    this.name = options.name ?? described(options.fault);
    this.fault = options.fault;
    this.#match = options.match ?? {};
    this.#when = options.when ?? 'always';
    this.#random = random;
  }

  /** How often the fault came about, as far as the client could see. */
  get happened(): number {
    return this.#happened;
  }

  /** No request is spoiled by it from now on; those under way are. */
  stop(): void {
    this.#stopped = true;
  }

  /** Strikes again. */
  resume(): void {
    this.#stopped = false;
  }

  /**
   * Whether it strikes this request. Asked once for each request, since it counts them.
   * @param inARow how many requests of that method and URL were spoiled one after the other until now
   */
  strikes(asked: AskedFor, inARow: number): boolean {
    if (this.#stopped || !matches(this.#match, asked)) return false;
    this.#matched += 1;
    const when = this.#when;
    if (when === 'always') return true;
    if (when === 'once per url') {
      const url = urlOf(asked);
      const first = !this.#seen.has(url);
      this.#seen.add(url);
      return first;
    }
    if ('first' in when) return this.#matched <= when.first;
    if ('every' in when) return this.#matched % when.every === 0;
    return this.#random() < when.probability && inARow < (when.inARow ?? 2);
  }

  /** The proxy tells that the fault came about. */
  note(): void {
    this.#happened += 1;
  }
}

export function urlOf({ method, path, query }: AskedFor): string {
  return `${method} ${path}?${query}`;
}

function matches({ methods, path, query, listing }: Match, asked: AskedFor): boolean {
  return (
    (methods === undefined || methods.includes(asked.method)) &&
    (path === undefined || path.test(asked.path)) &&
    (query === undefined || query.test(asked.query)) &&
    (listing === undefined || listing === asked.listing)
  );
}

/** In words, e.g. `status 503`, `reset at the request body`. */
export function described(fault: Fault): string {
  switch (fault.kind) {
    case 'latency':
      return `latency of ${fault.ms} ms`;
    case 'status':
      return `status ${fault.status}${fault.done === true ? ' though done' : ''}`;
    case 'reset':
    case 'silence':
      return `${fault.kind} at the ${fault.at}`;
    case 'truncated':
      return `truncated, ${fault.end}`;
    case 'lost':
      return 'lost response';
    case 'corrupted':
      return `corrupted ${fault.body}`;
    case 'stale listing':
      return `listing ${fault.writes} writes old`;
    case 'omitting listing':
      return `listing without the last ${fault.ms} ms`;
  }
}

/** Numbers from 0 to below 1 that follow from the seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
