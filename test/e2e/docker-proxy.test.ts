/** A plain dockerd that is told of no registry but of a proxy: what was pushed is what it gets of every upstream, by upstream's own name. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEBIAN_PATH, run } from '../services/command.ts';
import { Containers } from '../services/containers.ts';
import { Docker } from '../services/docker.ts';
import { freePort } from '../services/ports.ts';
import { dockerArchive, makeImage, writeLayout } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';

describe('docker behind the proxy', () => {
  let landscape: Landscape;
  let docker: Docker;
  /** As `umbra ca` prints it. */
  let ca: string;
  let port: string;
  beforeAll(async () => {
    landscape = await buildLandscape({ also: ['ghcr.io'], config: async () => ({ listeners: [{ address: `localhost:${await freePort()}`, proxy: true }], auth: { anonymous: 'pull', users: [{ name: 'ci', password: 'pw-of-ci', access: 'push' }] } }) });
    port = new URL(landscape.umbra.url).port;
    ca = await run(join(import.meta.dirname, '../../bin/umbra'), ['ca', '-c', landscape.umbra.configFile], { env: { PATH: `${dirname(process.execPath)}:${DEBIAN_PATH}` } });
    const caFile = join(landscape.dir, 'umbra-ca.crt');
    await writeFile(caFile, ca);
    docker = landscape.use(await Docker.start({ dir: join(landscape.dir, 'd'), caFile, proxy: `http://127.0.0.1:${port}` }));
    await landscape.publish('docker.io/library/plain', '1', await makeImage({ marker: 'hub plain' }));
    await landscape.publish('quay.io/org/app', '1', await makeImage({ marker: 'quay app' }));
    await landscape.publish('quay.io/org/app', '2', await makeImage({ marker: 'quay app 2' }));
    await landscape.publish('ghcr.io/org/app', '1', await makeImage({ marker: 'ghcr app' }));
    const layout = join(landscape.dir, 'layout');
    await writeLayout(layout, 'x', await makeImage({ marker: 'pushed app' }));
    const containers = await Containers.create(join(landscape.dir, 'c'));
    await containers.skopeo(['copy', '--dest-tls-verify=false', '--dest-creds', 'ci:pw-of-ci', `oci:${layout}:x`, `docker://${landscape.umbra.host}/quay.io/org/app:1`]);
  });
  afterAll(() => landscape?.[Symbol.asyncDispose]());
  tellOnFailure(() => landscape?.umbra);

  const markerBy = async (one: Docker, reference: string): Promise<string> => {
    await one.run(['pull', '--quiet', reference]);
    return (await one.run(['inspect', '--format', '{{.Config.Labels.marker}}', reference])).trim();
  };

  test.each([
    ['quay.io/org/app:1', 'pushed app'],
    ['quay.io/org/app:2', 'quay app 2'],
    ['plain:1', 'hub plain'],
    ['ghcr.io/org/app:1', 'ghcr app'],
  ])('pulls %s: %s', async (reference, marker) => expect(await markerBy(docker, reference)).toBe(marker));

  test('pushes to Umbra, logged in there by the name of the registry', async () => {
    const reference = 'quay.io/org/own:1';
    await docker.run(['load'], { input: dockerArchive(await makeImage({ marker: reference }), reference) });
    expect(await docker.attempt(['push', reference])).toMatchObject({ code: 1, stderr: expect.stringMatching(/denied|unauthorized|authentication required/) });
    await docker.run(['login', '--username', 'ci', '--password-stdin', 'quay.io'], { input: 'pw-of-ci' });
    await docker.run(['push', reference]);
    expect(await landscape.client.getManifest('quay.io/org/own', '1')).toMatchObject({ status: 200, headers: { 'umbra-source': 'view=main' } });
    expect(landscape.quay.requests.filter((request) => /^(?:POST|PUT|PATCH) .*own/.test(request))).toEqual([]);
  });

  test('builds FROM the pushed image with BuildKit', async () => {
    const context = join(landscape.dir, 'context');
    await mkdir(context);
    await writeFile(join(context, 'Dockerfile'), 'FROM quay.io/org/app:1\nRUN cat /marker >/built\nCMD ["/bin/cat", "/built"]\n');
    await docker.run(['build', '--pull', '--no-cache', '--network', 'none', '--tag', 'built', context], { env: { DOCKER_BUILDKIT: '1' } });
    expect(await docker.run(['run', '--rm', '--network', 'none', 'built'])).toBe('pushed app');
  });

  test('is told why, where it asks for a registry that is no upstream', async () => {
    const refused = await docker.attempt(['pull', 'registry.example.org/x:1']);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('registry.example.org:443 is no upstream of this proxy and is not let through: listeners[].tunnel names what is') });
  });

  test('by IPv6, trusts for each registry what its certs.d has, and Docker Hub only with the system', async () => {
    await using other = await Docker.start({ dir: join(landscape.dir, 'e'), proxy: `http://[::1]:${port}`, registryCas: { 'quay.io': ca, 'docker.io': ca, 'registry-1.docker.io': ca, 'index.docker.io': ca } });
    expect(await markerBy(other, 'quay.io/org/app:1')).toBe('pushed app');
    expect(await other.attempt(['pull', 'plain:1'])).toMatchObject({ code: 1, stderr: expect.stringMatching(/x509: certificate signed by unknown authority/) });
    // It comes by a pipe; the bound is the test's own timeout.
    while (!/"msg":"a client of the proxy broke off TLS; .*"host":"registry-1\.docker\.io"/.test(landscape.umbra.output)) await delay(20);
  });
});
