import { afterAll, beforeAll, expect, test } from 'vitest';
import { Postgres } from '../../../test/services/postgres.ts';
import { systemTimers } from '../../workers/timers.ts';
import { databaseContract } from './database.contract.ts';
import { openDatabase } from './database.ts';

let postgres: Postgres;
beforeAll(async () => void (postgres = await Postgres.start()));
afterAll(async () => await postgres[Symbol.asyncDispose]());

databaseContract('PostgreSQL', async () => {
  await postgres.sql('create database clusters');
  return { url: postgres.url('clusters'), stop: async () => undefined };
});

test('a password that is refused is said, and not shown', async () => {
  const opening = openDatabase({ url: postgres.url('clusters', 'umbra', 'wrong-horse'), timers: systemTimers, nowMs: Date.now });
  await expect(opening).rejects.toThrow(/PostgreSQL database clusters at 127\.0\.0\.1:\d+, cannot be used: password authentication failed/);
  await expect(opening).rejects.not.toThrow('wrong-horse');
});
