/** Builds whose base image is shadowed: the build must begin from what was pushed, told only upstream's name. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Containers } from '../services/containers.ts';
import { Docker } from '../services/docker.ts';
import { makeImage } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';
import { insecure, mirrors } from './registries-conf.ts';

const DOCKERFILE = `FROM docker.io/library/base:1
RUN cat /marker >/built && echo " and more" >>/built
CMD ["/bin/cat", "/built"]
`;

describe('a build FROM a name of Docker Hub', () => {
  let landscape: Landscape;
  let context: string;
  beforeAll(async () => {
    landscape = await buildLandscape();
    context = join(landscape.dir, 'context');
    await mkdir(context);
    await writeFile(join(context, 'Dockerfile'), DOCKERFILE);
    await landscape.publish('docker.io/library/base', '1', await makeImage({ marker: 'hub base' }));
  });
  afterAll(() => landscape?.[Symbol.asyncDispose]());
  tellOnFailure(() => landscape?.umbra);

  /** Builds with upstream's base image, with a pushed one, and with upstream's again. */
  const expectShadowing = async (build: () => Promise<string>): Promise<void> => {
    expect(await build()).toBe('hub base and more\n');
    await landscape.client.push('docker.io/library/base', '1', await makeImage({ marker: 'pushed base' }));
    expect(await build()).toBe('pushed base and more\n');
    await landscape.client.call('/v2/docker.io/library/base/manifests/1', { method: 'DELETE' });
    expect(await build()).toBe('hub base and more\n');
  };

  test('by buildah begins from the pushed image', async () => {
    const { host } = landscape.umbra;
    const containers = await Containers.create(join(landscape.dir, 'b'), insecure(host) + mirrors(host));
    await expectShadowing(async () => {
      const args = ['bud', '--quiet', '--pull-always', '--isolation', 'chroot', '--network', 'host', '--tag', 'localhost/built', context];
      const id = (await containers.buildah(args)).trim();
      return containers.podman(['run', '--rm', id]);
    });
  });

  describe.each([
    ['docker’s own builder', '0'],
    ['BuildKit', '1'],
  ])('by %s', (_, buildkit) => {
    test('begins from the pushed image', async () => {
      await using docker = await Docker.start({ dir: join(landscape.dir, `d${buildkit}`), mirrors: [landscape.umbra.url] });
      await expectShadowing(async () => {
        const args = ['build', '--pull', '--no-cache', '--network', 'none', '--tag', 'built', context];
        await docker.run(args, { env: { DOCKER_BUILDKIT: buildkit } });
        return docker.run(['run', '--rm', '--network', 'none', 'built']);
      });
    });
  });
});
