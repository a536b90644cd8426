/** Distribution-spec 1.1.1, "Pushing Manifests" (end-7), with tag parameters of the main branch (end-7b), and image-spec 1.1 for what a manifest is. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { blob, content, descriptor, image, index, manifest, TYPES, unknownDigest, type Content, type Fields } from './content.ts';
import { expectError, location, pushBlob, pushImage, pushManifest, putManifest, useRegistry } from './registry.ts';

const registry = useRegistry();

/** A name that holds the blobs of one image. */
async function stage(): Promise<{ name: string; config: Content; layer: Content }> {
  const name = registry.freshName();
  const [config, layer] = [blob(30, TYPES.config), blob()];
  await pushBlob(registry, name, config);
  await pushBlob(registry, name, layer);
  return { name, config, layer };
}

async function expectServed(name: string, reference: string, what: Content): Promise<void> {
  const got = await registry.send('GET', `/v2/${name}/manifests/${reference}`);
  expect(got.status, `${reference}: ${got.body.toString().slice(0, 200)}`).toBe(200);
  expect(got.body.equals(what.bytes)).toBe(true);
  expect(got.header('content-type')).toBe(what.mediaType);
  expect(got.header('docker-content-digest')).toBe(what.digest);
}

describe('end-7: PUT /v2/<name>/manifests/<reference>', () => {
  type Make = (name: string, config: Content, layer: Content) => Promise<Content> | Content;
  const child = async (name: string): Promise<Content> => (await pushImage(registry, name)).manifest;
  const absent = image(blob(5, TYPES.config), [blob(5)]);

  test.each<[string, Make]>([
    ['an OCI image', (_, config, layer) => image(config, [layer])],
    ['an OCI image without layers', (_, config) => image(config, [])],
    ['an OCI image with a layer twice', (_, config, layer) => image(config, [layer, layer])],
    ['an OCI image without a mediaType field', (_, config, layer) => image(config, [layer], { mediaType: undefined })],
    ['a Docker image', (_, config, layer) => image(config, [layer], {}, TYPES.dockerImage)],
    ['a foreign layer, which is elsewhere', (_, config, layer) =>
      manifest({ schemaVersion: 2, mediaType: TYPES.dockerImage, config: descriptor(config), layers: [descriptor(layer), descriptor(blob(), { urls: ['https://example.com/layer'] })] }, TYPES.dockerImage)],
    ['an artifact with the empty config', async (name, _, layer) => {
      const empty = content('{}', TYPES.empty);
      await pushBlob(registry, name, empty);
      return image(empty, [layer], { artifactType: 'application/vnd.example.thing' });
    }],
    ['embedded data', (_, config, layer) => manifest({ schemaVersion: 2, mediaType: TYPES.image, config: descriptor(config, { data: config.bytes.toString('base64') }), layers: [descriptor(layer)] }, TYPES.image)],
    ['an artifact manifest', (_, __, layer) => manifest({ mediaType: TYPES.artifact, artifactType: 'application/vnd.example', blobs: [descriptor(layer)] }, TYPES.artifact)],
    ['an artifact manifest without blobs', () => manifest({ mediaType: TYPES.artifact, artifactType: 'application/vnd.example' }, TYPES.artifact)],
    ['an OCI index', async (name) => index([await child(name), await child(name)])],
    ['a Docker list', async (name) => index([await child(name)], {}, TYPES.dockerList)],
    ['an empty index', () => index([])],
    ['an index of an index', async (name) => {
      const inner = index([await child(name)]);
      await pushManifest(registry, name, inner);
      return index([inner, await child(name)]);
    }],
    ['a sparse index', async (name) => index([await child(name), absent])],
    ['an index of nothing but absent children', () => index([absent])],
    ['a signed Docker schema 1', () => content(`{"schemaVersion":1,"name":"x","tag":"y","signatures":[]} `, TYPES.dockerSchema1)],
    ['an unknown JSON type', () => content('{"anything":  [1,2, 3]}\n', 'application/vnd.example.unknown.v7+json')],
    ['unknown fields of every JSON type', (_, config, layer) => image(config, [layer], { x: null, __proto__x: { constructor: 1 }, y: [[]], z: 'ü€😀' })],
    ['many annotations (1 MiB)', (_, config, layer) => image(config, [layer], { annotations: Object.fromEntries(Array.from({ length: 100 }, (__, i) => [`a.${i}`, 'x'.repeat(10_000)])) })],
  ])('end-7: %s is stored byte for byte, by tag and by digest', async (_, make) => {
    const { name, config, layer } = await stage();
    const what = await make(name, config, layer);
    const byTag = await pushManifest(registry, name, what, 'v1.0_x-y');
    expect(byTag.header('docker-content-digest')).toBe(what.digest);
    expect((await registry.send('GET', location(byTag))).body.equals(what.bytes)).toBe(true);
    await expectServed(name, 'v1.0_x-y', what);
    const byDigest = await pushManifest(registry, name, what, what.digest);
    expect(byDigest.header('docker-content-digest')).toBe(what.digest);
    expect((await registry.send('GET', location(byDigest))).body.equals(what.bytes)).toBe(true);
    await expectServed(name, what.digest, what);
  });

  test('end-7: by a sha512 digest, and children by sha512', async () => {
    const name = registry.freshName();
    const [config, layer] = [blob(30, TYPES.config, 'sha512'), blob(500, TYPES.layer, 'sha512')];
    await pushBlob(registry, name, config);
    await pushBlob(registry, name, layer);
    const inner = manifest({ schemaVersion: 2, mediaType: TYPES.image, config: descriptor(config), layers: [descriptor(layer)] }, TYPES.image, 'sha512');
    await pushManifest(registry, name, inner);
    await expectServed(name, inner.digest, inner);
    const outer = manifest({ schemaVersion: 2, mediaType: TYPES.index, manifests: [descriptor(inner)] }, TYPES.index, 'sha512');
    await pushManifest(registry, name, outer);
    await expectServed(name, outer.digest, outer);
  });

  test('end-7: parameters of the Content-Type are ignored', async () => {
    const { name, config, layer } = await stage();
    const what = image(config, [layer]);
    const answer = await registry.send('PUT', `/v2/${name}/manifests/v1`, { headers: { 'content-type': `${TYPES.image}; charset=utf-8` }, body: what.bytes });
    expect(answer.status).toBe(201);
    await expectServed(name, 'v1', what);
  });

  test('end-7: without a Content-Type the mediaType field says what it is', async () => {
    const { name, config, layer } = await stage();
    const what = image(config, [layer]);
    expect((await registry.send('PUT', `/v2/${name}/manifests/v1`, { body: what.bytes })).status).toBe(201);
    await expectServed(name, 'v1', what);
  });

  test('end-7: a manifest may be streamed', async () => {
    const { name, config, layer } = await stage();
    const what = image(config, [layer]);
    const body = (async function* () {
      yield what.bytes.subarray(0, 20);
      yield what.bytes.subarray(20);
    })();
    expect((await registry.send('PUT', `/v2/${name}/manifests/v1`, { headers: { 'content-type': TYPES.image }, body })).status).toBe(201);
    await expectServed(name, 'v1', what);
  });

  test('end-7: a tag pushed again names the new manifest, and the old one stays under its digest', async () => {
    const name = registry.freshName();
    const first = (await pushImage(registry, name, ['moving'])).manifest;
    const second = (await pushImage(registry, name, ['moving'])).manifest;
    await expectServed(name, 'moving', second);
    await expectServed(name, first.digest, first);
  });

  test('end-7: concurrent pushes of one tag end in one of them', async () => {
    const name = registry.freshName();
    const all = await Promise.all(Array.from({ length: 5 }, async () => (await pushImage(registry, name)).manifest));
    const answers = await Promise.all(all.map((what) => putManifest(registry, name, what, 'raced')));
    expect(answers.map((a) => a.status)).toEqual(all.map(() => 201));
    const got = await registry.send('GET', `/v2/${name}/manifests/raced`);
    expect(all.some((what) => what.bytes.equals(got.body) && what.digest === got.header('docker-content-digest'))).toBe(true);
  });

  test('end-7: the same bytes under two types: each digest is served with a type it was pushed with', async () => {
    const name = registry.freshName();
    const bytes = `{"schemaVersion":2,"manifests":[],"salt":"${randomBytes(8).toString('hex')}"}`;
    await pushManifest(registry, name, content(bytes, TYPES.index), 'a');
    await pushManifest(registry, name, content(bytes, TYPES.dockerList), 'b');
    const types = [];
    for (const reference of ['a', 'b']) types.push((await registry.send('GET', `/v2/${name}/manifests/${reference}`)).header('content-type'));
    for (const type of types) expect([TYPES.index, TYPES.dockerList]).toContain(type);
    expect(types[1]).toBe(TYPES.dockerList);
  });
});

describe('end-7b: PUT /v2/<name>/manifests/<digest>?tag=<tag>', () => {
  test.each([1, 2, 10])('end-7b: %i tags are set and named in OCI-Tag', async (count) => {
    const { name, config, layer } = await stage();
    const what = image(config, [layer]);
    const tags = Array.from({ length: count }, (_, i) => `t${i}`);
    const answer = await pushManifest(registry, name, what, `${what.digest}?${tags.map((t) => `tag=${t}`).join('&')}`);
    expect(answer.header('oci-tag')?.split(/\s*,\s*/).toSorted()).toEqual(tags.toSorted());
    expect(answer.header('docker-content-digest')).toBe(what.digest);
    for (const tag of tags) await expectServed(name, tag, what);
  });

  test('end-7b: a tag may name a manifest by its sha512 digest', async () => {
    const { name, config, layer } = await stage();
    const what = manifest({ schemaVersion: 2, mediaType: TYPES.image, config: descriptor(config), layers: [descriptor(layer)] }, TYPES.image, 'sha512');
    const answer = await pushManifest(registry, name, what, `${what.digest}?tag=long`);
    expect(answer.header('oci-tag')).toBe('long');
    await expectServed(name, 'long', what);
  });

  test('end-7b: without tags there is no OCI-Tag', async () => {
    const { name, config, layer } = await stage();
    const what = image(config, [layer]);
    expect((await pushManifest(registry, name, what)).header('oci-tag')).toBeUndefined();
  });

  test.each(['', '.x', '-x', 'a/b', 'a b', 'x'.repeat(129)])('end-7b: with the malformed tag %j among them it is 400 and sets none', async (bad) => {
    const { name, config, layer } = await stage();
    const what = image(config, [layer]);
    expectError(await putManifest(registry, name, what, `${what.digest}?tag=good&tag=${encodeURIComponent(bad)}`), 400, 'TAG_INVALID');
    expect((await registry.send('HEAD', `/v2/${name}/manifests/good`)).status).toBe(404);
  });
});

describe('code-4: digests of manifests', () => {
  test.each([
    ['another digest', unknownDigest()],
    ['another sha512 digest', unknownDigest('sha512')],
  ])('code-4: PUT by %s is 400 DIGEST_INVALID, and nothing is stored', async (_, digest) => {
    const { name, config, layer } = await stage();
    const what = image(config, [layer]);
    expectError(await putManifest(registry, name, what, digest), 400, 'DIGEST_INVALID');
    for (const reference of [digest, what.digest]) expect((await registry.send('HEAD', `/v2/${name}/manifests/${reference}`)).status).toBe(404);
  });

  test.each(['sha256:baddigeststring', 'sha256:', `md5:${'a'.repeat(32)}`, `sha256:${'A'.repeat(64)}`, `sha512:${'a'.repeat(64)}`, `sha256:${'a'.repeat(63)}`])(
    'code-4: the malformed digest %s is 400 for PUT, 400 or 404 for GET, HEAD and DELETE',
    async (digest) => {
      const { name, config, layer } = await stage();
      expectError(await putManifest(registry, name, image(config, [layer]), digest), 400, 'DIGEST_INVALID');
      for (const method of ['GET', 'DELETE']) expectError(await registry.send(method, `/v2/${name}/manifests/${digest}`), [400, 404]);
      expect([400, 404]).toContain((await registry.send('HEAD', `/v2/${name}/manifests/${digest}`)).status);
    },
  );
});

describe('spec §Pull: what a tag may be', () => {
  test.each(['a', '_', '0', 'V1.0-rc_2', 'x'.repeat(128), '_._-', 'latest..', 'sha256-abc.sig'])('spec §Pull: the tag %s can be pushed and pulled', async (tag) => {
    const name = registry.freshName();
    const { manifest: what } = await pushImage(registry, name, [tag]);
    await expectServed(name, tag, what);
  });

  test.each(['.x', '-x', 'x'.repeat(129), 'a%20b', 'a%2Fb', '%C3%A4', 'a+b', 'a@b', '%00', 'a%0A', '..', '%2e%2e', 'a:b', '*'])(
    'spec §Pull: the malformed tag %s is 400 for PUT, 400 or 404 for GET and DELETE',
    async (tag) => {
      const { name, config, layer } = await stage();
      expectError(await putManifest(registry, name, image(config, [layer]), tag), [400, 404]);
      for (const method of ['GET', 'DELETE']) expectError(await registry.send(method, `/v2/${name}/manifests/${tag}`), [400, 404]);
      const list = await registry.send('GET', `/v2/${name}/tags/list`);
      if (list.status === 200) expect(list.json()).toMatchObject({ tags: [] });
    },
  );
});

describe('code-5: MANIFEST_BLOB_UNKNOWN', () => {
  type Make = (config: Content, layer: Content, missing: Content) => Content;
  test.each<[string, Make]>([
    ['config', (_, layer, missing) => image({ ...missing, mediaType: TYPES.config }, [layer])],
    ['layer', (config, layer, missing) => image(config, [layer, missing])],
    ['layer of a Docker image', (config, _, missing) => image(config, [missing], {}, TYPES.dockerImage)],
    ['blob of an artifact manifest', (_, layer, missing) => manifest({ mediaType: TYPES.artifact, artifactType: 'x/y', blobs: [descriptor(layer), descriptor(missing)] }, TYPES.artifact)],
    ['layer with an empty list of urls', (config, _, missing) => manifest({ schemaVersion: 2, mediaType: TYPES.image, config: descriptor(config), layers: [descriptor(missing, { urls: [] })] }, TYPES.image)],
  ])('code-5: a missing %s is 400, names the digest, and stores nothing', async (_, make) => {
    const { name, config, layer } = await stage();
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
    const { name, config } = await stage();
    const elsewhere = blob();
    await pushBlob(registry, registry.freshName(), elsewhere);
    expectError(await putManifest(registry, name, image(config, [elsewhere]), 'v1'), 400, 'MANIFEST_BLOB_UNKNOWN');
  });

  test('code-5: a failed push leaves a tag as it was', async () => {
    const name = registry.freshName();
    const { manifest: before, config } = await pushImage(registry, name, ['v1']);
    expectError(await putManifest(registry, name, image(config, [blob()]), 'v1'), 400, 'MANIFEST_BLOB_UNKNOWN');
    await expectServed(name, 'v1', before);
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
    ['an index with a malformed child', JSON.stringify({ schemaVersion: 2, mediaType: TYPES.index, manifests: [{ ...good, digest: 'x' }] }), TYPES.index],
    ['an image sent as an index', JSON.stringify(base), TYPES.index],
    ['a Docker list with schemaVersion 1', JSON.stringify({ schemaVersion: 1, mediaType: TYPES.dockerList, manifests: [] }), TYPES.dockerList],
  ])('code-6: %s is 400, names what is wrong, and stores nothing', async (_, body, type = TYPES.image) => {
    const name = registry.freshName();
    const answer = await registry.send('PUT', `/v2/${name}/manifests/v1`, { headers: { 'content-type': type }, body });
    expectError(answer, 400, 'MANIFEST_INVALID');
    expect((await registry.send('HEAD', `/v2/${name}/manifests/v1`)).status).toBe(404);
  });

  test.each(['text', 'a/b/c', '/', 'application/', 'a b/c', `application/${'x'.repeat(500)}`])('code-6: the Content-Type %j is no media type: 400', async (type) => {
    const { name, config, layer } = await stage();
    const answer = await registry.send('PUT', `/v2/${name}/manifests/v1`, { headers: { 'content-type': type }, body: image(config, [layer]).bytes });
    expectError(answer, 400, 'MANIFEST_INVALID');
  });

  test('code-6: very many descriptors are refused or stored, in bounded time', async () => {
    const { name, config, layer } = await stage();
    const what = manifest({ schemaVersion: 2, mediaType: TYPES.image, config: descriptor(config), layers: Array.from({ length: 15_000 }, () => descriptor(layer)) }, TYPES.image);
    const answer = await putManifest(registry, name, what, 'v1');
    if (answer.status !== 201) expectError(answer, [400, 413], 'MANIFEST_INVALID', 'MANIFEST_TOO_LARGE');
  });
});

describe('spec §Pushing Manifests: how large a manifest may be', () => {
  const LIMIT = 4 * 1024 * 1024;
  const padded = (config: Content, size: number): Content => {
    const frame = JSON.stringify({ schemaVersion: 2, mediaType: TYPES.image, config: descriptor(config), layers: [], annotations: { pad: '' } });
    return content(frame.replace('"pad":""', `"pad":"${'x'.repeat(size - frame.length)}"`), TYPES.image);
  };

  test('spec §Pushing Manifests: 4 MiB are taken', async () => {
    const { name, config } = await stage();
    const what = padded(config, LIMIT);
    expect(what.bytes.length).toBe(LIMIT);
    await pushManifest(registry, name, what, 'large');
    await expectServed(name, 'large', what);
  });

  test('end-7: more is 413, and stores nothing', async () => {
    const { name, config } = await stage();
    expectError(await putManifest(registry, name, padded(config, LIMIT + 1), 'larger'), 413);
    expect((await registry.send('HEAD', `/v2/${name}/manifests/larger`)).status).toBe(404);
  });

  test('end-7: more is 413 also when its length was not announced', async () => {
    const { name, config } = await stage();
    const { bytes } = padded(config, 2 * LIMIT);
    const body = (async function* () {
      for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
    })();
    expectError(await registry.send('PUT', `/v2/${name}/manifests/larger`, { headers: { 'content-type': TYPES.image }, body }), 413);
    expect((await registry.send('GET', '/v2/')).status).toBe(200);
  });
});
