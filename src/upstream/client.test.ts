import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fakeUpstream, type FakeUpstream, type Misbehaviour } from '../../test/support/fake-upstream.ts';
import { clientOf } from '../../test/support/upstream-client.ts';
import type { Digest } from '../oci/digest.ts';
import type { Upstream } from './upstream.ts';

const PATH = 'library/nginx';
const OCI = 'application/vnd.oci.image.manifest.v1+json';
const NOTHING = `sha256:${'0'.repeat(64)}` as Digest; // well-formed

let fake: FakeUpstream;
let client: Upstream;
beforeEach(async () => {
  fake = await fakeUpstream();
  client = clientOf(fake.url).client;
});
afterEach(async () => {
  await client.close();
  await fake.close();
});

const failure = (code: string, message: string): unknown => expect.objectContaining({ code, message: expect.stringContaining(message) });

describe('manifests', () => {
  it('GET by tag and by digest gives the bytes as they are', async () => {
    const { digest, bytes } = fake.content.addImage(PATH, { tag: 'latest' });
    for (const reference of ['latest', digest]) {
      expect(await client.getManifest(PATH, reference)).toEqual({ digest, mediaType: OCI, bytes });
    }
  });

  it('HEAD gives digest, type and size', async () => {
    const { digest, bytes } = fake.content.addImage(PATH, { tag: 'latest' });
    expect(await client.headManifest(PATH, 'latest')).toEqual({ digest, mediaType: OCI, size: bytes.length });
    expect(fake.count({ method: 'GET' })).toBe(0);
  });

  it('asks for every type it knows, uncompressed, and says who asks', async () => {
    await client.getManifest(PATH, 'latest');
    expect(fake.requests[0]?.headers).toMatchObject({
      accept: expect.stringContaining('application/vnd.docker.distribution.manifest.list.v2+json'), 'accept-encoding': 'identity', 'user-agent': 'umbra/1.2.3',
    });
  });

  it.each<[string, string, string]>([
    ['parameters are left out', `${OCI}; charset=utf-8`, OCI],
    ['a type that is not known stays', 'application/vnd.example+json', 'application/vnd.example+json'],
    ['none: what the manifest says', '', OCI],
    ['one that says nothing: what the manifest says', 'application/octet-stream', OCI],
  ])('Content-Type: %s', async (_, sent, mediaType) => {
    fake.content.addImage(PATH, { tag: 'latest' });
    fake.misbehave({ kind: 'manifest' }, { headers: { 'content-type': sent } });
    expect(await client.getManifest(PATH, 'latest')).toMatchObject({ mediaType });
  });

  it('where upstream sends no digest, HEAD has none and GET computes it', async () => {
    const { digest } = fake.content.addImage(PATH, { tag: 'latest' });
    fake.misbehave({ kind: 'manifest' }, { headers: { 'docker-content-digest': '' } });
    expect(await client.headManifest(PATH, 'latest')).toMatchObject({ digest: undefined });
    expect(await client.getManifest(PATH, 'latest')).toMatchObject({ digest });
  });

  it.each<[string, Misbehaviour]>([
    ['404', {}],
    ['410', { status: 410 }],
    ['403', { status: 403 }],
  ])('%s is an answer: no such manifest', async (_, how) => {
    fake.misbehave({ kind: 'manifest' }, how);
    expect(await client.getManifest(PATH, 'latest')).toBeUndefined();
    expect(await client.headManifest(PATH, 'latest')).toBeUndefined();
  });

  it.each<[string, Misbehaviour, string, string]>([
    ['a web page', { status: 200, body: '<html>', headers: { 'content-type': 'text/html; charset=utf-8' } }, 'UPSTREAM_FAILED', 'web page'],
    ['another digest than promised', { headers: { 'docker-content-digest': NOTHING } }, 'UPSTREAM_FAILED', `expected ${NOTHING}`],
    ['wrong bytes', { corrupt: true }, 'UPSTREAM_FAILED', 'came with the digest'],
    ['wrong bytes without a promise', { corrupt: true, headers: { 'docker-content-digest': '' } }, 'UPSTREAM_FAILED', 'came with the digest'],
    ['something that is no manifest', { status: 200, body: 'hello' }, 'UPSTREAM_FAILED', 'came with the digest'],
    ['too many bytes', { status: 200, body: 'x'.repeat(5000), headers: { 'content-type': OCI } }, 'UPSTREAM_FAILED', 'larger than 4000 bytes'],
    ['too many bytes without a length', { status: 200, body: 'x'.repeat(5000), chunked: true }, 'UPSTREAM_FAILED', 'larger than 4000 bytes'],
    ['half a body', { breakAfter: 100 }, 'UPSTREAM_FAILED', 'failed: '],
    ['no answer', { hangUp: true }, 'UPSTREAM_FAILED', 'failed: '],
    ['400', { status: 400 }, 'UPSTREAM_FAILED', `answered 400 to GET /v2/${PATH}/manifests/`],
    ['500', { status: 500 }, 'UPSTREAM_FAILED', 'answered 500'],
    ['204', { status: 204 }, 'UPSTREAM_FAILED', 'answered 204'],
    ['401 without a challenge', { status: 401 }, 'UPSTREAM_FAILED', 'without a Basic or Bearer challenge'],
    ['429', { status: 429 }, 'TOOMANYREQUESTS', 'answered 429'],
  ])('%s leaves the question open', async (_, how, code, message) => {
    const { client: small, told } = clientOf(fake.url, { manifestBytes: 4000 });
    const { digest } = fake.content.addImage(PATH);
    fake.misbehave({ kind: 'manifest' }, how);
    await expect(small.getManifest(PATH, digest)).rejects.toEqual(failure(code, message));
    expect(told.failed).toHaveLength(1);
    await small.close();
  });

  it('by tag, something without a type that is no manifest leaves the question open', async () => {
    fake.misbehave({ kind: 'manifest' }, { status: 200, body: 'hello' });
    await expect(client.getManifest(PATH, 'latest')).rejects.toEqual(failure('UPSTREAM_FAILED', 'without a media type'));
  });

  it('an answer that is refused by its headers does not hold its connection', async () => {
    fake.misbehave({ kind: 'manifest' }, { status: 200, body: 'x'.repeat(100), headers: { 'content-type': 'text/html' }, stall: { after: 10, until: new Promise(() => undefined) } });
    await expect(client.getManifest(PATH, 'latest')).rejects.toEqual(failure('UPSTREAM_FAILED', 'web page'));
    expect(await fake.requests[0]?.closed).toBe(false);
  });

  it('a connection that breaks before the answer is tried once more', async () => {
    fake.content.addImage(PATH, { tag: 'latest' });
    fake.misbehave({ kind: 'manifest' }, { hangUp: true }, 1);
    expect(await client.getManifest(PATH, 'latest')).toBeDefined();
    expect(fake.count({ kind: 'manifest' })).toBe(2);
  });
});

describe('limits that upstream states', () => {
  it('after a 429 nothing is asked until Retry-After has passed', async () => {
    const clock = { ms: 0 };
    const { client: patient } = clientOf(fake.url, { clock });
    fake.content.addImage(PATH, { tag: 'latest' });
    fake.misbehave({ kind: 'manifest' }, { status: 429, headers: { 'retry-after': '30' } }, 1);
    for (let i = 0; i < 3; i++) {
      await expect(patient.headManifest(PATH, 'latest')).rejects.toMatchObject({ code: 'TOOMANYREQUESTS', retryAfterSeconds: 30 });
    }
    expect(fake.requests).toHaveLength(1);
    clock.ms += 30_000;
    expect(await patient.headManifest(PATH, 'latest')).toBeDefined();
    await patient.close();
  });

  it('with nothing left, manifest GETs wait for a HEAD that shows something', async () => {
    fake.content.addImage(PATH, { tag: 'latest' });
    const { client: counted, told } = clientOf(fake.url);
    fake.misbehave({ kind: 'manifest' }, { headers: { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '0;w=21600' } }, 2);
    expect(await counted.getManifest(PATH, 'latest')).toBeDefined();
    expect(await counted.headManifest(PATH, 'latest')).toBeDefined();
    await expect(counted.getManifest(PATH, 'latest')).rejects.toMatchObject({ code: 'TOOMANYREQUESTS', retryAfterSeconds: 60 });
    expect(fake.count({ method: 'GET' })).toBe(1);
    fake.misbehave({ kind: 'manifest' }, { headers: { 'ratelimit-remaining': '9;w=21600' } });
    await counted.headManifest(PATH, 'latest');
    expect(await counted.getManifest(PATH, 'latest')).toBeDefined();
    expect(told.remaining).toEqual([0, 0, 9, 9]);
    await counted.close();
  });

  it('a 503 carries its Retry-After', async () => {
    fake.misbehave({ kind: 'blob' }, { status: 503, headers: { 'retry-after': '7' } });
    await expect(client.headBlob(PATH, NOTHING)).rejects.toMatchObject({ code: 'UPSTREAM_FAILED', retryAfterSeconds: 7 });
  });
});

describe('the caller\'s signal', () => {
  const reason = new Error('the client left');

  it('ends the wait for an answer', async () => {
    const leaving = new AbortController();
    fake.misbehave({}, { hold: new Promise(() => undefined) });
    const asked = client.getManifest(PATH, 'latest', { signal: leaving.signal });
    const { closed } = await fake.arrived({ kind: 'manifest' });
    leaving.abort(reason);
    await expect(asked).rejects.toBe(reason);
    expect(await closed).toBe(false);
  });

  it('ends a body', async () => {
    const { digest } = fake.content.addImage(PATH, { layers: [300_000] }).layers[0]!;
    const leaving = new AbortController();
    fake.misbehave({}, { stall: { after: 100_000, until: new Promise(() => undefined) } });
    const blob = await client.getBlob(PATH, digest, { signal: leaving.signal });
    const read = (async () => {
      for await (const _ of blob!.body) leaving.abort(reason);
    })();
    await expect(read).rejects.toBe(reason);
    expect(await fake.requests[0]?.closed).toBe(false);
  });

  it('aborted before asks nothing', async () => {
    await expect(client.getManifest(PATH, 'latest', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(fake.requests).toHaveLength(0);
  });
});

it('an upstream that never answers is given up after its timeout', async () => {
  const { client: hasty } = clientOf(fake.url, { timeoutMs: 100 });
  fake.misbehave({}, { hold: new Promise(() => undefined) });
  await expect(hasty.headManifest(PATH, 'latest')).rejects.toEqual(failure('UPSTREAM_TIMEOUT', 'did not answer within 0.1 s'));
  expect(await (await fake.arrived({})).closed).toBe(false);
  await hasty.close();
});

it('a manifest that drips is given up after the timeout', async () => {
  const { client: hasty } = clientOf(fake.url, { timeoutMs: 100 });
  fake.content.addImage(PATH, { tag: 'latest' });
  fake.misbehave({}, { stall: { after: 10, until: new Promise(() => undefined) } });
  await expect(hasty.getManifest(PATH, 'latest')).rejects.toEqual(failure('UPSTREAM_TIMEOUT', 'registry.test'));
  await hasty.close();
});

it('close ends what is under way', async () => {
  fake.misbehave({}, { hold: new Promise(() => undefined) });
  const asked = client.getManifest(PATH, 'latest');
  await fake.arrived({ kind: 'manifest' });
  await Promise.all([expect(asked).rejects.toMatchObject({ code: 'UPSTREAM_FAILED' }), client.close()]);
  await expect(client.getManifest(PATH, 'latest')).rejects.toEqual(failure('UPSTREAM_FAILED', 'closed'));
});
