/** What every Group promises, whatever carries its messages. Runs against members in one process and against real workers. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FollowEvent, Following, Group, Leading } from './group.ts';

export interface Workers {
  readonly groups: readonly Group[];
  /** As SIGKILL would. Resolves when the process is gone. */
  kill(index: number): Promise<void>;
  close(): Promise<void>;
}

export function groupContract(start: (count: number) => Promise<Workers>): void {
  let workers: Workers;
  let a: Group;
  let b: Group;
  let c: Group;

  beforeEach(async () => {
    workers = await start(3);
    [a, b, c] = workers.groups as [Group, Group, Group];
  });
  afterEach(async () => workers.close());

  describe('a key', () => {
    test('is led by whoever joins first and followed by the others', async () => {
      const first = await joined(a, 'k');
      expect(first.joining.role).toBe('leader');
      expect((await joined(b, 'k')).joining.role).toBe('follower');
      expect((await joined(c, 'k')).joining.role).toBe('follower');
      expect((await joined(c, 'other')).joining.role).toBe('leader');
    });

    test('has one leader when all join at once', async () => {
      const all = await Promise.all([a, b, c].map(async (group) => joined(group, 'k')));
      expect(all.map((one) => one.joining.role).sort()).toEqual(['follower', 'follower', 'leader']);
    });

    test('tells followers what its leader announces, in order', async () => {
      const lead = leading(await joined(a, 'k'));
      const follower = await joined(b, 'k');
      lead.announce({ n: 1 });
      expect(await follower.events.next()).toEqual({ kind: 'announcement', message: { n: 1 } });
      lead.announce({ n: 2 });
      expect(await follower.events.next()).toEqual({ kind: 'announcement', message: { n: 2 } });
      lead.end('bye');
      expect(await follower.events.next()).toEqual({ kind: 'ended', message: 'bye' });
    });

    test('tells a late follower the latest announcement first', async () => {
      const lead = leading(await joined(a, 'k'));
      const early = await joined(b, 'k');
      lead.announce('old');
      await early.events.next();
      lead.announce('new');
      await early.events.next();
      const late = await joined(c, 'k');
      expect(await late.events.next()).toEqual({ kind: 'announcement', message: 'new' });
    });

    test('skips superseded announcements but never the last word', async () => {
      const lead = leading(await joined(a, 'k'));
      const follower = await joined(b, 'k');
      for (let n = 0; n < 10_000; n++) lead.announce(n);
      lead.end('end');
      const heard: FollowEvent[] = [];
      do heard.push(await follower.events.next());
      while (heard.at(-1)?.kind !== 'ended');
      expect(heard.at(-1)).toEqual({ kind: 'ended', message: 'end' });
      const numbers = heard.slice(0, -1).map((event) => event.message as number);
      expect(numbers).toEqual(numbers.toSorted((x, y) => x - y));
      expect(numbers.length).toBeLessThan(10_000);
    });

    test('can be led again once its leader ended it', async () => {
      leading(await joined(a, 'k')).end('done');
      const again = await joined(a, 'k');
      expect(again.joining.role).toBe('leader');
      const follower = await joined(b, 'k');
      leading(again).announce('second');
      expect(await follower.events.next()).toEqual({ kind: 'announcement', message: 'second' });
    });

    test('tells its leader how many follow', async () => {
      const lead = await joined(a, 'k');
      const follower = await joined(b, 'k');
      expect(await lead.counts.next()).toBe(1);
      await joined(c, 'k');
      expect(await lead.counts.next()).toBe(2);
      (follower.joining as Following).leave();
      expect(await lead.counts.next()).toBe(1);
      await workers.kill(2);
      expect(await lead.counts.next()).toBe(0);
    });

    test('of a leader that dies ends without a last word and can be led by another', async () => {
      const lead = leading(await joined(a, 'k'));
      const follower = await joined(b, 'k');
      lead.announce(1);
      await follower.events.next();
      await workers.kill(0);
      expect(await follower.events.next()).toEqual({ kind: 'ended', message: undefined });
      expect((await joined(b, 'k')).joining.role).toBe('leader');
    });

    test('of a leader whose group closes ends without a last word', async () => {
      await joined(a, 'k');
      const follower = await joined(b, 'k');
      await a.close();
      expect(await follower.events.next()).toEqual({ kind: 'ended', message: undefined });
    });

    test('is not told to a follower that left', async () => {
      const lead = leading(await joined(a, 'k'));
      const gone = await joined(b, 'k');
      (gone.joining as Following).leave();
      const stays = await joined(c, 'k');
      lead.end('end');
      expect(await stays.events.next()).toEqual({ kind: 'ended', message: 'end' });
      // A round trip through the broker to b: whatever was sent to it before has come.
      await joined(b, 'another');
      expect(gone.events.waiting).toBe(0);
    });
  });

  describe('a broadcast', () => {
    test('resolves once every other worker has handled it', async () => {
      const handled: string[] = [];
      const release = Promise.withResolvers<void>();
      b.subscribe('moved', async (message) => {
        await release.promise;
        handled.push(`b ${JSON.stringify(message)}`);
      });
      c.subscribe('moved', (message) => {
        handled.push(`c ${JSON.stringify(message)}`);
        release.resolve();
      });
      a.subscribe('moved', () => handled.push('never to oneself') as unknown as void);
      await subscribed(b, c);
      await a.broadcast('moved', { tag: 'x' });
      expect(handled.sort()).toEqual(['b {"tag":"x"}', 'c {"tag":"x"}']);
    });

    test('of a topic nobody handles resolves', async () => {
      await a.broadcast('silence', 1);
    });

    test('does not wait for a worker that dies', async () => {
      const asked = Promise.withResolvers<void>();
      b.subscribe('hang', () => {
        asked.resolve();
        return new Promise<void>(() => undefined);
      });
      await subscribed(b);
      const sent = a.broadcast('hang', 1);
      await asked.promise;
      await workers.kill(1);
      await sent;
    });

    test('goes on when a handler fails', async () => {
      b.subscribe('bad', async () => Promise.reject(new Error('handler')));
      await subscribed(b);
      await a.broadcast('bad', 1);
    });
  });
}

/** A worker behind a proxy has its handlers by the time that it has joined something. */
async function subscribed(...groups: Group[]): Promise<void> {
  await Promise.all(groups.map(async (group) => joined(group, `subscribed ${group.id}`)));
}

export interface Joined {
  readonly joining: Leading | Following;
  readonly events: Inbox<FollowEvent>;
  readonly counts: Inbox<number>;
}

export async function joined(group: Group, key: string): Promise<Joined> {
  const events = new Inbox<FollowEvent>();
  const counts = new Inbox<number>();
  const joining = await group.join(key, (event) => events.put(event), (count) => counts.put(count));
  return { joining, events, counts };
}

export function leading({ joining }: Joined): Leading {
  if (joining.role !== 'leader') throw new Error('expected to lead');
  return joining;
}

/** Things that arrive, to be awaited one by one. */
export class Inbox<T> {
  readonly #things: T[] = [];
  readonly #takers: ((thing: T) => void)[] = [];

  get waiting(): number {
    return this.#things.length;
  }

  put(thing: T): void {
    const taker = this.#takers.shift();
    if (taker === undefined) this.#things.push(thing);
    else taker(thing);
  }

  async next(): Promise<T> {
    if (this.#things.length > 0) return this.#things.shift() as T;
    return new Promise((resolve) => this.#takers.push(resolve));
  }
}
