/** Starting: from the command to the first 200 at /v2/, and what a server holds when nothing asks it anything. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Bench } from '../bench.ts';
import { type Contender, type Section } from '../row.ts';
import { startDockerRegistry, startUmbra, type Server } from '../servers.ts';

const CONTENDERS: readonly Contender[] = ['umbra', 'docker-registry'];
const IDLE_MS = 2000;

async function onFresh(bench: Bench, contender: Contender, measure: (server: Server) => number | Promise<number>): Promise<number> {
  const folder = await bench.folder(contender);
  const server = contender === 'umbra' ? await startUmbra(folder) : await startDockerRegistry(folder);
  try {
    return await measure(server);
  } finally {
    await server.stop();
  }
}

async function idle(server: Server, of: (all: readonly number[]) => number): Promise<number> {
  await pause(IDLE_MS);
  return of(server.memory().map((m) => m.nowMiB));
}

export const startUp: Section<Bench> = {
  title: 'starting and idling',
  rows: [
    {
      name: 'ready after start',
      unit: 'ms',
      goal: { kind: 'bound', value: 400 },
      contenders: CONTENDERS,
      measure: (bench, contender) => onFresh(bench, contender, (server) => server.startedMs),
    },
    {
      name: 'idle memory, largest process',
      unit: 'MiB',
      goal: { kind: 'bound', value: 70 },
      contenders: CONTENDERS,
      measure: (bench, contender) => onFresh(bench, contender, (server) => idle(server, (all) => Math.max(...all))),
    },
    {
      name: 'idle memory, all processes',
      unit: 'MiB',
      contenders: CONTENDERS,
      measure: (bench, contender) => onFresh(bench, contender, (server) => idle(server, (all) => all.reduce((sum, one) => sum + one, 0))),
    },
  ],
  open: (bench) => Promise.resolve(bench),
  close: () => Promise.resolve(),
};
