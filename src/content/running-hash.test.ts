import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { runningHash } from './running-hash.ts';

describe.each(['sha256', 'sha512'] as const)('%s', (algorithm) => {
  it('of nothing, of a part, and of the whole after that', () => {
    const bytes = randomBytes(100_000);
    const hash = runningHash(algorithm);
    expect(hash.digest()).toBe(digestOf(new Uint8Array(0), algorithm));
    hash.update(bytes.subarray(0, 30_000));
    expect(hash.digest()).toBe(digestOf(bytes.subarray(0, 30_000), algorithm));
    hash.update(bytes.subarray(30_000));
    expect(hash.length).toBe(100_000);
    expect(hash.digest()).toBe(digestOf(bytes, algorithm));
    expect(hash.digest()).toBe(digestOf(bytes, algorithm));
  });
});
