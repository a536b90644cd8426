/**
 * A signing key out of a text that the configuration holds (`auth.secret`), for where no file can be kept: whoever has
 * the same text verifies the same tokens. The text itself signs nothing, so that it may serve elsewhere, too.
 */
import { createSecretKey, hkdfSync } from 'node:crypto';
import type { Secret } from '../config/config.ts';
import type { Keys, SigningKey } from './key.ts';

const KEY_BYTES = 32;
const KID_BYTES = 8;
/** What else is ever derived from the text is another name, and has nothing to do with this key. */
const PURPOSES = { key: 'umbra token signing key', kid: 'umbra token signing key id' } as const;

/** HKDF (RFC 5869) with SHA-256. It cannot make a text that is guessed easily any better. */
export function derivedKeys(secret: Secret): Keys {
  const derive = (purpose: string, bytes: number): Buffer => Buffer.from(hkdfSync('sha256', secret.reveal(), '', purpose, bytes));
  const signing: SigningKey = { kid: derive(PURPOSES.kid, KID_BYTES).toString('base64url'), secret: createSecretKey(derive(PURPOSES.key, KEY_BYTES)) };
  return {
    version: 1,
    signing,
    find: (kid) => (kid === signing.kid ? signing : undefined),
    refresh: () => Promise.resolve(),
    reload: () => Promise.resolve(),
  };
}
