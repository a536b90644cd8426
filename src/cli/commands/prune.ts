/** `umbra prune`: removes what is left over, once, while servers may be running. */
import { loadConfig } from '../../config/load.ts';
import { formatDuration } from '../../config/quantity.ts';
import { formatJson } from '../output.ts';
import { EXIT } from '../world.ts';
import type { World } from '../world.ts';

export interface PruneOptions {
  readonly config?: string;
  readonly json?: boolean;
}

export async function prune({ config: file, json = false }: PruneOptions, { output, ...surroundings }: World): Promise<number> {
  const { config } = await loadConfig(file, surroundings);
  if (config.storage.driver === 'memory') {
    output.note('umbra: storage is memory, which no other process can prune; the server itself does so hourly');
    return EXIT.failed;
  }
  const { pruneUploads } = await import('../../prune.ts');
  const { removed, kept } = await pruneUploads(config);
  const age = formatDuration(config.limits.uploadsMs);
  output.result(json ? formatJson({ removed, kept }) : `removed ${removed} uploads that nobody touched for ${age}, kept ${kept}`);
  return EXIT.ok;
}
