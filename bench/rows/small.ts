/** Rates: small answers with 32 connections, against nginx serving the same bytes from a file. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf, makeFile, MANIFEST_TYPE, manifestOf, type BlobFile } from '../content.ts';
import { rate } from '../load.ts';
import { openServers, type Servers } from '../open.ts';
import { seed } from '../push.ts';
import { CONTENDERS, type Row, type Section } from '../row.ts';

interface State {
  readonly servers: Servers;
  readonly blob: BlobFile;
  /** HEAD is asked of an empty blob: wrk takes a Content-Length in the answer to mean that a body follows. */
  readonly empty: BlobFile;
  readonly seconds: number;
}

const NAME = 'bench/small';
const BLOB_BYTES = 4096;

interface Asked {
  readonly method?: 'HEAD';
  readonly accept?: string;
}

function row(name: string, file: string, path: (state: State) => string, times: number, asked: Asked = {}): Row<State> {
  return {
    name,
    unit: 'req/s',
    limit: 'nginx',
    goal: { kind: 'at-least', times, of: 'limit' },
    contenders: CONTENDERS,
    measure: (state, contender) =>
      rate(`${state.servers.at(contender).origin}/${contender === 'limit' ? file : `v2/${NAME}/${path(state)}`}`, state.seconds, asked),
  };
}

const MANIFEST: Asked = { accept: MANIFEST_TYPE };

export const small: Section<State> = {
  title: 'small answers (wrk, 32 connections)',
  rows: [
    row('manifest GET by tag', 'manifest', () => 'manifests/latest', 0.6, MANIFEST),
    row('manifest GET by digest', 'manifest', ({ blob }) => `manifests/${digestOf(manifestOf(blob))}`, 0.6, MANIFEST),
    row('blob HEAD', 'empty', ({ empty }) => `blobs/${empty.digest}`, 0.6, { method: 'HEAD' }),
    row('small blob GET', 'blob', ({ blob }) => `blobs/${blob.digest}`, 0.5),
  ],
  async open(bench) {
    const files = await bench.folder('files');
    const blob = await makeFile(join(files, 'blob'), BLOB_BYTES, 'small');
    await writeFile(join(files, 'manifest'), manifestOf(blob));
    const servers = await openServers(bench, files);
    const empty = await makeFile(join(files, 'empty'), 0, 'empty');
    for (const server of servers.registries) {
      await seed(server.origin, NAME, 'latest', blob);
      await seed(server.origin, NAME, 'empty', empty);
    }
    return { servers, blob, empty, seconds: bench.options.quick ? 1 : 3 };
  },
  close: ({ servers }) => servers.close(),
};
