/** Many small images over Swift, and a long list of tags: what round trips to the store cost. */
import { randomBytes } from 'node:crypto';
import { Pool } from 'undici';
import { digestOf, MANIFEST_TYPE } from '../content.ts';
import { openPusher } from '../push.ts';
import type { Contender, Row, Section } from '../row.ts';
import { startUmbra, type Server } from '../servers.ts';
import { freshContainer, openSwift, serverOf, type Swift, type SwiftServers, type Which } from '../swift.ts';
import { openDockerRegistry } from './swift-large.ts';

interface State extends SwiftServers {
  readonly swift: Swift;
  readonly images: number;
  readonly tags: number;
  /** By the origin of a server. */
  readonly containers: ReadonlyMap<string, string>;
  /** Origins that have the tags. */
  readonly seeded: Set<string>;
}

const REGISTRIES: readonly Contender[] = ['umbra', 'docker-registry'];
const CLIENTS = 8;
const BLOB_BYTES = 64 * 1024;
const LISTED = 'bench/listed';
const FIRST_TAG = 'tag-0';

/** Works through the items with eight clients at once; gives seconds. */
async function together<T>(items: readonly T[], work: (item: T, index: number) => Promise<void>): Promise<number> {
  let next = 0;
  const before = performance.now();
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      while (next < items.length) {
        const index = next++;
        await work(items[index] as T /* index < length */, index);
      }
    }),
  );
  return (performance.now() - before) / 1000;
}

async function pushAll(origin: string, blobs: readonly Buffer[], round: string): Promise<number> {
  const pusher = openPusher(origin, CLIENTS);
  const seconds = await together(blobs, (bytes, i) => pusher.pushSmall(`bench/image-${i}`, round, bytes));
  await pusher.close();
  return seconds;
}

async function get(pool: Pool, path: string): Promise<number> {
  const answer = await pool.request({ method: 'GET', path, headers: { accept: MANIFEST_TYPE } });
  const bytes = (await answer.body.arrayBuffer()).byteLength;
  if (answer.statusCode !== 200) throw new Error(`GET ${path}: ${answer.statusCode}`);
  return bytes;
}

const randomBlobs = (count: number): Buffer[] => Array.from({ length: count }, () => randomBytes(BLOB_BYTES));

function pushRow(name: string, which: Which): Row<State> {
  return {
    name, unit: 'push/s', contenders: REGISTRIES,
    async measure(state, contender, round) {
      return state.images / (await pushAll(serverOf(state, contender, which).origin, randomBlobs(state.images), `${which}-${round}`));
    },
  };
}

/** Manifest and blob of each image, as a client asks for them that has none of it. */
function pullRow(name: string, which: Which): Row<State> {
  return {
    name, unit: 'pull/s', contenders: REGISTRIES,
    async measure(state, contender, round) {
      const { origin } = serverOf(state, contender, which);
      const blobs = randomBlobs(state.images);
      await pushAll(origin, blobs, `pull-${which}-${round}`);
      const pool = new Pool(origin, { connections: CLIENTS });
      const seconds = await together(blobs, async (bytes, i) => {
        const manifest = await get(pool, `/v2/bench/image-${i}/manifests/pull-${which}-${round}`);
        const blob = await get(pool, `/v2/bench/image-${i}/blobs/${digestOf(bytes)}`);
        if (manifest === 0 || blob !== bytes.length) throw new Error(`image ${i} came as ${manifest} and ${blob} bytes`);
      });
      await pool.close();
      return state.images / seconds;
    },
  };
}

function tagsRow(name: string, which: Which): Row<State> {
  return {
    name, unit: 'ms', contenders: REGISTRIES,
    async measure(state, contender) {
      const { origin } = serverOf(state, contender, which);
      await seedTags(origin, state);
      const pool = new Pool(origin, { connections: 1 });
      const before = performance.now();
      const answer = await pool.request({ method: 'GET', path: `/v2/${LISTED}/tags/list` });
      const { tags } = (await answer.body.json()) as { readonly tags: readonly string[] }; // distribution-spec end-8a
      const ms = performance.now() - before;
      await pool.close();
      if (tags.length < state.tags && answer.headers['link'] === undefined) throw new Error(`${tags.length} tags listed, expected ${state.tags}`);
      return ms;
    },
  };
}

export const swiftSmall: Section<State> = {
  title: `small images over Swift, ${CLIENTS} clients`,
  rows: [
    pushRow('200 small images pushed', 'plain'),
    pushRow('200 small images pushed, disk tier', 'withDisk'),
    pullRow('200 small images pulled', 'plain'),
    pullRow('200 small images pulled, disk tier', 'withDisk'),
    tagsRow('5 000 tags listed', 'plain'),
    tagsRow('5 000 tags listed, disk tier', 'withDisk'),
  ],
  async open(bench) {
    const swift = await openSwift();
    const { quick, without } = bench.options;
    const containers = new Map<string, string>();
    const started = async (of: Contender, start: (container: string) => Promise<Server>): Promise<Server | undefined> => {
      if (without.has(of)) return undefined;
      const container = freshContainer();
      const server = await start(container);
      containers.set(server.origin, container);
      return server;
    };
    const umbra = async (disk?: { readonly root: string; readonly maxBytes: string }): Promise<Server | undefined> =>
      await started('umbra', async (container) => await startUmbra(await bench.folder('umbra'), { storage: swift.umbraStorage(disk, container) }));
    return {
      swift,
      plain: await umbra(),
      withDisk: await umbra({ root: './disk', maxBytes: '1GiB' }),
      dockerRegistry: await started('docker-registry', async (container) => await openDockerRegistry(bench, swift, container)),
      containers,
      images: quick ? 40 : 200,
      tags: quick ? 500 : 5000,
      seeded: new Set(),
    };
  },
  async close({ swift, plain, withDisk, dockerRegistry }) {
    for (const server of [plain, withDisk, dockerRegistry]) await server?.stop();
    await swift.close();
  },
};

/** One is pushed; the others are written beside it as it lies there, since pushing 5 000 takes most of an hour. */
async function seedTags(origin: string, { swift, seeded, containers, tags }: State): Promise<void> {
  if (seeded.has(origin)) return;
  seeded.add(origin);
  const pusher = openPusher(origin, CLIENTS);
  await pusher.pushSmall(LISTED, FIRST_TAG, randomBytes(1024));
  await pusher.close();
  const objects = await swift.multiply(containers.get(origin) ?? '', FIRST_TAG, Array.from({ length: tags - 1 }, (_, i) => `tag-${i + 1}`));
  if (objects === 0) throw new Error(`nothing of ${FIRST_TAG} lies in the container`);
}
