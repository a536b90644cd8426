/**
 * Runs a program to its end: bounded in time, with an environment of its own, its output kept. Programs are found
 * in Debian's places only, since another `docker` on the PATH may not be Docker's.
 */
import { spawn } from 'node:child_process';
import { watchCommand } from '../support/secret-watch.ts';

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Given on stdin. */
  readonly input?: string | Uint8Array;
  /** After which the program is killed. */
  readonly timeoutMs?: number;
}

export interface CommandResult {
  /** Undefined where a signal ended it. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export const DEBIAN_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

/** Runs a program that is expected to succeed and gives its stdout. Rejects with all that it printed. */
export async function run(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await attempt(program, args, options);
  if (result.code === 0) return result.stdout;
  throw new Error(`${program} ${args.join(' ')}: exit code ${result.code ?? 'none, killed'}\n${result.stdout}${result.stderr}`);
}

/** Runs a program that may fail. */
export function attempt(program: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { PATH: DEBIAN_PATH, LC_ALL: 'C.UTF-8', ...options.env },
    timeout: options.timeoutMs ?? 180_000,
    killSignal: 'SIGKILL',
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.once('error', reject);
  child.once('close', (code) => {
    const result = { code: code ?? undefined, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
    watchCommand([program, ...args], options.env ?? {}, `${result.stdout}\n${result.stderr}`);
    resolve(result);
  });
  // A program that ends without reading its input is judged by its exit code.
  child.stdin.on('error', () => {}).end(options.input);
  return promise;
}
