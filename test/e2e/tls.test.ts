/** Umbra behind HTTPS of its own, with a certificate of an authority that the clients are told to trust. */
import { once } from 'node:events';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Authority, Leaf } from '../services/certificates.ts';
import { Containerd } from '../services/containerd.ts';
import { Containers } from '../services/containers.ts';
import { Docker } from '../services/docker.ts';
import { freePort } from '../services/ports.ts';
import { dockerArchive, makeImage, ociArchive, writeLayout } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';

describe('a listener with TLS', () => {
  let landscape: Landscape;
  let leaf: Leaf;
  let host: string;
  beforeAll(async () => {
    landscape = await buildLandscape({
      async config(authority: Authority) {
        leaf = await authority.issue('umbra');
        return {
          listeners: [{ address: `localhost:${await freePort()}`, tls: { cert: leaf.certFile, key: leaf.keyFile } }],
          auth: { anonymous: 'pull', users: [{ name: 'ci', password: 'pw-of-ci', access: 'push' }] },
        };
      },
    });
    host = landscape.umbra.host;
    await landscape.publish('docker.io/library/plain', '1', await makeImage({ marker: 'hub plain' }));
  });
  afterAll(() => landscape?.[Symbol.asyncDispose]());
  tellOnFailure(() => landscape?.umbra);

  test('is pushed to and pulled from by docker, as a registry and as a mirror', async () => {
    await using docker = await Docker.start({
      dir: join(landscape.dir, 'd'),
      caFile: landscape.authority.certFile,
      mirrors: [landscape.umbra.url],
    });
    const reference = `${host}/docker.io/library/own:1`;
    await docker.run(['load'], { input: dockerArchive(await makeImage({ marker: 'by docker' }), reference) });
    await docker.run(['login', '--username', 'ci', '--password-stdin', host], { input: 'pw-of-ci' });
    await docker.run(['push', reference]);
    await docker.run(['rmi', '--force', reference]);
    for (const [name, marker] of [
      ['plain:1', 'hub plain'],
      ['own:1', 'by docker'],
      [reference, 'by docker'],
    ] as const) {
      await docker.run(['pull', '--quiet', name]);
      expect(await docker.run(['inspect', '--format', '{{.Config.Labels.marker}}', name])).toBe(`${marker}\n`);
    }
  });

  test('is refused by clients that do not know the authority', async () => {
    const containers = await Containers.create(join(landscape.dir, 'stranger'));
    const refused = await containers.attempt('skopeo', ['inspect', `docker://${host}/library/plain:1`]);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/certificate/) });
  });

  test('is pushed to and pulled from by skopeo, podman and buildah', async () => {
    const containers = await Containers.create(join(landscape.dir, 'c'));
    await containers.trust(host, landscape.authority.pem);
    const layout = join(landscape.dir, 'layout');
    await writeLayout(layout, 'x', await makeImage({ marker: 'by skopeo' }));
    await containers.skopeo(['copy', '--dest-creds', 'ci:pw-of-ci', `oci:${layout}:x`, `docker://${host}/docker.io/org/skopeo:1`]);
    const id = (await containers.podman(['pull', '--quiet', `${host}/org/skopeo:1`])).trim();
    await containers.podman(['push', '--creds', 'ci:pw-of-ci', id, `${host}/docker.io/org/podman:1`]);
    await containers.buildah(['push', '--creds', 'ci:pw-of-ci', id, `docker://${host}/docker.io/org/buildah:1`]);
    for (const name of ['org/podman:1', 'org/buildah:1']) {
      const config = await containers.skopeo(['inspect', '--format', '{{.Labels.marker}}', `docker://${host}/${name}`]);
      expect(config).toBe('by skopeo\n');
    }
  });

  test('is pushed to and pulled from by containerd', async () => {
    await using containerd = await Containerd.start(join(landscape.dir, 'n'));
    await containerd.configure(host, `server = "https://${host}"\n[host."https://${host}"]\n  ca = "${landscape.authority.certFile}"\n`);
    await containerd.configure(
      'docker.io',
      `[host."https://${host}"]\n  ca = "${landscape.authority.certFile}"\n  capabilities = ["pull", "resolve"]\n`,
    );
    const reference = `${host}/docker.io/org/containerd:1`;
    const archive = join(landscape.dir, 'image.tar');
    await writeFile(archive, ociArchive(await makeImage({ marker: 'by containerd' }), reference));
    await containerd.ctr(['images', 'import', archive]);
    await containerd.ctr(['images', 'push', '--hosts-dir', containerd.hostsDir, '--user', 'ci:pw-of-ci', reference]);
    await containerd.ctr(['images', 'rm', '--sync', reference]);
    await containerd.ctr(['images', 'pull', '--hosts-dir', containerd.hostsDir, 'docker.io/org/containerd:1']);
    expect(await containerd.ctr(['run', '--rm', 'docker.io/org/containerd:1', 'test'])).toBe('by containerd');
  });

  test('serves a renewed certificate without a restart', async () => {
    const before = await serialOf(host, landscape.authority);
    const renewed = await landscape.authority.issue('renewed');
    await copyFile(renewed.keyFile, leaf.keyFile);
    await copyFile(renewed.certFile, leaf.certFile);
    // Umbra watches the files; the bound is the test's own timeout.
    while ((await serialOf(host, landscape.authority)) === before) await delay(50);
    expect(await landscape.client.getManifest('library/plain', '1')).toMatchObject({ status: 200 });
  });
});

/** Of the certificate that is shown to a new connection; it must verify. */
async function serialOf(host: string, authority: Authority): Promise<string> {
  const [hostname, port] = host.split(':');
  const socket = connect({ host: hostname ?? '', port: Number(port), ca: authority.pem, servername: 'localhost' });
  try {
    await once(socket, 'secureConnect');
    return socket.getPeerCertificate().serialNumber;
  } finally {
    socket.destroy();
  }
}
