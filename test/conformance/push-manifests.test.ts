/** Distribution-spec 1.1.1, "Pushing Manifests" (end-7), tag parameters of the main branch (end-7b), and what may be large or be a tag. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { blob, content, descriptor, image, index, manifest, TYPES, type Content } from './content.ts';
import {
  expectError,
  expectManifest,
  location,
  pushBlob,
  pushImage,
  pushManifest,
  putManifest,
  stageImage,
  useRegistry,
} from './registry.ts';

const registry = useRegistry();

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
    [
      'a foreign layer, which is elsewhere',
      (_, config, layer) =>
        manifest(
          {
            schemaVersion: 2,
            mediaType: TYPES.dockerImage,
            config: descriptor(config),
            layers: [descriptor(layer), descriptor(blob(), { urls: ['https://example.com/layer'] })],
          },
          TYPES.dockerImage,
        ),
    ],
    [
      'an artifact with the empty config',
      async (name, _, layer) => {
        const empty = content('{}', TYPES.empty);
        await pushBlob(registry, name, empty);
        return image(empty, [layer], { artifactType: 'application/vnd.example.thing' });
      },
    ],
    [
      'embedded data',
      (_, config, layer) =>
        manifest(
          {
            schemaVersion: 2,
            mediaType: TYPES.image,
            config: descriptor(config, { data: config.bytes.toString('base64') }),
            layers: [descriptor(layer)],
          },
          TYPES.image,
        ),
    ],
    [
      'an artifact manifest',
      (_, __, layer) =>
        manifest({ mediaType: TYPES.artifact, artifactType: 'application/vnd.example', blobs: [descriptor(layer)] }, TYPES.artifact),
    ],
    [
      'an artifact manifest without blobs',
      () => manifest({ mediaType: TYPES.artifact, artifactType: 'application/vnd.example' }, TYPES.artifact),
    ],
    ['an OCI index', async (name) => index([await child(name), await child(name)])],
    ['a Docker list', async (name) => index([await child(name)], {}, TYPES.dockerList)],
    ['an empty index', () => index([])],
    [
      'an index of an index',
      async (name) => {
        const inner = index([await child(name)]);
        await pushManifest(registry, name, inner);
        return index([inner, await child(name)]);
      },
    ],
    ['a sparse index', async (name) => index([await child(name), absent])],
    ['an index of nothing but absent children', () => index([absent])],
    ['a signed Docker schema 1', () => content(`{"schemaVersion":1,"name":"x","tag":"y","signatures":[]} `, TYPES.dockerSchema1)],
    ['an unknown JSON type', () => content('{"anything":  [1,2, 3]}\n', 'application/vnd.example.unknown.v7+json')],
    [
      'unknown fields of every JSON type',
      (_, config, layer) => image(config, [layer], { x: null, __proto__x: { constructor: 1 }, y: [[]], z: 'ü€😀' }),
    ],
    [
      'many annotations (1 MiB)',
      (_, config, layer) =>
        image(config, [layer], { annotations: Object.fromEntries(Array.from({ length: 100 }, (__, i) => [`a.${i}`, 'x'.repeat(10_000)])) }),
    ],
  ])('end-7: %s is stored byte for byte, by tag and by digest', async (_, make) => {
    const { name, config, layer } = await stageImage(registry);
    const what = await make(name, config, layer);
    const byTag = await pushManifest(registry, name, what, 'v1.0_x-y');
    expect(byTag.header('docker-content-digest')).toBe(what.digest);
    expect((await registry.send('GET', location(byTag))).body.equals(what.bytes)).toBe(true);
    await expectManifest(registry, name, 'v1.0_x-y', what);
    const byDigest = await pushManifest(registry, name, what, what.digest);
    expect(byDigest.header('docker-content-digest')).toBe(what.digest);
    expect((await registry.send('GET', location(byDigest))).body.equals(what.bytes)).toBe(true);
    await expectManifest(registry, name, what.digest, what);
  });

  test('end-7: by a sha512 digest, and children by sha512', async () => {
    const name = registry.freshName();
    const [config, layer] = [blob(30, TYPES.config, 'sha512'), blob(500, TYPES.layer, 'sha512')];
    await pushBlob(registry, name, config);
    await pushBlob(registry, name, layer);
    const inner = manifest(
      { schemaVersion: 2, mediaType: TYPES.image, config: descriptor(config), layers: [descriptor(layer)] },
      TYPES.image,
      'sha512',
    );
    await pushManifest(registry, name, inner);
    await expectManifest(registry, name, inner.digest, inner);
    const outer = manifest({ schemaVersion: 2, mediaType: TYPES.index, manifests: [descriptor(inner)] }, TYPES.index, 'sha512');
    await pushManifest(registry, name, outer);
    await expectManifest(registry, name, outer.digest, outer);
  });

  test('end-7: a tag has one manifest, the last that was pushed, whatever its media type and whatever is asked for', async () => {
    const { name, config, layer } = await stageImage(registry);
    const single = image(config, [layer]);
    const docker = image(config, [layer], {}, TYPES.dockerImage);
    await pushManifest(registry, name, single);
    await pushManifest(registry, name, docker);
    const [ociIndex, list] = [index([single]), index([docker], {}, TYPES.dockerList)];
    for (const last of [single, list, docker, ociIndex, single]) {
      await pushManifest(registry, name, last, 'moving');
      for (const accept of [undefined, TYPES.dockerList, TYPES.index, `${TYPES.dockerImage}, ${TYPES.image};q=0.5`]) {
        const got = await registry.send('GET', `/v2/${name}/manifests/moving`, accept === undefined ? {} : { headers: { accept } });
        expect([got.status, got.header('docker-content-digest'), got.header('content-type')]).toEqual([200, last.digest, last.mediaType]);
      }
    }
  });

  test('end-7: parameters of the Content-Type are ignored', async () => {
    const { name, config, layer } = await stageImage(registry);
    const what = image(config, [layer]);
    const answer = await registry.send('PUT', `/v2/${name}/manifests/v1`, {
      headers: { 'content-type': `${TYPES.image}; charset=utf-8` },
      body: what.bytes,
    });
    expect(answer.status).toBe(201);
    await expectManifest(registry, name, 'v1', what);
  });

  test('end-7: without a Content-Type the mediaType field says what it is', async () => {
    const { name, config, layer } = await stageImage(registry);
    const what = image(config, [layer]);
    expect((await registry.send('PUT', `/v2/${name}/manifests/v1`, { body: what.bytes })).status).toBe(201);
    await expectManifest(registry, name, 'v1', what);
  });

  test('end-7: a manifest may be streamed', async () => {
    const { name, config, layer } = await stageImage(registry);
    const what = image(config, [layer]);
    const body = (async function* () {
      yield what.bytes.subarray(0, 20);
      yield what.bytes.subarray(20);
    })();
    expect((await registry.send('PUT', `/v2/${name}/manifests/v1`, { headers: { 'content-type': TYPES.image }, body })).status).toBe(201);
    await expectManifest(registry, name, 'v1', what);
  });

  test('end-7: a tag pushed again names the new manifest, and the old one stays under its digest', async () => {
    const name = registry.freshName();
    const first = (await pushImage(registry, name, ['moving'])).manifest;
    const second = (await pushImage(registry, name, ['moving'])).manifest;
    await expectManifest(registry, name, 'moving', second);
    await expectManifest(registry, name, first.digest, first);
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
    for (const reference of ['a', 'b'])
      types.push((await registry.send('GET', `/v2/${name}/manifests/${reference}`)).header('content-type'));
    for (const type of types) expect([TYPES.index, TYPES.dockerList]).toContain(type);
    expect(types[1]).toBe(TYPES.dockerList);
  });
});

describe('end-7b: PUT /v2/<name>/manifests/<digest>?tag=<tag>', () => {
  test.each([1, 2, 10])('end-7b: %i tags are set and named in OCI-Tag', async (count) => {
    const { name, config, layer } = await stageImage(registry);
    const what = image(config, [layer]);
    const tags = Array.from({ length: count }, (_, i) => `t${i}`);
    const answer = await pushManifest(registry, name, what, `${what.digest}?${tags.map((t) => `tag=${t}`).join('&')}`);
    expect(
      answer
        .header('oci-tag')
        ?.split(/\s*,\s*/)
        .toSorted(),
    ).toEqual(tags.toSorted());
    expect(answer.header('docker-content-digest')).toBe(what.digest);
    for (const tag of tags) await expectManifest(registry, name, tag, what);
  });

  test('end-7b: a tag may name a manifest by its sha512 digest', async () => {
    const { name, config, layer } = await stageImage(registry);
    const what = manifest(
      { schemaVersion: 2, mediaType: TYPES.image, config: descriptor(config), layers: [descriptor(layer)] },
      TYPES.image,
      'sha512',
    );
    const answer = await pushManifest(registry, name, what, `${what.digest}?tag=long`);
    expect(answer.header('oci-tag')).toBe('long');
    await expectManifest(registry, name, 'long', what);
  });

  test('end-7b: without tags there is no OCI-Tag', async () => {
    const { name, config, layer } = await stageImage(registry);
    const what = image(config, [layer]);
    expect((await pushManifest(registry, name, what)).header('oci-tag')).toBeUndefined();
  });

  test.each(['', '.x', '-x', 'a/b', 'a b', 'x'.repeat(129)])(
    'end-7b: with the malformed tag %j among them it is 400 and sets none',
    async (bad) => {
      const { name, config, layer } = await stageImage(registry);
      const what = image(config, [layer]);
      expectError(await putManifest(registry, name, what, `${what.digest}?tag=good&tag=${encodeURIComponent(bad)}`), 400, 'TAG_INVALID');
      expect((await registry.send('HEAD', `/v2/${name}/manifests/good`)).status).toBe(404);
    },
  );
});

describe('spec §Pull: what a tag may be', () => {
  test.each(['a', '_', '0', 'V1.0-rc_2', 'x'.repeat(128), '_._-', 'latest..', 'sha256-abc.sig'])(
    'spec §Pull: the tag %s can be pushed and pulled',
    async (tag) => {
      const name = registry.freshName();
      const { manifest: what } = await pushImage(registry, name, [tag]);
      await expectManifest(registry, name, tag, what);
    },
  );

  test.each(['.x', '-x', 'x'.repeat(129), 'a%20b', 'a%2Fb', '%C3%A4', 'a+b', 'a@b', '%00', 'a%0A', '..', '%2e%2e', 'a:b', '*'])(
    'spec §Pull: the malformed tag %s is 400 for PUT, 400 or 404 for GET and DELETE',
    async (tag) => {
      const { name, config, layer } = await stageImage(registry);
      expectError(await putManifest(registry, name, image(config, [layer]), tag), [400, 404]);
      for (const method of ['GET', 'DELETE']) expectError(await registry.send(method, `/v2/${name}/manifests/${tag}`), [400, 404]);
      const list = await registry.send('GET', `/v2/${name}/tags/list`);
      if (list.status === 200) expect(list.json()).toMatchObject({ tags: [] });
    },
  );
});

describe('spec §Pushing Manifests: how large a manifest may be', () => {
  const LIMIT = 4 * 1024 * 1024;
  const padded = (config: Content, size: number): Content => {
    const frame = JSON.stringify({
      schemaVersion: 2,
      mediaType: TYPES.image,
      config: descriptor(config),
      layers: [],
      annotations: { pad: '' },
    });
    return content(frame.replace('"pad":""', `"pad":"${'x'.repeat(size - frame.length)}"`), TYPES.image);
  };

  test('spec §Pushing Manifests: 4 MiB are taken', async () => {
    const { name, config } = await stageImage(registry);
    const what = padded(config, LIMIT);
    expect(what.bytes.length).toBe(LIMIT);
    await pushManifest(registry, name, what, 'large');
    await expectManifest(registry, name, 'large', what);
  });

  test('end-7: more is 413, and stores nothing', async () => {
    const { name, config } = await stageImage(registry);
    expectError(await putManifest(registry, name, padded(config, LIMIT + 1), 'larger'), 413);
    expect((await registry.send('HEAD', `/v2/${name}/manifests/larger`)).status).toBe(404);
  });

  test('end-7: more is 413 also when its length was not announced', async () => {
    const { name, config } = await stageImage(registry);
    const { bytes } = padded(config, 2 * LIMIT);
    const body = (async function* () {
      for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
    })();
    expectError(await registry.send('PUT', `/v2/${name}/manifests/larger`, { headers: { 'content-type': TYPES.image }, body }), 413);
    expect((await registry.send('GET', '/v2/')).status).toBe(200);
  });
});
