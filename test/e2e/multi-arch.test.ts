/** Images for several platforms: their indexes pass byte for byte, and only what is asked for is fetched. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf, hexOf } from '../../src/oci/digest.ts';
import { Containers } from '../services/containers.ts';
import { makeImage, makeIndex, makeMultiArch, writeLayout } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';
import { insecure, mirrors } from './registries-conf.ts';

describe('an image for several platforms', () => {
  let landscape: Landscape;
  let containers: Containers;
  beforeAll(async () => {
    landscape = await buildLandscape({ upstream: { ttl: '0s' } });
    const { host } = landscape.umbra;
    containers = await Containers.create(join(landscape.dir, 'c'), insecure(host) + mirrors(host));
  });
  afterAll(() => landscape?.[Symbol.asyncDispose]());
  tellOnFailure(() => landscape?.umbra);

  test.each(['oci', 'docker'] as const)('keeps all its digests when copied from upstream into Umbra (%s)', async (format) => {
    const image = await makeMultiArch(`copied ${format}`, format);
    await landscape.publish('docker.io/org/multi', format, image);
    const { host } = landscape.umbra;
    await containers.skopeo([
      'copy',
      '--all',
      '--preserve-digests',
      `docker://docker.io/org/multi:${format}`,
      `docker://${host}/local.example/multi:${format}`,
    ]);
    await landscape.hub.stop();
    try {
      const index = await landscape.client.getManifest('local.example/multi', format);
      expect(index).toMatchObject({ status: 200, digest: image.digest });
      expect(index.headers).toMatchObject({ 'docker-content-digest': image.digest, 'content-type': image.mediaType });
      for (const child of image.children) {
        expect(await landscape.client.getManifest('local.example/multi', child.digest)).toMatchObject({
          status: 200,
          digest: child.digest,
        });
        for (const digest of child.blobs.keys()) {
          expect(await landscape.client.getBlob('local.example/multi', digest)).toMatchObject({ status: 200, digest });
        }
      }
    } finally {
      await landscape.hub.restart();
    }
  });

  test('keeps its digests when pushed from a layout and pulled into another', async () => {
    const image = await makeMultiArch('from a layout');
    const from = join(landscape.dir, 'from');
    const to = join(landscape.dir, 'to');
    await writeLayout(from, 'x', image);
    const reference = `docker://${landscape.umbra.host}/docker.io/org/layout:1`;
    await containers.forgetBlobs();
    await containers.skopeo(['copy', '--all', '--preserve-digests', `oci:${from}:x`, reference]);
    await containers.skopeo(['copy', '--all', '--preserve-digests', reference, `oci:${to}:x`]);
    for (const { digest } of [image, ...image.children]) {
      expect(digestOf(await readFile(join(to, 'blobs/sha256', hexOf(digest))))).toBe(digest);
    }
  });

  test('is pulled for one platform without the others being fetched, and stays available when upstream is gone', async () => {
    const image = await makeMultiArch('one platform');
    const [amd64, arm64] = image.children;
    await landscape.publish('docker.io/org/one', '1', image);
    const before = landscape.hub.requests.length;
    await containers.podman(['pull', '--quiet', '--arch', 'amd64', 'docker.io/org/one:1']);
    const asked = landscape.hub.requests.slice(before).join('\n');
    expect(asked).toContain(amd64?.digest);
    for (const digest of [arm64?.digest, ...(arm64?.blobs.keys() ?? [])]) {
      // The root filesystem is shared by both.
      if (digest !== undefined && !amd64?.blobs.has(digest)) expect(asked).not.toContain(digest);
    }

    await containers.podman(['rmi', '--all', '--force']);
    await landscape.hub.stop();
    try {
      await containers.podman(['pull', '--quiet', '--arch', 'amd64', 'docker.io/org/one:1']);
      expect(await landscape.client.getManifest('docker.io/org/one', '1')).toMatchObject({ status: 200, digest: image.digest });
      const missing = await landscape.client.getManifest('docker.io/org/one', arm64?.digest ?? '');
      expect(missing.status).toBeGreaterThanOrEqual(500);
    } finally {
      await landscape.hub.restart();
    }
    expect(await landscape.client.getManifest('docker.io/org/one', arm64?.digest ?? '')).toMatchObject({
      status: 200,
      digest: arm64?.digest,
    });
  });

  test('whose index holds an index passes through byte for byte', async () => {
    const image = makeIndex([await makeMultiArch('nested'), await makeImage({ marker: 'beside the nested' })]);
    await landscape.publish('quay.io/org/nested', '1', image);
    for (const { digest } of [image, ...image.children, ...(image.children[0]?.children ?? [])]) {
      expect(await landscape.client.getManifest('quay.io/org/nested', digest)).toMatchObject({ status: 200, digest });
    }
    for (const digest of image.children[1]?.blobs.keys() ?? []) {
      expect(await landscape.client.getBlob('quay.io/org/nested', digest)).toMatchObject({ status: 200, digest });
    }
  });
});
