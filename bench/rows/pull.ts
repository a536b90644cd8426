/** Throughput of large downloads with curl, against nginx serving the same file. */
import { join } from 'node:path';
import { makeFile, MIB, type BlobFile } from '../content.ts';
import { downloadSeconds } from '../load.ts';
import { openServers, type Servers } from '../open.ts';
import { seed } from '../push.ts';
import { CONTENDERS, type Row, type Section } from '../row.ts';

interface State {
  readonly servers: Servers;
  readonly blob: BlobFile;
}

const NAME = 'bench/large';

/** @param times how often each client gets the blob, so that a sample takes long enough to be one */
function row(clients: number, times: number): Row<State> {
  return {
    name: `256 MiB blob GET, ${clients} ${clients === 1 ? 'client' : 'clients'}`,
    unit: 'MiB/s',
    limit: 'nginx',
    goal: { kind: 'at-least', times: 0.95, of: 'limit' },
    contenders: CONTENDERS,
    async measure({ servers, blob }, contender) {
      const url = `${servers.at(contender).origin}/${contender === 'limit' ? 'blob' : `v2/${NAME}/blobs/${blob.digest}`}`;
      const seconds = await downloadSeconds(
        clients,
        Array.from({ length: times }, () => url),
        times * blob.size,
      );
      return (clients * times * blob.size) / MIB / seconds;
    },
  };
}

export const pull: Section<State> = {
  title: 'large downloads (curl)',
  rows: [row(1, 4), row(8, 2)],
  async open(bench) {
    const files = await bench.folder('files');
    const blob = await makeFile(join(files, 'blob'), 256 * MIB, 'large');
    const servers = await openServers(bench, files);
    for (const server of servers.registries) await seed(server.origin, NAME, 'latest', blob);
    return { servers, blob };
  },
  close: ({ servers }) => servers.close(),
};
