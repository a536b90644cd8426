/** What other parts must know of a key without knowing what keys look like. */
import { describe, expect, test } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { digestOfData, isClaimable, keys, type Generation } from './keys.ts';

const digest = digestOf(Buffer.from('x'));
const generation = 'f'.repeat(32) as Generation;

describe('keys', () => {
  test('of a blob\'s bytes tell its digest; all others do not', () => {
    expect(digestOfData(keys.data(digest, generation))).toBe(digest);
    const sha512 = digestOf(Buffer.from('x'), 'sha512');
    expect(digestOfData(keys.data(sha512, generation))).toBe(sha512);
    for (const key of [keys.current(digest), keys.condemned(digest), keys.doomed(digest, generation), keys.uploadState('x'), keys.storeName()]) {
      expect(digestOfData(key)).toBeUndefined();
    }
    expect(digestOfData(`${keys.data(digest, generation)}/below`)).toBeUndefined();
  });

  test('of content, uploads and leases are not decided by claims', () => {
    for (const key of [keys.data(digest, generation), keys.current(digest), keys.uploadState('x'), keys.storeName(), 'repos/main/docker.io/x/_tags/y', 'leases/fills/x', 'views/main/expired']) {
      expect(isClaimable(key)).toBe(false);
    }
    expect(isClaimable('views/1/pins/docker.io/library/nginx/latest')).toBe(true);
  });
});
