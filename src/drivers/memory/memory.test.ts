/** The memory driver keeps the contract; besides: its clock, and its refusal of keys that no other driver could hold. */
import { describe, expect, test } from 'vitest';
import { driverContract } from '../contract/driver.contract.ts';
import { memoryDriver } from './memory.ts';
import { expectFailure } from '../contract/store.contract.ts';

driverContract('memory', async () => {
  const driver = memoryDriver();
  return { open: async () => driver, close: async () => {} };
});

describe('memory', () => {
  test('times are those of the given clock', async () => {
    let nowMs = 1_000;
    const driver = memoryDriver({ clock: () => nowMs });
    expect((await driver.put('key', Buffer.from('x'))).modifiedMs).toBe(1_000);
    nowMs = 2_000;
    expect((await driver.head('key'))?.modifiedMs).toBe(1_000);
    const appender = await driver.assemblies.append(driver.assemblies.create('uploads/1'));
    await appender.write(Buffer.from('y'));
    nowMs = 3_000;
    expect((await driver.assemblies.complete(await appender.finish(), 'other')).modifiedMs).toBe(3_000);
  });

  test('a key under or over another is refused, as a filesystem must', async () => {
    const driver = memoryDriver();
    await driver.put('a/b', Buffer.from('x'));
    await expectFailure(driver.put('a', Buffer.from('x')), 'permanent');
    await expectFailure(driver.put('a/b/c', Buffer.from('x')), 'permanent');
    await expectFailure(driver.claim('a/b/c/d', Buffer.from('x')), 'permanent');
    await driver.put('a-', Buffer.from('x'));
    await driver.put('a0', Buffer.from('x'));
  });
});
