import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Inbox } from './group.contract.ts';
import type { Scenario } from './supervise.fixture.ts';

const FIXTURE = fileURLToPath(new URL('supervise.fixture.ts', import.meta.url));

interface Line {
  readonly who: string;
  readonly said: { readonly kind: string; readonly [field: string]: unknown };
}

/** The primary as a child of this test, read line by line. */
class Program {
  readonly process: ChildProcess;
  readonly all: string[] = [];
  readonly #lines = new Inbox<Line>();
  readonly exit: Promise<unknown[]>;

  constructor(scenario: Scenario) {
    this.process = spawn(process.execPath, [FIXTURE, JSON.stringify(scenario)], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.exit = once(this.process, 'close');
    createInterface({ input: this.process.stdout! }).on('line', (line) => {
      this.all.push(line);
      const space = line.indexOf(' ');
      if (space > 0) this.#lines.put({ who: line.slice(0, space), said: JSON.parse(line.slice(space + 1)) as Line['said'] });
    });
  }

  /** The next thing said of this kind; others are passed over. */
  async hear(kind: string): Promise<Line['said']> {
    for (;;) {
      const { said } = await this.#lines.next();
      if (said.kind === kind) return said;
    }
  }

  /** How often each kind was said. */
  count(kind: string): number {
    return this.all.filter((line) => line.includes(`"kind":"${kind}"`)).length;
  }

  async exitCode(): Promise<unknown> {
    return (await this.exit)[0];
  }
}

describe('a supervised server', () => {
  let program: Program;
  let server: Server;
  /** One per living worker. */
  let connected: Inbox<Socket>;
  let port: number;

  beforeEach(async () => {
    connected = new Inbox();
    server = createServer((socket) => {
      socket.on('error', () => undefined);
      connected.put(socket);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as { port: number }).port;
  });
  afterEach(async () => {
    program.process.kill('SIGKILL');
    await program.exit;
    server.close();
  });

  function start(scenario: Partial<Scenario>): Program {
    program = new Program({ workers: 2, port, drainMs: 60_000, start: 'listens', drain: 'finishes', chatter: 0, ...scenario });
    return program;
  }

  test('is ready when all workers listen, with what each reports', async () => {
    start({ workers: 3 });
    const { reports } = await program.hear('ready');
    expect(new Set((reports as { pid: number }[]).map((report) => report.pid)).size).toBe(3);
    // What workers print takes another way than what they report, and may come later.
    program.process.kill('SIGTERM');
    await program.exit;
    expect(program.count('listens')).toBe(3);
    expect(program.all.find((line) => line.includes('listens'))).toContain('"argv":["a worker"],"size":3');
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('drains on %s and exits with 0', async (signal) => {
    start({});
    await program.hear('ready');
    program.process.kill(signal);
    expect(await program.exitCode()).toBe(0);
    expect(program.count('drains')).toBe(2);
    expect(program.all.at(-1)).toBe('primary {"kind":"stopped"}');
  });

  test('kills workers that do not drain in time', async () => {
    start({ drain: 'hangs', drainMs: 200 });
    await program.hear('ready');
    program.process.kill('SIGTERM');
    expect(await program.hear('killing')).toEqual({ kind: 'killing', workers: 2, reason: 'not drained after 200 ms' });
    expect(await program.exitCode()).toBe(0);
  });

  test('kills at once on a second signal', async () => {
    start({ drain: 'hangs' });
    await program.hear('ready');
    program.process.kill('SIGTERM');
    await program.hear('drains');
    program.process.kill('SIGINT');
    expect(await program.hear('killing')).toMatchObject({ reason: 'SIGINT while stopping' });
    expect(await program.exitCode()).toBe(0);
  });

  test('restarts a worker that dies', async () => {
    start({});
    const { reports } = await program.hear('ready');
    const [first] = reports as { pid: number }[];
    process.kill(first!.pid, 'SIGKILL');
    expect(await program.hear('worker-died')).toMatchObject({ pid: first!.pid, reason: 'worker was ended by SIGKILL', restartMs: 100 });
    await program.hear('listens');
    program.process.kill('SIGTERM');
    expect(await program.exitCode()).toBe(0);
    expect(program.count('drains')).toBe(2);
    expect(program.count('ready')).toBe(1);
  });

  test('stops with the reason when a worker says at start that it cannot', async () => {
    start({ start: 'fails' });
    expect(await program.hear('stopped')).toEqual({ kind: 'stopped', reason: 'address in use' });
    expect(await program.exitCode()).toBe(1);
    expect(program.count('worker-died')).toBe(0);
  });

  test('stops after a bounded number of workers that crash at start', async () => {
    start({ start: 'crashes', workers: 1 });
    expect(await program.hear('stopped')).toEqual({ kind: 'stopped', reason: 'worker exited with code 7 before it was ready' });
    expect(await program.exitCode()).toBe(1);
    expect(program.count('worker-died')).toBe(4);
  });

  test('leaves no worker behind when the primary is killed', async () => {
    start({});
    await program.hear('ready');
    const workers = [await connected.next(), await connected.next()];
    const gone = workers.map(async (socket) => once(socket.resume(), 'close'));
    program.process.kill('SIGKILL');
    await Promise.all(gone);
  });

  test('passes on the lines of all workers whole', async () => {
    start({ chatter: 40 });
    await program.hear('ready');
    program.process.kill('SIGTERM');
    await program.exit;
    const long = program.all.filter((line) => /^[a-z]+$/.test(line));
    expect(long.length).toBe(80);
    expect(long.every((line) => line === line[0]!.repeat(90_000))).toBe(true);
  });
});
