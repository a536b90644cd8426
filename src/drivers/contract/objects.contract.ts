/** The contract of single objects: put, head, get, delete, sync, stamps, keys, signals. */
import { describe, expect, test } from 'vitest';
import type { Driver, Stat } from '../driver.ts';
import { all, eachWithStore, expectFailure, expectListed, patterned, rounds, text, wholeOf, type ContractStore } from './store.contract.ts';

const INVALID_KEYS = ['', '/', '/a', 'a/', 'a//b', '.', '..', 'a/..', '../a', 'a/../b', 'a/./b', './a', 'a\0b', 'a b', 'a%b', 'a\\b', 'é', 'a\n', 'k'.repeat(941)];

/** Of an object store's put, the time is that of its answer, about. */
function expectSame(driver: Driver, found: Stat | undefined, put: Stat): void {
  if (driver.stampNow !== undefined) expect(found).toEqual(put);
  expect({ ...found, modifiedMs: 0 }).toEqual({ ...put, modifiedMs: 0 });
  expect(Math.abs((found?.modifiedMs ?? 0) - put.modifiedMs)).toBeLessThanOrEqual(2_000);
}

async function keysOf(driver: Driver): Promise<string[]> {
  return (await all(driver.list(''))).map(({ key }) => key);
}

export function objectsContract(makeStore: () => Promise<ContractStore>): void {
  describe('objects', () => {
    const subject = eachWithStore(makeStore);

    test('what was put is what head, get and open give', async () => {
      const { driver, other } = subject;
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
      const stat = await driver.put('a/b/c', bytes);
      expect(stat.size).toBe(256);
      const found = await driver.head('a/b/c');
      expectSame(driver, found, stat);
      for (const reader of [driver, other]) {
        expect(await reader.head('a/b/c')).toEqual(found);
        const value = await reader.get('a/b/c');
        expect(value).toEqual({ ...found, bytes });
        const source = await reader.open('a/b/c');
        expect(source?.stat).toEqual(found);
        await source?.close();
        expect(await wholeOf(reader.open('a/b/c'))).toEqual(bytes);
      }
    });

    test('the absent is undefined', async () => {
      const { driver } = subject;
      await driver.put('a/key', Buffer.from('x'));
      for (const key of ['absent', 'a/absent', 'a', 'a/key/below', 'a/key/far/below']) {
        expect(await driver.head(key)).toBeUndefined();
        expect(await driver.get(key)).toBeUndefined();
        expect(await driver.open(key)).toBeUndefined();
        if (driver.stampNow !== undefined) expect(driver.stampNow(key)).toBe('');
      }
    });

    test('an object may be empty', async () => {
      const { driver } = subject;
      const stat = await driver.put('empty', new Uint8Array(0));
      expect(stat.size).toBe(0);
      expectSame(driver, await driver.head('empty'), stat);
      expect((await driver.get('empty'))?.bytes).toEqual(Buffer.alloc(0));
      expect(await wholeOf(driver.open('empty'))).toEqual(Buffer.alloc(0));
    });

    test('the caller may reuse its buffer once a put has settled', async () => {
      const { driver } = subject;
      const bytes = Buffer.from('before');
      await driver.put('key', bytes);
      bytes.fill('x');
      expect(text((await driver.get('key'))?.bytes)).toBe('before');
    });

    test('a put replaces the whole', async () => {
      const { driver, other } = subject;
      for (let round = 0; round < 20; round++) {
        const stat = await (round % 3 === 0 ? other : driver).put('tag', Buffer.from(`${round}`), { durable: 'later' });
        const read = await driver.get('tag');
        expect(text(read?.bytes)).toBe(`${round}`);
        expect(read?.stamp).toBe(stat.stamp);
      }
    });

    test('each replacement by other bytes has a stamp of its own, however fast they come and though sizes are equal', async () => {
      const { driver } = subject;
      const stamps = new Set<string>();
      // A store whose stamps are looked at for each use tells replacements by the same bytes apart as well.
      const bytes = (round: number): string => (driver.stampNow === undefined ? String(round).padStart(4, '0') : 'same');
      const count = rounds(driver, 500);
      for (let round = 0; round < count; round++) stamps.add((await driver.put('tag', Buffer.from(bytes(round)), { durable: 'later' })).stamp);
      expect(stamps.size).toBe(count);
    });

    test('readers see one of the values while it is replaced, never a mixture or nothing', async () => {
      const { driver, other } = subject;
      const values = [patterned(70_000, 1), patterned(50_000, 2), patterned(3, 3)];
      await driver.put('key', patterned(70_000, 1));
      let writing = true;
      const writer = (async () => {
        for (let round = 0; round < rounds(driver, 60); round++) await other.put('key', values[round % 3] ?? Buffer.alloc(0), { durable: 'later' });
        writing = false;
      })();
      while (writing) {
        const value = await driver.get('key');
        expect(values.some((candidate) => value?.bytes.equals(candidate))).toBe(true);
        const whole = await wholeOf(driver.open('key'));
        expect(values.some((candidate) => whole?.equals(candidate))).toBe(true);
      }
      await writer;
    });

    test('when: absent keeps what stands there', async () => {
      const { driver, other } = subject;
      await driver.put('key', Buffer.from('first'), { when: 'absent' });
      await expectFailure(other.put('key', Buffer.from('second'), { when: 'absent' }), 'exists');
      await expectFailure(other.put('key', Buffer.from('second'), { when: 'absent', durable: 'later' }), 'exists');
      expect(text((await driver.get('key'))?.bytes)).toBe('first');
      await driver.put('later/key', Buffer.from('x'), { when: 'absent', durable: 'later' });
      expect(text((await other.get('later/key'))?.bytes)).toBe('x');
      expectListed(subject, await keysOf(driver), ['key', 'later/key']);
    });

    test('get refuses what is larger than asked for, 16 MiB by default', async () => {
      const { driver } = subject;
      await driver.put('small', Buffer.alloc(11));
      await expectFailure(driver.get('small', { maxBytes: 10 }), 'permanent');
      expect((await driver.get('small', { maxBytes: 11 }))?.size).toBe(11);
      await driver.put('large', Buffer.alloc(16 * 1024 * 1024 + 1), { durable: 'later' });
      await expectFailure(driver.get('large'), 'permanent');
      expect((await driver.get('large', { maxBytes: 17 * 1024 * 1024 }))?.bytes.length).toBe(16 * 1024 * 1024 + 1);
    });

    test('times are by the store, in milliseconds, and do not go back', async () => {
      const { driver } = subject;
      const first = await driver.put('first', Buffer.from('x'));
      const second = await driver.put('second', Buffer.from('x'));
      expect(first.modifiedMs).toBeGreaterThan(Date.UTC(2020));
      expect(second.modifiedMs).toBeGreaterThan(first.modifiedMs - 1);
    });

    test('a stamp of now is that of the last put, in whichever process', async () => {
      const { driver, other } = subject;
      if (driver.stampNow === undefined) return;
      const first = await other.put('a/key', Buffer.from('1'));
      expect(driver.stampNow('a/key')).toBe(first.stamp);
      const second = await other.put('a/key', Buffer.from('2'));
      expect(driver.stampNow('a/key')).toBe(second.stamp);
      expect(second.stamp).not.toBe(first.stamp);
      await other.delete(['a/key']);
      expect(driver.stampNow('a/key')).toBe('');
    });

    test('delete takes many keys, absent ones too, and leaves the rest', async () => {
      const { driver } = subject;
      const keys = Array.from({ length: 50 }, (_, index) => `dir-${index % 5}/deep/key-${index}`);
      await Promise.all(keys.map((key) => driver.put(key, Buffer.from(key), { durable: 'later' })));
      await driver.delete([]);
      await driver.delete([...keys.slice(0, 40), 'absent', 'dir-1', 'dir-1/deep', `${keys[49]}/below`]);
      expectListed(subject, await keysOf(driver), keys.slice(40).toSorted(), keys.toSorted());
      await driver.delete(keys);
      expectListed(subject, await keysOf(driver), [], keys.toSorted());
      expectListed(subject, await all(driver.children('')), [], Array.from({ length: 5 }, (_, index) => ({ name: `dir-${index}`, leaf: false })));
    });

    test('a key may be put where keys lay below it, once they are gone', async () => {
      const { driver } = subject;
      await driver.put('a/b/c', Buffer.from('x'));
      await driver.delete(['a/b/c']);
      await driver.put('a', Buffer.from('y'));
      expect(text((await driver.get('a'))?.bytes)).toBe('y');
    });

    test('puts and deletes beside each other all succeed', async () => {
      const { driver, other } = subject;
      await Promise.all(
        Array.from({ length: 8 }, async (_, lane) => {
          const key = `shared/deep/er/${lane}`;
          const own = lane % 2 === 0 ? driver : other;
          for (let round = 0; round < rounds(driver, 25); round++) {
            await own.put(key, Buffer.from(`${round}`), { durable: 'later', ...(lane % 4 === 1 ? { when: 'absent' as const } : {}) });
            expect(text((await own.get(key))?.bytes)).toBe(`${round}`);
            await own.delete([key]);
          }
        }),
      );
      expectListed(subject, await keysOf(driver), [], Array.from({ length: 8 }, (_, lane) => `shared/deep/er/${lane}`));
    });

    test('sync takes what was written by any process, and absent keys', async () => {
      const { driver, other } = subject;
      await other.put('a/b/c', Buffer.from('x'), { durable: 'later' });
      await driver.put('a/b/d', Buffer.from('y'), { durable: 'later' });
      await driver.sync(['a/b/c', 'a/b/d', 'a/b/absent', 'nowhere/at/all', 'a', 'a/b/c/below', 'a/b/c/far/far/below']);
      await driver.sync([]);
      expect(text((await driver.get('a/b/c'))?.bytes)).toBe('x');
    });

    test('long components and long keys are stored like any other', async () => {
      const { driver, other } = subject;
      const lengths = [239, 240, 241, 254, 255, 256, 480, 481, 600];
      const keys = lengths.flatMap((length) => [`repos/${'n'.repeat(length)}/_tags/latest`, `flat/${'m'.repeat(length)}`]);
      keys.push(`x/${Array.from({ length: 9 }, () => 'p'.repeat(100)).join('/')}`, `y/${'q'.repeat(938)}`);
      for (const key of keys) await driver.put(key, Buffer.from(String(key.length)), { durable: 'later' });
      for (const key of keys) expect(text((await other.get(key))?.bytes)).toBe(String(key.length));
      expectListed(subject, await keysOf(driver), keys.toSorted());
      expectListed(subject, await all(driver.children('repos/')), lengths.map((length) => ({ name: 'n'.repeat(length), leaf: false })));
      await driver.sync(keys);
      await driver.delete(keys);
      expectListed(subject, await all(driver.children('')), [], ['flat', 'repos', 'x', 'y'].map((name) => ({ name, leaf: false })));
    });

    test.each(INVALID_KEYS)('%j is no key, for any call', async (key) => {
      const { driver } = subject;
      await driver.put('a/key', Buffer.from('x'));
      await expectFailure(driver.head(key), 'permanent');
      await expectFailure(driver.get(key), 'permanent');
      await expectFailure(driver.open(key), 'permanent');
      await expectFailure(driver.put(key, Buffer.from('x')), 'permanent');
      await expectFailure(driver.delete(['a/key', key]), 'permanent');
      await expectFailure(driver.sync([key]), 'permanent');
      await expectFailure(driver.claim(key, Buffer.from('x')), 'permanent');
      if (driver.stampNow !== undefined) await expectFailure((async () => driver.stampNow?.(key))(), 'permanent');
      await expectFailure((async () => driver.assemblies.create(key))(), 'permanent');
      await expectFailure((async () => driver.assemblies.complete(driver.assemblies.create('upload'), key))(), 'permanent');
      expectListed(subject, await keysOf(driver), ['a/key']);
    });

    test('an aborted signal ends a call with its reason, and nothing was done', async () => {
      const { driver } = subject;
      await driver.put('a/key', Buffer.from('x'));
      const signal = AbortSignal.abort(new Error('the client left'));
      const calls = [
        () => driver.head('a/key', { signal }),
        () => driver.get('a/key', { signal }),
        () => driver.open('a/key', { signal }),
        () => driver.put('a/other', Buffer.from('y'), { signal }),
        () => driver.delete(['a/key'], { signal }),
        () => driver.sync(['a/key'], { signal }),
        () => driver.claim('a/claim', Buffer.from('y'), { signal }),
        () => all(driver.list('a/', { signal })),
        () => all(driver.children('a/', { signal })),
        () => driver.check({ signal }),
      ];
      for (const call of calls) await expect(call()).rejects.toThrow('the client left');
      expectListed(subject, await keysOf(driver), ['a/key']);
    });

    test('a store in order passes its check and keeps nothing of it', async () => {
      const { driver } = subject;
      await driver.check();
      expect(await all(driver.list(''))).toEqual([]);
      expect(await all(driver.children(''))).toEqual([]);
    });
  });
}
