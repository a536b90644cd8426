/**
 * Content digests: parsing, hashing, comparing (OCI image-spec, descriptor.md, "Digests").
 * sha256 and sha512 are the registered algorithms; anything else is refused.
 */
import { createHash, hash, type Hash } from 'node:crypto';
import { RegistryError } from './errors.ts';

/** `sha256:<64 hex>` or `sha512:<128 hex>`, checked. */
export type Digest = string & { readonly __brand: 'Digest' };
export type Algorithm = 'sha256' | 'sha512';

const PATTERN = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Is this text a digest that we can serve? */
export function isDigest(text: string): text is Digest {
  return PATTERN.test(text);
}

/** @throws RegistryError DIGEST_INVALID, naming the text and what was expected */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new RegistryError('DIGEST_INVALID', `invalid digest ${JSON.stringify(text.slice(0, 200))}: expected sha256:<64 lower-case hex digits> or sha512:<128>`);
}

/** @throws RegistryError DIGEST_INVALID */
export function parseAlgorithm(text: string): Algorithm {
  if (text === 'sha256' || text === 'sha512') return text;
  throw new RegistryError('DIGEST_INVALID', `unsupported digest algorithm ${JSON.stringify(text.slice(0, 64))}: expected sha256 or sha512`);
}

export function algorithmOf(digest: Digest): Algorithm {
  return digest.charCodeAt(5) === 0x36 /* '6' */ ? 'sha256' : 'sha512';
}

/** The hexadecimal part. */
export function hexOf(digest: Digest): string {
  return digest.slice(7);
}

export function newHash(algorithm: Algorithm): Hash {
  return createHash(algorithm);
}

/** Ends a running hash. */
export function finishHash(algorithm: Algorithm, running: Hash): Digest {
  return `${algorithm}:${running.digest('hex')}` as Digest;
}

export function digestOf(bytes: Uint8Array, algorithm: Algorithm = 'sha256'): Digest {
  return `${algorithm}:${hash(algorithm, bytes, 'hex')}` as Digest;
}
