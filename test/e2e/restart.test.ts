/** Umbra asked to stop while clients are at work: what is in flight ends well, and uploads go on after a restart. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { makeImage, pseudoRandom } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';
import { RegistryClient } from './registry-client.ts';

describe.each([1, 2])('a server of %i worker(s) that is told to stop', (workers) => {
  let landscape: Landscape;
  beforeAll(async () => {
    landscape = await buildLandscape({ config: () => ({ workers }) });
  });
  afterAll(() => landscape?.[Symbol.asyncDispose]());
  tellOnFailure(() => landscape?.umbra);

  test('finishes a pull in flight, takes no other, and then ends', async () => {
    const bytes = pseudoRandom('in flight', 64 * 1024 * 1024);
    const digest = await landscape.client.pushBlob('org/large', bytes);
    const request = get(`${landscape.umbra.url}/v2/org/large/blobs/${digest}`);
    // A listener of `response` gets the message.
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    await once(response, 'readable');

    const stopped = landscape.umbra.stop();
    while (await isListening(landscape.umbra.host)) continue;
    const hash = createHash('sha256');
    for await (const chunk of response) hash.update(chunk as Buffer);
    expect(`sha256:${hash.digest('hex')}`).toBe(digest);
    await stopped;
    await landscape.umbra.restart();
  });

  test('keeps what was uploaded, so that the upload goes on after a restart', async () => {
    const bytes = pseudoRandom('in two parts', 3_000_000);
    const headers = { 'content-type': 'application/octet-stream' };
    const start = await landscape.client.call('/v2/org/resumed/blobs/uploads/', { method: 'POST' });
    const first = await landscape.client.call(start.headers['location'] ?? '', {
      method: 'PATCH',
      headers,
      body: bytes.subarray(0, 2_000_000),
    });
    expect(first.status).toBe(202);
    await landscape.umbra.stop();
    await landscape.umbra.restart();

    await using client = new RegistryClient(landscape.umbra.url);
    const location = first.headers['location'] ?? '';
    expect(await client.call(location)).toMatchObject({ status: 204, headers: { range: '0-1999999' } });
    const rest = { method: 'PATCH', headers: { ...headers, 'content-range': '2000000-2999999' }, body: bytes.subarray(2_000_000) } as const;
    const second = await client.call(location, rest);
    expect(second.status).toBe(202);
    const end = new URL(second.headers['location'] ?? '', client.url);
    end.searchParams.set('digest', digestOf(bytes));
    expect(await client.call(end.href, { method: 'PUT' })).toMatchObject({ status: 201 });
    expect(await client.getBlob('org/resumed', digestOf(bytes))).toMatchObject({ status: 200, digest: digestOf(bytes) });
  });

  test('serves after the restart all that was pushed and pulled through before', async () => {
    const [pushed, upstreams] = [await makeImage({ marker: 'pushed' }), await makeImage({ marker: 'upstream’s' })];
    await using client = new RegistryClient(landscape.umbra.url);
    await client.push('org/pushed', '1', pushed);
    await landscape.publish('docker.io/org/pulled', '1', upstreams);
    expect(await client.getManifest('org/pulled', '1')).toMatchObject({ status: 200 });
    await landscape.umbra.stop();
    await landscape.umbra.restart();
    await using after = new RegistryClient(landscape.umbra.url);
    expect(await after.getManifest('org/pushed', '1')).toMatchObject({ status: 200, digest: pushed.digest });
    expect(await after.getManifest('org/pulled', '1')).toMatchObject({ status: 200, digest: upstreams.digest });
    expect((await after.call('/v2/org/pushed/tags/list')).bytes.toString()).toBe('{"name":"org/pushed","tags":["1"]}');
  });
});

async function isListening(host: string): Promise<boolean> {
  const [hostname, port] = host.split(':');
  const socket = connect({ host: hostname ?? '', port: Number(port) });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
