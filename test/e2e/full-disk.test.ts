/**
 * A store that is full: what is stored is served, what is pulled through passes unstored, and pushes are told. The
 * store is a small tmpfs in a mount namespace of Umbra's own, which ends with it.
 */
import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { attempt } from '../services/command.ts';
import { makeImage, pseudoRandom, type Image } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';

const MIB = 1024 * 1024;
const SPACE = 24 * MIB;

const trial = await attempt('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']);
const unable = trial.code === 0 ? '' : ` (skipped: cannot mount here: ${trial.stderr.trim()})`;

describe.skipIf(unable !== '')(`a store without space${unable}`, () => {
  let landscape: Landscape;
  /** The store's root, through the namespace. */
  let root: string;
  let stored: Image;
  let cached: Image;
  let large: Image;

  beforeAll(async () => {
    landscape = await buildLandscape({
      config: (_, dir) => ({ storage: { driver: 'filesystem', root: join(dir, 'store') } }),
      wrapper: (dir) => [
        'unshare',
        '--mount',
        'sh',
        '-c',
        `mkdir -p "$0" && mount -t tmpfs -o size=${SPACE} tmpfs "$0" && exec "$@"`,
        join(dir, 'store'),
      ],
    });
    root = `/proc/${landscape.umbra.pid}/root${join(landscape.dir, 'store')}`;
    stored = await makeImage({ marker: 'stored' });
    cached = await makeImage({ marker: 'cached' });
    large = await makeImage({ marker: 'large', fillerBytes: 2 * SPACE });
    await landscape.publish('docker.io/org/cached', '1', cached);
    await landscape.publish('docker.io/org/large', '1', large);
    await landscape.client.push('org/stored', '1', stored);
    await pullWhole('org/cached', cached);
    // Leaves room for a few small files, as a full disk does.
    const { bavail, bsize } = await statfs(root);
    await writeFile(join(root, 'ballast'), Buffer.alloc(bavail * bsize - 2 * MIB));
  });
  afterAll(() => landscape?.[Symbol.asyncDispose]());
  tellOnFailure(() => landscape?.umbra);

  const pullWhole = async (name: string, image: Image): Promise<void> => {
    expect(await landscape.client.getManifest(name, '1')).toMatchObject({ status: 200, digest: image.digest });
    for (const digest of image.blobs.keys()) expect(await landscape.client.getBlob(name, digest)).toMatchObject({ status: 200, digest });
  };
  const freeBytes = async (): Promise<number> => {
    const { bavail, bsize } = await statfs(root);
    return bavail * bsize;
  };

  test('serves what was pushed, and what was pulled through before', async () => {
    await pullWhole('org/stored', stored);
    await pullWhole('org/cached', cached);
  });

  test('lets what is larger than the space left pass through, each time anew', async () => {
    const free = await freeBytes();
    for (const round of [1, 2]) {
      await pullWhole('org/large', large);
      const digest = [...large.blobs.keys()].at(-1);
      expect(landscape.hub.requests.filter((line) => line.startsWith(`GET /v2/org/large/blobs/${digest} `)).length).toBeGreaterThanOrEqual(
        round,
      );
    }
    // The small blobs beside the large one may be stored.
    expect(await freeBytes()).toBeGreaterThan(free - 2 * MIB);
  });

  test.each([
    [
      'in one request',
      async (bytes: Buffer) => {
        const digest = digestOf(bytes);
        return landscape.client.call(`/v2/org/pushed/blobs/uploads/?digest=${digest}`, {
          method: 'POST',
          headers: { 'content-type': 'application/octet-stream' },
          body: bytes,
        });
      },
    ],
    [
      'as most clients do',
      async (bytes: Buffer) => {
        const { headers } = await landscape.client.call('/v2/org/pushed/blobs/uploads/', { method: 'POST' });
        return landscape.client.call(headers['location'] ?? '', {
          method: 'PATCH',
          headers: { 'content-type': 'application/octet-stream' },
          body: bytes,
        });
      },
    ],
  ])('refuses a push %s with 507 and a reason, and keeps nothing of it', async (how, push) => {
    const bytes = pseudoRandom(`refused ${how}`, 4 * MIB);
    const free = await freeBytes();
    const answer = await push(bytes);
    expect(answer.status).toBe(507);
    expect(JSON.parse(answer.bytes.toString())).toMatchObject({
      errors: [{ code: 'STORAGE_FULL', message: expect.stringMatching(/space|full/) }],
    });
    expect(await landscape.client.getBlob('org/pushed', digestOf(bytes))).toMatchObject({ status: 404 });
    // At most the session's own record, which the client may still end or cancel.
    expect(await freeBytes()).toBeGreaterThan(free - MIB / 4);
  });

  test('takes pushes again as soon as there is space', async () => {
    await rm(join(root, 'ballast'));
    const image = await makeImage({ marker: 'after the flood', fillerBytes: 4 * MIB });
    await landscape.client.push('org/after', '1', image);
    await pullWhole('org/after', image);
    await pullWhole('org/stored', stored);
  });
});
