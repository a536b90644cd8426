import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe } from 'vitest';
import type { Command, Report } from './cluster.fixture.ts';
import { primaryBroker } from './cluster.ts';
import { groupContract } from './group.contract.ts';
import type { FollowEvent, Following, Group, Leading, Message } from './group.ts';

/** A group in a worker, worked from here. */
class RemoteGroup implements Group {
  readonly id: number;
  readonly size = 3;
  readonly worker: Worker;
  readonly started: Promise<void>;
  readonly #heard = new Map<number, (report: Report) => void>();
  #numbered = 0;

  constructor(worker: Worker) {
    this.worker = worker;
    this.id = worker.id;
    const started = Promise.withResolvers<void>();
    this.started = started.promise;
    worker.on('message', (message: { readonly report?: Report }) => {
      if (message.report === undefined) return;
      if (message.report.told === 'started') started.resolve();
      else this.#heard.get(message.report.n)?.(message.report);
    });
  }

  async join(key: string, follow: (event: FollowEvent) => void, followersChanged: (count: number) => void): Promise<Leading | Following> {
    const n = ++this.#numbered;
    return new Promise((resolve) => {
      this.#heard.set(n, (report) => {
        if (report.told === 'event') follow(report.event);
        if (report.told === 'count') followersChanged(report.count);
        if (report.told !== 'joined') return;
        if (report.role === 'follower') return resolve({ role: 'follower', leave: () => this.#tell({ do: 'leave', n }) });
        resolve({
          role: 'leader',
          announce: (message) => this.#tell({ do: 'announce', n, message }),
          end: (message) => this.#tell({ do: 'end', n, message }),
        });
      });
      this.#tell({ do: 'join', n, key });
    });
  }

  async broadcast(topic: string, message: Message): Promise<void> {
    await this.#done({ do: 'broadcast', n: ++this.#numbered, topic, message });
  }

  subscribe(topic: string, handler: (message: Message) => void | Promise<void>): void {
    const n = ++this.#numbered;
    this.#heard.set(n, (report) => {
      if (report.told !== 'delivered') return;
      const { delivery, message } = report;
      void (async () => handler(message))().then(
        () => this.#tell({ do: 'handled', n: delivery, failed: false }),
        () => this.#tell({ do: 'handled', n: delivery, failed: true }),
      );
    });
    this.#tell({ do: 'subscribe', n, topic });
  }

  async close(): Promise<void> {
    await this.#done({ do: 'close', n: ++this.#numbered });
  }

  async #done(command: Command): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#heard.set(command.n, () => resolve());
      this.#tell(command);
    });
  }

  #tell(command: Command): void {
    if (this.worker.isConnected()) this.worker.send({ command }, undefined, undefined, () => undefined);
  }
}

describe('workers of node:cluster', () => {
  let stopBroker: () => void;

  beforeAll(() => {
    cluster.setupPrimary({ exec: fileURLToPath(new URL('cluster.fixture.ts', import.meta.url)), execArgv: [], args: [] });
    stopBroker = primaryBroker(cluster);
  });
  afterAll(() => stopBroker());

  groupContract(async (count) => {
    const groups = Array.from({ length: count }, () => new RemoteGroup(cluster.fork()));
    const kill = async ({ worker }: RemoteGroup): Promise<void> => {
      if (worker.isDead()) return;
      const exit = once(worker, 'exit');
      worker.process.kill('SIGKILL');
      await exit;
    };
    await Promise.all(groups.map(async (group) => group.started));
    return {
      groups,
      kill: async (index) => kill(groups[index]!),
      close: async () => void (await Promise.all(groups.map(kill))),
    };
  });
});
