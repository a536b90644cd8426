/**
 * What can come between Umbra and an object store, by kind, as rules of the fault proxy. Drivers try again, so none of
 * them may be seen by whoever uses a driver, and none twice too often in a row (`inARow`): a store that only fails is
 * another test.
 */
import type { Match, RuleOptions, When } from '../services/fault-rules.ts';

export type StoreStyle = 'swift' | 's3';

/** @param probability from 0 to 1, of each rule */
export function storeFaults(style: StoreStyle, probability: number): Readonly<Record<string, readonly RuleOptions[]>> {
  const rule = (fault: RuleOptions['fault'], match: Match = {}): RuleOptions => ({ fault, match, when: { probability, inARow: 2 } });
  const object = style === 'swift' ? /^\/v1\/[^/]+\/[^/]+\/./ : /^\/[^/]+\/./;
  const reads: Match = { methods: ['GET'] };
  return {
    latency: [rule({ kind: 'latency', ms: 30 })],
    'server errors': [500, 502, 503, 504].map((status) => rule({ kind: 'status', status })),
    'errors though done': [rule({ kind: 'status', status: 503, done: true }), rule({ kind: 'status', status: 500, done: true })],
    'refusals for now': [rule({ kind: 'status', status: 429, retryAfterSeconds: 0 }), rule({ kind: 'status', status: 408 }), ...(style === 'swift' ? [rule({ kind: 'status', status: 498 })] : [])],
    resets: [rule({ kind: 'reset', at: 'request' }), rule({ kind: 'reset', at: 'request body' }, { methods: ['PUT', 'POST'] }), rule({ kind: 'reset', at: 'response body' }, reads)],
    'truncated bodies': [rule({ kind: 'truncated', end: 'closed' }, reads), rule({ kind: 'truncated', end: 'clean' }, reads)],
    'lost answers': [rule({ kind: 'lost' })],
    // Listings carry no sum by which a wrong bit could be told.
    'corrupted bodies': [rule({ kind: 'corrupted', body: 'request' }, { methods: ['PUT'], path: object }), rule({ kind: 'corrupted', body: 'response' }, { ...reads, path: object })],
  };
}

/** A session waits before it asks for another token where the one it just got was refused: this must be rare. */
export const REFUSED_TOKENS: readonly RuleOptions[] = [{ fault: { kind: 'status', status: 401 }, when: { every: 150 } }];

/**
 * Listings that are not those of now, while point reads are: as they stood some writes ago (Swift, where each of the two
 * rules takes about half of the share), or without the newest.
 */
export function listingFaults(style: StoreStyle, share: number): readonly RuleOptions[] {
  const match: Match = { listing: true };
  const when = (probability: number): When => ({ probability, inARow: 1_000 }); // one that lags is no failure: nobody tries again
  const omitting = { kind: 'omitting listing', ms: 30_000 } as const;
  if (style === 's3') return [{ fault: omitting, match, when: when(share) }];
  return [
    { fault: { kind: 'stale listing', writes: 20 }, match, when: when(share / 2) },
    { fault: omitting, match, when: when(share / (2 - share)) },
  ];
}
