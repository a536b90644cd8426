import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Docker } from '../services/docker.ts';
import { freePort } from '../services/ports.ts';
import { dockerArchive, makeImage } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';
import { RegistryClient } from './registry-client.ts';
import { shadowing } from './shadow.contract.ts';

shadowing({
  client: 'docker',
  // The classic dockerd knows mirrors of Docker Hub only.
  mirrored: ['docker.io'],
  async start(landscape) {
    const docker = landscape.use(await Docker.start({ dir: join(landscape.dir, 'd'), mirrors: [landscape.umbra.url] }));
    return {
      async push(image, reference) {
        await docker.run(['load'], { input: dockerArchive(image, reference) });
        await docker.run(['push', reference]);
        await docker.run(['rmi', '--force', reference]);
      },
      async pull(reference) {
        await docker.run(['pull', '--quiet', reference]);
        const marker = await docker.run(['inspect', '--format', '{{.Config.Labels.marker}}', reference]);
        await docker.run(['rmi', '--force', reference]);
        return marker.trim();
      },
    };
  },
});

describe('docker, which tells no upstream apart', () => {
  let landscape: Landscape;
  let docker: Docker;
  let quayHost: string;
  beforeAll(async () => {
    landscape = await buildLandscape({
      config: async () => ({
        listeners: [
          { address: `localhost:${await freePort()}`, mirror: true },
          { address: `localhost:${await freePort()}`, upstream: 'quay.io' },
        ],
      }),
    });
    quayHost = landscape.umbra.hosts[1] ?? '';
    docker = landscape.use(await Docker.start({ dir: join(landscape.dir, 'd'), mirrors: [landscape.umbra.url] }));
    await landscape.publish('docker.io/org/app', '1', await makeImage({ marker: 'hub app' }));
    await landscape.publish('quay.io/org/app', '1', await makeImage({ marker: 'quay app', format: 'docker' }));
  });
  afterAll(() => landscape?.[Symbol.asyncDispose]());
  tellOnFailure(() => landscape?.umbra);

  test('runs an image of each by a listener of its own', async () => {
    const run = (reference: string): Promise<string> => docker.run(['run', '--rm', '--network', 'none', '--pull', 'always', reference]);
    expect(await run('org/app:1')).toBe('hub app');
    expect(await run(`${quayHost}/org/app:1`)).toBe('quay app');
  });

  test('pulls by the digest that it was told for a tag, also after a push covered the tag', async () => {
    await docker.run(['pull', '--quiet', 'org/app:1']);
    const [reference = ''] = JSON.parse(await docker.run(['inspect', '--format', '{{json .RepoDigests}}', 'org/app:1'])) as string[];
    expect(reference).toMatch(/^org\/app@sha256:/);
    await docker.run(['rmi', '--force', 'org/app:1']);
    await using client = new RegistryClient(`http://${quayHost}`);
    await client.push('docker.io/org/app', '1', await makeImage({ marker: 'pushed app' }));
    expect(await docker.run(['run', '--rm', '--network', 'none', reference])).toBe('hub app');
    expect(await docker.run(['run', '--rm', '--network', 'none', 'org/app:1'])).toBe('pushed app');
  });
});
