/** A node's registry over a real Keystone and Swift that go away, refuse it, and come back. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { get, pushImage, type Pushed } from '../support/push.ts';
import { fakeUpstream, type FakeUpstream } from '../support/fake-upstream.ts';
import type { FakeImage } from '../support/fake-content.ts';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';
import type { Fault } from '../services/fault-rules.ts';
import { swiftBehindFaults, type StoreBehindFaults } from './behind-faults.ts';

const WAIT_MS = 120_000;
const AWAY: Fault = { kind: 'reset', at: 'request' };
const REVOKED: Fault = { kind: 'status', status: 401 };
const disk = mkdtempSync(join(tmpdir(), 'umbra-node-disk-'));
let store: StoreBehindFaults;
let image: Pushed;
let hub: FakeUpstream;
let cached: FakeImage;

beforeAll(async () => {
  store = await swiftBehindFaults(inject('openstack'), 1);
  hub = await fakeUpstream();
  cached = hub.content.addImage('library/theirs', { tag: 'v1' });
  await using umbra = await start();
  image = await pushImage(umbra.origin, 'app', 'v1', 'a layer');
  // So that the disk has it.
  await pull(umbra);
}, WAIT_MS);
afterAll(async () => {
  await hub.close();
  await store[Symbol.asyncDispose]();
  rmSync(disk, { recursive: true });
});

async function start(root = disk): Promise<TestUmbra & AsyncDisposable> {
  const umbra = await startUmbra({ storage: { ...store.storage, disk: { root, maxBytes: '64MiB' } }, upstreams: { 'docker.io': { url: hub.url, ttl: '1ms' } }, limits: { drain: '0' } });
  return { ...umbra, [Symbol.asyncDispose]: async () => await umbra.close() };
}

function fails(fault: Fault): void {
  for (const proxy of [store.store, store.keystone]) proxy?.add({ fault });
}

function works(): void {
  for (const proxy of [store.store, store.keystone]) proxy?.clear();
}

/** What was pushed, and what upstream has: @returns the warning */
async function pull({ origin }: TestUmbra): Promise<string | null> {
  const theirs = await get(origin, 'library/theirs/manifests/v1');
  expect([theirs.status, theirs.digest]).toEqual([200, cached.digest]);
  for (const { digest, bytes } of [cached.config, ...cached.layers]) {
    const blob = await get(origin, `library/theirs/blobs/${digest}`);
    expect([blob.status, blob.bytes.equals(bytes)]).toEqual([200, true]);
  }
  const manifest = await get(origin, 'app/manifests/v1');
  expect([manifest.status, manifest.digest]).toEqual([200, image.digest]);
  const layer = await get(origin, `app/blobs/${image.layer.digest}`);
  expect([layer.status, layer.bytes.equals(image.layer.bytes)]).toEqual([200, true]);
  return manifest.warning;
}

test.each([['is away', AWAY], ['refuses the node', REVOKED]])('while the store %s, what the disk has is served, also after a restart, and nothing is written', async (what, fault) => {
  await using before = await start();
  expect(await pull(before)).toBeNull();
  fails(fault);
  try {
    await expect.poll(async () => await pull(before), { timeout: WAIT_MS }).toContain('this is what this node saw last');
    await before.close();
    await using umbra = await start();
    expect(await pull(umbra)).toContain('the storage of the registry does not answer; this is what this node saw last');
    expect((await get(umbra.origin, 'app/manifests/never')).status).toBeGreaterThanOrEqual(500);
    await expect(pushImage(umbra.origin, 'app', 'v2', 'another layer')).rejects.toThrow(/: 50[03] /);
    works();
    await expect.poll(async () => await pull(umbra), { timeout: WAIT_MS, interval: 200 }).toBeNull();
    await pushImage(umbra.origin, 'app', `after-${what.length}`, 'a later layer');
  } finally {
    works();
  }
}, WAIT_MS);

test('a disk that has nothing is no reason to start without a store', async () => {
  const empty = mkdtempSync(join(tmpdir(), 'umbra-node-disk-'));
  fails(REVOKED);
  try {
    await expect(start(empty)).rejects.toThrow('refused user');
  } finally {
    works();
    rmSync(empty, { recursive: true });
  }
}, WAIT_MS);
