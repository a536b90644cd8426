import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fakeUpstream, type FakeUpstream, type Misbehaviour } from '../../test/support/fake-upstream.ts';
import { clientOf, drain } from '../../test/support/upstream-client.ts';
import type { Digest } from '../oci/digest.ts';
import type { Upstream } from './upstream.ts';

const PATH = 'library/nginx';
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

function layer(size = 300_000): { digest: Digest; bytes: Buffer } {
  return fake.content.addImage(PATH, { layers: [size] }).layers[0]!;
}

it('GET gives the bytes and their number', async () => {
  const { digest, bytes } = layer(3_000_000);
  const blob = await client.getBlob(PATH, digest);
  expect(blob?.size).toBe(bytes.length);
  expect((await drain(blob!.body)).bytes.equals(bytes)).toBe(true);
  expect(fake.requests[0]?.headers).not.toHaveProperty('range');
  expect(fake.requests[0]?.headers).toMatchObject({ 'accept-encoding': 'identity' });
});

it('an empty blob is one', async () => {
  const digest = fake.content.addBlob(PATH, Buffer.alloc(0));
  const blob = await client.getBlob(PATH, digest);
  expect([blob?.size, await drain(blob!.body)]).toEqual([0, { bytes: Buffer.alloc(0), error: undefined }]);
});

it('HEAD gives the size', async () => {
  const { digest, bytes } = layer();
  expect(await client.headBlob(PATH, digest)).toEqual({ size: bytes.length });
  fake.misbehave({ kind: 'blob' }, { chunked: true });
  expect(await client.headBlob(PATH, digest)).toEqual({ size: undefined });
});

it('404 is an answer: no such blob', async () => {
  expect(await client.getBlob(PATH, NOTHING)).toBeUndefined();
  expect(await client.headBlob(PATH, NOTHING)).toBeUndefined();
});

it.each<[string, Misbehaviour]>([
  ['by Range', {}],
  ['from an upstream that ignores Range', { ignoreRange: true }],
  ['from one that ignores Range and states no length', { ignoreRange: true, chunked: true }],
  ['by Range without a length', { chunked: true }],
  ['by Range of a size that is not told', { headers: { 'content-range': 'bytes 200000-299999/*' } }],
])('GET from an offset, %s', async (_, how) => {
  const { digest, bytes } = layer();
  fake.misbehave({ kind: 'blob' }, how);
  const blob = await client.getBlob(PATH, digest, { start: 200_000 });
  expect((await drain(blob!.body)).bytes.equals(bytes.subarray(200_000))).toBe(true);
  expect([undefined, bytes.length]).toContain(blob?.size);
});

it('the size of the whole is told with a part', async () => {
  const { digest, bytes } = layer();
  expect(await client.getBlob(PATH, digest, { start: 1 })).toMatchObject({ size: bytes.length });
});

it.each<[string, number, Misbehaviour, string]>([
  ['a part from elsewhere', 100, { headers: { 'content-range': 'bytes 99-299999/300000' } }, 'expected one from byte 100'],
  ['a part without Content-Range', 100, { headers: { 'content-range': '' } }, 'expected one from byte 100'],
  ['an offset beyond the end', 300_000, {}, 'answered 416'],
  ['an offset beyond the end, Range ignored', 300_001, { ignoreRange: true }, 'expected byte 300001'],
  ['500', 0, { status: 500 }, 'answered 500'],
])('%s fails at once', async (_, start, how, message) => {
  const { digest } = layer();
  fake.misbehave({ kind: 'blob' }, how);
  await expect(client.getBlob(PATH, digest, { start })).rejects.toEqual(failure('UPSTREAM_FAILED', message));
});

it.each<[string, number, Misbehaviour, number, string]>([
  ['breaks', 0, { breakAfter: 100_000 }, 100_000, 'failed: '],
  ['breaks, without a length', 0, { breakAfter: 100_000, chunked: true }, 100_000, 'failed: '],
  ['is shorter than Content-Range says', 100, { status: 206, body: 'short', headers: { 'content-range': 'bytes 100-299999/300000' } }, 5, '299895 bytes early'],
  ['is longer than Content-Range says', 100, { status: 206, body: 'longer', headers: { 'content-range': 'bytes 100-104/105' } }, 0, 'more bytes than promised'],
  ['ends before the offset', 100, { ignoreRange: true, chunked: true, status: 200, body: 'short' }, 0, 'before the byte asked for'],
])('a body that %s rejects after what came', async (_, start, how, came, message) => {
  const { digest } = layer();
  const { client: observed, told } = clientOf(fake.url);
  fake.misbehave({ kind: 'blob' }, how);
  const { bytes, error } = await drain((await observed.getBlob(PATH, digest, { start }))!.body);
  expect(bytes.length).toBe(came);
  expect(error).toEqual(failure('UPSTREAM_FAILED', message));
  expect(told.failed.map(({ kind }) => kind)).toEqual(['blob']);
  await observed.close();
});

it('a body that stalls rejects, a reader that takes its time does not', async () => {
  const slow = layer(4_000_000);
  const stalled = layer();
  const { client: hasty } = clientOf(fake.url, { timeoutMs: 1000 });
  fake.misbehave({ reference: stalled.digest }, { stall: { after: 100_000, until: new Promise(() => undefined) } });
  const unread = await hasty.getBlob(PATH, slow.digest);
  const { bytes, error } = await drain((await hasty.getBlob(PATH, stalled.digest))!.body);
  expect(bytes.length).toBe(100_000);
  expect(error).toEqual(failure('UPSTREAM_TIMEOUT', 'registry.test'));
  // The time was up for the other body as well, but it was the reader that kept it waiting.
  expect((await drain(unread!.body)).bytes.equals(slow.bytes)).toBe(true);
  await hasty.close();
});

it('whatever an upstream does to a download, what comes is the beginning of what was asked for, and all of it or an error', async () => {
  const { digest, bytes } = layer(200_000);
  const at = fc.integer({ min: 0, max: 200_100 });
  const flag = fc.constantFrom(true as const, undefined);
  await fc.assert(fc.asyncProperty(at, fc.option(at, { nil: undefined }), flag, flag, async (start, breakAfter, ignoreRange, chunked) => {
    const how = Object.fromEntries(Object.entries({ breakAfter, ignoreRange, chunked }).filter(([, value]) => value !== undefined));
    const end = fake.misbehave({ kind: 'blob' }, how);
    const { bytes: got, error } = await client.getBlob(PATH, digest, { start }).then((blob) => drain(blob!.body), (thrown: unknown) => ({ bytes: Buffer.alloc(0), error: thrown }));
    end();
    expect(got.equals(bytes.subarray(start, start + got.length))).toBe(true);
    if (error === undefined) expect(start + got.length).toBe(bytes.length);
    else expect(error).toMatchObject({ code: 'UPSTREAM_FAILED' });
  }), { numRuns: 60 });
});

it('wrong bytes are passed on: who asked verifies', async () => {
  const { digest, bytes } = layer();
  fake.misbehave({ kind: 'blob' }, { corrupt: true });
  const got = await drain((await client.getBlob(PATH, digest))!.body);
  expect([got.error, got.bytes.length, got.bytes.equals(bytes)]).toEqual([undefined, bytes.length, false]);
});

it('leaving a body ends its connection', async () => {
  const { digest } = layer(50_000_000);
  for await (const chunk of (await client.getBlob(PATH, digest))!.body) {
    expect(chunk.length).toBeGreaterThan(0);
    break;
  }
  expect(await fake.requests[0]?.closed).toBe(false);
});

it('connections are used again after answers that nobody reads', async () => {
  for (let i = 0; i < 8; i++) await client.getBlob(PATH, NOTHING);
  // Two take turns: the rest of one answer may still be on its way when the next question is asked.
  expect(new Set(fake.requests.map(({ connection }) => connection)).size).toBeLessThanOrEqual(2);
});
