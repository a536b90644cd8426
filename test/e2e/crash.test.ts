/**
 * Umbra killed with SIGKILL at many points of pushing and pulling, and started again on what it left: all that was
 * answered 201 is there, and nothing is served that is not whole (DESIGN section 12, 1 and 2). `test/stores/crash.test.ts`
 * is the same over object stores.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { killWhilePushing } from './crash-pushing.ts';
import { makeImage, pseudoRandom, type Image } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';
import { RegistryClient } from './registry-client.ts';
import { SOAK } from '../support/soak.ts';

/** In each of the two configurations. */
const PUSHING_KILLS = SOAK ? 30 : 6;
const PULLING_KILLS = 4;
const PUSHERS = 4;

describe.each([1, 2])('a server of %i worker(s) that is killed again and again', (workers) => {
  let landscape: Landscape;
  beforeAll(async () => {
    landscape = await buildLandscape({ config: () => ({ workers }) });
  });
  afterAll(() => landscape?.[Symbol.asyncDispose]());
  tellOnFailure(() => landscape?.umbra);

  test('while clients push keeps all that it answered, and serves nothing half-written', async () => {
    const ledger = await killWhilePushing({ umbra: landscape.umbra, kills: PUSHING_KILLS, pushers: PUSHERS, seed: String(workers) });
    // The test is about what was answered: there must be much of it.
    expect(ledger.answeredManifests).toBeGreaterThan(2 * PUSHING_KILLS);
  });

  test('while clients pull through serves whole blobs afterwards, and nothing else', async () => {
    const images: Image[] = [];
    for (let round = 0; round < PULLING_KILLS; round += 1) {
      const image = await makeImage({ marker: `${workers} ${round}`, fillerBytes: 4_000_000 });
      images.push(image);
      await landscape.publish(`docker.io/org/filled-${round}`, '1', image);
    }
    for (const [round, image] of images.entries()) {
      const largest = [...image.blobs.keys()].at(-1);
      const budget = pseudoRandom(`pulling ${workers} ${round}`, 4).readUInt32LE() % 4_000_000;
      await readSome(`${landscape.umbra.url}/v2/org/filled-${round}/blobs/${largest}`, budget);
      await landscape.umbra.kill();
      await landscape.umbra.restart();
      await using survivor = new RegistryClient(landscape.umbra.url);
      expect(await survivor.getManifest(`org/filled-${round}`, '1')).toMatchObject({ status: 200, digest: image.digest });
      for (const digest of image.blobs.keys())
        expect(await survivor.getBlob(`org/filled-${round}`, digest)).toMatchObject({ status: 200, digest });
    }
  });
});

/** Reads at least so many bytes of an answer, if it has them, and leaves. */
async function readSome(url: string, budget: number): Promise<void> {
  const answer = await fetch(url);
  let read = 0;
  for await (const chunk of answer.body ?? []) {
    read += chunk.length;
    if (read >= budget) return;
  }
}
