/**
 * A long-lived program as a child: started, waited for until it is ready, its output kept, stopped by its pid.
 * It dies with the process that runs the tests, however that ends.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { watchCommand } from '../support/secret-watch.ts';
import { DEBIAN_PATH } from './command.ts';

export interface DaemonOptions {
  /** The program and its arguments. */
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Asked until it says yes; `output` is all that the program printed so far. */
  ready(output: string): boolean | Promise<boolean>;
  readonly readyTimeoutMs?: number;
  /** How long a stopping program may take before it is killed and the stop fails. */
  readonly stopTimeoutMs?: number;
}

export class Daemon implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #options: DaemonOptions;
  readonly #chunks: Buffer[] = [];
  readonly #exit: Promise<string>;
  #exited: string | undefined;

  private constructor(options: DaemonOptions) {
    this.#options = options;
    // The child leads a process group, so that a crash of the whole program can be played.
    this.#child = spawn('setpriv', ['--pdeathsig', 'TERM', ...options.command], {
      cwd: options.cwd,
      env: { PATH: DEBIAN_PATH, LC_ALL: 'C.UTF-8', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    watchCommand(options.command, options.env ?? {}, () => this.output);
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#exit = promise;
    this.#child.once('error', (error) => resolve(error.message));
    this.#child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    void promise.then((how) => (this.#exited = how));
  }

  /** Rejects with what the program printed where it ends before it is ready, or is not ready in time. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options);
    const deadline = performance.now() + (options.readyTimeoutMs ?? 120_000);
    while (!(await options.ready(daemon.output))) {
      const late = performance.now() > deadline;
      if (late) await daemon.kill();
      if (daemon.#exited !== undefined) {
        throw new Error(`${options.command[0]}: ${late ? 'not ready in time' : daemon.#exited}\n${daemon.output.slice(-4000)}`);
      }
      await delay(20);
    }
    return daemon;
  }

  /** All that it printed, stdout and stderr as they came. */
  get output(): string {
    return Buffer.concat(this.#chunks).toString();
  }

  get pid(): number {
    const pid = this.#child.pid;
    if (pid === undefined) throw new Error(`${this.#options.command[0]}: not running`);
    return pid;
  }

  /** How it ended, as soon as it has: a signal or `exit code N`. */
  get ended(): Promise<string> {
    return this.#exit;
  }

  /** SIGTERM, and waits for the end. Rejects where it had to be killed. Gives how it ended. */
  async stop(): Promise<string> {
    if (this.#exited === undefined) {
      this.#child.kill('SIGTERM');
      const bound = new AbortController();
      const stopped = await Promise.race([
        this.#exit.then(() => true),
        delay(this.#options.stopTimeoutMs ?? 60_000, false, { signal: bound.signal }).catch(() => true),
      ]);
      bound.abort();
      if (!stopped) {
        await this.kill();
        throw new Error(`${this.#options.command[0]}: did not stop on SIGTERM and was killed\n${this.output.slice(-4000)}`);
      }
    }
    return this.#exit;
  }

  /** SIGKILL to the program and all its children at once, and waits for the end. */
  async kill(): Promise<void> {
    if (this.#exited === undefined && this.#child.pid !== undefined) process.kill(-this.#child.pid, 'SIGKILL');
    await this.#exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
