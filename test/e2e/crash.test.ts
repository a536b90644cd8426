/**
 * Umbra killed with SIGKILL at many points of pushing and pulling, and started again on what it left: all that was
 * answered 201 is there, and nothing is served that is not whole (DESIGN section 12, 1 and 2). The points are counted
 * in bytes sent and answers received, never in time.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Ledger } from './crash-ledger.ts';
import { pushUntilGone, type Progress } from './crash-pusher.ts';
import { makeImage, pseudoRandom, type Image } from './images.ts';
import { buildLandscape, tellOnFailure, type Landscape } from './landscape.ts';
import { RegistryClient } from './registry-client.ts';

/** In each of the two configurations. */
const PUSHING_KILLS = 15;
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
    const ledger = new Ledger();
    for (let round = 0; round < PUSHING_KILLS; round += 1) {
      const before = ledger.size;
      await pushUntilKilled(ledger, round);
      await landscape.umbra.restart();
      await using survivor = new RegistryClient(landscape.umbra.url);
      expect(await ledger.wrongs(survivor, before)).toEqual([]);
      expect(await ledger.finishUploads(survivor)).toEqual([]);
    }
    await using client = new RegistryClient(landscape.umbra.url);
    expect(await ledger.wrongs(client)).toEqual([]);
    // The test is about what was answered: there must be much of it.
    expect(ledger.answeredManifests).toBeGreaterThan(2 * PUSHING_KILLS);
  });

  const pushUntilKilled = async (ledger: Ledger, round: number): Promise<void> => {
    const killed = Promise.withResolvers<void>();
    const observe = killPoint(round, () => killed.resolve(landscape.umbra.kill()));
    await using client = new RegistryClient(landscape.umbra.url);
    const pushers = Array.from({ length: PUSHERS }, (_, i) =>
      pushUntilGone({ client, ledger, observe, name: `org/pusher-${i}`, seed: `${workers} ${round} ${i}` }),
    );
    await Promise.all([killed.promise, ...pushers]);
  };

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

/**
 * Kills once, at a point that differs from round to round: after so many bytes, with so many manifests sent and the
 * last one not answered, or as soon as so many 201 were seen.
 */
function killPoint(round: number, kill: () => void): (progress: Progress) => void {
  const random = pseudoRandom(`kill ${round}`, 4).readUInt32LE();
  const points = [
    { kind: 'bytes', left: 1 + (random % 6_000_000) },
    { kind: 'manifest sent', left: 1 + (random % 24) },
    { kind: 'created', left: 1 + (random % 60) },
  ] as const;
  const point = points[round % points.length] ?? points[0];
  let left: number = point.left;
  return (progress) => {
    if (progress.kind !== point.kind || left <= 0) return;
    left -= progress.kind === 'bytes' ? progress.count : 1;
    if (left <= 0) kill();
  };
}

/** Reads at least so many bytes of an answer, if it has them, and leaves. */
async function readSome(url: string, budget: number): Promise<void> {
  const answer = await fetch(url);
  let read = 0;
  for await (const chunk of answer.body ?? []) {
    read += chunk.length;
    if (read >= budget) return;
  }
}
