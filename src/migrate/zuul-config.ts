/** The store of a zuul-registry, as its configuration says: read by the same code that starts Umbra with such a file. */
import { loadForeignStorage } from '../config/load.ts';
import { ZUUL } from '../zuul/dialect.ts';
import type { From } from './old-config.ts';

/** Undefined: the file is no zuul-registry's. @throws ConfigError */
export async function zuulStorage(file: string, { env, cwd }: { readonly env: Readonly<Record<string, string | undefined>>; readonly cwd: string }, root: string): Promise<From | undefined> {
  const storage = await loadForeignStorage(file, { cwd, env, processors: 1 }, ZUUL);
  return storage && { kind: 'zuul-registry', storage, root };
}
