/**
 * The group as one worker sees it: the broker's counterpart. Knows nothing of how messages travel; a closed connection
 * ends what it followed, as the leader's death would.
 */
import { LatestOnly } from './latest.ts';
import type { FollowEvent, Following, Group, Leading, Message } from './group.ts';
import type { Timers } from './timers.ts';
import type { Downward, Send, Upward } from './wire.ts';

export interface MemberOptions {
  readonly id: number;
  readonly size: number;
  readonly timers: Timers;
  readonly send: Send<Upward>;
  /** Told what a handler of a broadcast threw; the sender goes on. */
  readonly failed: (topic: string, error: unknown) => void;
}

interface Join {
  role: 'leader' | 'follower' | undefined;
  readonly follow: (event: FollowEvent) => void;
  readonly followersChanged: (count: number) => void;
  readonly joined: (role: 'leader' | 'follower') => void;
}

/** How long a broadcast waits for the other workers. */
const BROADCAST_MS = 1000;

export class Member implements Group {
  readonly id: number;
  readonly size: number;
  readonly #options: MemberOptions;
  readonly #joins = new Map<number, Join>();
  readonly #calls = new Map<number, () => void>();
  readonly #handlers = new Map<string, ((message: Message) => void | Promise<void>)[]>();
  #numbered = 0;
  #closed = false;

  constructor(options: MemberOptions) {
    this.id = options.id;
    this.size = options.size;
    this.#options = options;
    this.#post({ op: 'hello' });
  }

  async join(key: string, follow: (event: FollowEvent) => void, followersChanged: (count: number) => void): Promise<Leading | Following> {
    if (this.#closed) throw new Error(`cannot join ${JSON.stringify(key)}: the group is closed`);
    const join = ++this.#numbered;
    const role = await new Promise<'leader' | 'follower'>((joined) => {
      this.#joins.set(join, { role: undefined, follow, followersChanged, joined });
      this.#post({ op: 'join', join, key });
    });
    return role === 'leader' ? this.#leading(join) : { role, leave: () => this.#leave(join) };
  }

  async broadcast(topic: string, message: Message): Promise<void> {
    if (this.#closed) return;
    const call = ++this.#numbered;
    await new Promise<void>((resolve) => {
      const cancel = this.#options.timers.after(BROADCAST_MS, () => {
        this.#post({ op: 'forget', call });
        settle();
      });
      const settle = (): void => {
        cancel();
        this.#calls.delete(call);
        resolve();
      };
      this.#calls.set(call, settle);
      this.#post({ op: 'broadcast', call, topic, message });
    });
  }

  subscribe(topic: string, handler: (message: Message) => void | Promise<void>): void {
    const handlers = this.#handlers.get(topic);
    if (handlers === undefined) this.#handlers.set(topic, [handler]);
    else handlers.push(handler);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    for (const join of this.#joins.keys()) {
      // The broker heeds the word that fits: which it is may be on its way.
      this.#post({ op: 'end', join, message: undefined });
      this.#post({ op: 'leave', join });
    }
    this.disconnected();
  }

  /** What the broker says. */
  receive(message: Downward): void {
    switch (message.op) {
      case 'joined': {
        const join = this.#joins.get(message.join);
        if (join === undefined) return;
        join.role = message.role;
        return join.joined(message.role);
      }
      case 'event': {
        const join = this.#joins.get(message.join);
        if (message.event.kind === 'ended') this.#joins.delete(message.join);
        return join?.follow(message.event);
      }
      case 'followers':
        return this.#joins.get(message.join)?.followersChanged(message.count);
      case 'deliver':
        return void this.#handle(message.relay, message.topic, message.message);
      case 'done':
        return this.#calls.get(message.call)?.();
    }
  }

  /** There is no broker any more: nobody else will answer or lead. Who leads goes on alone. */
  disconnected(): void {
    if (this.#closed) return;
    this.#closed = true;
    const joins = [...this.#joins.values()];
    this.#joins.clear();
    for (const { role, joined, follow } of joins) {
      if (role === 'leader') continue;
      joined('follower');
      follow({ kind: 'ended', message: undefined });
    }
    for (const settle of this.#calls.values()) settle();
  }

  #leading(join: number): Leading {
    const lane = new LatestOnly<Upward>(this.#options.send);
    return {
      role: 'leader',
      announce: (message) => {
        if (this.#joins.has(join)) lane.offer({ op: 'announce', join, message });
      },
      end: (message) => {
        lane.clear();
        if (this.#joins.delete(join)) this.#post({ op: 'end', join, message });
      },
    };
  }

  #leave(join: number): void {
    if (this.#joins.delete(join)) this.#post({ op: 'leave', join });
  }

  async #handle(relay: number, topic: string, message: Message): Promise<void> {
    const handled = (this.#handlers.get(topic) ?? []).map(async (handler) => handler(message));
    for (const outcome of await Promise.allSettled(handled)) {
      if (outcome.status === 'rejected') this.#options.failed(topic, outcome.reason);
    }
    this.#post({ op: 'handled', relay });
  }

  #post(message: Upward): void {
    this.#options.send(message, () => undefined);
  }
}
