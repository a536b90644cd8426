/** The contract of assemblies: gathering, going on elsewhere, taking over, completing, and what dies on the way. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Appender, AssemblyState, Driver } from '../driver.ts';
import { all, eachWithStore, expectFailure, expectListed, patterned, rangeOf, rounds, text, wholeOf, writeAll, type ContractStore } from './store.contract.ts';

const PREFIX = 'uploads/0123456789abcdef';

export function assembliesContract(makeStore: () => Promise<ContractStore>): void {
  describe('assemblies', () => {
    const subject = eachWithStore(makeStore);
    const expectKeys = async (...keys: readonly string[]): Promise<void> => expectListed(subject, (await all(subject.driver.list(''))).map(({ key }) => key), keys);

    /** A state of one finished attempt. */
    const gathered = async (bytes: Uint8Array): Promise<AssemblyState> => {
      const { assemblies } = subject.driver;
      const appender = await assemblies.append(assemblies.create(PREFIX));
      await appender.write(bytes);
      return appender.finish();
    };

    test('create writes nothing', async () => {
      const state = subject.driver.assemblies.create(PREFIX);
      expect(state).toMatchObject({ prefix: PREFIX, offset: 0 });
      expect(await subject.driver.assemblies.open(state)).toBeUndefined();
      await expectKeys();
    });

    test('bytes gathered become visible in one step, and nothing else stays', async () => {
      const { driver, other } = subject;
      const bytes = patterned(3_000_000);
      const appender = await driver.assemblies.append(driver.assemblies.create(PREFIX));
      for (let at = 0; at < bytes.length; at += 77_777) await appender.write(bytes.subarray(at, at + 77_777));
      const state = await appender.finish();
      expect(state).toMatchObject({ prefix: PREFIX, offset: bytes.length });
      expect(await driver.head('blobs/x/data')).toBeUndefined();
      const stat = await driver.assemblies.complete(state, 'blobs/x/data');
      expect(stat.size).toBe(bytes.length);
      expect(await other.head('blobs/x/data')).toEqual(stat);
      expect((await wholeOf(other.open('blobs/x/data')))?.equals(bytes)).toBe(true);
      await expectKeys('blobs/x/data');
      await driver.sync(['blobs/x/data']);
    });

    test('writes may be begun before earlier ones end, and buffers reused once theirs ended', async () => {
      const { driver } = subject;
      const bytes = patterned(2_000_000);
      const appender = await driver.assemblies.append(driver.assemblies.create(PREFIX));
      const buffers = [Buffer.alloc(50_000), Buffer.alloc(50_000), Buffer.alloc(50_000)];
      const under: Promise<void>[] = [];
      for (let at = 0, turn = 0; at < bytes.length; at += 50_000, turn++) {
        await under[turn % 3];
        const buffer = buffers[turn % 3] ?? Buffer.alloc(0);
        bytes.copy(buffer, 0, at, at + 50_000);
        under[turn % 3] = appender.write(buffer);
      }
      await Promise.all(under);
      const state = await appender.finish();
      expect((await wholeOf(driver.assemblies.open(state)))?.equals(bytes)).toBe(true);
    });

    test('finish waits for the writes before it', async () => {
      const { driver } = subject;
      const appender = await driver.assemblies.append(driver.assemblies.create(PREFIX));
      const writes = [appender.write(Buffer.from('one ')), appender.write(Buffer.alloc(0)), appender.write(Buffer.from('two'))];
      const state = await appender.finish();
      await Promise.all(writes);
      expect(state.offset).toBe(7);
      expect(text(await wholeOf(driver.assemblies.open(state)))).toBe('one two');
    });

    test('any process goes on from a state that went through JSON', async () => {
      const { driver, other } = subject;
      let state = driver.assemblies.create(PREFIX);
      for (const [index, chunk] of ['one ', 'two ', '', 'three'].entries()) {
        const appender = await (index % 2 === 0 ? driver : other).assemblies.append(JSON.parse(JSON.stringify(state)) as AssemblyState);
        await appender.write(Buffer.from(chunk));
        state = await appender.finish();
      }
      expect(state.offset).toBe(13);
      expect(text(await wholeOf(other.assemblies.open(JSON.parse(JSON.stringify(state)) as AssemblyState)))).toBe('one two three');
      await other.assemblies.complete(JSON.parse(JSON.stringify(state)) as AssemblyState, 'key');
      expect(text((await driver.get('key'))?.bytes)).toBe('one two three');
      await expectKeys('key');
    });

    test('nothing gathered becomes an empty object', async () => {
      const { driver } = subject;
      expect((await driver.assemblies.complete(driver.assemblies.create(PREFIX), 'never-begun')).size).toBe(0);
      const state = await (await driver.assemblies.append(driver.assemblies.create(PREFIX))).finish();
      expect(state.offset).toBe(0);
      expect((await driver.assemblies.complete(state, 'begun')).size).toBe(0);
      expect((await driver.get('never-begun'))?.bytes).toEqual(Buffer.alloc(0));
      expect((await driver.get('begun'))?.bytes).toEqual(Buffer.alloc(0));
      await expectKeys('begun', 'never-begun');
    });

    test('complete replaces what stands at the key, under a stamp of its own', async () => {
      const { driver } = subject;
      const before = await driver.put('key', Buffer.from('one'));
      const stat = await driver.assemblies.complete(await gathered(Buffer.from('two')), 'key');
      expect(text((await driver.get('key'))?.bytes)).toBe('two');
      expect(stat.stamp).not.toBe(before.stamp);
    });

    test('an abandoned attempt leaves its state as good as it was', async () => {
      const { driver, other } = subject;
      const state = await gathered(Buffer.from('kept '));
      const attempt = await driver.assemblies.append(state);
      await attempt.write(Buffer.from('lost'));
      await attempt.abandon();
      await attempt.abandon();
      expect(text(await wholeOf(driver.assemblies.open(state)))).toBe('kept ');
      const next = await other.assemblies.append(state);
      await next.write(Buffer.from('too'));
      await driver.assemblies.complete(await next.finish(), 'key');
      expect(text((await driver.get('key'))?.bytes)).toBe('kept too');
    });

    test('an abandoned first attempt leaves nothing', async () => {
      const { driver } = subject;
      const attempt = await driver.assemblies.append(driver.assemblies.create(PREFIX));
      await attempt.write(Buffer.from('lost'));
      await attempt.abandon();
      await expectKeys();
      expect(await all(driver.children(''))).toEqual([]);
    });

    test('an attempt takes nothing once it ended', async () => {
      const { driver } = subject;
      const finished = await driver.assemblies.append(driver.assemblies.create(PREFIX));
      await finished.write(Buffer.from('x'));
      const state = await finished.finish();
      await expectFailure(finished.write(Buffer.from('y')), 'permanent', 'superseded');
      await expectFailure(finished.finish(), 'permanent', 'superseded');
      await finished.abandon();
      expect(text(await wholeOf(driver.assemblies.open(state)))).toBe('x');
      const abandoned = await driver.assemblies.append(state);
      await abandoned.abandon();
      await expectFailure(abandoned.write(Buffer.from('y')), 'permanent', 'superseded');
      await expectFailure(abandoned.finish(), 'permanent', 'superseded');
    });

    test('giving up while finishing changes nothing', async () => {
      const { driver } = subject;
      const appender = await driver.assemblies.append(driver.assemblies.create(PREFIX));
      const bytes = patterned(2_000_000);
      const writing = appender.write(bytes);
      const finishing = appender.finish();
      await appender.abandon();
      await writing;
      expect((await wholeOf(driver.assemblies.open(await finishing)))?.equals(bytes)).toBe(true);
    });

    test.each([['from nothing', ''], ['from gathered bytes', 'begun ']])('a later attempt takes over %s, and the earlier one learns', async (_, begun) => {
      const { driver, other } = subject;
      if (!driver.assemblies.exclusive) return;
      const state = begun === '' ? driver.assemblies.create(PREFIX) : await gathered(Buffer.from(begun));
      const writer = await driver.assemblies.append(state);
      const finisher = await driver.assemblies.append(state);
      await expectFailure(writer.write(Buffer.from('earlier')), 'superseded');
      await finisher.write(Buffer.from('earlier, at length'));
      const winner = await other.assemblies.append(state);
      await expectFailure(finisher.finish(), 'superseded');
      await writeAll(winner, Buffer.from('la'), Buffer.from('ter'));
      await writer.abandon();
      await finisher.abandon();
      const end = await winner.finish();
      expect(text(await wholeOf(driver.assemblies.open(end)))).toBe(`${begun}later`);
      await driver.assemblies.complete(end, 'key');
      expect(text((await driver.get('key'))?.bytes)).toBe(`${begun}later`);
      await expectKeys('key');
    });

    test('bytes that a superseded attempt is still writing reach nobody', async () => {
      const { driver, other } = subject;
      const begun = patterned(100_000);
      const state = await gathered(begun);
      const late = await driver.assemblies.append(state);
      const lateWrites = Array.from({ length: 20 }, () => late.write(Buffer.alloc(64_000, 'x')).catch(() => undefined));
      const next = await other.assemblies.append(state);
      const bytes = patterned(400_000, 7);
      for (let at = 0; at < bytes.length; at += 50_000) await next.write(bytes.subarray(at, at + 50_000));
      await Promise.all(lateWrites);
      const end = await next.finish();
      await late.abandon();
      await driver.assemblies.complete(end, 'key');
      expect((await wholeOf(driver.open('key')))?.equals(Buffer.concat([begun, bytes]))).toBe(true);
    });

    test.each([['nothing', ''], ['gathered bytes', 'begun ']])('of attempts that begin at once on %s one comes through', async (_, begun) => {
      const { driver, other } = subject;
      if (!driver.assemblies.exclusive) return;
      for (let round = 0; round < 30; round++) {
        const state = begun === '' ? driver.assemblies.create(PREFIX) : await gathered(Buffer.from(begun));
        const ends = await Promise.allSettled(
          Array.from({ length: 5 }, async (__, index) => {
            await turns((round * index) % 11);
            const appender = await (index % 2 === 0 ? driver : other).assemblies.append(state);
            await appender.write(Buffer.from(`attempt ${index}`));
            return { index, end: await appender.finish() };
          }),
        );
        const completed: number[] = [];
        for (const ended of ends) {
          if (ended.status === 'rejected') await expectFailure(Promise.reject(ended.reason), 'superseded');
          else if (await completes(driver, ended.value.end, 'key')) completed.push(ended.value.index);
        }
        expect(completed.length).toBe(1);
        expect(text((await driver.get('key'))?.bytes)).toBe(`${begun}attempt ${completed[0]}`);
        await expectKeys('key');
        await driver.delete(['key']);
      }
    });

    test('giving up and going on at once leaves the one that goes on', async () => {
      const { driver, other } = subject;
      for (let round = 0; round < rounds(driver, 60); round++) {
        const state = await gathered(Buffer.from('begun '));
        const given = await driver.assemblies.append(state);
        await given.write(Buffer.from('given up'));
        const [, next] = await Promise.all([turns(round % 5).then(() => given.abandon()), turns(round % 12).then(() => other.assemblies.append(state))]);
        await next.write(Buffer.from('gone on'));
        await driver.assemblies.complete(await next.finish(), 'key');
        expect(text((await driver.get('key'))?.bytes)).toBe('begun gone on');
      }
    });

    test('of completing and going on at once one happens', async () => {
      const { driver, other } = subject;
      if (!driver.assemblies.exclusive) return;
      for (let round = 0; round < 60; round++) {
        const state = await gathered(Buffer.from('begun '));
        const [completed, next] = await Promise.all([
          completes(driver, state, 'a/b/key'),
          turns(round % 13).then(() => appends(other, state)),
        ]);
        expect(completed).toBe(next === undefined);
        if (next !== undefined) {
          await next.write(Buffer.from('gone on'));
          await driver.assemblies.complete(await next.finish(), 'a/b/key');
        }
        expect(text((await driver.get('a/b/key'))?.bytes)).toBe(completed ? 'begun ' : 'begun gone on');
        await driver.delete(['a/b/key']);
      }
    });

    test('a state whose attempt died goes on, without what that attempt wrote', async () => {
      const { driver, other } = subject;
      const fresh = driver.assemblies.create(PREFIX);
      const first = await driver.assemblies.append(fresh);
      await first.write(Buffer.from('lost'));
      const second = await other.assemblies.append(fresh);
      await second.write(Buffer.from('kept '));
      const state = await second.finish();
      const third = await driver.assemblies.append(state);
      await third.write(Buffer.from('lost as well'));
      const fourth = await other.assemblies.append(state);
      await fourth.write(Buffer.from('too'));
      const end = await fourth.finish();
      expect(text(await wholeOf(driver.assemblies.open(end)))).toBe('kept too');
      await other.assemblies.complete(end, 'key');
      expect(text((await driver.get('key'))?.bytes)).toBe('kept too');
      for (const dead of [first, third]) await dead.abandon();
    });

    test('a state goes on where the one that followed it was never recorded', async () => {
      const { driver, other } = subject;
      const recorded = await gathered(Buffer.from('kept '));
      const forgotten = await driver.assemblies.append(recorded);
      await forgotten.write(Buffer.from('forgotten'));
      const lost = await forgotten.finish();
      const next = await other.assemblies.append(recorded);
      await next.write(Buffer.from('again'));
      const end = await next.finish();
      if (driver.assemblies.exclusive) {
        await expectFailure(driver.assemblies.complete(lost, 'key'), 'superseded');
        await expectFailure(driver.assemblies.append(lost), 'superseded');
      }
      await driver.assemblies.complete(end, 'key');
      expect(text((await driver.get('key'))?.bytes)).toBe('kept again');
    });

    test('a state far behind never mixes with what went on without it', async () => {
      const { driver } = subject;
      const first = await gathered(Buffer.from('one '));
      const second = await driver.assemblies.append(first);
      await second.write(Buffer.from('two '));
      const third = await driver.assemblies.append(await second.finish());
      await third.write(Buffer.from('three'));
      const stale = await driver.assemblies.append(first).catch(() => undefined);
      if (stale !== undefined) {
        await stale.write(Buffer.from('other'));
        expect(text(await wholeOf(driver.assemblies.open(await stale.finish())))).toBe('one other');
        if (driver.assemblies.exclusive) await expectFailure(third.finish(), 'superseded');
        else expect(text(await wholeOf(driver.assemblies.open(await third.finish())))).toBe('one two three');
      } else {
        await driver.assemblies.complete(await third.finish(), 'key');
        expect(text((await driver.get('key'))?.bytes)).toBe('one two three');
      }
    });

    test('a state is consumed by completing it', async () => {
      const { driver } = subject;
      if (!driver.assemblies.exclusive) return;
      const state = await gathered(Buffer.from('x'));
      await driver.assemblies.complete(state, 'key');
      await expectFailure(driver.assemblies.complete(state, 'other'), 'superseded');
      await expectFailure(driver.assemblies.append(state), 'superseded');
      expect(await driver.assemblies.open(state)).toBeUndefined();
      await expectKeys('key');
    });

    test('a state cannot be completed once an attempt goes on from it', async () => {
      const { driver, other } = subject;
      if (!driver.assemblies.exclusive) return;
      const state = await gathered(Buffer.from('x'));
      const appender = await other.assemblies.append(state);
      await expectFailure(driver.assemblies.complete(state, 'key'), 'superseded');
      await appender.abandon();
      await driver.assemblies.complete(state, 'key');
      expect(text((await driver.get('key'))?.bytes)).toBe('x');
    });

    test('discard removes what the driver made, finished or not, and nothing else', async () => {
      const { driver, other } = subject;
      await driver.put(`${PREFIX}/state`, Buffer.from('mine'));
      await driver.put(`${PREFIX}-2/state`, Buffer.from('mine'));
      await driver.assemblies.discard(await gathered(Buffer.from('x')));
      await expectKeys(`${PREFIX}-2/state`, `${PREFIX}/state`);
      const running = await driver.assemblies.append(driver.assemblies.create(PREFIX));
      await running.write(Buffer.from('y'));
      await other.assemblies.discard(other.assemblies.create(PREFIX));
      await expectKeys(`${PREFIX}-2/state`, `${PREFIX}/state`);
      if (driver.assemblies.exclusive) await expectFailure(running.finish(), 'superseded');
      else {
        // Elsewhere what had landed is gone, as whoever completes it learns; bytes that are still in memory are the attempt's own.
        await running.abandon();
        const ended = await gathered(Buffer.from('z'));
        // Bytes that the state does not name may be found by a listing alone; a sweep comes later.
        await other.assemblies.discard(subject.listings === 'fresh' ? other.assemblies.create(PREFIX) : ended);
        await expectFailure(driver.assemblies.complete(ended, 'key'), 'superseded');
      }
      expect(await driver.head('key')).toBeUndefined();
      await driver.assemblies.discard(driver.assemblies.create('uploads/absent'));
    });

    test('bytes opened stay readable when the assembly is completed or discarded', async () => {
      const { driver } = subject;
      const bytes = patterned(600_000);
      const state = await gathered(bytes);
      const source = await driver.assemblies.open(state);
      expect(source?.stat.size).toBe(600_000);
      await driver.assemblies.complete(state, 'key');
      expect(source && (await rangeOf(source, { start: 0, end: 599_999 })).equals(bytes)).toBe(true);
      await source?.close();
    });

    test('what a running attempt wrote is readable as it grows, in another process too', async () => {
      const { driver, other } = subject;
      if (!driver.assemblies.growing) return;
      for (const [index, state] of [driver.assemblies.create('uploads/one'), await gathered(Buffer.from('begun '))].entries()) {
        const begun = index === 0 ? '' : 'begun ';
        const appender = await driver.assemblies.append(state);
        const follower = await other.assemblies.open(state);
        if (follower?.read === undefined) throw new Error('a growing assembly has random access');
        const into = Buffer.alloc(100);
        let seen = '';
        for (const chunk of ['one ', 'two ', 'three']) {
          await appender.write(Buffer.from(chunk));
          for (let length = 1; length > 0; ) {
            length = await follower.read(into, seen.length);
            seen += into.toString('utf8', 0, length);
          }
          expect(seen.endsWith(chunk)).toBe(true);
        }
        expect(seen).toBe(`${begun}one two three`);
        expect(text(await rangeOf(follower, { start: 0, end: 1_000 }))).toBe(`${begun}one two three`);
        const end = await appender.finish();
        expect(text(await wholeOf(other.assemblies.open(state)))).toBe(seen);
        await driver.assemblies.complete(end, `key-${index}`);
        expect(await follower.read(into, 0)).toBe(seen.length);
        await follower.close();
      }
    });

    test('attempts stand side by side, and each state holds what its own gathered', async () => {
      const { driver, other } = subject;
      if (driver.assemblies.exclusive) return;
      const begun = patterned(300_000);
      const state = await gathered(begun);
      const attempts = await Promise.all([driver, other, driver].map((own) => own.assemblies.append(state)));
      const ends = await Promise.all(
        attempts.map(async (attempt, index) => {
          for (let turn = 0; turn < 5; turn++) await attempt.write(patterned(100_000, index + 2).subarray(turn * 20_000, (turn + 1) * 20_000));
          return await attempt.finish();
        }),
      );
      for (const [index, end] of ends.entries()) {
        const bytes = Buffer.concat([begun, patterned(100_000, index + 2)]);
        expect((await wholeOf(other.assemblies.open(end)))?.equals(bytes)).toBe(true);
      }
      expect((await wholeOf(driver.assemblies.open(state)))?.equals(begun)).toBe(true);
      await driver.assemblies.complete(ends[1] as AssemblyState /* there are three */, 'key');
      expect((await wholeOf(other.open('key')))?.equals(Buffer.concat([begun, patterned(100_000, 3)]))).toBe(true);
      // The finisher's answer may have been lost: whoever tries again completes it again.
      await other.assemblies.complete(ends[1] as AssemblyState, 'key');
      expect((await wholeOf(driver.open('key')))?.equals(Buffer.concat([begun, patterned(100_000, 3)]))).toBe(true);
    });

    test('what has landed of a running attempt is readable in another process, and only grows', async () => {
      const { driver, other } = subject;
      if (driver.assemblies.growing) return;
      const bytes = patterned(24 * 1024 * 1024);
      const landings: AssemblyState[] = [];
      const attempt: Appender = await driver.assemblies.append(driver.assemblies.create(PREFIX), {
        onLanded: () => landings.push(attempt.landed?.() ?? driver.assemblies.create(PREFIX)),
      });
      expect(attempt.landed?.().offset).toBe(0);
      for (let at = 0; at < bytes.length; at += 1_000_000) await attempt.write(bytes.subarray(at, at + 1_000_000));
      await attempt.finish();
      expect(landings.length).toBeGreaterThan(0);
      expect(landings.map(({ offset }) => offset)).toEqual(landings.map(({ offset }) => offset).toSorted((a, b) => a - b));
      for (const landed of [landings[0], landings.at(-1)]) {
        const read = await wholeOf(other.assemblies.open(JSON.parse(JSON.stringify(landed)) as AssemblyState));
        expect(read?.length).toBe(landed?.offset);
        expect(read?.equals(bytes.subarray(0, landed?.offset))).toBe(true);
      }
    });

    test('a sweep removes what no state names, and nothing else', async () => {
      const { driver, other } = subject;
      if (driver.assemblies.sweep === undefined) return;
      const bytes = patterned(3_000_000);
      const pour = async (prefix: string): Promise<AssemblyState> => {
        const attempt = await driver.assemblies.append(driver.assemblies.create(prefix));
        await writeAll(attempt, bytes);
        return await attempt.finish();
      };
      const inSession = await pour('uploads/session');
      const completed = await pour('uploads/completed');
      await pour('uploads/completed'); // an attempt beside it, whose state nobody recorded
      await driver.assemblies.complete(completed, 'blobs/completed');
      const orphan = await pour('uploads/orphan');
      const discarded = await pour('uploads/discarded');
      await driver.assemblies.discard(discarded);
      const asked: string[] = [];
      const inUse = async (prefix: string): Promise<boolean> => asked.push(prefix) > 0 && prefix === 'uploads/session';
      const nowMs = (await driver.clock?.()) ?? Date.now();
      await other.assemblies.sweep?.({ beforeMs: nowMs - 3_600_000, inUse });
      expect((await wholeOf(driver.assemblies.open(orphan)))?.equals(bytes)).toBe(true);
      let left: boolean;
      do {
        await other.assemblies.sweep?.({ beforeMs: nowMs + 3_600_000, inUse });
        left = (await driver.assemblies.open(orphan)) !== undefined || !asked.includes('uploads/session');
      } while (left && subject.listings === 'lag'); // a later sweep finds what a listing did not have yet
      expect(asked).toContain('uploads/session');
      expect(await driver.assemblies.open(orphan)).toBeUndefined();
      expect((await wholeOf(driver.assemblies.open(inSession)))?.equals(bytes)).toBe(true);
      expect((await wholeOf(driver.open('blobs/completed')))?.equals(bytes)).toBe(true);
      await expectKeys('blobs/completed');
      const again = await driver.assemblies.sweep?.({ beforeMs: nowMs + 3_600_000, inUse });
      if (subject.listings === 'fresh') expect(again).toEqual({ removed: 0 });
      // Twice is once: a finisher may be asked again after a sweep.
      await driver.assemblies.complete(inSession, 'blobs/session');
      expect((await wholeOf(other.open('blobs/session')))?.equals(bytes)).toBe(true);
    });

    test('prefixes and keys may be long', async () => {
      const { driver } = subject;
      const state = driver.assemblies.create(`uploads/${'u'.repeat(300)}`);
      const appender = await driver.assemblies.append(state);
      await appender.write(Buffer.from('x'));
      const key = `blobs/${'d'.repeat(500)}/data`;
      await driver.assemblies.complete(await appender.finish(), key);
      await expectKeys(key);
      expectListed(subject, await all(driver.children('')), [{ name: 'blobs', leaf: false }]);
    });

    test('an aborted signal ends a call with its reason', async () => {
      const { driver } = subject;
      const state = await gathered(Buffer.from('x'));
      const signal = AbortSignal.abort(new Error('the client left'));
      const { assemblies } = driver;
      for (const call of [() => assemblies.append(state, { signal }), () => assemblies.open(state, { signal }), () => assemblies.complete(state, 'key', { signal }), () => assemblies.discard(state, { signal })]) {
        await expect(call()).rejects.toThrow('the client left');
      }
      await assemblies.complete(state, 'key');
    });

    test('a state that is not one of the driver\'s is refused', async () => {
      const { assemblies } = subject.driver;
      for (const state of [{ prefix: '../x', offset: 0, parts: null }, { prefix: PREFIX, offset: -1, parts: null }]) {
        await expectFailure(assemblies.append(state), 'permanent');
        await expectFailure(assemblies.open(state), 'permanent');
        await expectFailure(assemblies.complete(state, 'key'), 'permanent');
      }
    });

    test('whatever becomes of its attempts, an assembly holds the chunks of those that finished', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(attempts, { maxLength: 6 }), async (plan) => {
          const { driver, other } = subject;
          await holdsFinished(driver, other, plan);
          await expectKeys('key');
          await driver.delete((await all(driver.list(''))).map((entry) => entry.key));
        }),
        { numRuns: rounds(subject.driver, 40) },
      );
    });
  });
}

/** False where somebody took the state over; any other failure is one. */
async function completes(driver: Driver, state: AssemblyState, key: string): Promise<boolean> {
  try {
    await driver.assemblies.complete(state, key);
    return true;
  } catch (error) {
    await expectFailure(Promise.reject(error), 'superseded');
    return false;
  }
}

/** Undefined where somebody took the state over; any other failure is one. */
async function appends(driver: Driver, state: AssemblyState): Promise<Appender | undefined> {
  try {
    return await driver.assemblies.append(state);
  } catch (error) {
    await expectFailure(Promise.reject(error), 'superseded');
    return undefined;
  }
}

/** Lets others go ahead, so that races come out in different ways. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

const attempts = fc.record({
  chunks: fc.array(fc.uint8Array({ maxLength: 2_000 }), { maxLength: 4 }),
  end: fc.constantFrom('finish', 'abandon', 'die', 'finish unrecorded'),
});

interface Attempt {
  readonly chunks: readonly Uint8Array[];
  readonly end: 'finish' | 'abandon' | 'die' | 'finish unrecorded';
}

async function holdsFinished(driver: Driver, other: Driver, plan: readonly Attempt[]): Promise<void> {
  let state = driver.assemblies.create(PREFIX);
  let model = Buffer.alloc(0);
  const dead: (() => Promise<void>)[] = [];
  for (const [index, { chunks, end }] of plan.entries()) {
    const appender = await (index % 2 === 0 ? driver : other).assemblies.append(state);
    await Promise.all(chunks.map((chunk) => appender.write(chunk)));
    if (end === 'die') dead.push(() => appender.abandon());
    else if (end === 'abandon') await appender.abandon();
    else {
      const next = await appender.finish();
      expect(next.offset).toBe(model.length + chunks.reduce((sum, { length }) => sum + length, 0));
      if (end === 'finish unrecorded') continue;
      state = next;
      model = Buffer.concat([model, ...chunks]);
    }
  }
  // The last attempt may have died: going on once more is what a client would do before it completes.
  state = await (await driver.assemblies.append(state)).finish();
  for (const bury of dead) await bury();
  expect((await wholeOf(driver.assemblies.open(state))) ?? Buffer.alloc(0)).toEqual(model);
  await driver.assemblies.complete(state, 'key');
  expect((await driver.get('key'))?.bytes).toEqual(model);
}
