/** What lies in a Swift container, what a deletion and a sweep take along, and what a store that refuses says. */
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { FaultProxy } from '../../../test/services/fault-proxy.ts';
import { freshContainer } from '../../../test/services/openstack.ts';
import type { AssemblyState, Driver } from '../driver.ts';
import { all, expectFailure, patterned, text, wholeOf, writeAll } from '../contract/store.contract.ts';
import { openTestSwift, rawSwift, type RawSwift } from './swift.fixture.ts';

const MIB = 1024 * 1024;
const container = freshContainer('container');
let raw: RawSwift;
let prefix: string;

beforeAll(() => {
  raw = rawSwift(inject('openstack'));
});
afterAll(async () => {
  await raw.remove(container);
  await raw.close();
});
beforeEach(() => {
  prefix = `${randomBytes(5).toString('hex')}/`;
});

/** A driver that ends with the test. */
async function opened(options: Parameters<typeof openTestSwift>[2] = {}): Promise<Driver & AsyncDisposable> {
  const driver = await openTestSwift(inject('openstack'), container, { prefix, ...options });
  return Object.assign(driver, { [Symbol.asyncDispose]: async () => await driver.close() });
}

async function gathered(driver: Driver, bytes: Buffer, from: AssemblyState = driver.assemblies.create('uploads/1')): Promise<AssemblyState> {
  const attempt = await driver.assemblies.append(from);
  await writeAll(attempt, bytes);
  return await attempt.finish();
}

const names = async (): Promise<string[]> => (await raw.names(container, prefix)).map((name) => name.slice(prefix.length));

describe('what lies in the container', () => {
  test('a small upload is the object and nothing else', async () => {
    await using driver = await opened();
    await driver.assemblies.complete(await gathered(driver, Buffer.from('a configuration')), 'blobs/a');
    expect(await names()).toEqual(['blobs/a']);
  });

  test('a large one has segments, which go with it', async () => {
    await using driver = await opened({ memoryBytes: 8 * MIB });
    const bytes = patterned(9 * MIB + 5);
    const stat = await driver.assemblies.complete(await gathered(driver, bytes), 'blobs/a');
    expect(await driver.head('blobs/a')).toEqual(stat);
    expect(await all(driver.list('blobs/'))).toEqual([{ key: 'blobs/a', ...stat }]);
    expect((await names()).filter((name) => /^!segments\/uploads\/1\/\w+\/\d+$/.test(name)).length).toBeGreaterThan(2);
    await driver.delete(['blobs/a']);
    expect(await names()).toEqual([]);
  });

  test('more segments than one manifest takes make manifests of manifests, which go with it too', async () => {
    await using driver = await opened({ memoryBytes: 4 * MIB, segmentBytes: MIB, manifestSegments: 3 });
    const bytes = patterned(10 * MIB + 700_000);
    await driver.assemblies.complete(await gathered(driver, bytes), 'blobs/a');
    expect((await names()).filter((name) => /\/m\d+$/.test(name)).length).toBe(4 + 2);
    expect((await wholeOf(driver.open('blobs/a')))?.equals(bytes)).toBe(true);
    const nowMs = (await driver.clock?.()) ?? 0;
    expect(await driver.assemblies.sweep?.({ beforeMs: nowMs + 3_600_000, inUse: async () => false })).toEqual({ removed: 0 });
    expect((await wholeOf(driver.open('blobs/a')))?.equals(bytes)).toBe(true);
    await driver.delete(['blobs/a']);
    expect(await names()).toEqual([]);
  });

  test('a tail too short for a segment is carried over to the next attempt', async () => {
    await using driver = await opened();
    let state = driver.assemblies.create('uploads/1');
    const bytes = patterned(2_500_000);
    for (let at = 0; at < bytes.length; at += 400_000) state = await gathered(driver, bytes.subarray(at, at + 400_000), state);
    const sizes = (state.parts as readonly (readonly [string, number, string])[]).map(([, size]) => size);
    expect(sizes.slice(0, -1).every((size) => size >= MIB)).toBe(true);
    await driver.assemblies.complete(state, 'blobs/a');
    expect((await wholeOf(driver.open('blobs/a')))?.equals(bytes)).toBe(true);
  });

  test('of two objects that share segments the other stays whole when one is deleted', async () => {
    await using driver = await opened();
    const bytes = patterned(2 * MIB);
    const shorter = await gathered(driver, bytes);
    const longer = await gathered(driver, Buffer.from('and more'), shorter);
    await driver.assemblies.complete(shorter, 'blobs/shorter');
    await driver.assemblies.complete(longer, 'blobs/longer');
    await driver.delete(['blobs/longer']);
    expect((await wholeOf(driver.open('blobs/shorter')))?.equals(bytes)).toBe(true);
    const nowMs = (await driver.clock?.()) ?? 0;
    await driver.assemblies.sweep?.({ beforeMs: nowMs + 3_600_000, inUse: async () => false });
    expect((await wholeOf(driver.open('blobs/shorter')))?.equals(bytes)).toBe(true);
    await driver.delete(['blobs/shorter']);
    expect((await names()).filter((name) => /\/\d+$/.test(name))).toEqual([]);
  });

  test('a completed upload that is discarded by another process keeps its bytes', async () => {
    await using driver = await opened();
    await using other = await opened();
    const bytes = patterned(2 * MIB);
    const state = await gathered(driver, bytes);
    await gathered(driver, patterned(2 * MIB, 2)); // beside it
    await driver.assemblies.complete(state, 'blobs/a');
    await other.assemblies.discard(state);
    expect((await wholeOf(driver.open('blobs/a')))?.equals(bytes)).toBe(true);
    expect((await names()).filter((name) => /\/\d+$/.test(name)).length).toBe(1);
  });
});

describe('a store that refuses', () => {
  test('a full quota is full, and says what to do', async () => {
    await using driver = await opened();
    await raw.fetch(container, { method: 'POST', headers: { 'x-container-meta-quota-bytes': '100000' } });
    try {
      await expectFailure(driver.put('large', Buffer.alloc(200_000)), 'full');
      await expectFailure(gathered(driver, Buffer.alloc(2 * MIB)), 'full');
      await expect(driver.put('large', Buffer.alloc(200_000))).rejects.toMatchObject({ byQuota: true, message: expect.stringContaining(container) as string });
    } finally {
      await raw.fetch(container, { method: 'POST', headers: { 'x-remove-container-meta-quota-bytes': 'x' } });
    }
  });

  test('a container of others is named at start, with who asked and what to grant', async () => {
    const url = (own: string): string => own.replace(/AUTH_\w+/, `AUTH_${'0'.repeat(32)}`);
    const opening = async (): Promise<void> => {
      await using driver = await opened({ url });
      await driver.check();
    };
    await expect(opening()).rejects.toThrow(new RegExp(`Swift answered 403.*${inject('openstack').username}.*${container}.*role`));
  });

  test('a container is made where it is missing', async () => {
    const missing = freshContainer('missing');
    const driver = await openTestSwift(inject('openstack'), missing);
    await driver.check();
    await driver.close();
    expect((await raw.fetch(missing, { method: 'HEAD' })).status).toBe(204);
    expect(await raw.names(missing)).toEqual([]);
    await raw.remove(missing);
  });
});

test('a signed URL gives the bytes, or a part of them, to whoever has no token', async () => {
  const { tempUrlKey } = inject('openstack');
  const bytes = patterned(2 * MIB);
  for (const options of [{ tempUrlKey }, { tempUrlKey: undefined }]) {
    await using driver = await opened({ redirect: true, ...options });
    await driver.assemblies.complete(await gathered(driver, bytes), 'blobs/a');
    const url = (await driver.redirect?.('blobs/a')) ?? '';
    expect(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(bytes)).toBe(true);
    const part = await fetch(url, { headers: { range: 'bytes=1000-1999' } });
    expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(1000, 2000))).toBe(true);
    expect((await fetch(url.replace('blobs/a', 'blobs/b'))).status).toBe(401);
  }
});

describe('answers that do not come', () => {
  const through = (proxy: FaultProxy) => ({ url: (url: string): string => url.replace(inject('openstack').swiftOrigin, proxy.url) });

  test('a conditional put and a claim whose answers are lost are one\'s own', async () => {
    await using proxy = await FaultProxy.start({ origin: inject('openstack').swiftOrigin, store: 'swift' });
    await using driver = await opened(through(proxy));
    const lost = proxy.add({ fault: { kind: 'lost' }, match: { methods: ['PUT'] }, when: 'once per url' });
    await driver.put('once', Buffer.from('mine'), { when: 'absent' });
    expect(text((await driver.get('once'))?.bytes)).toBe('mine');
    await expectFailure(driver.put('once', Buffer.from('mine'), { when: 'absent' }), 'exists');
    expect(await driver.claim('claimed', Buffer.from('mine'))).toMatchObject({ won: true, value: Buffer.from('mine') });
    expect(lost.happened).toBe(2);
  });

  test('a segment that is corrupted, cut or refused on the way is sent again', async () => {
    await using proxy = await FaultProxy.start({ origin: inject('openstack').swiftOrigin, store: 'swift' });
    await using driver = await opened({ ...through(proxy), memoryBytes: 2 * MIB });
    const bytes = patterned(7 * MIB);
    const path = /segments\/uploads.*\/\d{5}$/;
    const rules = [
      proxy.add({ fault: { kind: 'corrupted', body: 'request' }, match: { methods: ['PUT'], path }, when: { first: 1 } }),
      proxy.add({ fault: { kind: 'reset', at: 'request body' }, match: { methods: ['PUT'], path }, when: { every: 3 } }),
      proxy.add({ fault: { kind: 'status', status: 503 }, match: { methods: ['PUT'], path }, when: { every: 4 } }),
    ];
    await driver.assemblies.complete(await gathered(driver, bytes), 'blobs/a');
    expect(rules.map(({ happened }) => happened > 0)).toEqual([true, true, true]);
    for (const rule of rules) rule.stop();
    const read = await wholeOf(driver.open('blobs/a'));
    expect(createHash('sha256').update(read ?? '').digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  test('a body that breaks goes on where it broke, and never with another object\'s bytes', async () => {
    await using proxy = await FaultProxy.start({ origin: inject('openstack').swiftOrigin, store: 'swift' });
    await using driver = await opened(through(proxy));
    const bytes = patterned(3 * MIB);
    await driver.put('key', bytes);
    const source = await driver.open('key');
    const cut = proxy.add({ fault: { kind: 'truncated', end: 'closed' }, match: { methods: ['GET'] }, when: { first: 4 } });
    expect((await wholeOf(Promise.resolve(source)))?.equals(bytes)).toBe(true);
    expect(cut.happened).toBe(4);
    const other = await driver.open('key');
    await driver.put('key', patterned(3 * MIB, 2));
    await expectFailure(wholeOf(Promise.resolve(other)), 'permanent');
  });
});
