/**
 * `--from`: which store is meant, and who wrote it. A configuration file of Distribution or of a zuul-registry, or the
 * folder of a filesystem store itself.
 */
import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { distributionStorage } from './distribution-config.ts';
import { isMap, type From } from './old-config.ts';
import { zuulStorage } from './zuul-config.ts';

export interface FromSurroundings {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Below its storage's own folder. */
const DISTRIBUTION_ROOT = 'docker/registry/v2/';
const ZUUL_ROOT = '_local/';

/** @throws Error naming the file and what is wrong with it */
export async function readFrom(from: string, { cwd, env }: FromSurroundings): Promise<From> {
  const path = resolve(cwd, from);
  const found = await stat(path).catch((error: unknown) => {
    throw new Error(`--from ${from} cannot be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  });
  if (found.isDirectory()) return await ofFolder(from, path);
  const text = await readFile(path, 'utf8');
  const fail = (problem: string): never => {
    throw new Error(`${from}: ${problem}`);
  };
  const zuul = await zuulStorage(from, { env, cwd }, ZUUL_ROOT);
  if (zuul !== undefined) return zuul;
  const parsed = parseYaml(text, fail);
  if (parsed['storage'] !== undefined) return await distributionStorage(parsed, { env, fail }, DISTRIBUTION_ROOT);
  return fail('expected a configuration of Distribution, which has storage:, or of a zuul-registry, which has registry:');
}

async function ofFolder(from: string, path: string): Promise<From> {
  const storage = { driver: 'filesystem', root: path } as const;
  if (await isFolder(join(path, DISTRIBUTION_ROOT))) return { kind: 'distribution', storage, root: DISTRIBUTION_ROOT };
  if (await isFolder(join(path, ZUUL_ROOT))) return { kind: 'zuul-registry', storage, root: ZUUL_ROOT };
  throw new Error(`--from ${from}: neither a store of Distribution, which holds ${DISTRIBUTION_ROOT}, nor one of a zuul-registry, which holds ${ZUUL_ROOT}`);
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

function parseYaml(text: string, fail: (problem: string) => never): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = parse(text, { prettyErrors: false }); // pretty ones show the line, which may hold a password
  } catch (error) {
    return fail(`not YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
  return isMap(parsed) ? parsed : fail('expected a map of keys');
}
