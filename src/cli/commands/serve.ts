/** `umbra serve`: the configuration is read and checked once, here; the workers are given what came out. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { load } from '../load.ts';
import type { World } from '../world.ts';

const LEFT_BY_ZUUL = '_local';

/** Resolves after a signal, with the exit code. */
export async function serveRegistry({ config: file, debug = false }: { readonly config?: string; readonly debug?: boolean }, world: World): Promise<number> {
  // Loading the server's code takes longest, so it begins before the configuration is known to be good.
  const [{ serve }, { config, foreign }] = await Promise.all([import('../../serve.ts'), load(file, world)]);
  if (foreign && file !== undefined && config.storage.driver === 'filesystem' && existsSync(join(config.storage.root, LEFT_BY_ZUUL))) {
    world.output.note(`umbra: ${config.storage.root} has images of a zuul-registry in ${LEFT_BY_ZUUL}, which are served once "umbra migrate --from ${file} -c ${file}" took them over; then ${LEFT_BY_ZUUL} can be deleted`);
  }
  return serve(config, { report: world.output.note, level: debug ? 'debug' : world.env['UMBRA_LOG'] });
}
