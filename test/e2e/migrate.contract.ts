/**
 * Moving in, end to end: what Debian's docker-registry wrote, in whichever store, is taken over by `umbra migrate` into
 * another, killed in the middle, and then served by Umbra as it was before.
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
import { makeAuthority } from '../services/certificates.ts';
import { attempt, DEBIAN_PATH, type CommandResult } from '../services/command.ts';
import { Containers } from '../services/containers.ts';
import { DockerRegistry } from '../services/docker-registry.ts';
import { makeImage, makeIndex, makeMultiArch, writeLayout, type Image } from './images.ts';
import { expectStatus, RegistryClient } from './registry-client.ts';
import { Umbra } from './umbra.ts';

const PROGRAM = process.env['UMBRA_PROGRAM'] ?? join(import.meta.dirname, '../../bin/umbra');
/** More than one piece in any store. */
const LARGE = 12 * 1024 * 1024;
/** Object stores on a busy machine take minutes for hundreds of small objects. */
export const TIMEOUT_MS = 600_000;
const SMALLER = 1024 * 1024;

export interface Stores {
  /** What docker-registry has under `storage:`. */
  readonly old: Readonly<Record<string, unknown>>;
  /** Umbra's `storage:`. */
  readonly umbra: Readonly<Record<string, unknown>>;
  /** The store copies large blobs by itself. */
  readonly copies?: boolean;
}

export interface Landscape extends AsyncDisposable {
  readonly dir: string;
  readonly old: DockerRegistry;
  readonly oldClient: RegistryClient;
  /** Path and tag of each image that was pushed; '' where by digest only. */
  readonly images: readonly (readonly [path: string, tag: string, image: Image])[];
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
  const authority = await makeAuthority(dir);
  const old = stack.use(await DockerRegistry.start({ dir: join(dir, 'old'), authority, storage: stores.old }));
  const oldClient = stack.use(new RegistryClient(old.url, { ca: authority.pem }));
  const images = await fill(dir, old, oldClient, authority.pem);
  const config = { workers: 1, upstreams: {}, storage: stores.umbra };
  const configFile = join(dir, 'target.yaml');
  await writeFile(configFile, stringify(config));
  const command = [PROGRAM, 'migrate', '--from', old.configFile, '-c', configFile];
  const env = { PATH: `${dirname(process.execPath)}:${DEBIAN_PATH}`, HOME: dir };
  const owned = stack.move();
  return {
    dir, old, oldClient, images,
    copies: stores.copies ?? false,
    async migrate(...args) {
      const result = await attempt(PROGRAM, [...command.slice(1), '--json', ...args], { env, timeoutMs: TIMEOUT_MS / 2 });
      const events = result.stdout.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as MigrateEvent);
      return { ...result, events };
    },
    async killAt(event) {
      const child = spawn(PROGRAM, [...command.slice(1), '--json'], { env: { ...env, LC_ALL: 'C.UTF-8' }, stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = new Promise<string | undefined>((resolve) => child.once('exit', (_, signal) => resolve(signal ?? undefined)));
      for await (const line of createInterface(child.stdout)) if ((JSON.parse(line) as MigrateEvent).event === event) child.kill('SIGKILL');
      return await ended;
    },
    async serve() {
      return owned.use(await Umbra.start({ dir: join(dir, 'umbra'), config: { upstreams: {}, storage: stores.umbra } }));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function fill(dir: string, old: DockerRegistry, client: RegistryClient, pem: string): Promise<Landscape['images']> {
  const host = old.url.replace('https://', '');
  const containers = await Containers.create(join(dir, 'c'));
  await containers.trust(host, pem);
  const images: [string, string, Image][] = [];
  const multi = await makeMultiArch('multi');
  await writeLayout(join(dir, 'layout'), 'x', multi);
  await containers.skopeo(['copy', '--all', '--preserve-digests', `oci:${join(dir, 'layout')}:x`, `docker://${host}/org/multi:oci`], { timeoutMs: TIMEOUT_MS / 2 });
  images.push(['org/multi', 'oci', multi]);
  const push = async (path: string, tag: string, image: Image): Promise<void> => {
    await client.push(path, tag === '' ? image.digest : tag, image);
    images.push([path, tag, image]);
  };
  await push('org/multi', 'docker', await makeMultiArch('multi', 'docker'));
  const small = await makeImage({ marker: 'small' });
  await push('alpine', 'latest', small);
  await push('alpine', '3', small);
  await push('quay.io/org/mirrored', 'v1', small);
  await push('org/untagged', '', await makeImage({ marker: 'untagged' }));
  await push('org/nested', '1', makeIndex([multi, small]));
  await push('org/large', '1', await makeImage({ marker: 'large', fillerBytes: LARGE }));
  for (let i = 0; i < 4; i++) await push(`many/app${i}`, 'v1', await makeImage({ marker: `many ${i}`, fillerBytes: SMALLER }));
  return images;
}

/** The store `old` is into the store `umbra` is. */
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
      // The large image comes late, and so after the kill.
      if (landscape.copies) expect(ended.counts['serverCopiedBytes']).toBeGreaterThan(LARGE);
      else expect(ended.counts['serverCopiedBytes']).toBe(0);

      const again = await landscape.migrate();
      expect(again.events.at(-1)).toMatchObject({ counts: { problems: 0, copiedBlobs: 0, writtenManifests: 0, writtenTags: 0 } });
      const verified = await landscape.migrate('--verify');
      expect([verified.code, verified.events.at(-1)]).toMatchObject([0, { counts: { problems: 0, readBlobs: blobs } }]);

      await using umbra = await landscape.serve();
      await using client = new RegistryClient(umbra.url);
      for (const [path, tag, image] of landscape.images) await expectSame(landscape.oldClient, client, path, tag === '' ? image.digest : tag, image);
      for (const path of new Set(landscape.images.map(([name]) => name))) {
        const [there, here] = await Promise.all([landscape.oldClient, client].map(async (registry) => JSON.parse((await registry.call(`/v2/${path}/tags/list`)).bytes.toString()) as { tags: string[] | null }));
        expect(here?.tags ?? []).toEqual((there?.tags ?? []).toSorted());
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

/** Both registries answer with the same bytes, which are those that were pushed. */
async function expectSame(old: RegistryClient, umbra: RegistryClient, path: string, reference: string, image: Image): Promise<void> {
  const [there, here] = await Promise.all([old, umbra].map(async (client) => expectStatus(await client.getManifest(path, reference), 200)));
  expect([here?.digest, here?.headers['content-type'], here?.headers['docker-content-digest']]).toEqual([image.digest, there?.headers['content-type'], there?.headers['docker-content-digest']]);
  for (const [digest, bytes] of image.blobs) {
    const blob = expectStatus(await umbra.getBlob(path, digest), 200);
    expect([blob.digest, blob.bytes.length]).toEqual([digest, bytes.length]);
    expect(expectStatus(await old.getBlob(path, digest), 200).bytes.equals(blob.bytes)).toBe(true);
  }
  for (const child of image.children) await expectSame(old, umbra, path, child.digest, child);
}
