/** Distribution-spec 1.1.1, "Pulling blobs": Range requests in accordance with RFC 9110, section 14. */
import { beforeAll, describe, expect, test } from 'vitest';
import { blob } from './content.ts';
import { pushBlob, useRegistry } from './registry.ts';

const SIZE = 2048;
const registry = useRegistry();
const name = registry.freshName();
const what = blob(SIZE);
const path = `/v2/${name}/blobs/${what.digest}`;

beforeAll(() => pushBlob(registry, name, what));

const ask = (range: string, more: Readonly<Record<string, string>> = {}) => registry.send('GET', path, { headers: { range, ...more } });

describe('spec §Pulling blobs / Range', () => {
  test('RFC 9110 §14.3: blobs say that they take byte ranges', async () => {
    expect((await registry.send('HEAD', path)).header('accept-ranges')).toBe('bytes');
  });

  test.each([
    ['bytes=0-0', 0, 0],
    ['bytes=500-1499', 500, 1499],
    ['bytes=500-', 500, SIZE - 1],
    ['bytes=-500', SIZE - 500, SIZE - 1],
    ['bytes=-5000', 0, SIZE - 1],
    ['bytes=2000-5000', 2000, SIZE - 1],
    ['bytes=2047-', 2047, 2047],
    ['bytes=0-', 0, SIZE - 1],
    [`bytes=0-${'9'.repeat(30)}`, 0, SIZE - 1],
    ['BYTES=10-19', 10, 19],
  ])('RFC 9110 §14.1.2: %s is 206 with bytes %i to %i', async (range, first, last) => {
    const answer = await ask(range);
    expect(answer.status).toBe(206);
    expect(answer.header('content-range')).toBe(`bytes ${first}-${last}/${SIZE}`);
    expect(answer.header('content-length')).toBe(String(last - first + 1));
    expect(answer.header('docker-content-digest') ?? what.digest).toBe(what.digest);
    expect(answer.body.equals(what.bytes.subarray(first, last + 1))).toBe(true);
  });

  test.each(['bytes=2048-', 'bytes=5000-10000', 'bytes=-0', `bytes=${'9'.repeat(30)}-`, 'bytes=3000-,4000-5000'])(
    'RFC 9110 §15.5.17: %s cannot be satisfied: 416 with the length',
    async (range) => {
      const answer = await ask(range);
      expect(answer.status).toBe(416);
      expect(answer.header('content-range')).toBe(`bytes */${SIZE}`);
    },
  );

  test.each(['bytes=500-0', 'bytes=abc', 'bytes=1-2-3', 'bytes=--1', 'bytes=1', 'bytes=0-1,x', 'bytes=0x1-0x2', 'bytes=1.0-2'])(
    'RFC 9110 §14.2: %s is malformed and rejected',
    async (range) => {
      expect((await ask(range)).status).toBe(416);
    },
  );

  test.each(['items=0-1', 'seconds=1-2'])('RFC 9110 §14.2: %s, a unit nobody knows, is ignored', async (range) => {
    const answer = await ask(range);
    expect(answer.status).toBe(200);
    expect(answer.body.equals(what.bytes)).toBe(true);
  });

  test('RFC 9110 §14.2: Range has no meaning for HEAD', async () => {
    const answer = await registry.send('HEAD', path, { headers: { range: 'bytes=0-9' } });
    expect(answer.status).toBe(200);
    expect(answer.header('content-length')).toBe(String(SIZE));
  });

  test('RFC 9110 §14.1.2: an empty blob has nothing to satisfy a range with', async () => {
    const empty = blob(0);
    await pushBlob(registry, name, empty);
    const answer = await registry.send('GET', `/v2/${name}/blobs/${empty.digest}`, { headers: { range: 'bytes=0-0' } });
    expect([200, 416]).toContain(answer.status);
    if (answer.status === 200) expect(answer.body.length).toBe(0);
  });

  test('RFC 9110 §14.1.2: ranges of a blob larger than any buffer', async () => {
    const large = blob(5 * 1024 * 1024);
    await pushBlob(registry, name, large);
    for (const [first, last] of [
      [1024 * 1024 - 1, 1024 * 1024],
      [1, 5 * 1024 * 1024 - 2],
      [4 * 1024 * 1024, 5 * 1024 * 1024 - 1],
    ] as const) {
      const answer = await registry.send('GET', `/v2/${name}/blobs/${large.digest}`, { headers: { range: `bytes=${first}-${last}` } });
      expect(answer.status).toBe(206);
      expect(answer.body.equals(large.bytes.subarray(first, last + 1))).toBe(true);
    }
  });
});

describe('RFC 9110 §14.6: several ranges', () => {
  test.each([
    [
      'bytes=0-9,100-109',
      [
        [0, 9],
        [100, 109],
      ],
    ],
    [
      'bytes=100-109, 0-9 ,-10',
      [
        [100, 109],
        [0, 9],
        [2038, 2047],
      ],
    ],
    [
      'bytes=0-0,2047-',
      [
        [0, 0],
        [2047, 2047],
      ],
    ],
  ])('RFC 9110 §14.6: %s comes as multipart/byteranges, in the order asked for', async (range, expected) => {
    const answer = await ask(range);
    expect(answer.status).toBe(206);
    expect(answer.header('content-length')).toBe(String(answer.body.length));
    expect(answer.header('content-range')).toBeUndefined();
    const parts = multipart(answer.header('content-type') ?? '', answer.body);
    expect(parts.map((p) => p.range)).toEqual(expected.map(([first, last]) => `bytes ${first}-${last}/${SIZE}`));
    for (const [i, [first = 0, last = 0]] of expected.entries()) {
      expect(parts[i]?.bytes.equals(what.bytes.subarray(first, last + 1))).toBe(true);
    }
  });

  test('RFC 9110 §14.2: ranges that cannot be satisfied are left out beside one that can', async () => {
    const answer = await ask('bytes=0-9,5000-6000');
    expect(answer.status).toBe(206);
    expect(answer.header('content-range')).toBe(`bytes 0-9/${SIZE}`);
    expect(answer.body.equals(what.bytes.subarray(0, 10))).toBe(true);
  });

  test('RFC 9110 §17.15: very many or overlapping ranges cost no more than the blob', async () => {
    const many = `bytes=${Array.from({ length: 1000 }, (_, i) => `${i}-${i}`).join(',')}`;
    const overlapping = `bytes=${'0-,'.repeat(200)}0-`;
    for (const range of [many, overlapping]) {
      const answer = await ask(range);
      expect([200, 206, 416]).toContain(answer.status);
      // Not 200 copies of the blob: at most it and what frames the parts.
      expect(answer.body.length).toBeLessThan(SIZE + 1000 * 200);
    }
  });
});

describe('RFC 9110 §13.1.5: If-Range', () => {
  test('RFC 9110 §13.1.5: a range comes while the entity tag is the same', async () => {
    const etag = (await registry.send('HEAD', path)).header('etag') ?? '';
    expect((await ask('bytes=0-9', { 'if-range': etag })).status).toBe(206);
  });

  test.each(['"other"', 'Mon, 01 Jan 2001 00:00:00 GMT', 'garbage'])(
    'RFC 9110 §13.1.5: with %s the whole comes instead',
    async (condition) => {
      const answer = await ask('bytes=0-9', { 'if-range': condition });
      expect(answer.status).toBe(200);
      expect(answer.body.equals(what.bytes)).toBe(true);
    },
  );

  test('RFC 9110 §13.1.5: a weak entity tag never matches', async () => {
    const etag = (await registry.send('HEAD', path)).header('etag') ?? '';
    expect((await ask('bytes=0-9', { 'if-range': `W/${etag}` })).status).toBe(200);
  });
});

interface Part {
  readonly range: string | undefined;
  readonly bytes: Buffer;
}

/** Reads a multipart/byteranges body. Parts are found by their lengths, so that bytes that look like a boundary do no harm. */
function multipart(type: string, body: Buffer): Part[] {
  const boundary = /^multipart\/byteranges; ?boundary="?([^"]+)"?$/.exec(type)?.[1];
  if (boundary === undefined) throw new Error(`not multipart/byteranges with a boundary: ${type}`);
  const parts: Part[] = [];
  let at = 0;
  for (;;) {
    at = body.indexOf(`--${boundary}`, at) + boundary.length + 2;
    if (body.subarray(at, at + 2).toString() === '--') return parts;
    const end = body.indexOf('\r\n\r\n', at) + 4;
    const range = /content-range: *([^\r]+)/i.exec(body.subarray(at, end).toString('latin1'))?.[1];
    const [, first, last] = /^bytes (\d+)-(\d+)\//.exec(range ?? '') ?? [];
    if (first === undefined || last === undefined) throw new Error('a part without Content-Range');
    const length = Number(last) - Number(first) + 1;
    parts.push({ range, bytes: body.subarray(end, end + length) });
    at = end + length;
  }
}
