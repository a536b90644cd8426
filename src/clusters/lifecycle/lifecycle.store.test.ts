import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Postgres } from '../../../test/services/postgres.ts';
import { lifecycleContract } from './lifecycle.contract.ts';

lifecycleContract('SQLite', true, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'umbra-lifecycle-'));
  return { url: async () => `sqlite:${join(folder, `${randomBytes(6).toString('hex')}.db`)}`, stop: async () => await rm(folder, { recursive: true }) };
});

lifecycleContract('PostgreSQL', false, async () => {
  const postgres = await Postgres.start();
  return {
    async url() {
      const name = `clusters_${randomBytes(6).toString('hex')}`;
      await postgres.sql(`create database ${name}`);
      return postgres.url(name);
    },
    stop: async () => await postgres[Symbol.asyncDispose](),
  };
});
