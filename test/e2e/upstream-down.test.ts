/** An upstream that is gone: what was pulled before is still served, and what was not is an error, never a wrong answer. */
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Containers } from '../services/containers.ts';
import { freePort } from '../services/ports.ts';
import { makeImage, type Image } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';
import { mirrors } from './registries-conf.ts';
import { RegistryClient } from './registry-client.ts';
import { Umbra } from './umbra.ts';

describe('while an upstream is down', () => {
  let landscape: Landscape;
  let containers: Containers;
  let cached: Image;
  let uncached: Image;
  /** Asks upstream only once an hour. */
  let patient: Umbra;
  let patientClient: RegistryClient;

  beforeAll(async () => {
    landscape = await buildLandscape({ upstream: { ttl: '0s', negativeTtl: '0s' } });
    patient = landscape.use(
      await Umbra.start({
        dir: join(landscape.dir, 'patient'),
        config: {
          listeners: [{ address: `localhost:${await freePort()}` }],
          upstreams: { 'docker.io': { url: landscape.hub.url, ca: landscape.authority.certFile, ttl: '1h' } },
        },
      }),
    );
    patientClient = landscape.use(new RegistryClient(patient.url));
    containers = await Containers.create(join(landscape.dir, 'c'), mirrors(landscape.umbra.host));
    cached = await makeImage({ marker: 'cached' });
    uncached = await makeImage({ marker: 'uncached' });
    await landscape.publish('docker.io/library/cached', '1', cached);
    await landscape.publish('docker.io/library/uncached', '1', uncached);
    await patientClient.getManifest('library/cached', '1');
    await pull();
    await landscape.hub.stop();
  });
  afterAll(() => landscape?.[Symbol.asyncDispose]());
  tellOnFailure(() => landscape?.umbra);

  /** All of the image, by the name a user has for it. */
  const pull = async (): Promise<string> => {
    const marker = await containers.podman([
      'image',
      'inspect',
      '--format',
      '{{.Config.Labels.marker}}',
      (await containers.podman(['pull', '--quiet', 'docker.io/library/cached:1'])).trim(),
    ]);
    await containers.podman(['rmi', '--all', '--force']);
    return marker.trim();
  };

  test('a tag pulled before is served, with a warning once it is older than its ttl', async () => {
    const answer = await landscape.client.getManifest('library/cached', '1');
    expect(answer).toMatchObject({ status: 200, digest: cached.digest });
    expect(answer.headers).toMatchObject({
      warning: expect.stringMatching(/^(110|111|299) /),
      'umbra-source': expect.stringMatching(/upstream=docker\.io;\s*cache=stale/),
    });
    expect(await landscape.client.headManifest('library/cached', '1')).toMatchObject({ status: 200 });
  });

  test('a tag within its ttl is served without a warning', async () => {
    const answer = await patientClient.getManifest('library/cached', '1');
    expect(answer).toMatchObject({ status: 200, digest: cached.digest });
    expect(answer.headers['warning']).toBeUndefined();
  });

  test('an image pulled before is pulled whole by a client', async () => {
    expect(await pull()).toBe('cached');
  });

  test('what was pushed is served as ever', async () => {
    const pushed = await makeImage({ marker: 'pushed meanwhile' });
    await landscape.client.push('library/pushed', '1', pushed);
    const answer = await landscape.client.getManifest('library/pushed', '1');
    expect(answer).toMatchObject({ status: 200, digest: pushed.digest });
    expect(answer.headers['warning']).toBeUndefined();
  });

  test('what was never pulled is an error that leaves it open whether it exists', async () => {
    const digest = [...uncached.blobs.keys()].at(-1) ?? '';
    for (const answer of [
      await landscape.client.getManifest('library/uncached', '1'),
      await landscape.client.getManifest('library/uncached', uncached.digest),
      await landscape.client.getBlob('library/uncached', digest),
    ]) {
      expect(answer.status).toBeGreaterThanOrEqual(500);
      expect(JSON.parse(answer.bytes.toString())).toMatchObject({
        errors: [{ code: expect.stringMatching(/^UPSTREAM_(FAILED|TIMEOUT)$/), message: expect.stringContaining('docker.io') }],
      });
    }
  });

  test('a restarted Umbra still serves what was pulled before', async () => {
    await landscape.umbra.stop();
    await landscape.umbra.restart();
    expect(await pull()).toBe('cached');
  });

  test('the other upstream is not affected', async () => {
    const image = await makeImage({ marker: 'at quay' });
    await landscape.publish('quay.io/org/app', '1', image);
    expect(await landscape.client.getManifest('quay.io/org/app', '1')).toMatchObject({ status: 200, digest: image.digest });
  });

  describe('and then comes back', () => {
    beforeEach(() => landscape.hub.restart());

    test('new images are pulled, and moved tags followed, at once', async () => {
      const moved = await makeImage({ marker: 'moved' });
      await landscape.publish('docker.io/library/cached', '1', moved);
      const answer = await landscape.client.getManifest('library/cached', '1');
      expect(answer).toMatchObject({ status: 200, digest: moved.digest });
      expect(answer.headers['warning']).toBeUndefined();
      expect(await landscape.client.getManifest('library/uncached', '1')).toMatchObject({ status: 200, digest: uncached.digest });
      expect(await pull()).toBe('moved');
    });
  });
});
