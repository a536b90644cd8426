import { mkdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hexOf, type Digest } from '../../src/oci/digest.ts';
import { buildLandscape, movingIn, TIMEOUT_MS, type Landscape, type Stores } from './migrate.contract.ts';
import { oldDistribution } from './old-distribution.ts';
import { oldZuulRegistry } from './old-zuul-registry.ts';
import { RegistryClient } from './registry-client.ts';

const onDisk = async (dir: string, stack: AsyncDisposableStack): Promise<Stores> => ({
  old: await oldDistribution(dir, stack, { filesystem: { rootdirectory: join(dir, 'old-data') } }),
  umbra: { driver: 'filesystem', root: join(dir, 'umbra-data') },
});

movingIn('from a filesystem to a filesystem', onDisk);

movingIn('from the filesystem of a zuul-registry to a filesystem', async (dir) => {
  const root = join(dir, 'old-data');
  const write = async (key: string, bytes: Uint8Array): Promise<void> => {
    await mkdir(dirname(join(root, key)), { recursive: true });
    await writeFile(join(root, key), bytes);
  };
  return {
    old: await oldZuulRegistry(dir, {
      config: { driver: 'filesystem', root },
      put: write,
      gather: (key, chunks) => write(key, Buffer.concat(chunks)),
      writtenMs: async (key) => Math.trunc((await stat(join(root, key))).mtimeMs),
    }),
    umbra: { driver: 'filesystem', root: join(dir, 'umbra-data') },
  };
});

describe('moving in from a store with broken images', () => {
  let landscape: Landscape;
  beforeAll(async () => {
    landscape = await buildLandscape(onDisk);
  }, TIMEOUT_MS);
  afterAll(() => landscape?.[Symbol.asyncDispose]());

  test('names each of them, takes the others, and exits with 1', async () => {
    const root = join(landscape.dir, 'old-data/docker/registry/v2');
    const bytesOf = (digest: Digest): string => join(root, 'blobs/sha256', hexOf(digest).slice(0, 2), hexOf(digest), 'data');
    // The last layer of each is its own.
    const own = (path: string): Digest => [...(landscape.images.find(([name]) => name === path)?.[2].blobs.keys() ?? [])].at(-1) as Digest; // images here have layers
    await rm(bytesOf(own('many/app0')));
    await truncate(bytesOf(own('many/app1')), 100);
    await writeFile(bytesOf(own('many/app2')), Buffer.alloc(1024 * 1024));
    // As DELETE does: the revision goes, its tag stays where somebody else's tool removed only that.
    await rm(join(root, 'repositories/many/app3/_manifests/revisions'), { recursive: true });
    await rm(join(root, 'repositories/org/large/_manifests/tags/1/current/link'));

    const { code, events } = await landscape.migrate();
    expect(code).toBe(1);
    const problems = events.flatMap((event) => (event.event === 'problem' ? [`${event.repository}:${event.tags?.join()} ${event.kind}`] : []));
    expect(problems.toSorted()).toEqual([
      'many/app0:v1 blob-missing', 'many/app1:v1 blob-corrupt', 'many/app2:v1 blob-corrupt', 'many/app3:v1 tag-dangling', 'org/large:1 tag-dangling',
    ]);
    await using umbra = await landscape.serve();
    await using client = new RegistryClient(umbra.url);
    for (const [path, tag, image] of landscape.images) {
      const broken = /^many\/app[0-3]$/.test(path) || path === 'org/large';
      expect((await client.getManifest(path, tag === '' ? image.digest : tag)).status, path).toBe(broken ? 404 : 200);
    }
  }, TIMEOUT_MS);
});
