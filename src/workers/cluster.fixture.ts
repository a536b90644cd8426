/** A worker under test: does with its group what the test in the primary says over IPC, and reports what it hears. */
import process from 'node:process';
import { clusterGroup } from './cluster.ts';
import type { FollowEvent, Following, Leading, Message } from './group.ts';
import { systemTimers } from './timers.ts';

export type Command =
  | { readonly do: 'join'; readonly n: number; readonly key: string }
  | { readonly do: 'announce' | 'end'; readonly n: number; readonly message: Message }
  | { readonly do: 'leave'; readonly n: number }
  | { readonly do: 'broadcast'; readonly n: number; readonly topic: string; readonly message: Message }
  | { readonly do: 'subscribe'; readonly n: number; readonly topic: string }
  | { readonly do: 'handled'; readonly n: number; readonly failed: boolean }
  | { readonly do: 'close'; readonly n: number };

export type Report =
  | { readonly told: 'started' }
  | { readonly told: 'joined'; readonly n: number; readonly role: 'leader' | 'follower' }
  | { readonly told: 'event'; readonly n: number; readonly event: FollowEvent }
  | { readonly told: 'count'; readonly n: number; readonly count: number }
  | { readonly told: 'delivered'; readonly n: number; readonly delivery: number; readonly message: Message }
  | { readonly told: 'done'; readonly n: number };

const group = clusterGroup(process, { id: 1, size: 3, timers: systemTimers, failed: () => undefined });
const joins = new Map<number, Leading | Following>();
const deliveries = new Map<number, (failed: boolean) => void>();
let delivered = 0;

function report(message: Report): void {
  process.send?.({ report: message });
}

async function obey(command: Command): Promise<void> {
  const { n } = command;
  switch (command.do) {
    case 'join': {
      const joining = await group.join(command.key, (event) => report({ told: 'event', n, event }), (count) => report({ told: 'count', n, count }));
      joins.set(n, joining);
      return report({ told: 'joined', n, role: joining.role });
    }
    case 'announce':
    case 'end':
      return (joins.get(n) as Leading)[command.do](command.message);
    case 'leave':
      return (joins.get(n) as Following).leave();
    case 'broadcast':
      await group.broadcast(command.topic, command.message);
      return report({ told: 'done', n });
    case 'subscribe':
      return group.subscribe(command.topic, async (message) => {
        const delivery = ++delivered;
        const failed = await new Promise<boolean>((resolve) => {
          deliveries.set(delivery, resolve);
          report({ told: 'delivered', n, delivery, message });
        });
        if (failed) throw new Error('as told');
      });
    case 'handled':
      return deliveries.get(n)?.(command.failed);
    case 'close':
      await group.close();
      return report({ told: 'done', n });
  }
}

process.on('message', (message: { readonly command?: Command }) => {
  if (message.command !== undefined) void obey(message.command);
});
report({ told: 'started' });
