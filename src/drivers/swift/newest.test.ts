/**
 * Read-after-write (DESIGN section 5, PROTOCOL: "the models assume fresh point reads"): whatever a decision rests on is asked
 * of all replicas, by `X-Newest`; only bytes that never change under their key may come from any. A fake Swift at the far
 * end of a socket says what it was asked, since a real one of one replica answers the same either way.
 */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { content, type Content } from '../../content/content.ts';
import { digestOfData, type Repo, type ViewUid } from '../../content/keys.ts';
import { upload } from '../../content/upload.fixture.ts';
import { digestOf, type Digest } from '../../oci/digest.ts';
import { MEDIA_TYPES, readManifest } from '../../oci/manifest.ts';
import type { Name } from '../../oci/name.ts';
import { systemTimers } from '../../workers/timers.ts';
import type { AssemblyState } from '../driver.ts';
import { attempts } from '../object-store/attempts.ts';
import { FakeSwift } from './fake-swift.fixture.ts';
import { openSwift, type SwiftDriver } from './swift.ts';

const KiB = 1024;
let fake: FakeSwift;
let driver: SwiftDriver;

beforeEach(async () => {
  fake = await FakeSwift.start();
  driver = await open();
});
afterEach(async () => {
  await driver.close();
  fake.close();
});

/** One more node. */
async function open(): Promise<SwiftDriver> {
  const { url } = fake;
  return await openSwift({
    session: { access: async () => ({ url, publicUrl: url, token: 'token' }), refused: () => undefined, close: async () => undefined },
    attempts: attempts({ nowMs: Date.now, timers: systemTimers, random: () => 0, store: 'Swift', report: () => undefined }),
    container: 'images', prefix: '', segmentBytes: 1024 * KiB, memoryBytes: 16 * 1024 * KiB, redirect: false, tempUrlKey: undefined, who: 'a test',
    ca: undefined, insecure: false, newId: () => randomBytes(10).toString('hex'), nowMs: Date.now, timers: systemTimers,
  });
}

/** What reads of objects the work makes, in order: `+` asked for the newest, `-` took any. */
async function readsOf(work: () => Promise<unknown>): Promise<string[]> {
  fake.asked.length = 0;
  await work();
  return fake.asked.flatMap(({ method, name, newest }) => (name !== '' && (method === 'GET' || method === 'HEAD') ? [`${newest ? '+' : '-'}${method} ${name}`] : []));
}

async function gather(bytes: Buffer, state: AssemblyState = driver.assemblies.create('uploads/one')): Promise<AssemblyState> {
  const appender = await driver.assemblies.append(state);
  await appender.write(bytes);
  return await appender.finish();
}

describe('the newest is asked for', () => {
  test('by head and by get, of what is there and of what is not', async () => {
    await driver.put('a/key', Buffer.from('x'));
    expect(await readsOf(async () => driver.head('a/key'))).toEqual(['+HEAD a/key']);
    expect(await readsOf(async () => driver.head('a/none'))).toEqual(['+HEAD a/none']);
    expect(await readsOf(async () => driver.get('a/key'))).toEqual(['+GET a/key']);
    expect(await readsOf(async () => driver.get('a/none'))).toEqual(['+GET a/none', '+GET a/none']);
  });

  test('by a claim, whose value decides who won it', async () => {
    expect(await readsOf(async () => driver.claim('a/claim', Buffer.from('1')))).toEqual(['+GET a/claim']);
    expect(await readsOf(async () => expect(await driver.claim('a/claim', Buffer.from('2'))).toMatchObject({ won: false, value: Buffer.from('1') }))).toEqual(['+GET a/claim']);
  });

  test('by a put that something stands in the way of: is it our own?', async () => {
    await driver.put('a/key', Buffer.from('x'));
    expect(await readsOf(async () => expect(driver.put('a/key', Buffer.from('y'), { when: 'absent' })).rejects.toMatchObject({ failure: 'exists' }))).toEqual(['+HEAD a/key']);
  });

  test('by the check at the start', async () => {
    expect(await readsOf(async () => driver.check())).toEqual([expect.stringMatching(/^\+GET /)]);
  });

  test('by an upload: its tail that is read back, whether it was discarded, what a deletion takes along', async () => {
    let state = await gather(Buffer.alloc(700 * KiB, 'a'));
    expect(await readsOf(async () => (state = await gather(Buffer.alloc(700 * KiB, 'b'), state)))).toEqual([expect.stringMatching(/^\+GET !segments\//)]);
    expect(await readsOf(async () => driver.assemblies.open(state))).toEqual([expect.stringMatching(/^\+HEAD !segments\//)]);
    expect(await readsOf(async () => driver.assemblies.complete(state, 'a/blob'))).toEqual([expect.stringMatching(/^\+HEAD !segments\/.*!discarded$/)]);
    const deleting = await readsOf(async () => driver.delete(['a/blob']));
    expect(deleting).toEqual(expect.arrayContaining(['+HEAD a/blob', '+GET a/blob']));
    expect(deleting.filter((read) => !read.startsWith('+'))).toEqual([]);
    expect(fake.names).not.toContain('a/blob');
  });

  test('by who gives an upload up, and by the sweep', async () => {
    const completed = await gather(Buffer.alloc(1500 * KiB));
    await driver.assemblies.complete(completed, 'a/blob');
    const left = await gather(Buffer.alloc(1500 * KiB), driver.assemblies.create('uploads/two'));
    const other = await open();
    try {
      for (const work of [async () => other.assemblies.discard(completed), async () => other.assemblies.discard(left), async () => other.assemblies.sweep?.({ beforeMs: Date.now(), inUse: async () => false })]) {
        const reads = await readsOf(work);
        expect(reads.length).toBeGreaterThan(0);
        expect(reads.filter((read) => !read.startsWith('+'))).toEqual([]);
      }
      expect((await other.head('a/blob'))?.size).toBe(1500 * KiB);
      expect(fake.names.filter((name) => name.includes('two'))).toEqual([]);
    } finally {
      await other.close();
    }
  });
});

test('any replica may give the bytes of an object', async () => {
  await driver.assemblies.complete(await gather(Buffer.alloc(1500 * KiB, 'x')), 'a/blob');
  const reads = await readsOf(async () => {
    const source = await driver.open('a/blob');
    for await (const _ of source?.stream({ start: 0, end: 1500 * KiB - 1 }) ?? []);
    await source?.close();
  });
  expect(reads).toEqual(['-GET a/blob', '-GET a/blob']);
});

describe('over a whole registry', () => {
  const repo: Repo = { view: 'main' as ViewUid, name: 'docker.io/library/app' as Name };

  function node(over: SwiftDriver): Content {
    return content({ driver: over, nowMs: Date.now, newId: () => randomBytes(16).toString('hex'), staleMs: 0, tell: async () => undefined, manifestCacheBytes: 1024 * KiB });
  }

  async function push(store: Content, layer: Buffer): Promise<Digest> {
    const blob = await upload(store, repo, layer);
    const manifest = Buffer.from(JSON.stringify({
      schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: blob.digest, size: layer.length }, layers: [],
    }));
    await store.manifests.commit({ repo, digest: digestOf(manifest), bytes: manifest, facts: readManifest(manifest, ''), blobs: [blob], children: [], absent: [], tags: ['latest'] });
    return digestOf(manifest);
  }

  test('tags, records, links, sessions and the collector’s marks are read so; only bytes of blobs come from any', async () => {
    const reads: string[] = [];
    const other = await open();
    try {
      const [a, b] = [node(driver), node(other)];
      reads.push(...(await readsOf(async () => {
        const first = await push(a, Buffer.alloc(300 * KiB, '1'));
        expect((await b.manifests.tagged(repo, 'latest'))?.tag.digest).toBe(first);
        const second = await push(a, Buffer.alloc(300 * KiB, '2'));
        const tagged = await b.manifests.tagged(repo, 'latest');
        expect(tagged?.tag.digest).toBe(second);
        expect(digestOf(await b.manifests.bytes(repo, second, tagged!.record))).toBe(second);
        await b.manifests.remove(repo, first);
        expect(await a.manifests.find(repo, first)).toBeUndefined();
      })));
    } finally {
      await other.close();
    }
    const newest = reads.filter((read) => read.startsWith('+')).join('\n');
    for (const kind of ['/_tags/latest', '/_manifests/', '/_gone/', '/doomed/', '/current']) expect(newest).toContain(kind);
    const any = reads.filter((read) => read.startsWith('-'));
    expect(any.filter((read) => digestOfData(read.replace(/^-GET /, '')) === undefined)).toEqual([]);
  });
});
