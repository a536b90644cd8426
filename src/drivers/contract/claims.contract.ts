/** The contract of claims. Where they settle, the settling belongs to whoever believes them, not to the driver. */
import { describe, expect, test } from 'vitest';
import { all, eachWithStore, expectListed, text, type ContractStore } from './store.contract.ts';

export function claimsContract(makeStore: () => Promise<ContractStore>): void {
  describe('claims', () => {
    const subject = eachWithStore(makeStore);

    test('the first wins, and everybody learns the value', async () => {
      const { driver, other } = subject;
      const first = await driver.claim('log/1', Buffer.from('one'));
      expect({ won: first.won, value: text(first.value) }).toEqual({ won: true, value: 'one' });
      for (const later of [driver, other]) {
        const second = await later.claim('log/1', Buffer.from('two'));
        expect(second.settledAtMs === undefined).toBe(driver.claims === 'strict');
        expect({ won: second.won, value: text(second.value) }).toEqual({ won: false, value: 'one' });
      }
      expect(text((await other.get('log/1'))?.bytes)).toBe('one');
      expectListed(subject, (await all(driver.list(''))).map(({ key }) => key), ['log/1']);
    });

    test('of many at once exactly one wins', async () => {
      const { driver, other } = subject;
      if (driver.claims !== 'strict') return;
      for (let round = 0; round < 10; round++) {
        const claimed = await Promise.all(
          Array.from({ length: 16 }, (_, index) => (index % 2 === 0 ? driver : other).claim(`deep/log/${round}/entry`, Buffer.from(`${index}`))),
        );
        const winner = claimed.findIndex(({ won }) => won);
        expect(claimed.filter(({ won }) => won).length).toBe(1);
        expect(claimed.map(({ value }) => text(value))).toEqual(claimed.map(() => String(winner)));
      }
    });

    test('of many conditional puts at once one succeeds', async () => {
      const { driver, other } = subject;
      if (driver.claims !== 'strict') return;
      const outcomes = await Promise.allSettled(
        Array.from({ length: 16 }, (_, index) => (index % 2 === 0 ? driver : other).put('deep/key', Buffer.from(`${index}`), { when: 'absent', durable: 'later' })),
      );
      const winner = outcomes.findIndex(({ status }) => status === 'fulfilled');
      expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBe(1);
      expect(text((await driver.get('deep/key'))?.bytes)).toBe(String(winner));
    });

    test('a claim may be empty, and what was put counts as claimed', async () => {
      const { driver } = subject;
      expect(await driver.claim('empty', new Uint8Array(0))).toMatchObject({ won: true, value: Buffer.alloc(0) });
      expect(await driver.claim('empty', Buffer.from('x'))).toMatchObject({ won: false, value: Buffer.alloc(0) });
      await driver.put('key', Buffer.from('put'));
      expect(await driver.claim('key', Buffer.from('x'))).toMatchObject({ won: false, value: Buffer.from('put') });
    });

    test('the value is the caller\'s to change', async () => {
      const { driver } = subject;
      const value = Buffer.from('one');
      const claimed = await driver.claim('key', value);
      value.fill('x');
      claimed.value.fill('y');
      expect(text((await driver.get('key'))?.bytes)).toBe('one');
    });
  });
}
