/**
 * A group of processes under node:cluster: every worker talks to the broker in the primary over its IPC channel.
 * Messages of others on that channel (node's own, `supervise.ts`) pass by.
 */
import type { Cluster, Worker } from 'node:cluster';
import { Broker } from './broker.ts';
import type { Group } from './group.ts';
import { Member, type MemberOptions } from './member.ts';
import type { Downward, Upward } from './wire.ts';

/** Around each message, to tell it from others on the channel. */
interface Envelope<M> {
  readonly group: M;
}

/** In the primary: connects every worker that is forked from now on. The returned function stops that. */
export function primaryBroker(cluster: Cluster): () => void {
  const broker = new Broker();
  const attach = (worker: Worker): void => {
    const connection = broker.connect((message, sent) => {
      if (!worker.isConnected()) return sent();
      const envelope: Envelope<Downward> = { group: message };
      // With a callback, a channel that closes meanwhile is told there and not by an 'error' event.
      worker.send(envelope, undefined, undefined, sent);
    });
    worker.on('message', (message: unknown) => {
      if (isEnvelope<Upward>(message)) connection.receive(message.group);
    });
    // 'disconnect' may come late or never for a process that was killed, 'exit' for one that hangs.
    worker.once('disconnect', () => connection.closed());
    worker.once('exit', () => connection.closed());
  };
  cluster.on('fork', attach);
  return () => void cluster.off('fork', attach);
}

/** In a worker. `channel` is the process. */
export function clusterGroup(channel: NodeJS.Process, options: Omit<MemberOptions, 'send'>): Group {
  const member = new Member({
    ...options,
    send: (message, sent) => {
      if (channel.send === undefined || !channel.connected) return sent();
      const envelope: Envelope<Upward> = { group: message };
      channel.send(envelope, undefined, undefined, () => sent());
    },
  });
  channel.on('message', (message: unknown) => {
    if (isEnvelope<Downward>(message)) member.receive(message.group);
  });
  channel.once('disconnect', () => member.disconnected());
  return member;
}

/** Both ends are this program: what carries the key is of the type. */
function isEnvelope<M>(message: unknown): message is Envelope<M> {
  return typeof message === 'object' && message !== null && 'group' in message;
}
