/** Server processes of the benchmark: started with their output in a file, watched, and stopped by their own id only. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';

export interface Started {
  readonly pid: number;
  /** The file with everything it printed. */
  readonly output: string;
  /** Of the process and its descendants, one entry each. */
  memory(): Memory[];
  stop(): Promise<void>;
}

/** Resident memory of one process in MiB, now and at its highest. */
export interface Memory {
  readonly command: string;
  readonly nowMiB: number;
  readonly peakMiB: number;
}

const running = new Map<number, ChildProcess>();
/** Whatever ends the benchmark, its servers do not outlive it. */
process.on('exit', () => {
  for (const child of running.values()) child.kill('SIGKILL');
});

export function start(command: string, args: readonly string[], folder: string): Started {
  const output = join(folder, 'output.log');
  const file = openSync(output, 'w');
  const child = spawn(command, args, { cwd: folder, stdio: ['ignore', file, file] });
  closeSync(file);
  const pid = child.pid;
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.on('error', () => {});
  if (pid === undefined) throw new Error(`cannot start ${command}`);
  running.set(pid, child);
  void ended.then(() => running.delete(pid));
  return {
    pid,
    output,
    memory: () => family(pid).flatMap(memoryOf),
    async stop() {
      child.kill('SIGTERM');
      const patience = setTimeout(() => child.kill('SIGKILL'), 15_000);
      await ended;
      clearTimeout(patience);
    },
  };
}

/** Resolves when `GET path` is answered 200, or 401 by a registry that wants to know who asks. Rejects with what the server printed if it ends before or takes over 30 s. */
export async function ready(started: Started, origin: string, path: string): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await answers(origin + path))) {
    if (!running.has(started.pid) || performance.now() > deadline) {
      throw new Error(`not ready at ${origin}: ${(await readFile(started.output, 'utf8')).slice(-2000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

function answers(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request(url, { agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200 || answer.statusCode === 401);
    });
    asked.on('error', () => resolve(false));
    asked.end();
  });
}

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Headers are how clients show who they are. */
function shown(argument: string): string {
  return argument.replace(/^([\w-]*(?:token|authorization)): .*$/i, '$1: ***');
}

/** Runs a command to its end and gives what it wrote to stdout. */
export async function run(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`cannot run ${command}: is it installed?`, { cause: error })));
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`${command} ${args.map(shown).join(' ')} ended with ${code}: ${errors.slice(-500)}`);
  return out;
}

function family(root: number): number[] {
  const parents = new Map<number, number>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      // The command in parentheses may hold anything; the parent is the second field behind it.
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // It has ended meanwhile.
    }
  }
  const all = [root];
  for (let i = 0; i < all.length; i++) for (const [pid, parent] of parents) if (parent === all[i]) all.push(pid);
  return all;
}

function memoryOf(pid: number): Memory[] {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const kib = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, 4).join(' ').trim();
    return [{ command, nowMiB: kib('VmRSS') / 1024, peakMiB: kib('VmHWM') / 1024 }];
  } catch {
    return [];
  }
}
