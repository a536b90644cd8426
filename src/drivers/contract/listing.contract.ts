/** The contract of listings: byte order of whole keys, prefixes, beginnings, levels; compared with a model as well. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Driver } from '../driver.ts';
import { MAX_KEY_LENGTH } from '../key.ts';
import { all, eachWithStore, expectFailure, expectListed, rounds, type ContractStore } from './store.contract.ts';

/** `+`, `-` and `.` sort before the `/` that ends a component, everything else behind it. */
const TRICKY = [
  'a+/x', 'a-/x', 'a-b', 'a.b/c', 'a/+', 'a/-', 'a/.x', 'a/0', 'a/A', 'a/_x', 'a/a/b', 'a/a-b', 'a/a.b', 'a/a0', 'a/~',
  'a0', 'a:5000/x', 'a@b', 'a[::1]:80/x', 'aa/b', 'b',
];

const PUTS_AT_ONCE = 32;

export function listingContract(makeStore: () => Promise<ContractStore>): void {
  describe('listings', () => {
    const subject = eachWithStore(makeStore);
    const keysOf = async (prefix: string, startAfter?: string): Promise<string[]> =>
      (await all(subject.other.list(prefix, startAfter === undefined ? {} : { startAfter }))).map(({ key }) => key);
    const putAll = async (keys: readonly string[]): Promise<void> => {
      // Not all at once: a store that takes a minute for a thousand would have the last of them wait for their deadlines.
      for (let at = 0; at < keys.length; at += PUTS_AT_ONCE) {
        await Promise.all(keys.slice(at, at + PUTS_AT_ONCE).map((key) => subject.driver.put(key, Buffer.from(key), { durable: 'later' })));
      }
    };

    test('keys come in byte order, each with what head says of it', async () => {
      await putAll(TRICKY);
      const entries = await all(subject.driver.list(''));
      expectListed(subject, entries.map(({ key }) => key), TRICKY.toSorted());
      for (const { key, ...stat } of entries) expect(await subject.driver.head(key)).toEqual(stat);
    });

    test('a prefix is any text, not only whole components', async () => {
      await putAll(TRICKY);
      for (const prefix of ['a', 'a/', 'a/a', 'a/a/', 'a/a/b', 'a/a/bc', 'a-', 'a:', 'a[', 'b', 'b/', 'c', 'a/a.', 'zz/yy/']) {
        expectListed(subject, await keysOf(prefix), TRICKY.toSorted().filter((key) => key.startsWith(prefix)));
      }
    });

    test('a listing begins behind startAfter, whether that is a key or not', async () => {
      await putAll(TRICKY);
      for (const startAfter of ['', '!', 'a', 'a-', 'a-b', 'a/', 'a/a', 'a/a/', 'a/a/b', 'a/a/z', 'a/zz', 'aa', 'b', 'z', 'a/a-b/below']) {
        for (const prefix of ['', 'a', 'a/', 'a/a']) {
          expectListed(subject, await keysOf(prefix, startAfter), TRICKY.toSorted().filter((key) => key.startsWith(prefix) && key > startAfter));
        }
      }
    });

    test('a thousand keys and more come all', async () => {
      const keys = Array.from({ length: 1200 }, (_, index) => (index % 3 === 0 ? `many/${index}` : `many/${index % 40}-dir/${index}`));
      await putAll(keys);
      expectListed(subject, await keysOf('many/'), keys.toSorted());
      const middle = keys.toSorted()[600] ?? '';
      expectListed(subject, await keysOf('many/', middle), keys.toSorted().slice(601));
    });

    test('a consumer may stop, and may change the store meanwhile', async () => {
      const keys = Array.from({ length: 150 }, (_, index) => `k/${String(index).padStart(3, '0')}`);
      await putAll(keys);
      const seen: string[] = [];
      for await (const { key } of subject.driver.list('k/')) {
        seen.push(key);
        await subject.driver.delete([key]);
        if (seen.length === 100) break;
      }
      expectListed(subject, seen, keys.slice(0, 100), keys);
      expectListed(subject, await keysOf(''), keys.slice(100), keys);
    });

    test('an abort in the midst ends a listing with its reason', async () => {
      await putAll(Array.from({ length: 50 }, (_, index) => `k/${index}`));
      for (const list of [subject.driver.list.bind(subject.driver), subject.driver.children.bind(subject.driver)]) {
        const aborting = new AbortController();
        let seen = 0;
        const reading = async (): Promise<void> => {
          do {
            seen = 0;
            for await (const _ of list('k/', { signal: aborting.signal })) if (++seen === 7) aborting.abort(new Error('the client left'));
          } while (subject.listings === 'lag'); // until it has so many
        };
        await expect(reading()).rejects.toThrow('the client left');
        expect(seen).toBe(7);
      }
    });

    test('children are the components of the next level, in their own byte order', async () => {
      await putAll(TRICKY);
      expectListed(subject, await all(subject.other.children('a/')), [
        { name: '+', leaf: true }, { name: '-', leaf: true }, { name: '.x', leaf: true }, { name: '0', leaf: true }, { name: 'A', leaf: true },
        { name: '_x', leaf: true }, { name: 'a', leaf: false }, { name: 'a-b', leaf: true }, { name: 'a.b', leaf: true }, { name: 'a0', leaf: true },
        { name: '~', leaf: true },
      ]);
      expectListed(subject, (await all(subject.other.children('a/', { startAfter: 'a' }))).map(({ name }) => name), ['a-b', 'a.b', 'a0', '~']);
      expect(await all(subject.other.children('a/0/'))).toEqual([]);
      expect(await all(subject.other.children('absent/'))).toEqual([]);
      expectListed(subject, (await all(subject.other.children(''))).map(({ name }) => name), levelOf(TRICKY, '').map(({ name }) => name));
    });

    test.each(['/', '/a', 'a//b', 'a/../b', '../', 'a\0', 'a b', '%tmp'])('%j is no prefix', async (prefix) => {
      await expectFailure(all(subject.driver.list(prefix)), 'permanent');
      await expectFailure(all(subject.driver.children(`${prefix}/`)), 'permanent');
    });

    test('children take a prefix of whole components only', async () => {
      await expectFailure(all(subject.driver.children('a')), 'permanent');
    });
  });

  describe('listings and a model', () => {
    const subject = eachWithStore(makeStore);

    test('list and children say what a sorted set of keys says', async () => {
      await fc.assert(
        fc.asyncProperty(keySets, questions, async (wanted, asked) => {
          const store = await makeStore();
          const driver = await store.open();
          try {
            await agrees(store, driver, wanted, asked);
          } finally {
            await driver.close();
            await store.close();
          }
        }),
        { numRuns: rounds(subject.driver, 60) },
      );
    });
  });
}

const pieces = fc.constantFrom('a', 'b', 'a-', 'a.', 'a+', 'a0', 'aa', 'B', '_', '~', 'L'.repeat(240), 'L'.repeat(241), 'L'.repeat(255), `${'L'.repeat(240)}-`, `${'L'.repeat(240)}.b`, 'L'.repeat(500));
const key = fc.array(pieces, { minLength: 1, maxLength: 3 }).map((components) => components.join('/')).filter((text) => text.length <= MAX_KEY_LENGTH);
const keySets = fc.array(key, { maxLength: 25 }).map(withoutPrefixes);
const questions = fc.record({
  key,
  cut: fc.nat({ max: 1200 }),
  startAfter: fc.oneof(fc.constant(''), key, key.map((text) => `${text}/`), key.map((text) => text.slice(0, -1))),
  removed: fc.nat({ max: 25 }),
});

interface Question {
  readonly key: string;
  readonly cut: number;
  readonly startAfter: string;
  readonly removed: number;
}

async function agrees(store: ContractStore, driver: Driver, wanted: readonly string[], asked: Question): Promise<void> {
  for (const name of wanted) await driver.put(name, Buffer.from(name), { durable: 'later' });
  await driver.delete(wanted.slice(0, asked.removed));
  const model = wanted.slice(asked.removed).toSorted();
  const prefix = asked.key.slice(0, asked.cut % (asked.key.length + 1));
  const { startAfter } = asked;
  const says = <T>(found: readonly T[], of: (keys: readonly string[]) => readonly T[]): void => expectListed(store, found, of(model), of(wanted.toSorted()));
  says((await all(driver.list(prefix, { startAfter }))).map((entry) => entry.key), (keys) => keys.filter((name) => name.startsWith(prefix) && name > startAfter));
  const level = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  says(await all(driver.children(level)), (keys) => levelOf(keys, level));
  says(await all(driver.children(level, { startAfter: asked.key })), (keys) => levelOf(keys, level).filter(({ name }) => name > asked.key));
}

/** No key may be a proper prefix of another at a `/`. */
function withoutPrefixes(keys: readonly string[]): string[] {
  const taken: string[] = [];
  for (const name of keys) {
    if (!taken.some((other) => other === name || other.startsWith(`${name}/`) || name.startsWith(`${other}/`))) taken.push(name);
  }
  return taken;
}

function levelOf(keys: readonly string[], level: string): { name: string; leaf: boolean }[] {
  const found = new Map<string, boolean>();
  for (const name of keys) {
    if (!name.startsWith(level)) continue;
    const [component = '', ...below] = name.slice(level.length).split('/');
    found.set(component, below.length === 0);
  }
  return [...found].map(([name, leaf]) => ({ name, leaf })).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
