/** The bound before a driver: the contract, what is evicted when, and what is refused. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { driverContract } from '../contract/driver.contract.ts';
import { expectFailure } from '../contract/store.contract.ts';
import type { Driver } from '../driver.ts';
import { openFilesystem } from '../filesystem/filesystem.ts';
import { memoryDriver } from '../memory/memory.ts';
import { boundedDriver, type BoundedOptions } from './bounded.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

driverContract('a bounded store', async () => {
  const root = await mkdtemp(join(tmpdir(), 'umbra-bounded-'));
  const options: BoundedOptions = { maxBytes: 2 ** 40, held: async () => ({ bytes: 0, gathering: 0 }), evict: async () => undefined, used: () => undefined };
  return { open: async () => boundedDriver(await openFilesystem({ root }), options), close: async () => await rm(root, { recursive: true }) };
});

describe('a store of 10 MiB', () => {
  let held: { bytes: number; gathering: number };
  let looks: number;
  let evicted: number[];
  let evicts: boolean;
  let driver: Driver;
  beforeEach(() => {
    [held, looks, evicted, evicts] = [{ bytes: 0, gathering: 0 }, 0, [], true];
    driver = boundedDriver(memoryDriver(), {
      maxBytes: 10 * MIB,
      held: async () => {
        looks++;
        return { ...held };
      },
      evict: async (bytes) => {
        evicted.push(bytes);
        if (evicts) held.bytes -= bytes;
      },
      used: () => undefined,
    });
  });

  test('is looked at once, and again when a twentieth of it was written, which nobody waits for', async () => {
    await driver.put('a', Buffer.alloc(256 * KIB));
    await driver.put('b', Buffer.alloc(256 * KIB));
    expect(looks).toBe(1);
    await driver.put('c', Buffer.alloc(4 * KIB));
    await driver.put('d', Buffer.alloc(1));
    await driver.put('e', Buffer.alloc(1));
    await driver.close();
    expect(looks).toBe(2);
    expect(evicted).toEqual([]);
  });

  test('has room made, a twentieth of it at once', async () => {
    held.bytes = 10 * MIB - 4096;
    await driver.put('a', Buffer.alloc(4096));
    expect(evicted).toEqual([]);
    held.bytes += 4096;
    await driver.put('b', Buffer.alloc(1));
    expect(evicted).toEqual([expect.closeTo(4096 + 0.5 * MIB, 0)]);
    expect(held.bytes).toBeCloseTo(9.5 * MIB - 4096, 0);
  });

  test('is full where nothing can go', async () => {
    held.bytes = 11 * MIB;
    evicts = false;
    await expectFailure(driver.put('a', Buffer.alloc(1)), 'full');
    expect(await driver.head('a')).toBeUndefined();
  });

  test('evicts nothing for what would take more than half of it', async () => {
    held = { bytes: 10 * MIB, gathering: 0 };
    await expectFailure(driver.assemblies.append(driver.assemblies.create('uploads/a'), { expectBytes: 6 * MIB }), 'full');
    held = { bytes: 10 * MIB, gathering: 6 * MIB };
    await expectFailure(driver.assemblies.append(driver.assemblies.create('uploads/a')), 'full');
    expect(evicted).toEqual([]);
  });

  test('counts what is gathered', async () => {
    held.bytes = 9 * MIB;
    const appender = await driver.assemblies.append(driver.assemblies.create('uploads/a'), { expectBytes: 3 * MIB });
    for (let n = 0; n < 12; n++) {
      await appender.write(Buffer.alloc(256 * KIB));
      held = { bytes: held.bytes + 256 * KIB, gathering: held.gathering + 256 * KIB };
      expect(held.bytes).toBeLessThanOrEqual(10 * MIB);
    }
    expect(evicted.length).toBeGreaterThan(0);
    expect((await appender.finish()).offset).toBe(3 * MIB);
  });
});
