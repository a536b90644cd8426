/** A node's cache of upstreams on its own disk, within its bound (`upstreamStorage.maxBytes`), over HTTP on both sides. */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { FakeImage } from '../support/fake-content.ts';
import { fakeUpstream, type FakeUpstream } from '../support/fake-upstream.ts';
import { get } from '../support/push.ts';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';

const MIB = 1024 * 1024;
const BOUND = 8 * MIB;

let hub: FakeUpstream;
let umbra: TestUmbra;
let root: string;
let nowMs: number;

beforeEach(async () => {
  nowMs = Date.UTC(2026, 0, 1);
  root = mkdtempSync(join(tmpdir(), 'umbra-bound-'));
  hub = await fakeUpstream();
  umbra = await start();
});
afterEach(async () => {
  await umbra.close();
  await hub.close();
  rmSync(root, { recursive: true, force: true });
});

async function start(): Promise<TestUmbra> {
  return await startUmbra({ upstreams: { 'docker.io': { url: hub.url, ttl: '1ms', negativeTtl: '1ms' } }, upstreamStorage: { driver: 'filesystem', root, maxBytes: BOUND } }, { nowMs: () => nowMs });
}

/** @returns whether all of it came from the disk */
async function pull(name: string, image: FakeImage): Promise<void> {
  nowMs += 2 * 60_000;
  const manifest = await get(umbra.origin, `library/${name}/manifests/1`);
  expect([manifest.status, manifest.digest]).toEqual([200, image.digest]);
  for (const { digest, bytes } of [image.config, ...image.layers]) {
    const blob = await get(umbra.origin, `library/${name}/blobs/${digest}`);
    expect([blob.status, blob.bytes.equals(bytes)]).toEqual([200, true]);
  }
}

const imageOf = (name: string, ...layers: number[]): FakeImage => hub.content.addImage(`library/${name}`, { tag: '1', layers });
const blobsAsked = (): number => hub.requests.filter(({ kind, method }) => kind === 'blob' && method === 'GET').length;

/** As files take blocks. */
function takenBytes(folder = root): number {
  return readdirSync(folder, { withFileTypes: true }).map((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? takenBytes(path) : Math.max(1, Math.ceil(statSync(path).size / 4096)) * 4096;
  }).reduce((sum, bytes) => sum + bytes, 0);
}

test('what was used least recently goes, and what is in use stays', async () => {
  const hot = imageOf('hot', MIB, 200_000);
  await pull('hot', hot);
  const others = Array.from({ length: 20 }, (_, n) => ({ name: `app${n}`, image: imageOf(`app${n}`, MIB) }));
  for (const { name, image } of others) {
    await pull(name, image);
    await pull('hot', hot);
    expect(takenBytes()).toBeLessThanOrEqual(BOUND);
  }
  expect(takenBytes()).toBeGreaterThan(BOUND / 2);
  const [first, last] = [others[0], others.at(-1)];
  if (first === undefined || last === undefined) throw new Error('no images');

  // What went comes again.
  const before = blobsAsked();
  await pull(first.name, first.image);
  expect(blobsAsked()).toBeGreaterThan(before);
  // What stayed needs nobody, also after a restart.
  await umbra.close();
  await hub.close();
  umbra = await start();
  await pull('hot', hot);
  await pull(last.name, last.image);
});

test('of what went, nothing stays: neither links nor records nor tags', async () => {
  const files = (folder: string): string[] => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (let n = 0; n < 40; n++) await pull(`app${n}`, imageOf(`app${n}`, MIB));
  const names = new Set(files(join(root, 'repos')).filter((path) => path.includes('_blobs')).map((path) => /library\/(app\d+)\//.exec(path)?.[1]));
  const tags = files(join(root, 'repos')).filter((path) => path.includes('_tags'));
  expect(tags.length).toBeLessThan(12);
  expect(names.size).toBeGreaterThan(3);
  expect(takenBytes()).toBeLessThanOrEqual(BOUND);
});

test('a blob that would take more than half passes by, and drives nothing out', async () => {
  const small = imageOf('small', MIB);
  await pull('small', small);
  const large = imageOf('large', 5 * MIB);
  await pull('large', large);
  await pull('large', large);
  expect(takenBytes()).toBeLessThan(3 * MIB);
  const before = blobsAsked();
  await pull('small', small);
  expect(blobsAsked()).toBe(before);
});
