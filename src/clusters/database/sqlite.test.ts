import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { systemTimers } from '../../workers/timers.ts';
import { databaseContract } from './database.contract.ts';
import { databasePlace, openDatabase } from './database.ts';

databaseContract('SQLite', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'umbra-clusters-'));
  return { url: `sqlite:${join(folder, 'clusters.db')}`, stop: async () => await rm(folder, { recursive: true }) };
});

test('a file that cannot be made is named', async () => {
  await expect(openDatabase({ url: 'sqlite:/nonexistent/clusters.db', timers: systemTimers, nowMs: Date.now })).rejects.toThrow('SQLite file /nonexistent/clusters.db, cannot be used: ENOENT');
});

test('nobody but its owner may read the file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'umbra-clusters-'));
  const database = await openDatabase({ url: `sqlite:${join(folder, 'clusters.db')}`, timers: systemTimers, nowMs: Date.now });
  for (const file of ['clusters.db', 'clusters.db-wal']) expect((await stat(join(folder, file))).mode & 0o077).toBe(0);
  await database.close();
  await rm(folder, { recursive: true });
});

test.each(['', 'sqlite:', 'mysql://x/y', 'postgres:', 'clusters.db'])('%j is no database', (url) => {
  expect(() => databasePlace(url)).toThrow('expected sqlite:<file> or postgres://user:password@host:port/database');
});

test('a place is named without its password', () => {
  expect(databasePlace('postgres://me:secret@db.example.org/umbra').place).toBe('PostgreSQL database umbra at db.example.org:5432');
});
