/** Fills between real processes: one download, read by all, and what is left of it when its process is killed. */
import cluster, { type Worker } from 'node:cluster';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { primaryBroker } from '../workers/cluster.ts';
import { Inbox } from '../workers/group.contract.ts';
import { someBytes } from './fill.fixture.ts';
import type { Order, Report } from './fills.fixture.ts';

const MIB = 1024 * 1024;

class Remote {
  readonly worker: Worker;
  readonly started: Promise<void>;
  readonly downloads: Inbox<number> = new Inbox();
  readonly #orders = new Map<number, Inbox<Report>>();

  constructor(worker: Worker) {
    this.worker = worker;
    const started = Promise.withResolvers<void>();
    this.started = started.promise;
    worker.on('message', ({ report }: { readonly report?: Report }) => {
      if (report?.told === 'started') started.resolve();
      else if (report?.told === 'downloading') this.downloads.put(report.start);
      else if (report !== undefined) this.#orders.get(report.n)?.put(report);
    });
  }

  read(order: Order): Inbox<Report> {
    const inbox = new Inbox<Report>();
    this.#orders.set(order.n, inbox);
    this.worker.send({ order });
    return inbox;
  }

  async kill(): Promise<void> {
    if (this.worker.isDead()) return;
    const exit = once(this.worker, 'exit');
    this.worker.process.kill('SIGKILL');
    await exit;
  }
}

/** The next report of that kind; what it had so far is passed over. */
async function end(inbox: Inbox<Report>): Promise<Report> {
  for (;;) {
    const report = await inbox.next();
    if (report.told !== 'has') return report;
  }
}

async function has(inbox: Inbox<Report>, count: number): Promise<void> {
  for (;;) {
    const report = await inbox.next();
    if (report.told !== 'has') throw new Error(`expected more bytes: ${JSON.stringify(report)}`);
    if (report.count >= count) return;
  }
}

describe('a fill between processes', () => {
  const bytes = someBytes(8 * MIB + 1);
  const digest = digestOf(bytes);
  const whole = createHash('sha256').update(bytes).digest('hex');
  let root: string;
  let server: Server;
  let asked: Inbox<{ readonly start: number; readonly response: ServerResponse }>;
  let remotes: [Remote, Remote, Remote];
  let stopBroker: () => void;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'fills-'));
    asked = new Inbox();
    server = createServer((request, response) => {
      response.setHeader('x-size', bytes.length);
      response.flushHeaders();
      asked.put({ start: Number(request.url?.slice(1)), response });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    stopBroker = primaryBroker(cluster);
    cluster.setupPrimary({ exec: fileURLToPath(new URL('fills.fixture.ts', import.meta.url)), args: [root, String(port)], execArgv: [] });
    remotes = [new Remote(cluster.fork()), new Remote(cluster.fork()), new Remote(cluster.fork())];
    await Promise.all(remotes.map(async (remote) => remote.started));
  });
  afterEach(async () => {
    await Promise.all(remotes.map(async (remote) => remote.kill()));
    stopBroker();
    server.closeAllConnections();
    server.close();
    await rm(root, { recursive: true });
  });

  test('serves every process from one download', async () => {
    const readers = remotes.flatMap((remote, i) => [
      remote.read({ n: 2 * i, digest }),
      remote.read({ n: 2 * i + 1, digest, range: { start: 3 * MIB, end: 5 * MIB - 1 } }),
    ]);
    const { response } = await asked.next();
    response.write(bytes.subarray(0, 4 * MIB));
    await Promise.all(readers.map(async (reader, i) => has(reader, i % 2 === 0 ? 4 * MIB : MIB)));
    response.end(bytes.subarray(4 * MIB));
    const part = createHash('sha256').update(bytes.subarray(3 * MIB, 5 * MIB)).digest('hex');
    for (const [n, reader] of readers.entries()) expect(await end(reader)).toEqual({ told: 'done', n, sha256: n % 2 === 0 ? whole : part });
    expect(asked.waiting).toBe(0);
  });

  test('is begun again elsewhere when its process is killed', async () => {
    const first = remotes[0].read({ n: 0, digest });
    expect(await remotes[0].downloads.next()).toBe(0);
    const begun = remotes[1].read({ n: 1, digest });
    const waiting = remotes[2].read({ n: 2, digest, range: { start: 8 * MIB, end: 8 * MIB } });
    const { response } = await asked.next();
    response.write(bytes.subarray(0, 4 * MIB));
    await Promise.all([has(first, 4 * MIB), has(begun, 4 * MIB)]);
    await remotes[0].kill();
    expect(await end(begun)).toEqual({ told: 'failed', n: 1, code: 'UNAVAILABLE' });
    expect(await remotes[2].downloads.next()).toBe(0);
    const again = remotes[1].read({ n: 3, digest });
    (await asked.next()).response.end(bytes);
    expect(await end(again)).toEqual({ told: 'done', n: 3, sha256: whole });
    expect(await end(waiting)).toMatchObject({ told: 'done', n: 2 });
    expect(asked.waiting).toBe(0);
  });
});
