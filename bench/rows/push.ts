/** Pushes, timed to the manifest's 201: large ones against what openssl hashes, small ones over one connection. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { makeFile, MIB, renewFile, type BlobFile } from '../content.ts';
import { openServers, type Servers } from '../open.ts';
import { run } from '../process.ts';
import { openPusher } from '../push.ts';
import { CONTENDERS, type Contender, type Goal, type Row, type Section } from '../row.ts';

interface State {
  readonly servers: Servers;
  /** One of 256 MiB, four of 64 MiB. */
  readonly large: BlobFile;
  readonly medium: readonly BlobFile[];
  readonly smallPushes: number;
}

function large(name: string, files: (state: State) => readonly BlobFile[], streamed: boolean, goal: Goal | undefined): Row<State> {
  return {
    name,
    unit: 'MiB/s',
    limit: 'openssl',
    ...(goal === undefined ? {} : { goal }),
    contenders: CONTENDERS,
    async measure(state, contender, round) {
      const all = files(state);
      if (contender === 'limit') return hashing(all.length);
      // Other bytes each time, so that the server has to store them; what earlier ones left to be written is out of the way.
      const fresh = await Promise.all(all.map((file, i) => renewFile(file, `${name} ${contender} ${round} ${i}`)));
      await run('sync', []);
      const pusher = openPusher(state.servers.at(contender).origin, fresh.length);
      const before = performance.now();
      await Promise.all(fresh.map((file, i) => pusher.pushFile(`bench/push-${i}`, `r${round}`, file, { streamed })));
      const seconds = (performance.now() - before) / 1000;
      await pusher.close();
      return fresh.reduce((sum, file) => sum + file.size, 0) / MIB / seconds;
    },
  };
}

/** MiB a second that openssl hashes with SHA-256 in so many processes together. */
async function hashing(processes: number): Promise<number> {
  const multi = processes > 1 ? ['-multi', String(processes)] : [];
  const out = await run('openssl', ['speed', '-mr', ...multi, '-seconds', '1', '-bytes', String(MIB), '-evp', 'sha256']);
  const bytes = Number(/^\+F:\d+:sha256:([\d.]+)$/m.exec(out.split('\n').findLast((line) => line.startsWith('+F:')) ?? '')?.[1]);
  if (!(bytes > 0)) throw new Error(`openssl speed said ${out}`);
  return bytes / MIB;
}

const REGISTRIES: readonly Contender[] = ['umbra', 'docker-registry'];

export const push: Section<State> = {
  title: "pushes, to the manifest's 201",
  rows: [
    large('256 MiB push, 1 client', ({ large: file }) => [file], true, { kind: 'at-least', times: 3.2, of: 'docker-registry' }),
    large('256 MiB push, 1 client, length announced', ({ large: file }) => [file], false, {
      kind: 'at-least',
      times: 3.2,
      of: 'docker-registry',
    }),
    large('64 MiB push, 4 clients', ({ medium }) => medium, true, { kind: 'at-least', times: 2.7, of: 'docker-registry' }),
    {
      name: '500 small pushes, 1 connection',
      unit: 'push/s',
      contenders: REGISTRIES,
      async measure({ servers, smallPushes }, contender, round) {
        const pusher = openPusher(servers.at(contender).origin);
        const blobs = Array.from({ length: smallPushes }, () => randomBytes(1024));
        await run('sync', []);
        const before = performance.now();
        for (const [i, bytes] of blobs.entries()) await pusher.pushSmall('bench/small-pushes', `r${round}-${i}`, bytes);
        const seconds = (performance.now() - before) / 1000;
        await pusher.close();
        return smallPushes / seconds;
      },
    },
  ],
  async open(bench) {
    const files = await bench.folder('files');
    return {
      servers: await openServers(bench),
      large: await makeFile(join(files, 'large'), 256 * MIB, 'push'),
      medium: await Promise.all([0, 1, 2, 3].map((i) => makeFile(join(files, `medium-${i}`), 64 * MIB, `push ${i}`))),
      smallPushes: bench.options.quick ? 100 : 500,
    };
  },
  close: ({ servers }) => servers.close(),
};
