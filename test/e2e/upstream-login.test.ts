/** Upstreams that want a login: Umbra gives its own, and only to them. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DockerRegistryAuth } from '../services/docker-registry.ts';
import { TokenServer } from '../services/token-server.ts';
import { secretsIn } from '../support/secrets.ts';
import { makeMultiArch } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';
import { RegistryClient } from './registry-client.ts';
import { Umbra } from './umbra.ts';

const username = 'umbra-at-upstream';
const password = 'pw-of-umbra-at-upstream-90ab3d';

describe.each(['basic', 'bearer'] as const)('an upstream with %s authentication', (kind) => {
  let landscape: Landscape;
  let tokens: TokenServer | undefined;
  beforeAll(async () => {
    landscape = await buildLandscape({
      async hubAuth(authority, stack) {
        if (kind === 'basic') return { auth: { kind, username, password }, username, password };
        tokens = stack.use(await TokenServer.start({ authority, username, password }));
        return { auth: { kind, tokens } satisfies DockerRegistryAuth, username, password };
      },
    });
  });
  afterAll(() => landscape?.[Symbol.asyncDispose]());
  tellOnFailure(() => landscape?.umbra);

  test('is pulled from with the credentials of the configuration, which are in no log', async () => {
    const image = await makeMultiArch(`behind ${kind}`);
    await landscape.publish('docker.io/org/private', '1', image);
    expect(await landscape.client.getManifest('docker.io/org/private', '1')).toMatchObject({ status: 200, digest: image.digest });
    for (const child of image.children) {
      expect(await landscape.client.getManifest('docker.io/org/private', child.digest)).toMatchObject({
        status: 200,
        digest: child.digest,
      });
      for (const digest of child.blobs.keys())
        expect(await landscape.client.getBlob('docker.io/org/private', digest)).toMatchObject({ status: 200, digest });
    }
    expect(tokens?.scopes.at(-1)).toBe(kind === 'bearer' ? 'repository:org/private:pull' : undefined);
    expect(landscape.umbra.output).toContain('org/private');
    expect(secretsIn(landscape.umbra.output, { [username]: password })).toEqual([]);
  });

  test('is not pulled from with a wrong password, and the answer does not tell it', async () => {
    const image = await makeMultiArch(`refused by ${kind}`);
    await landscape.publish('docker.io/org/refused', '1', image);
    const wrong = 'pw-wrong-at-upstream-11cc22';
    await using umbra = await Umbra.start({
      dir: join(landscape.dir, 'wrong'),
      config: { upstreams: { 'docker.io': { url: landscape.hub.url, ca: landscape.authority.certFile, username, password: wrong } } },
    });
    await using client = new RegistryClient(umbra.url);
    const answer = await client.getManifest('docker.io/org/refused', '1');
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(secretsIn(answer.bytes.toString() + umbra.output, { [username]: wrong })).toEqual([]);
  });
});
