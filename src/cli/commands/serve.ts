/** `umbra serve`: the configuration is read and checked once, here; the workers are given what came out. */
import { loadConfig } from '../../config/load.ts';
import type { World } from '../world.ts';

/** Resolves after a signal, with the exit code. */
export async function serveRegistry({ config: file }: { readonly config?: string }, world: World): Promise<number> {
  // Loading the server's code takes longest, so it begins before the configuration is known to be good.
  const [{ serve }, { config }] = await Promise.all([import('../../serve.ts'), loadConfig(file, world)]);
  return serve(config, world.output.note);
}
