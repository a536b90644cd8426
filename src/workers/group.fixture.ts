/** Groups of several members in one process, for tests of what uses them. */
import { Broker } from './broker.ts';
import { Member } from './member.ts';
import type { Timers } from './timers.ts';
import type { Downward, Upward } from './wire.ts';

export interface OneOfGroup {
  readonly member: Member;
  /** As the death of its process. */
  die(): void;
}

/** Every message is a turn of its own, and a copy as JSON makes it. */
export function members(count: number, timers: Timers): OneOfGroup[] {
  const broker = new Broker();
  return Array.from({ length: count }, (_, id) => {
    let alive = true;
    const connection = broker.connect((message, sent) => travel(() => alive && member.receive(copy<Downward>(message)), sent));
    const member: Member = new Member({
      id,
      size: count,
      timers,
      failed: () => undefined,
      send: (message, sent) => travel(() => alive && connection.receive(copy<Upward>(message)), sent),
    });
    const die = (): void => {
      alive = false;
      connection.closed();
    };
    return { member, die };
  });
}

function travel(arrive: () => unknown, sent: () => void): void {
  setImmediate(() => {
    arrive();
    sent();
  });
}

function copy<M>(message: M): M {
  return JSON.parse(JSON.stringify(message)) as M;
}
