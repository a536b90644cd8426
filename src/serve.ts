/**
 * `umbra serve`: one process that is the server, or a primary that supervises as many workers as were configured.
 * Resolves with the exit code after a signal.
 */
import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';
import type { Config } from './config/config.ts';
import { packConfig } from './config/transfer.ts';
import { startServer, type Server } from './server.ts';
import { soloGroup } from './workers/solo.ts';
import { supervise, type SupervisorEvent } from './workers/supervise.ts';
import { systemTimers } from './workers/timers.ts';

/** @param report takes a line for people, on stderr */
export async function serve(config: Config, report: (line: string) => void): Promise<number> {
  for (const line of describe(config)) report(line);
  return config.workers === 1 ? await alone(config, report) : await together(config, report);
}

async function alone(config: Config, report: (line: string) => void): Promise<number> {
  let server: Server;
  try {
    server = await startServer(config, { group: soloGroup(systemTimers), timers: systemTimers, env: process.env, nowMs: Date.now });
  } catch (error) {
    report(`umbra: cannot start: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
  report(`umbra: ready on ${spell(server.addresses)}`);
  const reason = await stopSignal();
  report(`umbra: ${reason}: finishing requests, for ${config.limits.drainMs / 1000} s at most`);
  void stopSignal().then(() => process.exit(1)); // asked twice
  await server.close();
  return 0;
}

async function together(config: Config, report: (line: string) => void): Promise<number> {
  const { exitCode, reason } = await supervise({
    cluster,
    workers: config.workers,
    entry: fileURLToPath(new URL(`./worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)),
    args: [],
    workerData: () => packConfig(config),
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
  yield `umbra: storage ${storage.driver === 'memory' ? 'memory (gone when the program ends)' : storage.root}`;
  const asked = upstreams.filter(({ policy }) => policy === 'proxy').map(({ host }) => host);
  yield `umbra: upstreams ${asked.length === 0 ? 'none' : asked.join(', ')}`;
  if (!config.auth.configured) yield 'umbra: no auth is configured: anybody on this machine may push';
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
