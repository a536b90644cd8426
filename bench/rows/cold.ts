/**
 * Cold pull-through: clients that get the manifest and the layer of an image that the registry has never seen, against
 * clients getting it straight from the upstream (the limit column). From an upstream as fast as this machine, whose
 * cores then bound what 16 clients get from anything, the measure is as many clients straight from it; from one that
 * gives each download 100 MiB/s, as a network does, it is one client.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from '../bench.ts';
import { makeFile, MANIFEST_TYPE, manifestOf, MIB, renewFile, type BlobFile } from '../content.ts';
import { downloadSeconds } from '../load.ts';
import { run } from '../process.ts';
import { openPusher } from '../push.ts';
import { CONTENDERS, type Contender, type Row, type Sample, type Section } from '../row.ts';
import { startDockerRegistry, startPacer, startUmbra, type Server } from '../servers.ts';

const PACE_MIB = 100;

interface State {
  /** Where the layers are; its log counts the downloads. */
  readonly upstream: Server;
  readonly pacer: Server;
  readonly umbra: Server | undefined;
  /** docker-registry as a pull-through cache has one upstream each. */
  readonly caches: { readonly full: Server; readonly paced: Server } | undefined;
  readonly file: BlobFile;
  layers: number;
}

function row(clients: number, paced: boolean, times: number): Row<State> {
  const straight = paced ? 1 : clients;
  return {
    name: `cold 256 MiB layer, ${clients} ${clients === 1 ? 'client' : 'clients'}${paced ? `, upstream of ${PACE_MIB} MiB/s` : ''}`,
    unit: 's',
    limit: `${straight} straight`,
    goal: { kind: 'at-most', times, of: 'limit' },
    contenders: CONTENDERS,
    measure: (state, contender) => coldPull(state, contender, contender === 'limit' ? straight : clients, paced),
  };
}

async function coldPull(state: State, contender: Contender, clients: number, paced: boolean): Promise<Sample> {
  const name = `bench/cold-${state.layers++}`;
  const layer = await renewFile(state.file, name);
  const pusher = openPusher(state.upstream.origin);
  await pusher.pushFile(name, 'latest', layer);
  await pusher.close();
  await run('sync', []);
  const { origin, path } = entrance(state, contender, name, paced);
  const urls = [`${origin}/v2/${path}/manifests/latest`, `${origin}/v2/${path}/blobs/${layer.digest}`];
  const value = await downloadSeconds(clients, urls, manifestOf(layer).length + layer.size, [`Accept: ${MANIFEST_TYPE}`]);
  return { value, ...(contender === 'limit' ? {} : { downloads: downloads(state.upstream, layer.digest) }) };
}

function entrance(state: State, contender: Contender, name: string, paced: boolean): { origin: string; path: string } {
  if (contender === 'limit') return { origin: (paced ? state.pacer : state.upstream).origin, path: name };
  if (contender === 'umbra') return { origin: required(state.umbra).origin, path: `${paced ? 'paced' : 'full'}.example/${name}` };
  return { origin: (paced ? required(state.caches).paced : required(state.caches).full).origin, path: name };
}

/** How often the upstream's access log has a GET of the blob. */
function downloads(upstream: Server, digest: string): number {
  return readFileSync(upstream.output, 'utf8')
    .split('\n')
    .filter((line) => line.includes(`"GET /v2/`) && line.includes(`/blobs/${digest} HTTP`)).length;
}

async function openState(bench: Bench): Promise<State> {
  const { without } = bench.options;
  const upstream = await startDockerRegistry(await bench.folder('upstream'));
  const pacer = await startPacer(await bench.folder('pacer'), upstream.origin, PACE_MIB);
  const upstreams = { 'full.example': upstream.origin, 'paced.example': pacer.origin };
  const umbra = without.has('umbra') ? undefined : await startUmbra(await bench.folder('umbra'), { upstreams });
  const cacheOf = async (origin: string) => startDockerRegistry(await bench.folder('docker-registry'), { proxyOf: origin });
  const caches = without.has('docker-registry') ? undefined : { full: await cacheOf(upstream.origin), paced: await cacheOf(pacer.origin) };
  const file = await makeFile(join(await bench.folder('files'), 'layer'), 256 * MIB, 'cold');
  return { upstream, pacer, umbra, caches, file, layers: 0 };
}

export const cold: Section<State> = {
  title: 'cold pull-through (curl)',
  rows: [row(1, false, 1.15), row(16, false, 1.5), row(1, true, 1.15), row(16, true, 1.5)],
  open: openState,
  async close({ upstream, pacer, umbra, caches }) {
    for (const server of [umbra, caches?.full, caches?.paced, pacer, upstream]) await server?.stop();
  },
};

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('measured without its server');
  return value;
}
