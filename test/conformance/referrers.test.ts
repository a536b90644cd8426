/** Distribution-spec 1.1.1, "Pushing Manifests with Subject" and "Listing Referrers" (end-12a, end-12b). */
import { describe, expect, test } from 'vitest';
import { type Answer } from './client.ts';
import { blob, content, descriptor, image, index, manifest, TYPES, unknownDigest, type Content, type Fields } from './content.ts';
import { expectError, pushBlob, pushImage, pushManifest, useRegistry } from './registry.ts';

const registry = useRegistry();
const EMPTY = content('{}', TYPES.empty);

interface Index {
  readonly schemaVersion: number;
  readonly mediaType: string;
  readonly manifests: { readonly digest: string; readonly [field: string]: unknown }[];
}

/** A name with an image to refer to. */
async function stage(): Promise<{ name: string; subject: Content }> {
  const name = registry.freshName();
  const { manifest: subject } = await pushImage(registry, name, ['v1']);
  await pushBlob(registry, name, EMPTY);
  return { name, subject };
}

/** An artifact about `subject`; each has its own salt, so that no two are the same. */
function about(subject: Content, fields: Fields = {}, config: Content = EMPTY): Content {
  return image(config, [EMPTY], { subject: descriptor(subject), salt: unknownDigest(), ...fields });
}

/** Every page, following `Link`. */
async function referrers(name: string, digest: string, query = ''): Promise<{ first: Answer; all: Index['manifests'] }> {
  let answer = await registry.send('GET', `/v2/${name}/referrers/${digest}${query}`);
  const first = answer;
  const all: Index['manifests'] = [];
  for (;;) {
    expect(answer.status, answer.body.toString()).toBe(200);
    expect(answer.header('content-type')).toBe(TYPES.index);
    const page = answer.json() as Index;
    expect(page).toMatchObject({ schemaVersion: 2, mediaType: TYPES.index });
    all.push(...page.manifests);
    const next = /<([^>]+)>; *rel="?next"?/.exec(answer.header('link') ?? '')?.[1];
    if (next === undefined) return { first, all };
    answer = await registry.send('GET', next);
  }
}

describe('spec §Pushing Manifests with Subject', () => {
  test.each<[string, (subject: Content) => Content]>([
    ['an image', (subject) => about(subject)],
    ['an index', (subject) => index([], { subject: descriptor(subject), salt: unknownDigest() })],
    [
      'an artifact manifest',
      (subject) =>
        manifest(
          { mediaType: TYPES.artifact, artifactType: 'x/y', subject: descriptor(subject), blobs: [], salt: unknownDigest() },
          TYPES.artifact,
        ),
    ],
  ])('spec §Pushing Manifests with Subject: %s is answered with OCI-Subject', async (_, make) => {
    const { name, subject } = await stage();
    const what = make(subject);
    const answer = await pushManifest(registry, name, what);
    expect(answer.header('oci-subject')).toBe(subject.digest);
    expect((await referrers(name, subject.digest)).all).toEqual([
      expect.objectContaining({ digest: what.digest, mediaType: what.mediaType, size: what.bytes.length }),
    ]);
  });

  test('spec §Pushing Manifests with Subject: a manifest without one has no OCI-Subject', async () => {
    const { name, subject } = await stage();
    expect((await pushManifest(registry, name, subject)).header('oci-subject')).toBeUndefined();
  });

  test('spec §Push: a subject need not be there', async () => {
    const { name } = await stage();
    const absent = image(blob(3, TYPES.config), []);
    const what = about(absent, { artifactType: 'application/vnd.example' });
    expect((await pushManifest(registry, name, what, 'sig')).header('oci-subject')).toBe(absent.digest);
    expect((await referrers(name, absent.digest)).all.map((d) => d.digest)).toEqual([what.digest]);
  });

  test('spec §Push: a subject may come later than what refers to it', async () => {
    const { name, subject } = await stage();
    const late = index([subject], { salt: unknownDigest() });
    const what = about(late);
    await pushManifest(registry, name, what);
    await pushManifest(registry, name, late, 'late');
    expect((await referrers(name, late.digest)).all.map((d) => d.digest)).toEqual([what.digest]);
  });

  test('spec §Pushing Manifests with Subject: a sha512 subject', async () => {
    const { name } = await stage();
    const subject = manifest({ schemaVersion: 2, mediaType: TYPES.index, manifests: [] }, TYPES.index, 'sha512');
    const what = about(subject);
    expect((await pushManifest(registry, name, what)).header('oci-subject')).toBe(subject.digest);
    expect((await referrers(name, subject.digest)).all.map((d) => d.digest)).toEqual([what.digest]);
  });
});

describe('end-12a: GET /v2/<name>/referrers/<digest>', () => {
  test.each([
    [
      'of a manifest that none refers to',
      async () => {
        const { name, subject } = await stage();
        return { name, digest: subject.digest };
      },
    ],
    ['of a digest that nothing has', async () => ({ name: (await stage()).name, digest: unknownDigest() })],
    ['of a sha512 digest that nothing has', async () => ({ name: (await stage()).name, digest: unknownDigest('sha512') })],
    ['in a name that is not there', () => Promise.resolve({ name: registry.freshName(), digest: unknownDigest() })],
  ])('end-12a: the list %s is an empty index: 200, never 404', async (_, make) => {
    const { name, digest } = await make();
    expect((await referrers(name, digest)).all).toEqual([]);
  });

  test.each(['sha256:abc', 'nonsense', 'v1', `md5:${'a'.repeat(32)}`, `sha256:${'G'.repeat(64)}`, 'sha256:', '%00'])(
    'end-12a: the malformed digest %s is 400',
    async (digest) => {
      const { name } = await stage();
      expectError(await registry.send('GET', `/v2/${name}/referrers/${digest}`), 400, 'DIGEST_INVALID');
    },
  );

  test('end-12a: a descriptor has the artifactType, else the type of the config; an index without one has none', async () => {
    const { name, subject } = await stage();
    const typed = about(subject, { artifactType: 'application/vnd.example.sbom' });
    const config = blob(9, 'application/vnd.example.config');
    await pushBlob(registry, name, config);
    const untyped = about(subject, {}, config);
    const emptyType = about(subject, { artifactType: '' }, config);
    const bare = index([], { subject: descriptor(subject), salt: unknownDigest() });
    const typedIndex = index([], { subject: descriptor(subject), artifactType: 'application/vnd.example.set', salt: unknownDigest() });
    for (const what of [typed, untyped, emptyType, bare, typedIndex]) await pushManifest(registry, name, what);
    const byDigest = new Map((await referrers(name, subject.digest)).all.map((d) => [d.digest, d]));
    expect(byDigest.size).toBe(5);
    expect(byDigest.get(typed.digest)?.['artifactType']).toBe('application/vnd.example.sbom');
    expect(byDigest.get(untyped.digest)?.['artifactType']).toBe('application/vnd.example.config');
    expect(byDigest.get(emptyType.digest)?.['artifactType']).toBe('application/vnd.example.config');
    expect(byDigest.get(bare.digest)).not.toHaveProperty('artifactType');
    expect(byDigest.get(typedIndex.digest)?.['artifactType']).toBe('application/vnd.example.set');
  });

  test('end-12a: a descriptor has the annotations of the manifest', async () => {
    const { name, subject } = await stage();
    const annotations = { 'org.opencontainers.image.created': '2026-01-01T00:00:00Z', 'org.example': 'ü "quoted"', empty: '' };
    const annotated = about(subject, { annotations });
    const plain = about(subject);
    await pushManifest(registry, name, annotated);
    await pushManifest(registry, name, plain);
    const { all } = await referrers(name, subject.digest);
    expect(all.find((d) => d.digest === annotated.digest)?.['annotations']).toEqual(annotations);
    expect(all.find((d) => d.digest === plain.digest)?.['annotations'] ?? {}).toEqual({});
  });

  test('end-12a: what is pushed again, or tagged too, is listed once', async () => {
    const { name, subject } = await stage();
    const what = about(subject);
    await pushManifest(registry, name, what);
    await pushManifest(registry, name, what);
    await pushManifest(registry, name, what, 'tagged');
    expect((await referrers(name, subject.digest)).all.map((d) => d.digest)).toEqual([what.digest]);
  });

  test('end-12a: referrers belong to their name', async () => {
    const { name, subject } = await stage();
    const other = registry.freshName();
    await pushBlob(registry, other, EMPTY);
    await pushManifest(registry, other, about(subject));
    expect((await referrers(name, subject.digest)).all).toEqual([]);
  });

  test('end-12a: a deleted referrer is not listed, its subject stays', async () => {
    const { name, subject } = await stage();
    const [gone, kept] = [about(subject), about(subject)];
    await pushManifest(registry, name, gone, 'sig');
    await pushManifest(registry, name, kept);
    expect((await registry.send('DELETE', `/v2/${name}/manifests/${gone.digest}`)).status).toBe(202);
    expect((await referrers(name, subject.digest)).all.map((d) => d.digest)).toEqual([kept.digest]);
    expect((await registry.send('HEAD', `/v2/${name}/manifests/v1`)).status).toBe(200);
  });

  test('end-12a: a referrer pushed again after it was deleted is listed again', async () => {
    const { name, subject } = await stage();
    const what = about(subject);
    await pushManifest(registry, name, what);
    await registry.send('DELETE', `/v2/${name}/manifests/${what.digest}`);
    await pushManifest(registry, name, what);
    expect((await referrers(name, subject.digest)).all.map((d) => d.digest)).toEqual([what.digest]);
  });

  test('end-12a: referrers can be referred to', async () => {
    const { name, subject } = await stage();
    const sbom = about(subject);
    const signature = about(sbom);
    await pushManifest(registry, name, sbom);
    await pushManifest(registry, name, signature);
    expect((await referrers(name, subject.digest)).all.map((d) => d.digest)).toEqual([sbom.digest]);
    expect((await referrers(name, sbom.digest)).all.map((d) => d.digest)).toEqual([signature.digest]);
  });

  test('end-12a: very many come complete, in as many pages as it takes', async () => {
    const { name, subject } = await stage();
    const all = Array.from({ length: 120 }, () => about(subject, { annotations: { pad: 'x'.repeat(2000) } }));
    for (let at = 0; at < all.length; at += 8) await Promise.all(all.slice(at, at + 8).map((what) => pushManifest(registry, name, what)));
    const listed = (await referrers(name, subject.digest)).all.map((d) => d.digest);
    expect(listed.toSorted()).toEqual(all.map((what) => what.digest).toSorted());
  });
});

describe('end-12b: GET /v2/<name>/referrers/<digest>?artifactType=<type>', () => {
  test('end-12b: only those of the type come, and OCI-Filters-Applied says so', async () => {
    const { name, subject } = await stage();
    const sbom = about(subject, { artifactType: 'application/vnd.example.sbom.v1+json' });
    const signature = about(subject, { artifactType: 'application/vnd.example.signature' });
    const untyped = about(subject);
    for (const what of [sbom, signature, untyped]) await pushManifest(registry, name, what);
    for (const [type, expected] of [
      ['application/vnd.example.sbom.v1+json', [sbom]],
      ['application/vnd.example.signature', [signature]],
      [TYPES.empty, [untyped]],
      ['application/vnd.example', []],
      ['nothing', []],
    ] as const) {
      const { first, all } = await referrers(name, subject.digest, `?artifactType=${encodeURIComponent(type)}`);
      expect(first.header('oci-filters-applied')).toBe('artifactType');
      expect(all.map((d) => d.digest)).toEqual(expected.map((what) => what.digest));
    }
    const { first, all } = await referrers(name, subject.digest);
    expect(first.header('oci-filters-applied')).toBeUndefined();
    expect(all.length).toBe(3);
  });

  test('end-12b: the filter holds where nothing refers to the digest', async () => {
    const { name } = await stage();
    expect((await referrers(name, unknownDigest(), '?artifactType=x%2Fy')).all).toEqual([]);
  });
});
