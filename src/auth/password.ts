/**
 * Checks one password against what is stored: plain text in constant time, bcrypt off the main thread. A user who does
 * not exist takes as long as a wrong password. bcrypt is slow on purpose (50 to 300 ms), so its outcomes are kept for a
 * minute, under a keyed hash that says nothing without this process; passwords themselves are not kept.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Secret } from '../config/config.ts';
import { createTurns } from './turns.ts';

export interface StoredPassword {
  readonly kind: 'plain' | 'bcrypt';
  readonly secret: Secret;
}

export interface PasswordDeps {
  readonly nowMs: () => number;
  readonly randomBytes: (size: number) => Buffer;
  /** Resolves to whether `password` has this bcrypt hash, without blocking the event loop. */
  readonly verifyBcrypt: (password: string, hash: string) => Promise<boolean>;
}

export interface Passwords {
  /**
   * @param stored undefined: no such user
   * @param decoyCost the bcrypt cost that a failure costs where no hash was compared; undefined where no user has a hash
   * @throws RegistryError TOOMANYREQUESTS while more checks wait than will be done soon
   */
  check(user: string, password: Secret, stored: StoredPassword | undefined, decoyCost: number | undefined): Promise<boolean>;
}

const BCRYPT = /^\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}$/;
const BCRYPT_ALPHABET = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const KEPT_MS = 60_000;
const KEPT_OUTCOMES = 10_000;
/** Half of libuv's four threads: the other half keeps reading files while somebody guesses passwords. */
const MAX_RUNNING = 2;
const MAX_WAITING = 100;

export function isBcrypt(hash: string): boolean {
  return BCRYPT.test(hash);
}

/** Base-2 logarithm of the rounds. */
export function costOf(hash: Secret): number {
  return Number(BCRYPT.exec(hash.reveal())?.[1] ?? 0);
}

export function createPasswords({ nowMs, randomBytes, verifyBcrypt }: PasswordDeps): Passwords {
  const processKey = randomBytes(32);
  const nobody = randomBytes(32).toString('base64'); // what the password of a user who does not exist is compared to
  const decoys = new Map<number, string>();
  // Apart, so that a flood of wrong passwords does not push out those of users at work.
  const good = new LRUCache<string, number>({ max: KEPT_OUTCOMES });
  const bad = new LRUCache<string, number>({ max: KEPT_OUTCOMES });
  const running = new Map<string, Promise<boolean>>();
  const withTurn = createTurns({ maxRunning: MAX_RUNNING, maxWaiting: MAX_WAITING });

  const decoyFor = (cost: number): string => {
    let decoy = decoys.get(cost);
    if (decoy === undefined) {
      decoy = makeDecoy(cost, randomBytes);
      decoys.set(cost, decoy);
    }
    return decoy;
  };
  const compare = async (key: string, password: string, hash: string): Promise<boolean> => {
    const matches = await withTurn(() => verifyBcrypt(password, hash));
    (matches ? good : bad).set(key, nowMs() + KEPT_MS);
    return matches;
  };
  const bcrypt = (user: string, password: string, hash: string): Promise<boolean> => {
    const key = createHmac('sha256', processKey).update(JSON.stringify([user, password, hash])).digest('base64');
    for (const [kept, outcome] of [[good, true], [bad, false]] as const) {
      const untilMs = kept.get(key);
      if (untilMs !== undefined && untilMs > nowMs()) return Promise.resolve(outcome);
    }
    let check = running.get(key); // many clients of one job log in at once
    if (check === undefined) {
      check = compare(key, password, hash).finally(() => running.delete(key));
      running.set(key, check);
    }
    return check;
  };

  return {
    async check(user, secret, stored, decoyCost) {
      const password = secret.reveal();
      if (stored?.kind === 'bcrypt') return bcrypt(user, password, stored.secret.reveal());
      const same = equal(password, stored?.secret.reveal() ?? nobody);
      if (same && stored !== undefined) return true;
      if (decoyCost !== undefined) await bcrypt(user, password, decoyFor(decoyCost));
      return false;
    },
  };
}

/** A well-formed hash that no password is known to have. */
function makeDecoy(cost: number, randomBytes: (size: number) => Buffer): string {
  const random = (length: number): string => [...randomBytes(length)].map((byte) => BCRYPT_ALPHABET.charAt(byte % 64)).join('');
  // Salt and digest end in a character with spare bits, which a strict decoder wants to be zero; '.' is zero.
  return `$2b$${String(cost).padStart(2, '0')}$${random(21)}.${random(30)}.`;
}

/** Hashed first, so that neither content nor length shows in the time. */
function equal(a: string, b: string): boolean {
  return timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest());
}
