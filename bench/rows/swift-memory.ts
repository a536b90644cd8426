/** Memory: the highest resident size of one process while 16 clients push to Swift through it at a time. */
import { join } from 'node:path';
import type { Bench } from '../bench.ts';
import { makeSparseFile, MIB, type BlobFile } from '../content.ts';
import { openPusher } from '../push.ts';
import type { Row, Section } from '../row.ts';
import { startUmbra } from '../servers.ts';
import { openSwift, type Swift } from '../swift.ts';
import { openDockerRegistry } from './swift-large.ts';

interface State {
  readonly bench: Bench;
  readonly swift: Swift;
  readonly zeros: BlobFile;
}

const CLIENTS = 16;

const pushes: Row<State> = {
  name: `${CLIENTS} pushes of 1 GiB at a time`,
  unit: 'MiB',
  goal: { kind: 'bound', value: 200 },
  rounds: 1,
  contenders: ['umbra', 'docker-registry'],
  async measure({ bench, swift, zeros }, contender) {
    // One worker: the bound is per process, and so one process has to take all of the load.
    const server = contender === 'umbra' ? await startUmbra(await bench.folder('umbra'), { workers: 1, storage: swift.umbraStorage() }) : await openDockerRegistry(bench, swift);
    try {
      const pusher = openPusher(server.origin, CLIENTS);
      await Promise.all(Array.from({ length: CLIENTS }, (_, i) => pusher.pushFile(`bench/zeros-${i}`, 'latest', zeros)));
      await pusher.close();
      return Math.max(...server.memory().map((m) => m.peakMiB));
    } finally {
      await server.stop();
    }
  },
};

export const swiftMemory: Section<State> = {
  title: 'peak memory of one process over Swift',
  rows: [pushes],
  async open(bench) {
    const size = (bench.options.quick ? 128 : 1024) * MIB;
    return { bench, swift: await openSwift(), zeros: await makeSparseFile(join(await bench.folder('files'), 'zeros'), size) };
  },
  close: ({ swift }) => swift.close(),
};
