/**
 * Slows down whoever guesses passwords. Wrong ones are counted by user and address together, and by address; what is
 * counted by user alone only takes free tries away, so that nobody can lock a user out from elsewhere:
 *
 * - user at an address: `PAIR.free` wrong passwords, then a wait that doubles with each further one;
 * - address (a network of 64 bits, in IPv6): the same, with more of both, but not for users who logged in from there;
 * - user: after `ATTACKED` wrong passwords from anywhere, one free try at each address where the user never logged in.
 *
 * The same wrong password again is no further guess: a machine with an old password does not shut out its neighbours.
 * What is kept is bounded in number, and in size by hashing.
 */
import { createHmac } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { Secret } from '../config/config.ts';

export interface Guess {
  readonly user: string;
  readonly address: string;
}

export interface Throttle {
  /** Milliseconds until a password of this user from this address is looked at again; 0: now. */
  waitMs(guess: Guess): number;
  /** A password was looked at, and is wrong. */
  failed(guess: Guess, password: Secret): void;
  succeeded(guess: Guess): void;
}

/** The other processes of this server, which count the same clients. */
export interface ThrottlePeers {
  tell(guess: Guess): void;
  hear(handler: (guess: Guess) => void): void;
}

export interface ThrottleDeps {
  readonly nowMs: () => number;
  readonly randomBytes: (size: number) => Buffer;
  readonly peers: ThrottlePeers | undefined;
}

interface Bound {
  /** So many wrong passwords cost no wait. */
  readonly free: number;
  readonly longestMs: number;
}

const PAIR: Bound = { free: 5, longestMs: 5 * 60_000 };
const ADDRESS: Bound = { free: 50, longestMs: 60_000 };
const ATTACKED = 200;
const FREE_WHILE_ATTACKED = 1;
const FIRST_MS = 1000;
/** Without a wrong password for so long, those before are forgotten. Longer than any wait. */
const FORGET_MS = 15 * 60_000;
/** A user who logged in from an address is known there for so long. */
const KNOWN_MS = 24 * 3600_000;
const KEPT = 10_000;

export function createThrottle({ nowMs, randomBytes, peers }: ThrottleDeps): Throttle {
  const processKey = randomBytes(32);
  const [pairs, addresses, users] = [createCounts(nowMs), createCounts(nowMs), createCounts(nowMs)];
  /** When each logged in last. */
  const known = new LRUCache<string, number>({ max: KEPT });
  const wrong = new LRUCache<string, number>({ max: KEPT });
  const hash = (...words: readonly string[]): string => createHmac('sha256', processKey).update(JSON.stringify(words)).digest('base64');
  const keysOf = ({ user, address }: Guess): { readonly pair: string; readonly network: string; readonly user: string } => {
    const network = networkOf(address);
    return { pair: hash('pair', user, network), network, user: hash('user', user) };
  };
  const count = (guess: Guess): void => {
    const { pair, network, user } = keysOf(guess);
    pairs.add(pair);
    addresses.add(network);
    users.add(user);
  };
  peers?.hear(count);

  return {
    waitMs(guess) {
      const { pair, network, user } = keysOf(guess);
      if (nowMs() - (known.get(pair) ?? Number.NEGATIVE_INFINITY) < KNOWN_MS) return pairs.waitMs(pair, PAIR);
      const free = users.of(user) < ATTACKED ? PAIR.free : FREE_WHILE_ATTACKED;
      return Math.max(pairs.waitMs(pair, { ...PAIR, free }), addresses.waitMs(network, ADDRESS));
    },
    failed(guess, password) {
      const key = hash('wrong', guess.user, networkOf(guess.address), password.reveal());
      const triedMs = wrong.get(key);
      wrong.set(key, nowMs());
      if (triedMs !== undefined && nowMs() - triedMs < FORGET_MS) return;
      count(guess);
      peers?.tell(guess);
    },
    succeeded(guess) {
      const { pair } = keysOf(guess);
      known.set(pair, nowMs());
      // The address is not forgiven: it may be that of a guesser with an account of their own.
      pairs.forget(pair);
    },
  };
}

interface Counts {
  add(key: string): void;
  of(key: string): number;
  waitMs(key: string, bound: Bound): number;
  forget(key: string): void;
}

function createCounts(nowMs: () => number): Counts {
  const all = new LRUCache<string, { readonly count: number; readonly lastMs: number }>({ max: KEPT });
  const living = (key: string): { readonly count: number; readonly lastMs: number } | undefined => {
    const found = all.get(key);
    return found === undefined || nowMs() - found.lastMs >= FORGET_MS ? undefined : found;
  };
  return {
    add: (key) => void all.set(key, { count: (living(key)?.count ?? 0) + 1, lastMs: nowMs() }),
    of: (key) => living(key)?.count ?? 0,
    waitMs(key, { free, longestMs }) {
      const found = living(key);
      if (found === undefined || found.count < free) return 0;
      const pauseMs = Math.min(longestMs, FIRST_MS * 2 ** (found.count - free));
      return Math.max(0, found.lastMs + pauseMs - nowMs());
    },
    forget: (key) => void all.delete(key),
  };
}

/** Whoever has one IPv6 address has 2^64 of them. */
function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::');
  const left = head.split(':').filter((part) => part !== '');
  const right = (tail ?? '').split(':').filter((part) => part !== '');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...Array.from({ length: zeros }, () => '0'), ...right].slice(0, 4).map((part) => Number.parseInt(part, 16).toString(16)).join(':');
}
