/** Distribution-spec 1.1.1, "Content Management": deleting tags and manifests (end-9) and blobs (end-10). */
import { describe, expect, test } from 'vitest';
import { blob, index, unknownDigest } from './content.ts';
import { expectError, pushBlob, pushImage, pushManifest, putManifest, useRegistry } from './registry.ts';

const registry = useRegistry();
const status = async (path: string, method = 'HEAD'): Promise<number> => (await registry.send(method, path)).status;

describe('end-9: DELETE /v2/<name>/manifests/<tag>', () => {
  test('end-9: the tag is gone at once; the manifest and its other tags stay', async () => {
    const name = registry.freshName();
    const { manifest, layer } = await pushImage(registry, name, ['gone', 'kept']);
    const answer = await registry.send('DELETE', `/v2/${name}/manifests/gone`);
    expect(answer.status).toBe(202);
    expectError(await registry.send('GET', `/v2/${name}/manifests/gone`), 404, 'MANIFEST_UNKNOWN');
    expect(await status(`/v2/${name}/manifests/kept`)).toBe(200);
    expect(await status(`/v2/${name}/manifests/${manifest.digest}`)).toBe(200);
    expect(await status(`/v2/${name}/blobs/${layer.digest}`)).toBe(200);
  });

  test('end-9: the tag can be pushed again', async () => {
    const name = registry.freshName();
    await pushImage(registry, name, ['v1']);
    await registry.send('DELETE', `/v2/${name}/manifests/v1`);
    const { manifest } = await pushImage(registry, name, ['v1']);
    expect((await registry.send('GET', `/v2/${name}/manifests/v1`)).body.equals(manifest.bytes)).toBe(true);
  });

  test('end-9: a tag that is not there is 404 MANIFEST_UNKNOWN, also the second time', async () => {
    const name = registry.freshName();
    await pushImage(registry, name, ['v1', 'other']);
    expectError(await registry.send('DELETE', `/v2/${name}/manifests/absent`), 404, 'MANIFEST_UNKNOWN');
    expect(await status(`/v2/${name}/manifests/v1`, 'DELETE')).toBe(202);
    expectError(await registry.send('DELETE', `/v2/${name}/manifests/v1`), 404, 'MANIFEST_UNKNOWN');
  });
});

describe('end-9: DELETE /v2/<name>/manifests/<digest>', () => {
  test('end-9: the manifest and every tag on it are gone at once, other manifests stay', async () => {
    const name = registry.freshName();
    const { manifest } = await pushImage(registry, name, ['a', 'b']);
    const other = await pushImage(registry, name, ['c']);
    expect(await status(`/v2/${name}/manifests/${manifest.digest}`, 'DELETE')).toBe(202);
    for (const reference of [manifest.digest, 'a', 'b'])
      expectError(await registry.send('GET', `/v2/${name}/manifests/${reference}`), 404, 'MANIFEST_UNKNOWN');
    expect((await registry.send('GET', `/v2/${name}/tags/list`)).json()).toMatchObject({ tags: ['c'] });
    expect(await status(`/v2/${name}/manifests/${other.manifest.digest}`)).toBe(200);
  });

  test('end-9: a tag that has moved on is not taken along', async () => {
    const name = registry.freshName();
    const first = await pushImage(registry, name, ['moving']);
    const second = await pushImage(registry, name, ['moving']);
    expect(await status(`/v2/${name}/manifests/${first.manifest.digest}`, 'DELETE')).toBe(202);
    expect((await registry.send('GET', `/v2/${name}/manifests/moving`)).body.equals(second.manifest.bytes)).toBe(true);
  });

  test('end-9: other names keep the same manifest', async () => {
    const name = registry.freshName();
    const copy = registry.freshName();
    const { manifest, config, layer } = await pushImage(registry, name, ['v1']);
    for (const what of [config, layer]) await pushBlob(registry, copy, what);
    await pushManifest(registry, copy, manifest, 'v1');
    expect(await status(`/v2/${name}/manifests/${manifest.digest}`, 'DELETE')).toBe(202);
    expect(await status(`/v2/${copy}/manifests/v1`)).toBe(200);
    expect((await registry.send('GET', `/v2/${copy}/blobs/${layer.digest}`)).body.equals(layer.bytes)).toBe(true);
  });

  test('end-9: the manifest can be pushed again, with its tag', async () => {
    const name = registry.freshName();
    const { manifest } = await pushImage(registry, name, ['v1']);
    for (let i = 0; i < 3; i++) {
      expect(await status(`/v2/${name}/manifests/${manifest.digest}`, 'DELETE')).toBe(202);
      await pushManifest(registry, name, manifest, 'v1');
      for (const reference of ['v1', manifest.digest])
        expect((await registry.send('GET', `/v2/${name}/manifests/${reference}`)).body.equals(manifest.bytes)).toBe(true);
    }
  });

  test('end-9: a tag of a deleted manifest does not come back when its manifest does', async () => {
    const name = registry.freshName();
    const { manifest } = await pushImage(registry, name, ['old']);
    await registry.send('DELETE', `/v2/${name}/manifests/${manifest.digest}`);
    await pushManifest(registry, name, manifest, 'new');
    expect(await status(`/v2/${name}/manifests/old`)).toBe(404);
    expect((await registry.send('GET', `/v2/${name}/tags/list`)).json()).toMatchObject({ tags: ['new'] });
  });

  test('end-9: the children of a deleted index stay', async () => {
    const name = registry.freshName();
    const { manifest: child } = await pushImage(registry, name);
    const what = index([child]);
    await pushManifest(registry, name, what, 'multi');
    expect(await status(`/v2/${name}/manifests/${what.digest}`, 'DELETE')).toBe(202);
    expect(await status(`/v2/${name}/manifests/${child.digest}`)).toBe(200);
  });

  test.each([
    ['a digest that is not there', unknownDigest()],
    ['a sha512 digest that is not there', unknownDigest('sha512')],
  ])('end-9: %s is 404 MANIFEST_UNKNOWN', async (_, digest) => {
    const name = registry.freshName();
    await pushImage(registry, name, ['v1']);
    expectError(await registry.send('DELETE', `/v2/${name}/manifests/${digest}`), 404, 'MANIFEST_UNKNOWN');
  });

  test('end-9: the second time is 404', async () => {
    const name = registry.freshName();
    const { manifest } = await pushImage(registry, name, ['v1']);
    expect(await status(`/v2/${name}/manifests/${manifest.digest}`, 'DELETE')).toBe(202);
    expectError(await registry.send('DELETE', `/v2/${name}/manifests/${manifest.digest}`), 404, 'MANIFEST_UNKNOWN');
  });

  test('end-9: a name that is not there is 404', async () => {
    for (const reference of ['v1', unknownDigest()]) {
      expectError(
        await registry.send('DELETE', `/v2/${registry.freshName()}/manifests/${reference}`),
        404,
        'NAME_UNKNOWN',
        'MANIFEST_UNKNOWN',
      );
    }
  });
});

describe('end-10: DELETE /v2/<name>/blobs/<digest>', () => {
  test('end-10: the blob is gone at once', async () => {
    const name = registry.freshName();
    const what = blob();
    await pushBlob(registry, name, what);
    expect(await status(`/v2/${name}/blobs/${what.digest}`, 'DELETE')).toBe(202);
    expectError(await registry.send('GET', `/v2/${name}/blobs/${what.digest}`), 404, 'BLOB_UNKNOWN');
    expect(await status(`/v2/${name}/blobs/${what.digest}`)).toBe(404);
    expectError(await registry.send('DELETE', `/v2/${name}/blobs/${what.digest}`), 404, 'BLOB_UNKNOWN');
  });

  test('end-10: other names keep it', async () => {
    const [name, other] = [registry.freshName(), registry.freshName()];
    const what = blob();
    await pushBlob(registry, name, what);
    await pushBlob(registry, other, what);
    expect(await status(`/v2/${name}/blobs/${what.digest}`, 'DELETE')).toBe(202);
    expect((await registry.send('GET', `/v2/${other}/blobs/${what.digest}`)).body.equals(what.bytes)).toBe(true);
  });

  test('end-10: it can be pushed again', async () => {
    const name = registry.freshName();
    const what = blob();
    for (let i = 0; i < 3; i++) {
      await pushBlob(registry, name, what);
      expect((await registry.send('GET', `/v2/${name}/blobs/${what.digest}`)).body.equals(what.bytes)).toBe(true);
      expect(await status(`/v2/${name}/blobs/${what.digest}`, 'DELETE')).toBe(202);
    }
    expect(await status(`/v2/${name}/blobs/${what.digest}`)).toBe(404);
  });

  test('code-5: a manifest cannot be pushed over a deleted blob', async () => {
    const name = registry.freshName();
    const { manifest, layer } = await pushImage(registry, name, ['v1']);
    expect(await status(`/v2/${name}/manifests/${manifest.digest}`, 'DELETE')).toBe(202);
    expect(await status(`/v2/${name}/blobs/${layer.digest}`, 'DELETE')).toBe(202);
    expectError(await putManifest(registry, name, manifest, 'v1'), 400, 'MANIFEST_BLOB_UNKNOWN');
    await pushBlob(registry, name, layer);
    await pushManifest(registry, name, manifest, 'v1');
  });

  test('end-10: a blob that is not there, or a name that is not there, is 404', async () => {
    const name = registry.freshName();
    await pushBlob(registry, name, blob());
    expectError(await registry.send('DELETE', `/v2/${name}/blobs/${unknownDigest()}`), 404, 'BLOB_UNKNOWN');
    expectError(await registry.send('DELETE', `/v2/${registry.freshName()}/blobs/${unknownDigest()}`), 404, 'BLOB_UNKNOWN', 'NAME_UNKNOWN');
  });

  test.each(['sha256:abc', 'abc', `md5:${'a'.repeat(32)}`])('end-10: the malformed digest %s is 400 or 404', async (digest) => {
    expectError(await registry.send('DELETE', `/v2/${registry.freshName()}/blobs/${digest}`), [400, 404]);
  });
});
