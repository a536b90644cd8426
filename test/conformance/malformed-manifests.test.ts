/** Distribution-spec 1.1.1, "Error Codes" of manifests: wrong digests (code-4), missing blobs (code-5), invalid content (code-6). */
import { describe, expect, test } from 'vitest';
import { blob, descriptor, image, manifest, TYPES, unknownDigest, type Content, type Fields } from './content.ts';
import { expectError, expectManifest, pushBlob, pushImage, pushManifest, putManifest, stageImage, useRegistry } from './registry.ts';

const registry = useRegistry();

describe('code-4: digests of manifests', () => {
  test.each([
    ['another digest', unknownDigest()],
    ['another sha512 digest', unknownDigest('sha512')],
  ])('code-4: PUT by %s is 400 DIGEST_INVALID, and nothing is stored', async (_, digest) => {
    const { name, config, layer } = await stageImage(registry);
    const what = image(config, [layer]);
    expectError(await putManifest(registry, name, what, digest), 400, 'DIGEST_INVALID');
    for (const reference of [digest, what.digest])
      expect((await registry.send('HEAD', `/v2/${name}/manifests/${reference}`)).status).toBe(404);
  });

  test.each([
    'sha256:baddigeststring',
    'sha256:',
    `md5:${'a'.repeat(32)}`,
    `sha256:${'A'.repeat(64)}`,
    `sha512:${'a'.repeat(64)}`,
    `sha256:${'a'.repeat(63)}`,
  ])('code-4: the malformed digest %s is 400 for PUT, 400 or 404 for GET, HEAD and DELETE', async (digest) => {
    const { name, config, layer } = await stageImage(registry);
    expectError(await putManifest(registry, name, image(config, [layer]), digest), 400, 'DIGEST_INVALID');
    for (const method of ['GET', 'DELETE']) expectError(await registry.send(method, `/v2/${name}/manifests/${digest}`), [400, 404]);
    expect([400, 404]).toContain((await registry.send('HEAD', `/v2/${name}/manifests/${digest}`)).status);
  });
});

describe('code-5: MANIFEST_BLOB_UNKNOWN', () => {
  type Make = (config: Content, layer: Content, missing: Content) => Content;
  test.each<[string, Make]>([
    ['config', (_, layer, missing) => image({ ...missing, mediaType: TYPES.config }, [layer])],
    ['layer', (config, layer, missing) => image(config, [layer, missing])],
    ['layer of a Docker image', (config, _, missing) => image(config, [missing], {}, TYPES.dockerImage)],
    [
      'blob of an artifact manifest',
      (_, layer, missing) =>
        manifest({ mediaType: TYPES.artifact, artifactType: 'x/y', blobs: [descriptor(layer), descriptor(missing)] }, TYPES.artifact),
    ],
    [
      'layer with an empty list of urls',
      (config, _, missing) =>
        manifest(
          { schemaVersion: 2, mediaType: TYPES.image, config: descriptor(config), layers: [descriptor(missing, { urls: [] })] },
          TYPES.image,
        ),
    ],
  ])('code-5: a missing %s is 400, names the digest, and stores nothing', async (_, make) => {
    const { name, config, layer } = await stageImage(registry);
    const missing = blob();
    const what = make(config, layer, missing);
    const answer = await putManifest(registry, name, what, 'v1');
    expectError(answer, 400, 'MANIFEST_BLOB_UNKNOWN');
    expect(answer.body.toString()).toContain(missing.digest);
    expect((await registry.send('HEAD', `/v2/${name}/manifests/v1`)).status).toBe(404);
    expect((await registry.send('HEAD', `/v2/${name}/manifests/${what.digest}`)).status).toBe(404);
    await pushBlob(registry, name, missing);
    await pushManifest(registry, name, what, 'v1');
  });

  test('code-5: a blob that only another name has is missing', async () => {
    const { name, config } = await stageImage(registry);
    const elsewhere = blob();
    await pushBlob(registry, registry.freshName(), elsewhere);
    expectError(await putManifest(registry, name, image(config, [elsewhere]), 'v1'), 400, 'MANIFEST_BLOB_UNKNOWN');
  });

  test('code-5: a failed push leaves a tag as it was', async () => {
    const name = registry.freshName();
    const { manifest: before, config } = await pushImage(registry, name, ['v1']);
    expectError(await putManifest(registry, name, image(config, [blob()]), 'v1'), 400, 'MANIFEST_BLOB_UNKNOWN');
    await expectManifest(registry, name, 'v1', before);
  });
});

describe('code-6: MANIFEST_INVALID', () => {
  const good = { mediaType: TYPES.layer, digest: unknownDigest(), size: 3 };
  const base: Fields = { schemaVersion: 2, mediaType: TYPES.image, config: good, layers: [good] };
  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;

  test.each<[string, string | Uint8Array, string?]>([
    ['nothing', ''],
    ['no JSON', 'hello'],
    ['half a JSON', '{"schemaVersion":2,'],
    ['two JSON values', '{}{}'],
    ['null', 'null'],
    ['an array', '[]'],
    ['a string', '"x"'],
    ['a number', '7'],
    ['an empty object', '{}'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
    ['JSON nested 200 000 deep', deep],
    ['JSON nested deep in a known field', `{"schemaVersion":2,"mediaType":"${TYPES.image}","config":${deep},"layers":[]}`],
    ['schemaVersion missing', JSON.stringify({ ...base, schemaVersion: undefined })],
    ['schemaVersion 1', JSON.stringify({ ...base, schemaVersion: 1 })],
    ['schemaVersion 3', JSON.stringify({ ...base, schemaVersion: 3 })],
    ['schemaVersion a string', JSON.stringify({ ...base, schemaVersion: '2' })],
    ['a mediaType that differs from the Content-Type', JSON.stringify({ ...base, mediaType: TYPES.dockerImage })],
    ['a mediaType that is no string', JSON.stringify({ ...base, mediaType: 7 })],
    ['no config', JSON.stringify({ ...base, config: undefined })],
    ['config null', JSON.stringify({ ...base, config: null })],
    ['config a string', JSON.stringify({ ...base, config: 'x' })],
    ['config an array', JSON.stringify({ ...base, config: [good] })],
    ['a config without a digest', JSON.stringify({ ...base, config: { ...good, digest: undefined } })],
    ['a config with a malformed digest', JSON.stringify({ ...base, config: { ...good, digest: 'sha256:xyz' } })],
    ['a digest that is a path', JSON.stringify({ ...base, config: { ...good, digest: 'sha256:../../../../etc/passwd' } })],
    ['a digest that is a number', JSON.stringify({ ...base, config: { ...good, digest: 7 } })],
    ['a negative size', JSON.stringify({ ...base, config: { ...good, size: -1 } })],
    ['a size that is a string', JSON.stringify({ ...base, config: { ...good, size: '3' } })],
    ['a size that is no whole number', JSON.stringify({ ...base, config: { ...good, size: 1.5 } })],
    ['a size beyond all bounds', JSON.stringify({ ...base, config: good, layers: [{ ...good, size: 1e300 }] })],
    ['layers an object', JSON.stringify({ ...base, layers: { 0: good } })],
    ['layers a string', JSON.stringify({ ...base, layers: 'none' })],
    ['a layer that is null', JSON.stringify({ ...base, layers: [null] })],
    ['a layer that is a string', JSON.stringify({ ...base, layers: [good.digest] })],
    ['a layer without a digest', JSON.stringify({ ...base, layers: [{ size: 1, mediaType: TYPES.layer }] })],
    ['a subject that is a string', JSON.stringify({ ...base, subject: good.digest })],
    ['a subject with a malformed digest', JSON.stringify({ ...base, subject: { ...good, digest: 'sha256:1' } })],
    ['annotations an array', JSON.stringify({ ...base, annotations: ['a'] })],
    ['annotations that are no strings', JSON.stringify({ ...base, annotations: { a: { b: 1 } } })],
    ['an artifactType that is no string', JSON.stringify({ ...base, artifactType: { a: 1 } })],
    ['an index without manifests', JSON.stringify({ schemaVersion: 2, mediaType: TYPES.index }), TYPES.index],
    ['an index whose manifests are an object', JSON.stringify({ schemaVersion: 2, mediaType: TYPES.index, manifests: {} }), TYPES.index],
    [
      'an index with a malformed child',
      JSON.stringify({ schemaVersion: 2, mediaType: TYPES.index, manifests: [{ ...good, digest: 'x' }] }),
      TYPES.index,
    ],
    ['an image sent as an index', JSON.stringify(base), TYPES.index],
    [
      'a Docker list with schemaVersion 1',
      JSON.stringify({ schemaVersion: 1, mediaType: TYPES.dockerList, manifests: [] }),
      TYPES.dockerList,
    ],
  ])('code-6: %s is 400, names what is wrong, and stores nothing', async (_, body, type = TYPES.image) => {
    const name = registry.freshName();
    const answer = await registry.send('PUT', `/v2/${name}/manifests/v1`, { headers: { 'content-type': type }, body });
    expectError(answer, 400, 'MANIFEST_INVALID');
    expect((await registry.send('HEAD', `/v2/${name}/manifests/v1`)).status).toBe(404);
  });

  test.each(['text', 'a/b/c', '/', 'application/', 'a b/c', `application/${'x'.repeat(500)}`])(
    'code-6: the Content-Type %j is no media type: 400',
    async (type) => {
      const { name, config, layer } = await stageImage(registry);
      const answer = await registry.send('PUT', `/v2/${name}/manifests/v1`, {
        headers: { 'content-type': type },
        body: image(config, [layer]).bytes,
      });
      expectError(answer, 400, 'MANIFEST_INVALID');
    },
  );

  test('code-6: very many descriptors are refused or stored, in bounded time', async () => {
    const { name, config, layer } = await stageImage(registry);
    const what = manifest(
      {
        schemaVersion: 2,
        mediaType: TYPES.image,
        config: descriptor(config),
        layers: Array.from({ length: 15_000 }, () => descriptor(layer)),
      },
      TYPES.image,
    );
    const answer = await putManifest(registry, name, what, 'v1');
    if (answer.status !== 201) expectError(answer, [400, 413], 'MANIFEST_INVALID', 'MANIFEST_TOO_LARGE');
  });
});
