/**
 * `tagStaleness` on its way from the configuration to an answer: two servers over one folder that do not know of each
 * other, with a clock that the test moves. Which records go by age, store by store: `src/content/staleness.test.ts`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { get, pushImage } from '../support/push.ts';
import { startUmbra } from '../support/umbra.ts';

const NAME = 'quay.io/deleted';

test.each([
  ['1 s where nothing is configured', {}, 1_000],
  ['as configured', { tagStaleness: '250ms' }, 250],
])('a manifest that another server deleted is served for %s, and no longer', async (_, settings, staleMs) => {
  let nowMs = Date.now();
  const root = await mkdtemp(join(tmpdir(), 'umbra-staleness-'));
  await using ending = new AsyncDisposableStack();
  ending.defer(async () => rm(root, { recursive: true }));
  const start = async (): Promise<string> => {
    const umbra = await startUmbra({ storage: { driver: 'filesystem', root }, ...settings }, { nowMs: () => nowMs });
    ending.defer(async () => umbra.close());
    return umbra.origin;
  };
  const [a, b] = [await start(), await start()];
  const { digest } = await pushImage(a, NAME, 'latest', 'a layer');
  const status = async (origin: string): Promise<number> => (await get(origin, `${NAME}/manifests/${digest}`)).status;
  expect(await status(b)).toBe(200);
  expect((await fetch(`${a}/v2/${NAME}/manifests/${digest}`, { method: 'DELETE' })).status).toBe(202);
  expect(await status(a)).toBe(404);
  nowMs += staleMs - 1;
  expect(await status(b)).toBe(200);
  nowMs += 1;
  expect(await status(b)).toBe(404);
});
