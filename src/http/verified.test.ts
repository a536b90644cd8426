/** Bytes that changed between the store and us never look whole. */
import { describe, expect, test } from 'vitest';
import type { Source } from '../drivers/driver.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { all, openedAt, patterned } from '../drivers/contract/store.contract.ts';
import { digestOf } from '../oci/digest.ts';
import { verified } from './verified.ts';

const BYTES = patterned(300_000);
const WHOLE = { start: 0, end: BYTES.length - 1 };

/** As an object store gives them: no random access. */
function streaming(...chunks: readonly Buffer[]): Source {
  return {
    stat: { size: BYTES.length, modifiedMs: 0, stamp: 'x' },
    async *stream() {
      yield* chunks;
    },
    close: async () => undefined,
  };
}

describe('a whole blob from a store', () => {
  test.each(['sha256', 'sha512'] as const)('comes as it is where it has its digest: %s', async (algorithm) => {
    const source = verified(streaming(BYTES.subarray(0, 1), BYTES.subarray(1, 200_000), Buffer.alloc(0), BYTES.subarray(200_000)), digestOf(BYTES, algorithm));
    expect(Buffer.concat(await all(source.stream(WHOLE))).equals(BYTES)).toBe(true);
  });

  test.each([0, 150_000, BYTES.length - 1])('never comes whole where byte %i is another', async (at) => {
    const wrong = Buffer.from(BYTES);
    wrong.writeUInt8(wrong.readUInt8(at) ^ 1, at);
    for (const chunks of [[wrong], [wrong.subarray(0, 100_000), wrong.subarray(100_000)]]) {
      let given = 0;
      const reading = (async () => {
        for await (const chunk of verified(streaming(...chunks), digestOf(BYTES)).stream(WHOLE)) given += chunk.length;
      })();
      await expect(reading).rejects.toThrow(digestOf(BYTES));
      expect(given).toBeLessThan(BYTES.length);
    }
  });

  test('is left alone where it is local', async () => {
    const driver = memoryDriver();
    await driver.put('key', BYTES);
    const source = await openedAt(driver, 'key');
    expect(verified(source, digestOf(BYTES))).toBe(source);
    await source.close();
  });
});
