/** `umbra prune`: removes what is left over or too old, once, while servers may be running. */
import { formatDuration } from '../../config/quantity.ts';
import type { PruneEvent } from '../../prune.ts';
import { load } from '../load.ts';
import { EXIT } from '../world.ts';
import type { World } from '../world.ts';

export interface PruneOptions {
  readonly config?: string;
  readonly uploads?: boolean;
  readonly tags?: boolean | 'if-they-expire';
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export async function prune({ config: file, uploads = false, tags = false, dryRun = false, json = false }: PruneOptions, { output, ...surroundings }: World): Promise<number> {
  const { config } = await load(file, surroundings);
  if (config.storage.driver === 'memory') {
    output.note('umbra: storage is memory, which no other process can prune; the server itself sweeps uploads hourly');
    return EXIT.failed;
  }
  const { tagExpiryMs } = config;
  if (tags === true && tagExpiryMs === undefined) {
    output.note('umbra: --tags: tagExpiry is not set, so no tag is ever too old');
    return EXIT.failed;
  }
  const ages = { tags: formatDuration(tagExpiryMs ?? 0), uploads: formatDuration(config.limits.uploadsMs) };
  const tell = (event: PruneEvent): void => output.result(json ? JSON.stringify({ ...event, dryRun }) : inWords(event, ages, dryRun));
  await (await import('../../prune.ts')).prune(config, { uploads, tags: tags !== false, dryRun, tell });
  return EXIT.ok;
}

function inWords(event: PruneEvent, ages: Readonly<Record<'tags' | 'uploads', string>>, dryRun: boolean): string {
  const done = (verb: string): string => (dryRun ? `would ${verb}` : `${verb}d`);
  switch (event.event) {
    case 'tag':
      return `${event.name}:${event.tag}, pushed ${new Date(event.pushedMs).toISOString()}`;
    case 'tags':
      return `${done('delete')} ${event.removed} tags that were pushed longer than ${ages.tags} ago, kept ${event.kept}`;
    case 'uploads':
      return `${done('remove')} ${event.removed} uploads that nobody touched for ${ages.uploads}, kept ${event.kept}`;
  }
}
