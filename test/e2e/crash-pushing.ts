/**
 * Umbra killed with SIGKILL at many points of pushing, and started again on what it left: all that was answered 201 is
 * there, nothing is served that is not whole, and interrupted uploads go on. The points are counted in bytes sent and
 * answers received, never in time.
 */
import { expect } from 'vitest';
import { Ledger } from './crash-ledger.ts';
import { pushUntilGone, type Progress } from './crash-pusher.ts';
import { pseudoRandom } from './images.ts';
import { RegistryClient } from './registry-client.ts';
import type { Umbra } from './umbra.ts';

export interface CrashingOptions {
  readonly umbra: Umbra;
  readonly kills: number;
  readonly pushers: number;
  /** What is pushed follows from it. */
  readonly seed: string;
}

export async function killWhilePushing(options: CrashingOptions): Promise<Ledger> {
  const { umbra, kills } = options;
  const ledger = new Ledger();
  for (let round = 0; round < kills; round += 1) {
    const before = ledger.size;
    await pushUntilKilled(options, ledger, round);
    await umbra.restart();
    await using survivor = new RegistryClient(umbra.url);
    expect(await ledger.wrongs(survivor, before)).toEqual([]);
    expect(await ledger.finishUploads(survivor)).toEqual([]);
  }
  await using client = new RegistryClient(umbra.url);
  expect(await ledger.wrongs(client)).toEqual([]);
  return ledger;
}

async function pushUntilKilled({ umbra, pushers, seed }: CrashingOptions, ledger: Ledger, round: number): Promise<void> {
  const killed = Promise.withResolvers<void>();
  const observe = killPoint(round, () => killed.resolve(umbra.kill()));
  await using client = new RegistryClient(umbra.url);
  const pushing = Array.from({ length: pushers }, (_, i) =>
    pushUntilGone({ client, ledger, observe, name: `org/pusher-${i}`, seed: `${seed} ${round} ${i}` }),
  );
  await Promise.all([killed.promise, ...pushing]);
}

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
