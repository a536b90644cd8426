import { afterEach, describe, expect, it } from 'vitest';
import { FakeContent } from '../../test/support/fake-content.ts';
import { fakeUpstream, type FakeOptions, type FakeUpstream, type Misbehaviour } from '../../test/support/fake-upstream.ts';
import { clientOf } from '../../test/support/upstream-client.ts';
import type { Upstream } from './upstream.ts';

const PATH = 'org/app';

let stop: (() => Promise<void>) | undefined;
afterEach(() => stop?.());

async function start(options: FakeOptions = {}): Promise<{ fake: FakeUpstream; client: Upstream }> {
  const fake = await fakeUpstream(options);
  const { client } = clientOf(fake.url);
  stop = async () => {
    await client.close();
    await fake.close();
  };
  return { fake, client };
}

function tagged(count: number): FakeContent {
  const content = new FakeContent();
  const { bytes, mediaType } = content.addImage(PATH);
  for (let i = 0; i < count; i++) content.addManifest(PATH, bytes, mediaType, `v${String(i).padStart(4, '0')}`);
  return content;
}

describe('tags', () => {
  it.each([1, 7, 100])('all of them, %i on a page', async (pageSize) => {
    const { client, fake } = await start({ content: tagged(60), pageSize });
    const tags = await client.listTags(PATH);
    expect(tags).toHaveLength(60);
    expect(tags?.slice(0, 2)).toEqual(['v0000', 'v0001']);
    expect(fake.count({ kind: 'tags' })).toBe(Math.ceil(60 / pageSize));
  });

  it('none in a repository that is there, nothing where there is none', async () => {
    const { client, fake } = await start();
    fake.content.repository(PATH);
    expect(await client.listTags(PATH)).toEqual([]);
    expect(await client.listTags('org/other')).toBeUndefined();
  });

  it.each<[string, string, readonly string[]]>([
    ['null', '{"name":"x","tags":null}', []],
    ['no tags', '{"name":"x"}', []],
    ['what is no tag is left out', '{"tags":["good","",".bad",7,null,"a/b"]}', ['good']],
  ])('%s', async (_, body, expected) => {
    const { client, fake } = await start();
    fake.misbehave({ kind: 'tags' }, { status: 200, body });
    expect(await client.listTags(PATH)).toEqual(expected);
  });

  it.each<[string, Misbehaviour, string]>([
    ['no JSON', { status: 200, body: '<html>' }, 'not JSON'],
    ['other JSON', { status: 200, body: '[]' }, 'without a list'],
    ['no list', { status: 200, body: '{"tags":"latest"}' }, 'without a list'],
    ['500', { status: 500 }, 'answered 500'],
  ])('%s leaves the question open', async (_, how, message) => {
    const { client, fake } = await start();
    fake.misbehave({ kind: 'tags' }, how);
    await expect(client.listTags(PATH)).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', message: expect.stringContaining(message) });
  });

  it('a next page that is the same one ends the list', async () => {
    const { client, fake } = await start({ content: tagged(1) });
    fake.misbehave({ kind: 'tags' }, { headers: { link: `</v2/${PATH}/tags/list?n=1000>; rel="next"` } });
    expect(await client.listTags(PATH)).toEqual(['v0000']);
    expect(fake.count({ kind: 'tags' })).toBe(1);
  });

  it('a list without an end is cut after 100 pages', async () => {
    const { client, fake } = await start({ content: tagged(200), pageSize: 1 });
    expect(await client.listTags(PATH)).toHaveLength(100);
    expect(fake.requests).toHaveLength(100);
  });

  it('a list is cut after 100 000 tags', async () => {
    const { client, fake } = await start();
    fake.misbehave({ kind: 'tags' }, { status: 200, body: JSON.stringify({ tags: Array.from({ length: 100_001 }, (_, i) => `v${i}`) }) });
    expect(await client.listTags(PATH)).toHaveLength(100_000);
  });

  it.each(['https://elsewhere.test', 'http://elsewhere.test:1', '//elsewhere.test'])('a next page on %s is asked of the upstream itself', async (host) => {
    const { client, fake } = await start({ content: tagged(2) });
    fake.misbehave({ kind: 'tags' }, { status: 200, body: '{"tags":["first"]}', headers: { link: `<${host}/v2/${PATH}/tags/list?from=0>; rel="next"` } }, 1);
    expect(await client.listTags(PATH)).toEqual(['first', 'v0000', 'v0001']);
    expect(fake.requests[1]?.url).toBe(`/v2/${PATH}/tags/list?from=0`);
  });

  it('pages may be relative', async () => {
    const { client, fake } = await start({ content: tagged(1) });
    fake.misbehave({ kind: 'tags' }, { status: 200, body: '{"tags":["first"]}', headers: { link: '<list?from=0>; rel=next' } }, 1);
    expect(await client.listTags(PATH)).toEqual(['first', 'v0000']);
  });
});

describe('referrers', () => {
  it.each([1, 10])('by the API, %i on a page', async (pageSize) => {
    const { client, fake } = await start({ pageSize });
    const subject = fake.content.addImage(PATH);
    const signatures = [1, 2, 3].map(() => fake.content.addImage(PATH, { subject, artifactType: 'application/vnd.example' }));
    const found = await client.listReferrers(PATH, subject.digest);
    expect(found).toEqual(signatures.map(({ digest, mediaType, bytes }) => ({ digest, mediaType, size: bytes.length, artifactType: 'application/vnd.example' })));
    expect(fake.requests[0]?.headers.accept).toBe('application/vnd.oci.image.index.v1+json');
  });

  it('none is an answer', async () => {
    const { client, fake } = await start();
    expect(await client.listReferrers(PATH, fake.content.addImage(PATH).digest)).toEqual([]);
    expect(fake.requests).toHaveLength(1);
  });

  it('by the tag schema where there is no API', async () => {
    const { client, fake } = await start({ referrers: false });
    const subject = fake.content.addImage(PATH);
    const signature = fake.content.addImage(PATH, { subject });
    fake.content.addIndex(PATH, [signature], subject.digest.replace(':', '-'));
    expect(await client.listReferrers(PATH, subject.digest)).toEqual([{ digest: signature.digest, mediaType: signature.mediaType, size: signature.bytes.length }]);
  });

  it('neither: undefined, and no counted request', async () => {
    const { client, fake } = await start({ referrers: false });
    const subject = fake.content.addImage(PATH);
    expect(await client.listReferrers(PATH, subject.digest)).toBeUndefined();
    expect(fake.count({ kind: 'manifest', method: 'GET' })).toBe(0);
  });

  it('a fallback tag that names no index: undefined', async () => {
    const { client, fake } = await start({ referrers: false });
    const subject = fake.content.addImage(PATH, {});
    fake.content.addManifest(PATH, subject.bytes, subject.mediaType, subject.digest.replace(':', '-'));
    expect(await client.listReferrers(PATH, subject.digest)).toBeUndefined();
  });

  it('500 leaves the question open', async () => {
    const { client, fake } = await start();
    fake.misbehave({ kind: 'referrers' }, { status: 500 });
    await expect(client.listReferrers(PATH, fake.content.addImage(PATH).digest)).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' });
  });
});
