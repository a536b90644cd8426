/** The contract of opened objects: ranges, random access, and what becomes of the key meanwhile. */
import { describe, expect, test } from 'vitest';
import type { Source } from '../driver.ts';
import { all, eachWithStore, expectFailure, openedAt, patterned, rangeOf, text, type ContractStore } from './store.contract.ts';

const SIZE = 1_500_000;

export function sourceContract(makeStore: () => Promise<ContractStore>): void {
  describe('opened objects', () => {
    const subject = eachWithStore(makeStore);

    test.each([
      ['all', 0, SIZE - 1],
      ['the first byte', 0, 0],
      ['the last byte', SIZE - 1, SIZE - 1],
      ['the middle', 262_143, 1_048_577],
      ['a block', 262_144, 524_287],
      ['up to behind the end', SIZE - 10, SIZE + 10],
    ])('stream gives %s', async (_, start, end) => {
      const { driver } = subject;
      const bytes = patterned(SIZE);
      await driver.put('key', bytes, { durable: 'later' });
      const source = await openedAt(driver, 'key');
      expect((await rangeOf(source, { start, end })).equals(bytes.subarray(start, end + 1))).toBe(true);
      await source.close();
    });

    test('chunks stay as they were when more is read', async () => {
      const { driver } = subject;
      const bytes = patterned(SIZE);
      await driver.put('key', bytes, { durable: 'later' });
      const source = await openedAt(driver, 'key');
      const first = await all(source.stream({ start: 0, end: SIZE - 1 }));
      await all(source.stream({ start: 1, end: SIZE - 1 }));
      expect(Buffer.concat(first).equals(bytes)).toBe(true);
      await source.close();
    });

    test('several streams of one source run beside each other', async () => {
      const { driver } = subject;
      const bytes = patterned(SIZE);
      await driver.put('key', bytes, { durable: 'later' });
      const source = await openedAt(driver, 'key');
      const ranges = Array.from({ length: 5 }, (_, index) => ({ start: index * 1000, end: SIZE - 1 - index * 77_777 }));
      const read = await Promise.all(ranges.map((range) => rangeOf(source, range)));
      for (const [index, { start, end }] of ranges.entries()) expect(read[index]?.equals(bytes.subarray(start, end + 1))).toBe(true);
      await source.close();
    });

    test('a consumer may leave a stream early, and the source is closed all the same', async () => {
      const { driver } = subject;
      await driver.put('key', patterned(SIZE), { durable: 'later' });
      const source = await openedAt(driver, 'key');
      for await (const chunk of source.stream({ start: 0, end: SIZE - 1 })) {
        expect(chunk.length).toBeGreaterThan(0);
        break;
      }
      await source.close();
      await source.close();
    });

    test('an abort ends a stream with its reason', async () => {
      const { driver } = subject;
      await driver.put('key', patterned(SIZE), { durable: 'later' });
      const source = await openedAt(driver, 'key');
      const aborting = new AbortController();
      const reading = async (): Promise<void> => {
        for await (const _ of source.stream({ start: 0, end: SIZE - 1 }, { signal: aborting.signal })) aborting.abort(new Error('the client left'));
      };
      await expect(reading()).rejects.toThrow('the client left');
      await source.close();
    });

    test('random access fills what it can from any position', async () => {
      const { driver } = subject;
      const bytes = patterned(100_000);
      await driver.put('key', bytes, { durable: 'later' });
      const source = await openedAt(driver, 'key');
      if (source.read !== undefined) {
        const into = Buffer.alloc(1000);
        for (const position of [0, 1, 50_000, 99_000]) {
          expect(await source.read(into, position)).toBe(1000);
          expect(into.equals(bytes.subarray(position, position + 1000))).toBe(true);
        }
        expect(await source.read(into, 99_990)).toBe(10);
        expect(into.subarray(0, 10).equals(bytes.subarray(99_990))).toBe(true);
        expect(await source.read(into, 100_000)).toBe(0);
        expect(await source.read(into, 200_000)).toBe(0);
        const view = into.subarray(10, 20);
        into.fill(0);
        expect(await source.read(view, 500)).toBe(10);
        expect(into.subarray(10, 20).equals(bytes.subarray(500, 510))).toBe(true);
        expect(into.subarray(20).every((byte) => byte === 0)).toBe(true);
      }
      await source.close();
    });

    test('what was opened stays readable when the key is deleted or replaced, or fails', async () => {
      const { driver, other } = subject;
      const whole = async (source: Source, start: number, bytes: Buffer): Promise<void> => {
        try {
          expect((await rangeOf(source, { start, end: 599_999 })).equals(bytes.subarray(start))).toBe(true);
        } catch (error) {
          if (driver.assemblies.exclusive) throw error;
          await expectFailure(Promise.reject(error), 'permanent');
        }
      };
      const bytes = patterned(600_000);
      await driver.put('key', bytes, { durable: 'later' });
      const deleted = await openedAt(driver, 'key');
      const replaced = await openedAt(driver, 'key');
      await other.delete(['key']);
      await whole(deleted, 0, bytes);
      await other.put('key', Buffer.from('new'));
      await whole(replaced, 10, bytes);
      expect(text((await driver.get('key'))?.bytes)).toBe('new');
      await deleted.close();
      await replaced.close();
    });

    test('a closed source is not read from', async () => {
      const { driver } = subject;
      await driver.put('key', patterned(600_000), { durable: 'later' });
      const source = await openedAt(driver, 'key');
      await source.close();
      await expect(all(source.stream({ start: 0, end: 599_999 }))).rejects.toThrow('closed');
      if (source.read !== undefined) await expect(source.read(Buffer.alloc(10), 0)).rejects.toThrow('closed');
    });

    test('closing waits for reads under way', async () => {
      const { driver } = subject;
      const bytes = patterned(600_000);
      await driver.put('key', bytes, { durable: 'later' });
      const source = await openedAt(driver, 'key');
      if (source.read !== undefined) {
        const into = Buffer.alloc(600_000);
        const reading = source.read(into, 0);
        await source.close();
        expect(await reading).toBe(600_000);
        expect(into.equals(bytes)).toBe(true);
      } else await source.close();
    });
  });
}
