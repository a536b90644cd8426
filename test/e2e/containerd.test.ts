import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Containerd } from '../services/containerd.ts';
import { makeImage, makeMultiArch, ociArchive } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';
import { shadowing } from './shadow.contract.ts';

shadowing({
  client: 'containerd',
  mirrored: ['docker.io', 'quay.io'],
  async start(landscape) {
    const containerd = landscape.use(await Containerd.start(join(landscape.dir, 'n')));
    await containerd.configure('_default', `[host."${landscape.umbra.url}"]\n  capabilities = ["pull", "resolve"]\n`);
    await containerd.configure(landscape.umbra.host, `server = "${landscape.umbra.url}"\n`);
    const archive = join(landscape.dir, 'image.tar');
    const hosts = ['--hosts-dir', containerd.hostsDir];
    return {
      async push(image, reference) {
        await writeFile(archive, ociArchive(image, reference));
        await containerd.ctr(['images', 'import', archive]);
        await containerd.ctr(['images', 'push', ...hosts, reference]);
        await containerd.ctr(['images', 'rm', '--sync', reference]);
      },
      async pull(reference) {
        await containerd.ctr(['images', 'pull', ...hosts, reference]);
        const marker = await containerd.ctr(['run', '--rm', reference, 'test']);
        await containerd.ctr(['images', 'rm', '--sync', reference]);
        return marker;
      },
    };
  },
});

describe('a kubelet’s pull through the CRI plugin', () => {
  let landscape: Landscape;
  let containerd: Containerd;
  beforeAll(async () => {
    landscape = await buildLandscape();
    containerd = landscape.use(await Containerd.start(join(landscape.dir, 'n')));
    await containerd.configure('_default', `[host."${landscape.umbra.url}"]\n  capabilities = ["pull", "resolve"]\n`);
    await landscape.publish('docker.io/library/app', '1', await makeMultiArch('hub app'));
    await landscape.publish('quay.io/org/app', '1', await makeMultiArch('quay app'));
  });
  afterAll(() => landscape?.[Symbol.asyncDispose]());
  tellOnFailure(() => landscape?.umbra);

  /** Pulls as the user would write it, and runs what came. */
  const pullAndRun = async (reference: string): Promise<string> => {
    const id = await containerd.pullByCri(reference);
    const marker = await containerd.ctr(['--namespace', 'k8s.io', 'run', '--rm', id, 'test']);
    const names = (await containerd.ctr(['--namespace', 'k8s.io', 'images', 'ls', '--quiet'])).split('\n').filter(Boolean);
    await containerd.ctr(['--namespace', 'k8s.io', 'images', 'rm', '--sync', ...names]);
    return marker;
  };

  test('gives upstream’s image, then the pushed one, then upstream’s again', async () => {
    expect(await pullAndRun('app:1')).toBe('hub app');
    expect(await pullAndRun('quay.io/org/app:1')).toBe('quay app');
    await landscape.client.push('docker.io/library/app', '1', await makeImage({ marker: 'pushed app' }));
    await landscape.client.push('quay.io/org/app', '1', await makeImage({ marker: 'pushed quay app' }));
    expect(await pullAndRun('docker.io/library/app:1')).toBe('pushed app');
    expect(await pullAndRun('quay.io/org/app:1')).toBe('pushed quay app');
    await landscape.client.call('/v2/docker.io/library/app/manifests/1', { method: 'DELETE' });
    expect(await pullAndRun('docker.io/library/app:1')).toBe('hub app');
  });

  test('of what neither has fails, and says so', async () => {
    await expect(containerd.pullByCri('docker.io/library/absent:1')).rejects.toThrow(/absent/);
  });
});
