/** Umbra over Swift killed with SIGKILL in the midst of pushes, as `test/e2e/crash.test.ts` does it over a filesystem. */
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { killWhilePushing } from '../e2e/crash-pushing.ts';
import { tellOnFailure } from '../e2e/landscape.ts';
import { Umbra } from '../e2e/umbra.ts';
import { SOAK } from '../support/soak.ts';
import { swiftBehindFaults, type StoreBehindFaults } from './behind-faults.ts';

/** The long run: `make soak`. */
const KILLS = SOAK ? 30 : 3;
const PUSHERS = 4;

let dir: string;
let swift: StoreBehindFaults;
let umbra: Umbra;
beforeAll(async () => {
  dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
  await mkdir(dir, { mode: 0o700 });
  swift = await swiftBehindFaults(inject('openstack'), 1);
  umbra = await Umbra.start({ dir: join(dir, 'umbra'), config: { storage: swift.storage } });
});
afterAll(async () => {
  await umbra?.[Symbol.asyncDispose]();
  await swift?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});
tellOnFailure(() => umbra);

test('a server over Swift that is killed while clients push keeps all that it answered', { timeout: 900_000 }, async () => {
  const ledger = await killWhilePushing({ umbra, kills: KILLS, pushers: PUSHERS, seed: 'swift' });
  // The test is about what was answered: there must be much of it.
  expect(ledger.answeredManifests).toBeGreaterThan(KILLS);
});
