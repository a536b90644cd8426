/**
 * The real program over Swift and S3, with everything that can come between them, while real clients push and pull: no
 * wrong byte is served, nothing that was answered 201 is lost or said to be absent, nobody waits without an end, and memory
 * stays within what the configuration says. Afterwards a fresh process over the same store has all of it.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { RegistryClient } from '../e2e/registry-client.ts';
import { tellOnFailure } from '../e2e/landscape.ts';
import { Umbra } from '../e2e/umbra.ts';
import { SOAK } from '../support/soak.ts';
import type { RuleOptions } from '../services/fault-rules.ts';
import { sharedRadosgw } from '../services/shared-radosgw.ts';
import { listingFaults, REFUSED_TOKENS, storeFaults, type StoreStyle } from '../support/store-faults.ts';
import { s3BehindFaults, swiftBehindFaults, type StoreBehindFaults } from './behind-faults.ts';
import { pushAndPull } from './clients.ts';
import { peakMemory } from './processes.ts';

const SEED = Number(process.env['SEED'] ?? 2_026);
const MIB = 1024 * 1024;
const LIMIT_BYTES = 64 * MIB;
/** Far above what any client should wait: attempts of a minute, several for one answer. */
const HANG_MS = 300_000;
interface Stage {
  /** Of its own: nothing that is pushed in one stage is there already in another. */
  readonly name: string;
  readonly store: readonly RuleOptions[];
  readonly keystone?: readonly RuleOptions[];
}

const ANSWERS = ['latency', 'server errors', 'errors though done', 'refusals for now'];
const BYTES = ['resets', 'truncated bodies', 'lost answers', 'corrupted bodies'];
const silence: readonly RuleOptions[] = [
  { fault: { kind: 'silence', at: 'answer' }, when: { every: 150 } },
  { fault: { kind: 'silence', at: 'response body' }, match: { methods: ['GET'] }, when: { every: 60 } },
];

function stagesOf(style: StoreStyle): readonly Stage[] {
  const each = storeFaults(style, 0.1);
  const some = storeFaults(style, 0.03);
  const of = (faults: typeof some, kinds: readonly string[]): RuleOptions[] => kinds.flatMap((kind) => faults[kind] ?? []);
  const keystone = of(each, ['server errors', 'resets', 'lost answers']).map((rule) => ({ ...rule, when: { probability: 0.2, inARow: 1 } }));
  const answers: Stage = { name: 'answers that are none', store: of(some, ANSWERS) };
  const bytes: Stage = { name: 'bytes that are lost or wrong', store: of(some, BYTES) };
  const listings: Stage = { name: 'listings of another time', store: listingFaults(style, 0.9) };
  if (!SOAK) return [answers, { name: `${bytes.name}, and ${listings.name}`, store: [...bytes.store, ...listings.store] }];
  return [
    answers, bytes, listings,
    ...Object.entries(each).map(([name, store]) => ({ name, store })),
    ...(style === 'swift' ? [{ name: 'a Keystone that fails', store: REFUSED_TOKENS, keystone }] : []),
    { name: 'all of it at once', store: [...Object.values(some).flat(), ...listingFaults(style, 0.3)] },
    { name: 'silence', store: silence },
  ];
}

const STORES: readonly { readonly what: string; readonly style: StoreStyle; readonly start: () => Promise<StoreBehindFaults> }[] = [
  { what: 'Swift', style: 'swift', start: () => swiftBehindFaults(inject('openstack'), SEED) },
  { what: 'S3', style: 's3', start: async () => s3BehindFaults(await sharedRadosgw(inject('radosgw')), SEED) },
];

describe.each(STORES.filter(({ style }) => SOAK || style === 'swift'))('Umbra over $what', ({ style, start }) => {
  let dir: string;
  let behind: StoreBehindFaults;
  let umbra: Umbra;
  let idleBytes: number;

  beforeAll(async () => {
    dir = join(tmpdir(), `u.${randomBytes(4).toString('hex')}`);
    await mkdir(dir, { mode: 0o700 });
    behind = await start();
    umbra = await Umbra.start({ dir: join(dir, 'umbra'), config: { storage: behind.storage, limits: { memory: `${LIMIT_BYTES / MIB}MiB` } } });
    idleBytes = await peakMemory(umbra.pid);
  });
  afterAll(async () => {
    await umbra?.[Symbol.asyncDispose]();
    await behind?.[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });
  tellOnFailure(() => umbra);

  describe.each(stagesOf(style))('behind $name', ({ name, store, keystone: keystoneRules = [] }) => {
    test('loses nothing, serves nothing wrong, lets nobody wait for ever', { timeout: 2 * HANG_MS }, async () => {
      const rules = [...store.map((rule) => behind.store.add(rule)), ...keystoneRules.map((rule) => behind.keystone!.add(rule))];
      const began = performance.now();
      const { ledger, wrongs, counts } = await pushAndPull({
        seed: `${SEED} ${name}`.replaceAll(/[^a-z0-9]+/gi, '-').toLowerCase(),
        host: umbra.host, dir, hangMs: HANG_MS,
        pushers: 3, pullers: 2, imagesEach: SOAK ? 12 : 2, programImages: SOAK ? 4 : 2, programImageBytes: 5_000_000,
      });
      const peakBytes = await peakMemory(umbra.pid);
      console.log([
        `${style} behind ${name}, seed ${SEED}: ${ledger.answeredManifests} images answered in ${Math.round((performance.now() - began) / 100) / 10} s, at most ${Math.round(peakBytes / MIB)} MiB (idle ${Math.round(idleBytes / MIB)})`,
        `  ${[...counts].map(([what, count]) => `${what}: ${count}`).join(', ')}`,
        behind.store.report(), behind.keystone?.report(),
      ].join('\n'));
      const missing = rules.filter(({ happened }) => happened === 0).map((rule) => rule.name);
      behind.store.clear();
      behind.keystone?.clear();

      expect(wrongs).toEqual([]);
      await umbra.stop();
      await umbra.restart();
      await using fresh = new RegistryClient(umbra.url);
      expect(await ledger.wrongs(fresh)).toEqual([]);
      expect(await ledger.finishUploads(fresh)).toEqual([]);
      expect(peakBytes).toBeLessThan(idleBytes + 2 * LIMIT_BYTES);
      // The test is about what was answered: there must be some of it. And the faults must have come about.
      expect(ledger.answeredManifests).toBeGreaterThan(3);
      expect(missing).toEqual([]);
    });
  });
});
