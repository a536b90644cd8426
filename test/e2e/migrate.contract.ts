/**
 * Moving in, end to end: what another registry wrote, in whichever store, is taken over by `umbra migrate` into another,
 * killed in the middle, and then served by Umbra as it was before.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { MigrateEvent } from '../../src/migrate/events.ts';
import { attempt, DEBIAN_PATH, type CommandResult } from '../services/command.ts';
import { watchSaid } from '../support/secret-watch.ts';
import type { Image } from './images.ts';
import { expectStatus, RegistryClient } from './registry-client.ts';
import { Umbra } from './umbra.ts';

const PROGRAM = process.env['UMBRA_PROGRAM'] ?? join(import.meta.dirname, '../../bin/umbra');
/** More than one piece in any store. */
export const LARGE: number = 12 * 1024 * 1024;
/** Object stores on a busy machine take minutes for hundreds of small objects. */
export const TIMEOUT_MS = 600_000;

/** A registry that is to be left, with images in its store; `old-distribution.ts` and `old-zuul-registry.ts` make them. */
export interface OldRegistry {
  /** What `--from` is given. */
  readonly from: string;
  /** What that needs of the environment to be understood. */
  readonly env?: Readonly<Record<string, string>>;
  /** Path and tag of each image; '' where by digest only. */
  readonly images: readonly (readonly [path: string, tag: string, image: Image])[];
  /** Where it still runs: it answers as it always did. */
  readonly client?: RegistryClient;
}

export interface Stores {
  readonly old: OldRegistry;
  /** Umbra's `storage:`. */
  readonly umbra: Readonly<Record<string, unknown>>;
  /** The store copies large blobs by itself. */
  readonly copies?: boolean;
}

export interface Landscape extends AsyncDisposable {
  readonly dir: string;
  readonly old: OldRegistry;
  readonly images: OldRegistry['images'];
  readonly copies: boolean;
  migrate(...args: string[]): Promise<CommandResult & { readonly events: readonly (MigrateEvent | { readonly event: 'ended'; readonly counts: Record<string, number> })[] }>;
  /** Runs it until the first event of this kind, then kills it. Undefined: it came to its end. */
  killAt(event: string): Promise<string | undefined>;
  serve(): Promise<Umbra>;
}

export async function buildLandscape(makeStores: (dir: string, stack: AsyncDisposableStack) => Promise<Stores>): Promise<Landscape> {
  await using stack = new AsyncDisposableStack();
  const dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
  await mkdir(dir, { mode: 0o700 });
  stack.defer(() => rm(dir, { recursive: true }));
  const stores = await makeStores(dir, stack);
  const { old } = stores;
  const config = { workers: 1, upstreams: {}, storage: stores.umbra };
  const configFile = join(dir, 'target.yaml');
  await writeFile(configFile, stringify(config));
  const command = [PROGRAM, 'migrate', '--from', old.from, '-c', configFile];
  const env = { PATH: `${dirname(process.execPath)}:${DEBIAN_PATH}`, HOME: dir, ...old.env };
  const owned = stack.move();
  return {
    dir, old,
    images: old.images,
    copies: stores.copies ?? false,
    async migrate(...args) {
      const result = await attempt(PROGRAM, [...command.slice(1), '--json', ...args], { env, timeoutMs: TIMEOUT_MS / 2 });
      const events = result.stdout.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as MigrateEvent);
      return { ...result, events };
    },
    async killAt(event) {
      const child = spawn(PROGRAM, [...command.slice(1), '--json'], { env: { ...env, LC_ALL: 'C.UTF-8' }, stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = new Promise<string | undefined>((resolve) => child.once('exit', (_, signal) => resolve(signal ?? undefined)));
      for await (const line of createInterface(child.stdout)) {
        watchSaid('umbra migrate', line);
        if ((JSON.parse(line) as MigrateEvent).event === event) child.kill('SIGKILL');
      }
      return await ended;
    },
    async serve() {
      return owned.use(await Umbra.start({ dir: join(dir, 'umbra'), config: { upstreams: {}, storage: stores.umbra } }));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** The store that `old` left is taken into the store `umbra` is. */
export function movingIn(what: string, makeStores: (dir: string, stack: AsyncDisposableStack) => Promise<Stores>): void {
  describe(`moving in: ${what}`, () => {
    let landscape: Landscape;
    beforeAll(async () => {
      landscape = await buildLandscape(makeStores);
    }, TIMEOUT_MS);
    afterAll(() => landscape?.[Symbol.asyncDispose]());

    test('a dry run tells all, and writes nothing', async () => {
      const { code, events, stderr } = await landscape.migrate('--dry-run');
      expect([code, stderr]).toEqual([0, '']);
      const { blobs, manifests } = contentOf(landscape.images);
      expect(events.at(-1)).toMatchObject({ event: 'ended', counts: { problems: 0, manifests, blobs, copiedBlobs: 0 } });
      const { code: compared } = await landscape.migrate('--verify');
      expect(compared).toBe(1);
    }, TIMEOUT_MS);

    test('killed in the middle and begun again, it takes all; Umbra serves it as it was', async () => {
      expect(await landscape.killAt('repository')).toBe('SIGKILL');
      const { code, events, stderr } = await landscape.migrate();
      expect([code, stderr]).toEqual([0, '']);
      const ended = events.at(-1);
      if (ended?.event !== 'ended') throw new Error('it did not say how it ended');
      const { blobs, manifests } = contentOf(landscape.images);
      expect(ended.counts).toMatchObject({ problems: 0, blobs, manifests });
      expect(ended.counts['copiedBlobs']).toBeLessThan(blobs);
      // The large image is of the last repository, and so comes after the kill.
      if (landscape.copies) expect(ended.counts['serverCopiedBytes']).toBeGreaterThan(LARGE);
      else expect(ended.counts['serverCopiedBytes']).toBe(0);

      const again = await landscape.migrate();
      expect(again.events.at(-1)).toMatchObject({ counts: { problems: 0, copiedBlobs: 0, writtenManifests: 0, writtenTags: 0 } });
      const verified = await landscape.migrate('--verify');
      expect([verified.code, verified.events.at(-1)]).toMatchObject([0, { counts: { problems: 0, readBlobs: blobs } }]);

      await using umbra = await landscape.serve();
      await using client = new RegistryClient(umbra.url);
      const { client: old } = landscape.old;
      for (const [path, tag, image] of landscape.images) await expectSame(client, old, path, tag === '' ? image.digest : tag, image);
      for (const path of new Set(landscape.images.map(([name]) => name))) {
        const tags = landscape.images.flatMap(([name, tag]) => (name === path && tag !== '' ? [tag] : [])).toSorted();
        expect(await tagsOf(client, path)).toEqual(tags);
        if (old !== undefined) expect((await tagsOf(old, path)).toSorted()).toEqual(tags);
      }
    }, TIMEOUT_MS);
  });
}

/** Manifests and blobs of a repository, as many as there are different ones in it; blobs over all. */
function contentOf(images: Landscape['images']): { readonly manifests: number; readonly blobs: number } {
  const manifests = new Set<string>();
  const blobs = new Set<string>();
  const collect = (path: string, image: Image): void => {
    manifests.add(`${path}@${image.digest}`);
    for (const digest of image.blobs.keys()) blobs.add(digest);
    for (const child of image.children) collect(path, child);
  };
  for (const [path, , image] of images) collect(path, image);
  return { manifests: manifests.size, blobs: blobs.size };
}

async function tagsOf(registry: RegistryClient, path: string): Promise<string[]> {
  const { tags } = JSON.parse((await registry.call(`/v2/${path}/tags/list`)).bytes.toString()) as { tags: string[] | null }; // as the spec has it
  return tags ?? [];
}

/** Umbra answers with the bytes that were pushed, and as the old registry does where that still runs. */
async function expectSame(umbra: RegistryClient, old: RegistryClient | undefined, path: string, reference: string, image: Image): Promise<void> {
  const here = expectStatus(await umbra.getManifest(path, reference), 200);
  expect([here.digest, here.headers['content-type'], here.headers['docker-content-digest']]).toEqual([image.digest, image.mediaType, image.digest]);
  if (old !== undefined) {
    const there = expectStatus(await old.getManifest(path, reference), 200);
    expect([there.digest, there.headers['content-type'], there.headers['docker-content-digest']]).toEqual([image.digest, image.mediaType, image.digest]);
  }
  for (const [digest, bytes] of image.blobs) {
    expect(expectStatus(await umbra.getBlob(path, digest), 200).bytes.equals(bytes)).toBe(true);
    if (old !== undefined) expect(expectStatus(await old.getBlob(path, digest), 200).bytes.equals(bytes)).toBe(true);
  }
  for (const child of image.children) await expectSame(umbra, old, path, child.digest, child);
}
