/** Large layers over Swift: pushed and pulled through a registry, against one PUT or GET of the same bytes without any. */
import { join } from 'node:path';
import type { Bench } from '../bench.ts';
import { makeFile, MIB, renewFile, type BlobFile } from '../content.ts';
import { downloadSeconds } from '../load.ts';
import { openPusher, seed } from '../push.ts';
import { CONTENDERS, type Row, type Section } from '../row.ts';
import { startDockerRegistry, startUmbra, type Server } from '../servers.ts';
import { openSwift, serverOf, type Swift, type SwiftServers, type Which } from '../swift.ts';

interface State extends SwiftServers {
  readonly swift: Swift;
  readonly file: BlobFile;
  /** Never renewed. */
  readonly warm: BlobFile;
  /** Umbra over local storage. */
  readonly local: Server | undefined;
}

const NAME = 'bench/large';
const DISK = { root: './disk', maxBytes: '8GiB' };

function pushRow(name: string, which: Which): Row<State> {
  return {
    name,
    unit: 'MiB/s',
    limit: 'PUT',
    goal: { kind: 'at-least', times: 0.8, of: 'limit' },
    contenders: CONTENDERS,
    async measure(state, contender, round) {
      const fresh = await renewFile(state.file, `${name} ${contender} ${round}`);
      const before = performance.now();
      if (contender === 'limit') {
        await state.swift.put(fresh, `push-${which}-${round}`);
      } else {
        const pusher = openPusher(serverOf(state, contender, which).origin);
        await pusher.pushFile(NAME, `r${round}`, fresh, { streamed: true });
        await pusher.close();
      }
      return fresh.size / MIB / ((performance.now() - before) / 1000);
    },
  };
}

/** The first pull from this server; with a disk tier, the one that fills it. */
function pullRow(name: string, which: Which, clients: number): Row<State> {
  return {
    name,
    unit: 'MiB/s',
    limit: 'GET',
    goal: { kind: 'at-least', times: 0.8, of: 'limit' },
    contenders: CONTENDERS,
    async measure(state, contender, round) {
      const fresh = await renewFile(state.file, `${name} ${contender} ${round}`);
      if (contender === 'limit') {
        const object = `pull-${which}-${clients}-${round}`;
        await state.swift.put(fresh, object);
        const before = performance.now();
        await Promise.all(Array.from({ length: clients }, () => state.swift.get(object, fresh.size)));
        return (clients * fresh.size) / MIB / ((performance.now() - before) / 1000);
      }
      const { origin } = serverOf(state, contender, which);
      await seed(origin, NAME, 'pull', fresh);
      // Timed from outside, as the other is.
      const before = performance.now();
      await downloadSeconds(clients, [`${origin}/v2/${NAME}/blobs/${fresh.digest}`], fresh.size);
      return (clients * fresh.size) / MIB / ((performance.now() - before) / 1000);
    },
  };
}

/** The second pull and later ones: from the disk tier, against Umbra over local storage. */
function warmRow(name: string, clients: number): Row<State> {
  return {
    name,
    unit: 'MiB/s',
    limit: 'local',
    goal: { kind: 'at-least', times: 0.83, of: 'limit' },
    contenders: CONTENDERS,
    async measure(state, contender) {
      const server = contender === 'limit' ? state.local : serverOf(state, contender, 'withDisk');
      if (server === undefined) throw new Error('umbra takes no part');
      const url = `${server.origin}/v2/${NAME}/blobs/${state.warm.digest}`;
      await seed(server.origin, NAME, 'warm', state.warm);
      // The first pull fills the disk, whose cache may still be writing when its last byte is out; each worker opens it once.
      for (let pull = 0; pull < 2; pull++) await downloadSeconds(clients, [url], state.warm.size);
      return (clients * state.warm.size) / MIB / (await downloadSeconds(clients, [url], state.warm.size));
    },
  };
}

export const swiftLarge: Section<State> = {
  title: 'a layer of 256 MiB over Swift',
  rows: [
    pushRow('256 MiB push', 'plain'),
    pushRow('256 MiB push, disk tier', 'withDisk'),
    pullRow('256 MiB pull, 1 client', 'plain', 1),
    pullRow('256 MiB pull, 8 clients', 'plain', 8),
    pullRow('256 MiB pull, disk tier, 1 client', 'withDisk', 1),
    pullRow('256 MiB pull, disk tier, 8 clients', 'withDisk', 8),
    warmRow('256 MiB pull again, disk tier, 1 client', 1),
    warmRow('256 MiB pull again, disk tier, 8 clients', 8),
  ],
  async open(bench) {
    const swift = await openSwift();
    const [umbra, other] = [!bench.options.without.has('umbra'), !bench.options.without.has('docker-registry')];
    const start = async (storage?: object): Promise<Server | undefined> => (umbra ? startUmbra(await bench.folder('umbra'), storage === undefined ? {} : { storage }) : undefined);
    const files = await bench.folder('files');
    return {
      swift,
      file: await makeFile(join(files, 'large'), 256 * MIB, 'swift'),
      warm: await makeFile(join(files, 'warm'), 256 * MIB, 'swift, again'),
      plain: await start(swift.umbraStorage()),
      withDisk: await start(swift.umbraStorage(DISK)),
      local: await start(),
      dockerRegistry: other ? await openDockerRegistry(bench, swift) : undefined,
    };
  },
  async close({ swift, plain, withDisk, local, dockerRegistry }) {
    for (const server of [plain, withDisk, local, dockerRegistry]) await server?.stop();
    await swift.close();
  },
};

export async function openDockerRegistry(bench: Bench, swift: Swift, container?: string): Promise<Server> {
  return await startDockerRegistry(await bench.folder('docker-registry'), { storage: swift.dockerRegistryStorage(container) });
}
