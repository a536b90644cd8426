/**
 * The two endpoints that nodes ask, without a token of Keystone: bodies in, bodies out, and how often one network may be
 * wrong. Whoever mounts them reads the body (at most `MAX_BODY_BYTES`) and writes answers and refusals.
 */
import { isIPv6 } from 'node:net';
import { LRUCache } from 'lru-cache';
import { BOOTSTRAP_PATH, parseBootstrapRequest, parseRenewRequest, WireError, type BootstrapAnswer, type RenewAnswer } from '../../bootstrap-wire.ts';
import type { Bootstrap } from './bootstrap.ts';
import { BootstrapRefusal } from './refusal.ts';
import { hashOf } from './words.ts';

export interface NodeRequest {
  /** The body, as UTF-8. */
  readonly text: string;
  readonly authorization: string | undefined;
  /** Of the client, behind proxies that are trusted. */
  readonly address: string;
}

/** Answers 200 with this as JSON and `Cache-Control: no-store`, for it holds secrets. @throws BootstrapRefusal, which is told as it says; anything else is a 500 */
export type NodeEndpoint = (request: NodeRequest) => Promise<BootstrapAnswer | RenewAnswer>;

export interface NodeEndpoints {
  /** Undefined: not one of these paths. All are POST. */
  find(path: string): NodeEndpoint | undefined;
}

export interface NodeEndpointsDeps {
  readonly bootstrap: Pick<Bootstrap, 'exchange' | 'renew'>;
  readonly nowMs: () => number;
}

const RENEW = /^\/v1\/nodes\/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\/renew$/;
/** Wrong tokens and keys of one network in a minute. Nobody guesses 256 bits: what is spared is the database. */
const WRONG = 300;
const WINDOW_MS = 60_000;
const NETWORKS = 10_000;
/** Tokens and keys that were refused are so for ever. A node with an old token comes every few seconds, and must not use up the patience with its network. */
const REFUSED = 10_000;

export function nodeEndpoints({ bootstrap, nowMs }: NodeEndpointsDeps): NodeEndpoints {
  const wrong = new LRUCache<string, { readonly count: number; readonly sinceMs: number }>({ max: NETWORKS });

  const refused = new LRUCache<string, BootstrapRefusal>({ max: REFUSED });

  const countOf = (network: string): { readonly count: number; readonly sinceMs: number } => {
    const now = nowMs();
    const found = wrong.get(network);
    return found !== undefined && now - found.sinceMs < WINDOW_MS ? found : { count: 0, sinceMs: now };
  };

  /** @param shown the token or key, and whose it is said to be */
  const bounded = async <T>(address: string, shown: string, ask: () => Promise<T>): Promise<T> => {
    const hash = hashOf(shown);
    const before = refused.get(hash);
    if (before !== undefined) throw before;
    const network = networkOf(address);
    const now = nowMs();
    const counted = countOf(network);
    if (counted.count >= WRONG) throw new BootstrapRefusal(429, 'too many wrong tokens or keys from this network', Math.ceil((counted.sinceMs + WINDOW_MS - now) / 1000));
    try {
      return await ask();
    } catch (error) {
      if (error instanceof BootstrapRefusal && error.status === 401) {
        refused.set(hash, error);
        // Others may have been wrong meanwhile.
        const { count, sinceMs } = countOf(network);
        wrong.set(network, { count: count + 1, sinceMs });
      }
      throw error;
    }
  };

  const exchange: NodeEndpoint = async ({ text, address }) => {
    const request = read(() => parseBootstrapRequest(text));
    return await bounded(address, request.token, async () => await bootstrap.exchange(request));
  };
  const renew = (id: string): NodeEndpoint => async ({ text, authorization, address }) => {
    const request = read(() => parseRenewRequest(text));
    const key = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    if (key === undefined) throw new BootstrapRefusal(401, 'expected the key of the node, as Authorization: Bearer');
    return await bounded(address, `${id} ${key}`, async () => await bootstrap.renew(id, key, request));
  };

  return {
    find(path) {
      if (path === BOOTSTRAP_PATH) return exchange;
      const id = RENEW.exec(path)?.[1];
      return id === undefined ? undefined : renew(id);
    },
  };
}

/** @throws BootstrapRefusal */
function read<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof WireError) throw new BootstrapRefusal(400, error.message);
    throw error;
  }
}

/** Whoever has one IPv6 address has 2^64 of them. */
function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const groups = new URL(`http://[${address.split('%')[0] ?? ''}]`).hostname.slice(1, -1).split('::');
  const [head = '', tail] = groups;
  const [left, right] = [head, tail ?? ''].map((part) => part.split(':').filter((group) => group !== ''));
  const zeros = tail === undefined ? 0 : 8 - (left?.length ?? 0) - (right?.length ?? 0);
  return [...(left ?? []), ...Array.from({ length: zeros }, () => '0'), ...(right ?? [])].slice(0, 4).join(':');
}
