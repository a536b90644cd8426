import fc from 'fast-check';
import { expect, test } from 'vitest';
import { digestOf, type Digest } from '../oci/digest.ts';
import { DigestSet } from './digest-set.ts';

test('says what a Set says', () => {
  // Few different ones, so that many come twice; and some that begin alike, as a broken hash's would.
  const digest = fc.oneof(
    fc.nat(200).map((n) => digestOf(Buffer.from(String(n)))),
    fc.nat(20).map((n) => digestOf(Buffer.from(String(n)), 'sha512')),
    fc.nat(30).map((n) => `sha256:${'0'.repeat(24)}${n.toString(16).padStart(8, '0').replace(/^0/, '1')}${'0'.repeat(32)}` as Digest),
  );
  fc.assert(
    fc.property(fc.array(digest, { maxLength: 500 }), (digests) => {
      const [set, model] = [new DigestSet(), new Set<Digest>()];
      for (const one of digests) {
        expect(set.has(one)).toBe(model.has(one));
        expect(set.add(one)).toBe(!model.has(one));
        model.add(one);
        expect(set.size).toBe(model.size);
      }
    }),
  );
});
