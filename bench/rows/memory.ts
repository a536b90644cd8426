/** Memory: the highest resident size of one server process under many large transfers at a time, each on a fresh server. */
import { join } from 'node:path';
import type { Bench } from '../bench.ts';
import { makeSparseFile, MIB, type BlobFile } from '../content.ts';
import { downloadSeconds } from '../load.ts';
import { openPusher, seed } from '../push.ts';
import { type Contender, type Row, type Section } from '../row.ts';
import { startDockerRegistry, startUmbra, type Server } from '../servers.ts';

const CONTENDERS: readonly Contender[] = ['umbra', 'docker-registry'];

interface State {
  readonly bench: Bench;
  readonly zeros: BlobFile;
}

/** One worker: the bound is per process, and so one process has to take all of the load. */
async function onFresh({ bench }: State, contender: Contender, load: (server: Server) => Promise<void>): Promise<number> {
  const folder = await bench.folder(contender);
  const server = contender === 'umbra' ? await startUmbra(folder, { workers: 1 }) : await startDockerRegistry(folder);
  try {
    await load(server);
    return Math.max(...server.memory().map((m) => m.peakMiB));
  } finally {
    await server.stop();
  }
}

function row(name: string, bound: number, load: (state: State, server: Server) => Promise<void>): Row<State> {
  return {
    name,
    unit: 'MiB',
    goal: { kind: 'bound', value: bound },
    rounds: 1,
    contenders: CONTENDERS,
    measure: (state, contender) => onFresh(state, contender, (server) => load(state, server)),
  };
}

export const memory: Section<State> = {
  title: 'peak memory of one process',
  rows: [
    row('64 pulls of 1 GiB at a time', 150, async ({ zeros }, server) => {
      await seed(server.origin, 'bench/zeros', 'latest', zeros);
      await downloadSeconds(64, [`${server.origin}/v2/bench/zeros/blobs/${zeros.digest}`], zeros.size);
    }),
    row('16 pushes of 1 GiB at a time', 200, async ({ zeros }, server) => {
      const pusher = openPusher(server.origin, 16);
      await Promise.all(Array.from({ length: 16 }, (_, i) => pusher.pushFile(`bench/zeros-${i}`, 'latest', zeros)));
      await pusher.close();
    }),
  ],
  async open(bench) {
    const size = (bench.options.quick ? 128 : 1024) * MIB;
    return { bench, zeros: await makeSparseFile(join(await bench.folder('files'), 'zeros'), size) };
  },
  close: () => Promise.resolve(),
};
