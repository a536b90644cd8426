import { Postgres } from '../../../test/services/postgres.ts';
import { bootstrapContract } from './bootstrap.contract.ts';

bootstrapContract('PostgreSQL', async () => {
  const postgres = await Postgres.start();
  await postgres.sql('create database clusters');
  return { url: postgres.url('clusters'), stop: async () => await postgres[Symbol.asyncDispose]() };
});
