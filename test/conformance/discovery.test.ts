/** Distribution-spec 1.1.1, "Listing Tags" (end-8a, end-8b), and the catalogue of the Docker Registry API. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Answer } from './client.ts';
import { blob, image, TYPES } from './content.ts';
import { expectError, pushBlob, pushImage, pushManifest, useRegistry } from './registry.ts';

const registry = useRegistry();
const name = registry.freshName();
/** In "ASCIIbetical" order (spec: as Go's sort.Strings), which is also the order asked for where case does not matter. */
const TAGS = ['0', '1.0', '10', '2', 'a', 'aa', 'b', 'b-1', 'b.1', 'b1', 'b_1', 'latest', 'z'];

beforeAll(async () => {
  const config = blob(10, TYPES.config);
  await pushBlob(registry, name, config);
  const what = image(config, []);
  for (const tag of [...TAGS].reverse()) await pushManifest(registry, name, what, tag);
});

const list = (query = '', of = name): Promise<Answer> => registry.send('GET', `/v2/${of}/tags/list${query}`);
const tagsOf = (answer: Answer): string[] => {
  expect(answer.status, answer.body.toString()).toBe(200);
  expect(answer.header('content-type')).toMatch(/^application\/json\b/);
  return (answer.json() as { tags: string[] }).tags;
};
const next = (answer: Answer): string | undefined => {
  const link = answer.header('link');
  if (link === undefined) return undefined;
  const target = /^<([^>]+)>; *rel="?next"?$/.exec(link)?.[1];
  expect(target, link).toBeDefined();
  return target;
};

describe('end-8a: GET /v2/<name>/tags/list', () => {
  test('end-8a: the tags in order, under the name that was asked', async () => {
    const answer = await list();
    expect(tagsOf(answer)).toEqual(TAGS);
    expect(answer.json()).toMatchObject({ name });
    expect(answer.header('link')).toBeUndefined();
  });

  test('end-8a: a name that is not there is 404 NAME_UNKNOWN', async () => {
    expectError(await list('', registry.freshName()), 404, 'NAME_UNKNOWN');
  });

  test('end-8a: a name with manifests but no tags is 200 with an empty list', async () => {
    const untagged = registry.freshName();
    await pushImage(registry, untagged);
    expect(tagsOf(await list('', untagged))).toEqual([]);
  });

  test('end-8a: a tag is listed as soon as it is pushed, and not once it is deleted', async () => {
    const changing = registry.freshName();
    await pushImage(registry, changing, ['one', 'two']);
    expect(tagsOf(await list('', changing))).toEqual(['one', 'two']);
    await registry.send('DELETE', `/v2/${changing}/manifests/one`);
    expect(tagsOf(await list('', changing))).toEqual(['two']);
  });

  test('end-8a: tags that differ in case are different', async () => {
    const cased = registry.freshName();
    await pushImage(registry, cased, ['Tag', 'tag', 'TAG']);
    expect(tagsOf(await list('', cased)).toSorted()).toEqual(['TAG', 'Tag', 'tag']);
  });

  test('end-8a: a name and a longer one that begins with it keep apart', async () => {
    const outer = registry.freshName();
    await pushImage(registry, outer, ['outer']);
    await pushImage(registry, `${outer}/inner`, ['inner']);
    await pushImage(registry, `${outer}-x`, ['beside']);
    expect(tagsOf(await list('', outer))).toEqual(['outer']);
    expect(tagsOf(await list('', `${outer}/inner`))).toEqual(['inner']);
  });
});

describe('end-8b: GET /v2/<name>/tags/list?n=<int>&last=<tag>', () => {
  test('end-8b: n=0 is an empty list without a Link', async () => {
    const answer = await list('?n=0');
    expect(tagsOf(answer)).toEqual([]);
    expect(answer.header('link')).toBeUndefined();
  });

  test.each([1, 2, 5, 12])('end-8b: pages of %i, by following Link, are all tags in order, once', async (n) => {
    const all: string[] = [];
    let answer = await list(`?n=${n}`);
    for (;;) {
      const page = tagsOf(answer);
      expect(page.length).toBeLessThanOrEqual(n);
      all.push(...page);
      const target = next(answer);
      if (target === undefined) break;
      expect(page.length).toBeGreaterThan(0);
      answer = await registry.send('GET', target);
    }
    expect(all).toEqual(TAGS);
  });

  test.each([TAGS.length, TAGS.length + 1, 1000])('end-8b: n=%i, all there are or more, has no Link', async (n) => {
    const answer = await list(`?n=${n}`);
    expect(tagsOf(answer)).toEqual(TAGS);
    expect(answer.header('link')).toBeUndefined();
  });

  test.each([
    ['a tag', 'b', TAGS.slice(7)],
    ['the last tag', 'z', []],
    ['one that is not there', 'b0', TAGS.slice(9)],
    ['one before all', '-', TAGS],
    ['one behind all', 'zzz', []],
  ])('end-8b: last=%s begins behind it', async (_, last, expected) => {
    expect(tagsOf(await list(`?last=${last}`))).toEqual(expected);
  });

  test('end-8b: n and last together', async () => {
    const answer = await list('?n=3&last=a');
    expect(tagsOf(answer)).toEqual(['aa', 'b', 'b-1']);
    expect(next(answer)).toBeDefined();
    expect(tagsOf(await list('?n=0&last=a'))).toEqual([]);
  });

  test('end-8b: huge n is bounded by the registry, not refused', async () => {
    expect(tagsOf(await list('?n=1000000'))).toEqual(TAGS);
  });

  test.each(['abc', '-1', '1.5', '1e3', '0x10', '%20', '9'.repeat(40), ''])('end-8b: n=%s is no number of tags: 400', async (n) => {
    expectError(await list(`?n=${n}`), 400);
  });

  test.each(['a%2Fb', '..%2F..', 'a%00', 'x'.repeat(300)])(
    'end-8b: last=%s, which is no tag, is 400 or simply a place in the order',
    async (last) => {
      const answer = await list(`?last=${last}`);
      if (answer.status === 200) for (const tag of tagsOf(answer)) expect(TAGS).toContain(tag);
      else expectError(answer, 400);
    },
  );
});

describe('Docker Registry API: GET /v2/_catalog', () => {
  const catalog = async (query = ''): Promise<{ names: string[]; answer: Answer }> => {
    const answer = await registry.send('GET', `/v2/_catalog${query}`);
    expect(answer.status, answer.body.toString()).toBe(200);
    return { names: (answer.json() as { repositories: string[] }).repositories, answer };
  };

  // Only the names of this file are looked at: the registry may have others, and others may be pushing.
  const own = `${name.slice(0, name.lastIndexOf('/'))}/`;

  test('_catalog: names of what was pushed, in order, once', async () => {
    await pushImage(registry, registry.freshName(), ['v1']);
    const names = (await catalog('?n=10000')).names.filter((n) => n.startsWith(own));
    expect(names).toContain(name);
    expect(names).toEqual([...new Set(names)].toSorted());
  });

  test('_catalog: pages by n and Link give the whole', async () => {
    for (let i = 0; i < 4; i++) await pushImage(registry, registry.freshName(), ['v1']);
    const all: string[] = [];
    let { names, answer } = await catalog(`?n=2&last=${encodeURIComponent(own.slice(0, -1))}`);
    for (;;) {
      expect(names.length).toBeLessThanOrEqual(2);
      all.push(...names.filter((n) => n.startsWith(own)));
      const target = next(answer);
      if (target === undefined || names.some((n) => !n.startsWith(own))) break;
      ({ names, answer } = await catalog(target.slice(target.indexOf('?'))));
    }
    expect(all.length).toBeGreaterThan(4);
    expect(all).toEqual((await catalog('?n=10000')).names.filter((n) => n.startsWith(own)));
  });

  test.each(['abc', '-1', '1.5'])('_catalog: n=%s is 400', async (n) => {
    expectError(await registry.send('GET', `/v2/_catalog?n=${n}`), 400);
  });
});
