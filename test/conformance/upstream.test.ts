/**
 * Distribution-spec (main): what a registry that proxies says of its upstream: `Retry-After` with 429 ("Error Codes"),
 * `Warning` ("Warnings"), `ns` ("Registry Proxying").
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startUmbra, type TestUmbra } from '../support/umbra.ts';
import { fakeUpstream, type FakeUpstream } from '../support/fake-upstream.ts';
import { openClient, type Client } from './client.ts';
import { expectError } from './registry.ts';

const HOST = 'upstream.example.org';
let upstream: FakeUpstream;
let umbra: TestUmbra;
let client: Client;

beforeAll(async () => {
  upstream = await fakeUpstream();
  // Every answer is stale at once, so that each pull asks the upstream.
  umbra = await startUmbra({ upstreams: { [HOST]: { url: upstream.url, policy: 'proxy', ttl: '0s', negativeTtl: '0s' } } });
  client = openClient(umbra.origin);
});

afterAll(async () => {
  await client.close();
  await umbra.close();
  await upstream.close();
});

test('spec (main) §Registry Proxying: a pull scoped by ns comes from that upstream', async () => {
  const image = upstream.content.addImage('org/scoped', { tag: 'v1' });
  const answer = await client.send('GET', `/v2/org/scoped/manifests/v1?ns=${HOST}`);
  expect(answer.status).toBe(200);
  expect(answer.header('oci-namespace')).toBe(HOST);
  expect(answer.header('docker-content-digest')).toBe(image.digest);
});

test('spec §Warnings: a stale answer carries a Warning of the form that is asked for', async () => {
  upstream.content.addImage('org/stale', { tag: 'v1' });
  const path = `/v2/${HOST}/org/stale/manifests/v1`;
  const fresh = await client.send('GET', path);
  expect(fresh.header('warning')).toBeUndefined();
  upstream.misbehave({ path: 'org/stale' }, { status: 503 });
  for (const method of ['GET', 'HEAD']) {
    const stale = await client.send(method, path);
    expect(stale.status).toBe(200);
    expect(stale.header('docker-content-digest')).toBe(fresh.header('docker-content-digest'));
    expect(stale.header('warning')).toMatch(/^299 - "[^"]+"$/);
    expect(stale.header('warning')?.length).toBeLessThan(4096);
  }
});

// Last: a refused upstream is left alone for as long as it asked.
test('code-14: an upstream that has had too many requests is 429 TOOMANYREQUESTS with Retry-After', async () => {
  upstream.misbehave({ path: 'org/limited' }, { status: 429, headers: { 'retry-after': '30' } });
  const answer = await client.send('GET', `/v2/${HOST}/org/limited/manifests/v1`);
  expectError(answer, 429, 'TOOMANYREQUESTS');
  const seconds = Number(answer.header('retry-after'));
  expect(seconds).toBeGreaterThan(0);
  expect(seconds).toBeLessThanOrEqual(30);
});
