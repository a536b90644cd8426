/**
 * `umbra serve`: one process that is the server, or a primary that supervises as many workers as were configured.
 * Resolves with the exit code after a signal.
 */
import { fileURLToPath } from 'node:url';
import type { Config, StorageConfig } from './config/config.ts';
import { packConfig } from './config/transfer.ts';
import { parseLevel, type LogOptions } from './observe/log.ts';
import type { Server } from './server.ts';
import type { SupervisorEvent } from './workers/supervise.ts';
import { systemTimers } from './workers/timers.ts';

/** What a worker is handed. JSON-able. */
export interface WorkerData {
  readonly config: unknown;
  readonly logging: Pick<LogOptions, 'level' | 'format'>;
}

export interface ServeOptions {
  /** Takes a line for people, on stderr. */
  readonly report: (line: string) => void;
  /** What is logged, as `UMBRA_LOG` says it. */
  readonly level: string | undefined;
}

export async function serve(config: Config, { report, level }: ServeOptions): Promise<number> {
  let logging: WorkerData['logging'];
  try {
    // For people on a terminal, else for programs.
    logging = { level: parseLevel(level), format: process.stdout.isTTY ? 'pretty' : 'json' };
  } catch (error) {
    report(`umbra: ${(error as Error).message}`); // parseLevel throws nothing else
    return 1;
  }
  for (const line of describe(config)) report(line);
  return config.workers === 1 ? await alone(config, logging, report) : await together(config, logging, report);
}

async function alone(config: Config, logging: WorkerData['logging'], report: ServeOptions['report']): Promise<number> {
  const [{ startServer }, { openLog }, { soloGroup }] = await Promise.all([import('./server.ts'), import('./observe/open-log.ts'), import('./workers/solo.ts')]);
  let server: Server;
  const log = openLog({ ...logging, fd: 1, timers: systemTimers, nowMs: Date.now });
  try {
    server = await startServer(config, { group: soloGroup(systemTimers), timers: systemTimers, log, env: process.env, nowMs: Date.now });
  } catch (error) {
    report(`umbra: cannot start: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
  report(`umbra: ready on ${spell(server.addresses)}`);
  const reason = await stopSignal();
  report(`umbra: ${reason}: finishing requests, for ${config.limits.drainMs / 1000} s at most`);
  void stopSignal().then(() => process.exit(1)); // asked twice
  await server.close();
  await log.flush();
  return 0;
}

async function together(config: Config, logging: WorkerData['logging'], report: ServeOptions['report']): Promise<number> {
  const [{ default: cluster }, { supervise }] = await Promise.all([import('node:cluster'), import('./workers/supervise.ts')]);
  const { exitCode, reason } = await supervise({
    cluster,
    workers: config.workers,
    entry: fileURLToPath(new URL(`./worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)),
    args: [],
    workerData: (): WorkerData => ({ config: packConfig(config), logging }),
    // A worker drains by itself; the primary's bound is for one that does not come to an end.
    drainMs: config.limits.drainMs + 5_000,
    signals: process,
    stdout: process.stdout,
    stderr: process.stderr,
    timers: systemTimers,
    log: (event) => report(`umbra: ${explain(event)}`),
    ready: (reports) => report(`umbra: ready on ${spell(reports[0] as Server['addresses'])}, ${config.workers} workers`), // worker.ts reports addresses
  });
  if (reason !== undefined) report(`umbra: cannot go on: ${reason}`);
  return exitCode;
}

function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
}

function* describe(config: Config): Iterable<string> {
  const { storage, upstreams } = config;
  yield `umbra: storage ${spellStorage(storage)}`;
  const asked = upstreams.filter(({ policy }) => policy === 'proxy').map(({ host }) => host);
  yield `umbra: upstreams ${asked.length === 0 ? 'none' : asked.join(', ')}`;
  if (!config.auth.configured) yield 'umbra: no auth is configured: anybody on this machine may push';
}

function spellStorage(storage: StorageConfig): string {
  switch (storage.driver) {
    case 'memory':
      return 'memory (gone when the program ends)';
    case 'filesystem':
      return storage.root;
    case 'swift':
      return `swift container ${storage.container}`;
    case 's3':
      return `s3 bucket ${storage.bucket}`;
  }
}

function spell(addresses: Server['addresses']): string {
  return addresses.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(', ');
}

function explain(event: SupervisorEvent): string {
  switch (event.kind) {
    case 'worker-died':
      return `worker ${event.worker} (process ${event.pid}) ended: ${event.reason}; starting another in ${event.restartMs} ms`;
    case 'worker-restarted':
      return `worker ${event.worker} is process ${event.pid} now`;
    case 'stopping':
      return `${event.reason}: finishing requests`;
    case 'killing':
      return `${event.reason}: killing ${event.workers} workers`;
  }
}
