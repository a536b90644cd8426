/**
 * Umbra's main job as every client must see it: the pushed image when there is one, upstream's when there is none,
 * by whichever spelling (DESIGN sections 3 and 4). Each client's test file runs this suite with its own client.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeImage, type Image } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';
import { SOAK } from '../support/soak.ts';
import { expectStatus } from './registry-client.ts';

export interface ShadowClient {
  /** Pushes the image under a reference that begins with Umbra's host. */
  push(image: Image, reference: string): Promise<void>;
  /** Pulls it whole, whatever was pulled before, and gives the marker that came. Rejects where the client fails. */
  pull(reference: string): Promise<string>;
  /** Deletes what is at the reference, where the client can. */
  remove?(reference: string): Promise<void>;
}

export interface ShadowSuite {
  readonly client: string;
  /** The upstreams whose images it asks Umbra for by configuration, when told the upstream's own reference. */
  readonly mirrored: readonly ('docker.io' | 'quay.io')[];
  /** It is made of the same code as another client here, which sees every spelling; this one sees the longest and the shortest, and every one in the soak. */
  readonly isTwin?: boolean;
  start(landscape: Landscape): Promise<ShadowClient>;
}

export function shadowing(suite: ShadowSuite): void {
  describe(`an image that ${suite.client} pushes shadows upstream's`, () => {
    let landscape: Landscape;
    let client: ShadowClient;
    beforeAll(async () => {
      landscape = await buildLandscape();
      client = await suite.start(landscape);
    });
    afterAll(() => landscape?.[Symbol.asyncDispose]());
    tellOnFailure(() => landscape?.umbra);

    /** Everything that this client may call an image of Docker Hub's, Umbra's host first where it is part of it. */
    const hubSpellings = (name: string): string[] => [
      `${landscape.umbra.host}/docker.io/library/${name}`,
      ...(suite.isTwin === true && !SOAK ? [] : [`${landscape.umbra.host}/docker.io/${name}`, `${landscape.umbra.host}/library/${name}`]),
      `${landscape.umbra.host}/${name}`,
      ...(suite.mirrored.includes('docker.io') ? [`docker.io/library/${name}`] : []),
    ];
    /** Where the spelling is not what matters: the whole name, and upstream's own or the shortest. */
    const someSpellings = (name: string): string[] => (SOAK ? hubSpellings(name) : [hubSpellings(name).at(0) ?? '', hubSpellings(name).at(-1) ?? '']);
    const quaySpellings = (name: string): string[] => [
      `${landscape.umbra.host}/quay.io/${name}`,
      ...(suite.mirrored.includes('quay.io') ? [`quay.io/${name}`] : []),
    ];
    const pullAll = async (references: readonly string[]): Promise<Record<string, string>> => {
      const markers: Record<string, string> = {};
      for (const reference of references) markers[reference] = await client.pull(reference);
      return markers;
    };
    const all = (references: readonly string[], marker: string): Record<string, string> =>
      Object.fromEntries(references.map((reference) => [reference, marker]));
    const remove = async (reference: string): Promise<void> => {
      if (client.remove) return client.remove(reference);
      const [, name, tag] = /^[^/]+\/(.+):([^:]+)$/.exec(reference) ?? [];
      expectStatus(await landscape.client.call(`/v2/${name}/manifests/${tag}`, { method: 'DELETE' }), 202);
    };

    test('what nobody pushed is upstream’s by every spelling', async () => {
      await landscape.publish('docker.io/library/plain', '1', await makeImage({ marker: 'hub plain' }));
      await landscape.publish('quay.io/org/plain', '1', await makeImage({ marker: 'quay plain' }));
      const [hub, quay] = [hubSpellings('plain:1'), quaySpellings('org/plain:1')];
      expect(await pullAll([...hub, ...quay])).toEqual({ ...all(hub, 'hub plain'), ...all(quay, 'quay plain') });
    });

    test('what was pushed by one spelling wins by every spelling', async () => {
      await landscape.publish('docker.io/library/base', '1', await makeImage({ marker: 'hub base' }));
      await landscape.publish('quay.io/org/base', '1', await makeImage({ marker: 'quay base' }));
      await client.push(await makeImage({ marker: 'pushed base' }), `${landscape.umbra.host}/docker.io/library/base:1`);
      const [hub, quay] = [hubSpellings('base:1'), quaySpellings('org/base:1')];
      expect(await pullAll(hub)).toEqual(all(hub, 'pushed base'));
      expect(await pullAll(quay)).toEqual(all(quay, 'quay base'));

      await client.push(await makeImage({ marker: 'pushed quay base' }), `${landscape.umbra.host}/quay.io/org/base:1`);
      expect(await pullAll(quay)).toEqual(all(quay, 'pushed quay base'));
    });

    test('a push without a host shadows Docker Hub, even over what was pulled before', async () => {
      await landscape.publish('docker.io/library/late', '1', await makeImage({ marker: 'hub late' }));
      const references = hubSpellings('late:1');
      expect(await pullAll(references)).toEqual(all(references, 'hub late'));
      await client.push(await makeImage({ marker: 'pushed late' }), `${landscape.umbra.host}/late:1`);
      expect(await pullAll(references)).toEqual(all(references, 'pushed late'));
    });

    test('other tags of a pushed name are still upstream’s', async () => {
      await landscape.publish('docker.io/library/tags', '1', await makeImage({ marker: 'hub tags 1' }));
      await landscape.publish('docker.io/library/tags', '2', await makeImage({ marker: 'hub tags 2' }));
      await client.push(await makeImage({ marker: 'pushed tags 2' }), `${landscape.umbra.host}/docker.io/library/tags:2`);
      const [one, two] = [someSpellings('tags:1'), someSpellings('tags:2')];
      expect(await pullAll([...one, ...two])).toEqual({ ...all(one, 'hub tags 1'), ...all(two, 'pushed tags 2') });
    });

    test('deleting what was pushed uncovers upstream’s', async () => {
      await landscape.publish('docker.io/library/gone', '1', await makeImage({ marker: 'hub gone' }));
      const references = someSpellings('gone:1');
      await client.push(await makeImage({ marker: 'pushed gone' }), `${landscape.umbra.host}/docker.io/library/gone:1`);
      expect(await pullAll(references.slice(0, 1))).toEqual(all(references.slice(0, 1), 'pushed gone'));
      await remove(`${landscape.umbra.host}/docker.io/library/gone:1`);
      expect(await pullAll(references)).toEqual(all(references, 'hub gone'));
    });

    test('what upstream does not have is pulled once it was pushed, and not before', async () => {
      const references = [
        `${landscape.umbra.host}/docker.io/org/own:1`,
        `${landscape.umbra.host}/quay.io/org/own:1`,
        `${landscape.umbra.host}/local.example/own:1`,
      ];
      for (const reference of references) {
        await expect(client.pull(reference)).rejects.toThrow(/unknown|not found|manifest/i);
        await client.push(await makeImage({ marker: reference }), reference);
        expect(await client.pull(reference)).toBe(reference);
      }
    });
  });
}
