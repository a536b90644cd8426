/** Tokens and keys of nodes: 256 random bits each, of which the database has but a hash. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { keyOf, TOKEN_PREFIX } from '../../bootstrap-wire.ts';
import { Secret } from '../../config/config.ts';

export type RandomBytes = (size: number) => Buffer;

const BYTES = 32;

export function newToken(randomBytes: RandomBytes): Secret {
  return new Secret(TOKEN_PREFIX + randomBytes(BYTES).toString('base64url'));
}

export function newKey(randomBytes: RandomBytes): Secret {
  return new Secret(keyOf(randomBytes(BYTES)));
}

/** SHA-256 in hex. There is nothing to slow down: nobody guesses 256 bits. */
export function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** @param hash as the database has it */
export function isHashOf(hash: string, secret: string): boolean {
  return timingSafeEqual(createHash('sha256').update(secret).digest(), Buffer.from(hash, 'hex'));
}
