/** Whole runs over stores in memory: what arrives, what is told of what cannot, and that a broken-off run is gone on with. */
import { beforeEach, describe, expect, test } from 'vitest';
import { FakeContent, type FakeManifest } from '../../test/support/fake-content.ts';
import { atEveryCrash } from '../../test/support/every-crash.ts';
import { scriptedDriver } from '../../test/support/scripted-driver.ts';
import { content, type Content } from '../content/content.ts';
import { keys, type Repo, type ViewUid } from '../content/keys.ts';
import type { Driver } from '../drivers/driver.ts';
import { memoryDriver } from '../drivers/memory/memory.ts';
import { digestOf, type Digest } from '../oci/digest.ts';
import { MEDIA_TYPES } from '../oci/manifest.ts';
import type { Name } from '../oci/name.ts';
import type { Counts, MigrateEvent } from './events.ts';
import { runMigration, type RunOptions } from './run.ts';
import { DISTRIBUTION_ROOT, distributionKeys, writeDistribution, writeZuul, ZUUL_ROOT, zuulKeys } from './source.fixture.ts';

const view = 'main' as ViewUid;
const repoOf = (path: string): Repo => ({ view, name: `docker.io/${path}` as Name });

let registry: FakeContent;
let source: Driver;
let target: Driver;

beforeEach(() => {
  registry = new FakeContent();
  source = memoryDriver();
  target = memoryDriver();
});

/** As a process of its own sees the store: nothing is in memory. */
function contentOf(driver: Driver): Content {
  let ids = 0;
  // What one process made is not made again by the next: ids begin with what stands there.
  const from = Math.random().toString(36).slice(2, 12).padEnd(10, '0');
  return content({ driver, nowMs: () => 1_000_000, newId: () => `${from}${String(++ids).padStart(10, '0')}`, staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1024 * 1024 });
}

interface Ran {
  readonly counts: Counts;
  readonly events: readonly MigrateEvent[];
  /** As `kind repository:tags`. */
  readonly problems: readonly string[];
}

async function migrate(mode: 'dry-run' | 'move' | 'verify' = 'move', more: Partial<RunOptions> & { overwrite?: boolean; into?: Driver } = {}): Promise<Ran> {
  const events: MigrateEvent[] = [];
  const { overwrite = false, into = target, ...options } = more;
  const counts = await runMigration({
    kind: 'distribution', root: DISTRIBUTION_ROOT, store: source,
    mode: mode === 'dry-run' ? { kind: mode } : { kind: mode, content: contentOf(into), view, overwrite },
    nameOf: (path) => (path.startsWith('bad') ? { problem: 'no' } : { name: `docker.io/${path === 'nginx' ? 'library/nginx' : path}` as Name }),
    wanted: () => true,
    blobsAtOnce: 4,
    maxManifestBytes: 4 * 1024 * 1024,
    tell: (event) => void (event.event === 'progress' || events.push(event)),
    signal: new AbortController().signal,
    ...options,
  });
  const problems = events.flatMap((event) => (event.event === 'problem' ? [`${event.kind} ${event.repository}${event.tags === undefined ? '' : `:${event.tags.join()}`}`] : []));
  expect(counts.problems).toBe(problems.length);
  return { counts, events, problems: problems.toSorted() };
}

/** Everything of the registry stands in the target, byte for byte. */
async function expectAll(driver: Driver = target): Promise<void> {
  const { manifests, blobs, links } = contentOf(driver);
  for (const [path, held] of registry.repositories) {
    const repo = repoOf(path);
    for (const { digest, bytes, mediaType } of held.manifests.values()) {
      const record = await manifests.find(repo, digest);
      expect(record, `${path}@${digest}`).toMatchObject({ mediaType });
      if (record !== undefined) expect(await manifests.bytes(repo, digest, record)).toEqual(bytes);
      for (const blob of record?.blobs ?? []) {
        const link = await links.find(repo, blob.digest);
        expect(link, `${path}: ${blob.digest}`).toBeDefined();
        expect((await blobs.read(blob.digest, link?.generation, blob.size))?.bytes).toEqual(held.blobs.get(blob.digest));
      }
    }
    for (const [tag, digest] of held.tags) expect((await manifests.tagged(repo, tag))?.tag.digest, `${path}:${tag}`).toBe(digest);
    expect(await manifests.tagNames(repo)).toEqual([...held.tags.keys()].toSorted());
  }
}

async function keysOf(driver: Driver, prefix = ''): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of driver.list(prefix)) found.push(key);
  return found;
}

/** Two repositories that share a layer; one with an index, an untagged image and two tags of one image. */
function fill(): void {
  const shared = Buffer.from('a layer of both');
  const amd = registry.addImage('org/app', { layers: [shared, 100] });
  const arm = registry.addImage('org/app', { layers: [shared, 50], architecture: 'arm64' });
  registry.addIndex('org/app', [amd, arm], 'latest');
  const one = registry.addImage('org/app', { tag: 'v1', layers: [shared, 0] });
  registry.repository('org/app').tags.set('v1.0', one.digest);
  registry.addImage('org/app/tool', { tag: 'v1', layers: [shared, 20_000] });
}

describe('a store of Distribution', () => {
  test('arrives whole: indexes with their children, untagged manifests, several tags of one', async () => {
    fill();
    await writeDistribution(source, registry);
    const { counts, problems } = await migrate();
    expect(problems).toEqual([]);
    expect(counts).toMatchObject({ repositories: 2, tags: 4, manifests: 5, writtenTags: 4, unneededBlobs: 0 });
    // Each blob once, whoever needs it.
    expect(counts.copiedBlobs).toBe(counts.blobs);
    expect(counts.copiedBytes).toBe(counts.bytes);
    await expectAll();
    expect(await keysOf(target, 'uploads/')).toEqual([]);
  });

  test('is not copied again, nor written, by a second run', async () => {
    fill();
    await writeDistribution(source, registry);
    await migrate();
    const script = scriptedDriver(target);
    const { counts, problems } = await migrate('move', { into: script });
    expect(problems).toEqual([]);
    expect(counts).toMatchObject({ copiedBlobs: 0, copiedBytes: 0, writtenManifests: 0, writtenTags: 0, tags: 4, manifests: 5 });
    expect(script.journal.filter(({ op }) => op === 'put' || op === 'append')).toEqual([]);
  });

  test('brings what is new there with the next run, and tags that moved', async () => {
    fill();
    await writeDistribution(source, registry);
    await migrate();
    registry.addImage('org/app', { tag: 'v1' });
    await writeDistribution(source, registry);
    const { counts } = await migrate();
    expect(counts).toMatchObject({ copiedBlobs: 2, writtenManifests: 1, writtenTags: 1 });
    await expectAll();
  });

  test('says in a dry run what it holds, and leaves the target alone', async () => {
    fill();
    registry.addBlob('org/app', Buffer.from('of no manifest'));
    await writeDistribution(source, registry);
    const { counts, problems } = await migrate('dry-run');
    expect(problems).toEqual([]);
    const needed = new Set([...registry.repositories.values()].flatMap(({ blobs }) => [...blobs.values()]).map((bytes) => digestOf(bytes)));
    expect(counts).toMatchObject({ repositories: 2, tags: 4, manifests: 5, blobs: needed.size - 1, unneededBlobs: 1, copiedBlobs: 0, writtenManifests: 0 });
    expect(await keysOf(target)).toEqual([]);
  });

  test.each<['dry-run' | 'move' | 'verify', 'copiedBytes' | 'readBytes' | 'manifests']>([
    ['dry-run', 'manifests'], ['move', 'copiedBytes'], ['verify', 'readBytes'],
  ])('tells in a %s how far it is, by %s', async (mode, counted) => {
    fill();
    await writeDistribution(source, registry);
    if (mode === 'verify') await migrate();
    const told: number[] = [];
    const { counts } = await migrate(mode, { tell: (event) => void (event.event === 'progress' && told.push(event.counts[counted])) });
    expect(told).toEqual(told.toSorted((a, b) => a - b));
    expect(told.filter((number) => number > 0 && number < counts[counted]).length).toBeGreaterThan(2);
    expect(told.at(-1)).toBe(counts[counted]);
  });

  test('is compared with what arrived', async () => {
    fill();
    await writeDistribution(source, registry);
    expect((await migrate('verify')).problems).not.toEqual([]);
    await migrate();
    const { counts, problems } = await migrate('verify');
    expect(problems).toEqual([]);
    expect(counts).toMatchObject({ readBlobs: counts.blobs, readBytes: counts.bytes, copiedBlobs: 0, writtenManifests: 0 });
  });

  test('brings referrers, which are listed by their subject', async () => {
    const image = registry.addImage('org/app', { tag: 'v1' });
    const signature = registry.addImage('org/app', { subject: image, artifactType: 'application/vnd.example.signature' });
    await writeDistribution(source, registry);
    await migrate();
    expect(await contentOf(target).manifests.referrers(repoOf('org/app'), image.digest)).toMatchObject([{ digest: signature.digest, artifactType: 'application/vnd.example.signature' }]);
  });

  test('is taken as far as it is wanted', async () => {
    fill();
    await writeDistribution(source, registry);
    expect((await migrate('move', { wanted: () => false })).problems).toEqual([`nothing-found ${DISTRIBUTION_ROOT}`]);
    expect((await migrate('move', { wanted: (name) => name.endsWith('/tool') })).counts).toMatchObject({ repositories: 1, tags: 1 });
    expect(await contentOf(target).manifests.tagNames(repoOf('org/app'))).toEqual([]);
  });

  test('lets an index be sparse that was', async () => {
    const elsewhere = new FakeContent().addImage('x');
    registry.addIndex('org/app', [registry.addImage('org/app'), elsewhere], 'v1');
    await writeDistribution(source, registry);
    expect((await migrate()).problems).toEqual([]);
    expect((await migrate('verify')).problems).toEqual([]);
    await expectAll();
  });

  test('gives a tag of two spellings of a name to the one that comes first', async () => {
    const [explicit, short] = [registry.addImage('library/nginx', { tag: '1' }), registry.addImage('nginx', { tag: '1' })];
    registry.repository('nginx').tags.set('2', short.digest);
    await writeDistribution(source, registry);
    expect((await migrate()).problems).toEqual(['tag-conflict nginx:1']);
    const { manifests } = contentOf(target);
    expect((await manifests.tagged(repoOf('library/nginx'), '1'))?.tag.digest).toBe(explicit.digest);
    expect((await manifests.tagged(repoOf('library/nginx'), '2'))?.tag.digest).toBe(short.digest);
    expect((await migrate()).counts).toMatchObject({ writtenManifests: 0 });
  });

  test('does not move back what somebody pushed here since, unless told to', async () => {
    const image = registry.addImage('org/app', { tag: 'v1' });
    const other = registry.addImage('org/app');
    await writeDistribution(source, registry);
    await migrate();
    const here = contentOf(target);
    const record = await here.manifests.find(repoOf('org/app'), other.digest);
    if (record === undefined) throw new Error('it was not taken');
    await here.manifests.commit({ repo: repoOf('org/app'), digest: other.digest, bytes: other.bytes, facts: record, blobs: [], children: [], absent: [], tags: ['v1'], by: 'somebody' });
    const kept = { event: 'kept', name: 'docker.io/org/app', tag: 'v1', source: image.digest, here: other.digest };
    for (const mode of ['move', 'verify'] as const) {
      const { counts, events, problems } = await migrate(mode);
      expect([counts.keptTags, problems]).toEqual([1, []]);
      expect(events).toContainEqual(kept);
    }
    expect((await migrate('move', { overwrite: true })).counts).toMatchObject({ keptTags: 0, writtenTags: 1 });
    await expectAll();
  });
});

describe('what is broken is named, and everything else taken', () => {
  let good: FakeManifest;
  beforeEach(() => {
    good = registry.addImage('org/good', { tag: 'v1' });
  });

  const layerOf = ({ layers: [layer] }: ReturnType<FakeContent['addImage']>): Digest => (layer as { readonly digest: Digest }).digest; // images here have one

  /** `dry`: what a dry run can see of it; the same where not given. */
  test.each<{ name: string; spoil: () => Promise<void>; expected: string[]; dry?: string[] }>([
    {
      name: 'a blob without bytes',
      spoil: async () => source.delete([distributionKeys.blob(layerOf(registry.addImage('org/bad', { tag: 'v1', layers: [10] })))]),
      expected: ['blob-missing org/bad:v1'],
    },
    {
      name: 'a blob that the repository may not read',
      spoil: async () => source.delete([distributionKeys.layer('org/bad', layerOf(registry.addImage('org/bad', { tag: 'v1', layers: [10] })))]),
      expected: ['blob-missing org/bad:v1'],
    },
    {
      name: 'a blob with other bytes',
      spoil: async () => void (await source.put(distributionKeys.blob(layerOf(registry.addImage('org/bad', { tag: 'v1', layers: [10] }))), Buffer.from('ten others'))),
      expected: ['blob-corrupt org/bad:v1'],
      dry: [],
    },
    {
      name: 'an empty blob that should not be',
      spoil: async () => void (await source.put(distributionKeys.blob(layerOf(registry.addImage('org/bad', { tag: 'v1', layers: [10] }))), Buffer.alloc(0))),
      expected: ['blob-corrupt org/bad:v1'],
      dry: ['blob-size org/bad:v1'],
    },
    {
      name: 'a manifest that lies about a size',
      spoil: async () => {
        const bytes = Buffer.from('a layer');
        const descriptor = (size: number): object => ({ mediaType: 'application/octet-stream', digest: registry.addBlob('org/bad', bytes), size });
        const made = registry.addManifest('org/bad', { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: descriptor(bytes.length), layers: [descriptor(3)] }, MEDIA_TYPES.ociManifest, 'v1');
        await write(made);
      },
      expected: ['blob-size org/bad:v1'],
    },
    {
      name: 'a tag whose manifest was deleted',
      spoil: async () => source.delete([distributionKeys.revision('org/bad', registry.addImage('org/bad', { tag: 'v1' }).digest)]),
      expected: ['tag-dangling org/bad:v1'],
    },
    {
      name: 'a tag whose link is empty',
      spoil: async () => {
        registry.addImage('org/bad', { tag: 'v1' });
        await source.put(distributionKeys.tag('org/bad', 'v1'), Buffer.alloc(0));
      },
      expected: ['tag-dangling org/bad:v1'],
    },
    {
      name: 'a manifest without bytes',
      spoil: async () => source.delete([distributionKeys.blob(registry.addImage('org/bad', { tag: 'v1' }).digest)]),
      expected: ['manifest-missing org/bad:v1'],
    },
    {
      name: 'a manifest with other bytes',
      spoil: async () => void (await source.put(distributionKeys.blob(registry.addImage('org/bad', { tag: 'v1' }).digest), good.bytes)),
      expected: ['manifest-corrupt org/bad:v1'],
    },
    {
      name: 'a manifest of schema 1',
      spoil: async () => {
        // As Distribution stores it: without its signature.
        await write(registry.addManifest('org/bad', { schemaVersion: 1, name: 'org/bad', tag: 'v1', architecture: 'amd64', fsLayers: [], history: [] }, '', 'v1'));
      },
      expected: ['manifest-unsupported org/bad:v1'],
    },
    {
      name: 'a manifest that is none',
      spoil: async () => write(registry.addManifest('org/bad', Buffer.from('no JSON'), '', 'v1')),
      expected: ['manifest-invalid org/bad:v1'],
    },
    { name: 'a name that is none here', spoil: async () => write(registry.addImage('bad/name', { tag: 'v1' })), expected: ['name-unsupported bad/name'] },
  ])('$name', async ({ spoil, expected, dry = expected }) => {
    // Spoiling adds to the registry, whose rest is written around it.
    const before = source;
    const spoilt = memoryDriver();
    const removed: string[] = [];
    source = {
      ...spoilt,
      put: (key: string, bytes: Uint8Array) => spoilt.put(key, bytes),
      delete: async (all: readonly string[]) => void removed.push(...all),
    } as unknown as Driver; // only these two are used while spoiling
    await spoil();
    source = before;
    await writeDistribution(source, registry);
    for (const key of await keysOf(spoilt)) await source.put(key, (await spoilt.get(key))?.bytes ?? Buffer.alloc(0));
    await source.delete(removed);

    expect((await migrate('dry-run')).problems).toEqual(dry);
    const { counts, problems } = await migrate();
    expect(problems).toEqual(expected);
    expect(counts.writtenTags).toBe(1);
    expect((await contentOf(target).manifests.tagged(repoOf('org/good'), 'v1'))?.tag.digest).toBe(good.digest);
    expect(await contentOf(target).manifests.tagged(repoOf('org/bad'), 'v1')).toBeUndefined();
    expect((await migrate('verify')).problems).not.toEqual([]);
    expect(await keysOf(target, 'uploads/')).toEqual([]);
  });

  async function write(manifest: FakeManifest): Promise<void> {
    await source.put(distributionKeys.blob(manifest.digest), manifest.bytes);
  }

  test('an index loses the child that is broken, and keeps the other', async () => {
    const broken = registry.addImage('org/bad', { layers: [10] });
    const whole = registry.addImage('org/bad');
    const index = registry.addIndex('org/bad', [broken, whole], 'v1');
    await writeDistribution(source, registry);
    await source.delete([distributionKeys.blob(layerOf(broken))]);
    expect((await migrate()).problems).toEqual(['blob-missing org/bad']);
    const { manifests } = contentOf(target);
    expect((await manifests.tagged(repoOf('org/bad'), 'v1'))?.tag.digest).toBe(index.digest);
    expect(await manifests.find(repoOf('org/bad'), whole.digest)).toBeDefined();
    expect(await manifests.find(repoOf('org/bad'), broken.digest)).toBeUndefined();
  });

  test('a blob that cannot be read costs its image only, and comes with a later run', async () => {
    const image = registry.addImage('org/bad', { tag: 'v1', layers: [10] });
    await writeDistribution(source, registry);
    const script = scriptedDriver(source);
    const key = distributionKeys.blob(layerOf(image));
    script.before('open', key, () => {
      throw new Error('input/output error');
    });
    expect((await migrate('move', { store: script })).problems).toEqual(['blob-unreadable org/bad:v1']);
    expect((await migrate()).problems).toEqual([]);
    await expectAll();
  });

  test('bytes that came wrong once are read again', async () => {
    const image = registry.addImage('org/bad', { tag: 'v1', layers: [10] });
    await writeDistribution(source, registry);
    const key = distributionKeys.blob(layerOf(image));
    const right = (await source.get(key))?.bytes ?? Buffer.alloc(0);
    await source.put(key, Buffer.from('ten others'));
    const script = scriptedDriver(source);
    let opened = 0;
    script.before('open', key, async () => {
      if (++opened === 2) await source.put(key, right);
    });
    expect((await migrate('move', { store: script })).problems).toEqual([]);
    await expectAll();
  });

  test('a target that fails ends the run', async () => {
    await writeDistribution(source, registry);
    const script = scriptedDriver(target);
    script.before('put', /_tags/, () => {
      throw new Error('no space left on device');
    });
    await expect(migrate('move', { into: script })).rejects.toThrow('no space left on device');
  });

  test('a run that is stopped ends with the reason', async () => {
    await writeDistribution(source, registry);
    const stopping = new AbortController();
    const script = scriptedDriver(source);
    script.before('open', /./, () => stopping.abort(new Error('stopped')));
    await expect(migrate('move', { store: script, signal: stopping.signal })).rejects.toThrow('stopped');
  });
});

describe('what arrived is looked at', () => {
  beforeEach(async () => {
    registry.addImage('org/app', { tag: 'v1', layers: [10] });
    await writeDistribution(source, registry);
    await migrate();
  });

  const image = (): FakeManifest => [...registry.repository('org/app').manifests.values()][0] as FakeManifest; // made above
  const layer = (): Digest => [...registry.repository('org/app').blobs.keys()].at(-1) as Digest;

  test.each<[string, () => Promise<unknown>, string[]]>([
    ['other bytes', async () => spoilBlob(layer(), Buffer.from('ten others')), ['differs org/app:v1']],
    ['no bytes', async () => target.delete(await keysOf(target, keys.generations(layer()))), ['not-taken org/app:v1']],
    ['no link', async () => target.delete([keys.link(repoOf('org/app'), layer())]), ['not-taken org/app:v1']],
    ['no manifest', async () => target.delete([keys.manifest(repoOf('org/app'), image().digest)]), ['not-taken org/app:v1']],
    ['no tag', async () => target.delete([keys.tag(repoOf('org/app'), 'v1')]), ['not-taken org/app:v1']],
    ['another manifest', async () => spoilBlob(image().digest, Buffer.alloc(image().bytes.length)), ['differs org/app:v1']],
  ])('%s', async (_, spoil, expected) => {
    expect((await migrate('verify')).problems).toEqual([]);
    await spoil();
    expect((await migrate('verify')).problems).toEqual(expected);
  });

  async function spoilBlob(digest: Digest, bytes: Buffer): Promise<void> {
    for (const key of await keysOf(target, keys.generations(digest))) await target.put(key, bytes);
  }
});

test.each(['dry-run', 'move', 'verify'] as const)('where there is no registry, a %s does not say that all is well', async (mode) => {
  expect((await migrate(mode)).problems).toEqual([`nothing-found ${DISTRIBUTION_ROOT}`]);
});

test('a run that dies anywhere is gone on with by the next, which copies nothing that stands', async () => {
  // One blob and no more: each point costs two processes.
  registry.addImage('org/app', { tag: 'latest', layers: [] });
  await writeDistribution(source, registry);
  const points = await atEveryCrash({
    store: async () => memoryDriver(),
    scenario: async (driver) => void (await migrate('move', { into: driver, blobsAtOnce: 1 })),
    survives: async (driver) => {
      // A tag that is there names something whole, however far the run came.
      const tagged = await contentOf(driver).manifests.tagged(repoOf('org/app'), 'latest');
      if (tagged !== undefined) expect((await migrate('verify', { into: driver })).problems).toEqual([]);
      const { problems } = await migrate('move', { into: driver });
      expect(problems).toEqual([]);
      await expectAll(driver);
    },
  });
  expect(points).toBeGreaterThan(50);
}, 120_000);

describe('a store of a zuul-registry', () => {
  const zuul = { kind: 'zuul-registry', root: ZUUL_ROOT } as const;

  test('arrives whole', async () => {
    fill();
    await writeZuul(source, registry);
    expect((await migrate('dry-run', zuul)).counts).toMatchObject({ repositories: 2, tags: 4, manifests: 5, problems: 0 });
    const { counts, problems } = await migrate('move', zuul);
    expect(problems).toEqual([]);
    expect(counts).toMatchObject({ repositories: 2, tags: 4, manifests: 5, writtenTags: 4 });
    await expectAll();
    expect((await migrate('verify', zuul)).problems).toEqual([]);
    expect((await migrate('move', zuul)).counts).toMatchObject({ copiedBlobs: 0, writtenManifests: 0 });
  });

  test('gives a tag with several manifests to the index, else to the newest', async () => {
    const [old, recent] = [registry.addImage('org/app'), registry.addImage('org/app')];
    const index = registry.addIndex('org/app', [old]);
    let nowMs = 0;
    source = memoryDriver({ clock: () => nowMs++ });
    await writeZuul(source, registry);
    const record = (manifests: readonly [string, FakeManifest][]): Buffer => Buffer.from(JSON.stringify(Object.fromEntries(manifests.map(([type, { digest }]) => [type, digest]))));
    await source.put(zuulKeys.blob(recent.digest), recent.bytes);
    await source.put(zuulKeys.record('org/app', 'multi'), record([[recent.mediaType, recent], [index.mediaType, index]]));
    // The media type that a manifest was pushed under need not be the one in it to be a key of the record.
    await source.put(zuulKeys.record('org/app', 'single'), record([[recent.mediaType, recent], ['application/vnd.oci.image.manifest.v1+json; old', old]]));
    await migrate('move', zuul);
    const { manifests } = contentOf(target);
    expect((await manifests.tagged(repoOf('org/app'), 'multi'))?.tag.digest).toBe(index.digest);
    expect((await manifests.tagged(repoOf('org/app'), 'single'))?.tag.digest).toBe(recent.digest);
  });

  test('with a repository below one whose name ends in manifests', async () => {
    registry.addImage('org/manifests/app', { tag: 'v1' });
    registry.addImage('org', { tag: 'v1' });
    await writeZuul(source, registry);
    expect((await migrate('move', zuul)).counts).toMatchObject({ repositories: 2, problems: 0 });
    await expectAll();
  });

  test.each([['no JSON'], ['[]'], ['{"x": "y"}'], ['null']])('with a record of a tag that says %s', async (text) => {
    registry.addImage('org/app', { tag: 'v1' });
    await writeZuul(source, registry);
    await source.put(zuulKeys.record('org/app', 'v2'), Buffer.from(text));
    expect((await migrate('move', zuul)).problems).toEqual(['tag-dangling org/app:v2']);
    await expectAll();
  });
});
