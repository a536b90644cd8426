/** What holds over either engine: tables, the clock, sealed secrets, leases; with several instances over one database. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Secret } from '../../config/config.ts';
import { systemTimers, type Timers } from '../../workers/timers.ts';
import { openDatabase, type ClusterDatabase } from './database.ts';
import { leases, type LeasesDeps } from './leases.ts';
import { sealedSecrets } from './sealed.ts';

/** Timers that run when the test says so. */
function handTimers(): Timers & { ring(): void } {
  const tasks = new Set<() => void>();
  return {
    after(_ms, task) {
      tasks.add(task);
      return () => void tasks.delete(task);
    },
    ring() {
      for (const task of Array.from(tasks)) {
        tasks.delete(task);
        task();
      }
    },
  };
}

const NEW = new Secret('n'.repeat(32));
const OLD = new Secret('o'.repeat(32));

export function databaseContract(engine: string, start: () => Promise<{ readonly url: string; readonly stop: () => Promise<void> }>): void {
  describe(`a database in ${engine}`, () => {
    let place: Awaited<ReturnType<typeof start>>;
    let a: ClusterDatabase;
    let b: ClusterDatabase;
    const open = (): Promise<ClusterDatabase> => openDatabase({ url: place.url, timers: systemTimers, nowMs: Date.now });
    beforeAll(async () => {
      place = await start();
      [a, b] = await Promise.all([open(), open()]); // both find it empty
    });
    afterAll(async () => {
      await a.close();
      await b.close();
      await place.stop();
    });

    test('tells the time in milliseconds', async () => {
      const [first, second] = [await a.clock(), await b.clock()];
      expect(Number.isSafeInteger(first)).toBe(true);
      expect(second).toBeGreaterThanOrEqual(first);
      expect(new Date(first).getUTCFullYear()).toBe(new Date().getUTCFullYear());
    });

    test('writes of many transactions of two instances all count', async () => {
      await a.db.insertInto('leases').values({ name: 'count', holder: 'x', until_ms: 0 }).execute();
      const add = (database: ClusterDatabase): Promise<void> =>
        database.db.transaction().execute(async (transaction) => {
          const row = await transaction.selectFrom('leases').select('until_ms').where('name', '=', 'count').$if(database.engine === 'postgres', (query) => query.forUpdate()).executeTakeFirstOrThrow();
          await transaction.updateTable('leases').set({ until_ms: row.until_ms + 1 }).where('name', '=', 'count').execute();
        });
      await Promise.all(Array.from({ length: 40 }, (_, i) => add(i % 2 === 0 ? a : b)));
      expect(await b.db.selectFrom('leases').select('until_ms').where('name', '=', 'count').executeTakeFirst()).toEqual({ until_ms: 40 });
    });

    test('a transaction that throws leaves nothing', async () => {
      const failing = a.db.transaction().execute(async (transaction) => {
        await transaction.insertInto('leases').values({ name: 'gone', holder: 'x', until_ms: 0 }).execute();
        throw new Error('stop');
      });
      await expect(failing).rejects.toThrow('stop');
      expect(await b.db.selectFrom('leases').selectAll().where('name', '=', 'gone').execute()).toEqual([]);
    });

    describe('sealed secrets', () => {
      test('are read by every instance that has the key, and stand in the clear nowhere', async () => {
        const text = 'pässword "\n$';
        await sealedSecrets(a, [NEW]).put(a.db, 'cluster/1', 'password', new Secret(text));
        expect((await sealedSecrets(b, [NEW]).find(b.db, 'cluster/1', 'password'))?.reveal()).toBe(text);
        expect(JSON.stringify(await a.db.selectFrom('sealed_secrets').selectAll().execute())).not.toContain('ssword "');
        expect(await sealedSecrets(b, [NEW]).find(b.db, 'cluster/1', 'trust')).toBeUndefined();
      });

      test('are refused where a row was moved to another owner, or its text changed', async () => {
        const secrets = sealedSecrets(a, [NEW]);
        await secrets.put(a.db, 'cluster/2', 'password', new Secret('two'));
        await a.db.updateTable('sealed_secrets').set({ owner: 'cluster/3' }).where('owner', '=', 'cluster/2').execute();
        await expect(secrets.find(a.db, 'cluster/3', 'password')).rejects.toThrow('the password of cluster/3 cannot be opened');
        await secrets.put(a.db, 'cluster/3', 'password', new Secret('three'));
        const { sealed } = await a.db.selectFrom('sealed_secrets').select('sealed').where('owner', '=', 'cluster/3').executeTakeFirstOrThrow();
        await a.db.updateTable('sealed_secrets').set({ sealed: `${sealed.slice(0, 10)}${sealed[10] === 'A' ? 'B' : 'A'}${sealed.slice(11)}` }).where('owner', '=', 'cluster/3').execute();
        await expect(secrets.find(a.db, 'cluster/3', 'password')).rejects.toThrow('was changed in the database');
        await secrets.remove(a.db, { owner: 'cluster/3' });
      });

      test('go under the new key when keys rotate, and the old one is then not needed', async () => {
        const owners = Array.from({ length: 150 }, (_, i) => `rotated/${i}`);
        for (const owner of owners) await sealedSecrets(a, [OLD]).put(a.db, owner, 'password', new Secret(owner));
        await expect(sealedSecrets(b, [NEW]).find(b.db, 'rotated/7', 'password')).rejects.toThrow('add the older key after the newest');
        const both = sealedSecrets(a, [NEW, OLD]);
        expect((await both.find(a.db, 'rotated/7', 'password'))?.reveal()).toBe('rotated/7');
        expect(await both.reseal()).toBe(owners.length);
        expect(await both.reseal()).toBe(0);
        for (const owner of owners) expect((await sealedSecrets(b, [NEW]).find(b.db, owner, 'password'))?.reveal()).toBe(owner);
      });

      test('go with all of a prefix, and no other', async () => {
        const secrets = sealedSecrets(a, [NEW]);
        for (const owner of ['p/1', 'p/2/x', 'p', 'p0', 'p-']) await secrets.put(a.db, owner, 'k', new Secret('s'));
        await secrets.remove(a.db, { prefix: 'p/' });
        const left = await a.db.selectFrom('sealed_secrets').select('owner').where('kind', '=', 'k').orderBy('owner').execute();
        expect(left.map(({ owner }) => owner).toSorted()).toEqual(['p', 'p-', 'p0']);
      });
    });

    describe('leases', () => {
      const over = (database: ClusterDatabase, rest: Partial<LeasesDeps> = {}): ReturnType<typeof leases> => leases({ database, timers: handTimers(), ttlMs: 60_000, ...rest });

      test('of one name are held by one at a time', async () => {
        const [entered, leave] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
        const first = over(a).under('one', async () => {
          entered.resolve();
          await leave.promise;
        });
        await entered.promise;
        expect(await over(b).under('one', async () => expect.fail('held'))).toBe(false);
        expect(await over(b).under('two', async () => undefined)).toBe(true);
        leave.resolve();
        expect(await first).toBe(true);
        expect(await over(b).under('one', async () => undefined)).toBe(true);
      });

      test('of many that ask at once go to one', async () => {
        const leave = Promise.withResolvers<void>();
        const MANY = 12;
        let ran = 0;
        let refused = 0;
        await Promise.all(Array.from({ length: MANY }, async (_, i) => {
          const run = await over(i % 2 === 0 ? a : b).under('many', async () => {
            ran++;
            await leave.promise;
          });
          if (!run && ++refused === MANY - 1) leave.resolve();
        }));
        expect(ran).toBe(1);
      });

      test('are taken over when their holder is dead, and the holder is told', async () => {
        const timers = handTimers();
        const [entered, told] = [Promise.withResolvers<void>(), Promise.withResolvers<unknown>()];
        const first = over(a, { timers, ttlMs: 0 }).under('dead', async (signal) => {
          signal.addEventListener('abort', () => told.resolve(signal.reason));
          entered.resolve();
          await told.promise;
        });
        await entered.promise;
        const leave = Promise.withResolvers<void>();
        const taken = Promise.withResolvers<void>();
        // The end of the first lies in the past as soon as the clock has ticked.
        const second = (async () => {
          while (!(await over(b).under('dead', async () => {
            taken.resolve();
            await leave.promise;
          })));
        })();
        await taken.promise;
        timers.ring();
        expect(String(await told.promise)).toContain('another instance took the lease dead');
        leave.resolve();
        await Promise.all([first, second]);
      });

      test('are held on to while the work lasts', async () => {
        const timers = handTimers();
        const entered = Promise.withResolvers<void>();
        const leave = Promise.withResolvers<void>();
        const before = Promise.withResolvers<number>();
        const until = async (): Promise<number> => (await b.db.selectFrom('leases').select('until_ms').where('name', '=', 'long').executeTakeFirstOrThrow()).until_ms;
        const first = over(a, { timers }).under('long', async () => {
          entered.resolve();
          await leave.promise;
        });
        await entered.promise;
        before.resolve(await until());
        await expect.poll(async () => {
          timers.ring();
          return await until();
        }).toBeGreaterThan(await before.promise);
        leave.resolve();
        await first;
      });

      test('are given up when the work throws', async () => {
        await expect(over(a).under('thrown', async () => await Promise.reject(new Error('no')))).rejects.toThrow('no');
        expect(await over(b).under('thrown', async () => undefined)).toBe(true);
      });
    });
  });
}
