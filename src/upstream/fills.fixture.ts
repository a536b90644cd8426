/**
 * A worker that reads blobs from a far server through fills, as the test in the primary says over IPC:
 * `node fills.fixture.ts <root of the store> <port of the far server>` under node:cluster.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import process from 'node:process';
import { openFilesystem } from '../drivers/filesystem/filesystem.ts';
import { hexOf, type Digest } from '../oci/digest.ts';
import { clusterGroup } from '../workers/cluster.ts';
import { systemTimers } from '../workers/timers.ts';
import type { FillJob } from './fill.ts';
import { machineFills } from './fill-group.ts';
import { fills } from './fills.ts';

export interface Order {
  readonly n: number;
  readonly digest: Digest;
  /** Default: the whole. */
  readonly range?: { readonly start: number; readonly end: number };
}

export type Report =
  | { readonly told: 'started' }
  | { readonly told: 'downloading'; readonly start: number }
  /** Bytes of the n-th order so far. */
  | { readonly told: 'has'; readonly n: number; readonly count: number }
  | { readonly told: 'done'; readonly n: number; readonly sha256: string }
  | { readonly told: 'failed'; readonly n: number; readonly code: string };

const [root = '', port = ''] = process.argv.slice(2);
const driver = await openFilesystem({ root });
const set = fills({
  driver,
  group: machineFills(clusterGroup(process, { id: process.pid, size: 3, timers: systemTimers, failed: () => undefined })),
  timers: systemTimers,
  nowMs: () => performance.now(),
  detachedMs: 60_000,
  newId: () => `${process.pid}x${performance.now()}`.replace('.', 'x'),
  observe: () => undefined,
});

function report(message: Report): void {
  process.send?.({ report: message });
}

function job(digest: Digest): FillJob {
  const key = `blobs/${hexOf(digest)}`;
  return {
    digest,
    size: undefined,
    stored: async () => driver.open(key),
    download: async (start, signal) => {
      report({ told: 'downloading', start });
      const [response] = (await once(get({ port: Number(port), path: `/${start}`, signal }), 'response')) as [IncomingMessage];
      return { size: Number(response.headers['x-size']), body: response };
    },
    publish: async (_, state) => void (await driver.assemblies.complete(state, key)),
  };
}

async function obey({ n, digest, range }: Order): Promise<void> {
  const signal = new AbortController().signal;
  try {
    const reader = await set.open(job(digest), signal);
    if (reader === undefined) throw new Error('expected a blob');
    const hash = createHash('sha256');
    let count = 0;
    for await (const chunk of reader.stream(range, signal)) {
      hash.update(chunk);
      count += chunk.length;
      report({ told: 'has', n, count });
    }
    reader.close();
    report({ told: 'done', n, sha256: hash.digest('hex') });
  } catch (error) {
    report({ told: 'failed', n, code: (error as { code?: string }).code ?? String(error) }); // whatever it is, the test says what it should be
  }
}

process.on('message', (message: { readonly order?: Order }) => {
  if (message.order !== undefined) void obey(message.order);
});
report({ told: 'started' });
