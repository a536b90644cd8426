/** A group of one: a single process that leads everything it asks for, without any IPC. */
import { Broker } from './broker.ts';
import type { Group } from './group.ts';
import { Member } from './member.ts';
import type { Timers } from './timers.ts';

export function soloGroup(timers: Timers): Group {
  const connection = new Broker().connect((message, sent) => {
    // Not within the caller's own call, as between processes.
    queueMicrotask(() => {
      member.receive(message);
      sent();
    });
  });
  const member: Member = new Member({
    id: 0,
    size: 1,
    timers,
    failed: () => undefined,
    send: (message, sent) => {
      connection.receive(message);
      queueMicrotask(sent);
    },
  });
  return member;
}
