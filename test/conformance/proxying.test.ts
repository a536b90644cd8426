/** Distribution-spec (main), "Registry Proxying": `?ns=` and `OCI-Namespace`; and the other spellings that one name has. */
import { describe, expect, test } from 'vitest';
import { blob, image, TYPES, type Content } from './content.ts';
import { expectError, location, pushBlob, pushImage, pushManifest, useRegistry, withQuery } from './registry.ts';

const registry = useRegistry();

describe('spec (main) §Registry Proxying: ns', () => {
  test('§Registry Proxying: an answer scoped by ns carries it in OCI-Namespace, on every pull endpoint', async () => {
    const name = registry.freshName();
    const { manifest, layer } = await pushImage(registry, `quay.io/${name}`, ['v1']);
    for (const path of [
      'manifests/v1',
      `manifests/${manifest.digest}`,
      `blobs/${layer.digest}`,
      'tags/list',
      `referrers/${manifest.digest}`,
    ]) {
      for (const method of path.startsWith('tags') || path.startsWith('referrers') ? ['GET'] : ['GET', 'HEAD']) {
        const answer = await registry.send(method, `/v2/${name}/${path}?ns=quay.io`);
        expect(answer.status, `${method} ${path}`).toBe(200);
        expect(answer.header('oci-namespace'), `${method} ${path}`).toBe('quay.io');
      }
    }
  });

  test('§Registry Proxying: without ns there is no OCI-Namespace', async () => {
    const name = registry.freshName();
    await pushImage(registry, name, ['v1']);
    expect((await registry.send('GET', `/v2/${name}/manifests/v1`)).header('oci-namespace')).toBeUndefined();
  });

  test('§Registry Proxying: the same path under two namespaces is two names', async () => {
    const name = registry.freshName();
    const quay = (await pushImage(registry, `quay.io/${name}`, ['v1'])).manifest;
    const ghcr = (await pushImage(registry, `ghcr.io/${name}`, ['v1'])).manifest;
    const get = async (target: string) => (await registry.send('GET', target)).body;
    expect((await get(`/v2/${name}/manifests/v1?ns=quay.io`)).equals(quay.bytes)).toBe(true);
    expect((await get(`/v2/${name}/manifests/v1?ns=ghcr.io`)).equals(ghcr.bytes)).toBe(true);
    expectError(await registry.send('GET', `/v2/${name}/manifests/v1`), 404);
    expectError(await registry.send('GET', `/v2/${name}/manifests/v1?ns=registry.example.org`), 404);
    expectError(await registry.send('GET', `/v2/${name}/manifests/${ghcr.digest}?ns=quay.io`), 404, 'MANIFEST_UNKNOWN');
  });

  test('§Registry Proxying: ns works for a host with a port and for localhost', async () => {
    const name = registry.freshName();
    for (const host of ['registry.example.org:5443', 'localhost:5001', 'localhost']) {
      const { manifest } = await pushImage(registry, `${host}/${name}`, ['v1']);
      const answer = await registry.send('GET', `/v2/${name}/manifests/v1?ns=${encodeURIComponent(host)}`);
      expect(answer.body.equals(manifest.bytes)).toBe(true);
      expect(answer.header('oci-namespace')).toBe(host);
    }
  });

  test('§Registry Proxying: a push may be scoped by ns too', async () => {
    const name = registry.freshName();
    const config = blob(10, TYPES.config);
    const begun = await registry.send('POST', `/v2/${name}/blobs/uploads/?ns=quay.io`);
    expect(begun.status).toBe(202);
    const put = await registry.send('PUT', withQuery(location(begun), { digest: config.digest }), { body: config.bytes });
    expect(put.status).toBe(201);
    expect((await registry.send('GET', location(put))).body.equals(config.bytes)).toBe(true);
    const what = image(config, []);
    const pushed = await registry.send('PUT', `/v2/${name}/manifests/v1?ns=quay.io`, {
      headers: { 'content-type': what.mediaType },
      body: what.bytes,
    });
    expect(pushed.status, pushed.body.toString()).toBe(201);
    expect((await registry.send('GET', location(pushed))).body.equals(what.bytes)).toBe(true);
    expect((await registry.send('GET', `/v2/quay.io/${name}/manifests/v1`)).body.equals(what.bytes)).toBe(true);
  });

  test.each(['no host', 'a/b', '../x', 'UPPER..io', 'quay.io:port', 'x'.repeat(300), '%00', 'quay.io/../docker.io'])(
    '§Registry Proxying: ns=%s is no host: 400',
    async (ns) => {
      const name = registry.freshName();
      await pushImage(registry, name, ['v1']);
      expectError(
        await registry.send('GET', `/v2/${name}/manifests/v1?ns=${encodeURIComponent(ns)}`),
        400,
        'NAME_INVALID',
        'PARAMETER_INVALID',
      );
    },
  );
});

describe('names: one image, many spellings', () => {
  const unique = (): string => `n${Math.random().toString(36).slice(2)}`;

  async function spellings(all: readonly string[], push: string): Promise<void> {
    const { manifest, layer } = await pushImage(registry, push, ['v1']);
    for (const spelling of all) {
      const [path = '', query = ''] = spelling.split('?');
      const suffix = query === '' ? '' : `?${query}`;
      expect((await registry.send('GET', `/v2/${path}/manifests/v1${suffix}`)).body.equals(manifest.bytes), spelling).toBe(true);
      expect((await registry.send('GET', `/v2/${path}/blobs/${layer.digest}${suffix}`)).body.equals(layer.bytes), spelling).toBe(true);
      expect((await registry.send('GET', `/v2/${path}/tags/list${suffix}`)).json(), spelling).toEqual({ name: path, tags: ['v1'] });
    }
  }

  test('names: a path of docker.io with and without its host', async () => {
    const name = `${unique()}/app`;
    const all = [
      name,
      `docker.io/${name}`,
      `${name}?ns=docker.io`,
      `index.docker.io/${name}`,
      `registry-1.docker.io/${name}`,
      `${name}?ns=registry-1.docker.io`,
    ];
    for (const push of [name, `docker.io/${name}`]) await spellings(all, push);
  });

  test('names: an official image with and without library', async () => {
    const name = unique();
    const all = [
      name,
      `library/${name}`,
      `docker.io/${name}`,
      `docker.io/library/${name}`,
      `${name}?ns=docker.io`,
      `library/${name}?ns=docker.io`,
    ];
    for (const push of [name, `docker.io/library/${name}`]) await spellings(all, push);
  });

  test('names: library belongs to docker.io only', async () => {
    const name = unique();
    await pushImage(registry, `quay.io/${name}`, ['v1']);
    expectError(await registry.send('GET', `/v2/quay.io/library/${name}/manifests/v1`), 404);
  });

  test('names: a Location is written in the spelling that was asked', async () => {
    const name = `${unique()}/app`;
    const what: Content = blob();
    for (const spelling of [name, `docker.io/${name}`, `quay.io/${name}`]) {
      const begun = await registry.send('POST', `/v2/${spelling}/blobs/uploads/`);
      expect(new URL(location(begun), registry.origin).pathname.startsWith(`/v2/${spelling}/blobs/uploads/`)).toBe(true);
      const put = await registry.send('PUT', withQuery(location(begun), { digest: what.digest }), { body: what.bytes });
      expect(new URL(location(put), registry.origin).pathname).toBe(`/v2/${spelling}/blobs/${what.digest}`);
    }
  });

  test('names: a mount between spellings of one name finds the blob', async () => {
    const name = `${unique()}/app`;
    const what = blob();
    await pushBlob(registry, name, what);
    const answer = await registry.send(
      'POST',
      withQuery(`/v2/quay.io/${name}/blobs/uploads/`, { mount: what.digest, from: `docker.io/${name}` }),
    );
    expect(answer.status).toBe(201);
  });

  test('names: a host without a path is no name', async () => {
    expectError(await registry.send('GET', '/v2/quay.io/manifests/v1'), [400, 404]);
  });

  test('names: pushing an index under another spelling keeps one set of tags', async () => {
    const name = `${unique()}/app`;
    const { manifest } = await pushImage(registry, name, ['a']);
    await pushManifest(registry, `docker.io/${name}`, manifest, 'b');
    expect((await registry.send('GET', `/v2/${name}/tags/list`)).json()).toEqual({ name, tags: ['a', 'b'] });
  });
});
