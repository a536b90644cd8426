import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bootstrapContract } from './bootstrap.contract.ts';

bootstrapContract('SQLite', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'umbra-bootstrap-'));
  return { url: `sqlite:${join(folder, 'clusters.db')}`, stop: async () => await rm(folder, { recursive: true }) };
});
