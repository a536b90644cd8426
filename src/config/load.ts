/** From a configuration file, or none, to the effective configuration. Whatever is wrong is told at once, in one ConfigError. */
import { lstatSync } from 'node:fs';
import { dirname, resolve as resolvePath } from 'node:path';
import * as v from 'valibot';
import type { Fault, ParsedDocument, Place } from './document.ts';
import { readTextFile } from './files.ts';
import { ConfigError, formatPath } from './problem.ts';
import type { Path, Problem } from './problem.ts';
import { resolveSettings } from './resolve.ts';
import type { Machine, Resolved } from './resolve.ts';
import { SETTINGS } from './schema.ts';
import type { Settings } from './settings.ts';
import type { Environment } from './substitution.ts';

export const DEFAULT_FILE = 'umbra.yaml';

/** What the process runs in. */
export interface Surroundings {
  readonly cwd: string;
  readonly env: Environment;
  /** How many processes can run at once. */
  readonly processors: number;
}

export interface Loaded extends Resolved {
  /** As the user named it; undefined where there is none. */
  readonly file: string | undefined;
  /** Where the values of the file stand, by key. */
  readonly places: ReadonlyMap<string, Place>;
}

/**
 * @param file undefined: `umbra.yaml` in the working directory if there is one, else the defaults
 * @throws ConfigError
 */
export async function loadConfig(file: string | undefined, { cwd, env, processors }: Surroundings): Promise<Loaded> {
  const name = file ?? DEFAULT_FILE;
  const path = resolvePath(cwd, name);
  if (file === undefined && lstatSync(path, { throwIfNoEntry: false }) === undefined)
    // Nothing in the defaults asks for another program's YAML.
    return interpret(EMPTY, undefined, { folder: cwd, processors, cwd, env, parseYaml: () => undefined });
  const text = readFile(path, name);
  // The YAML parser takes longer to load than everything else here together.
  const { readDocument, readForeign } = await import('./document.ts');
  return interpret(readDocument(text, env), name, { folder: dirname(path), processors, cwd, env, parseYaml: readForeign });
}

const EMPTY: ParsedDocument = { value: {}, places: new Map(), faults: [] };

function readFile(path: string, name: string): string {
  try {
    return readTextFile(path);
  } catch (error) {
    const { message } = error as Error; // files.ts throws nothing else
    throw new ConfigError([{ file: name, line: undefined, column: undefined, key: '', message }]);
  }
}

function interpret({ value, places, faults }: ParsedDocument, file: string | undefined, machine: Machine): Loaded {
  const problems: Problem[] = [];
  const add = (path: Path, message: string, fault?: Fault): void => {
    const key = formatPath(path);
    // A value whose variable is not set would be reported a second time, as empty.
    if (fault === undefined && faults.some((other) => formatPath(other.path) === key)) return;
    problems.push({ file, line: fault?.line ?? lineOf(path, places), column: fault?.column, key, message });
  };
  for (const fault of faults) add(fault.path, fault.message, fault);
  if (value === undefined) throw new ConfigError(problems);

  const { output, issues = [] } = v.safeParse(SETTINGS, value);
  const paths = issues.map(({ path = [] }): Path => path.map(({ key }) => key as string | number)); // of maps and lists only
  for (const [i, path] of paths.entries()) add(path, issues[i]?.message ?? '');

  // What can be said of the parts that are sound is said at once, too.
  // Parts without a default are known, too.
  const defaults: Settings = { upstreamStorage: undefined, coordination: undefined, proxyCa: undefined, ...v.parse(SETTINGS, {}) };
  const broken = brokenParts([...faults.map(({ path }) => path), ...paths], value as object, defaults);
  if (broken === 'all') throw new ConfigError(problems);
  const settings: Settings = {
    ...defaults,
    ...Object.fromEntries(Object.entries(output as Settings).filter(([part]) => !broken.has(part))),
  };
  const resolved = resolveSettings(settings, machine, (path, message, needs = []) => {
    if (![path[0], ...needs].some((part) => broken.has(part))) add(path, message);
  });
  if (problems.length > 0) throw new ConfigError(problems);
  return { ...resolved, file, places };
}

/** The top-level keys that nothing can be concluded from. One that is unknown may be any of those that are missing. */
function brokenParts(paths: readonly Path[], value: object, defaults: Settings): ReadonlySet<unknown> | 'all' {
  const parts = new Set(paths.map(([part]) => part));
  if (parts.has(undefined)) return 'all';
  const unknown = [...parts].some((part) => part !== undefined && !(part in defaults));
  return unknown ? new Set([...parts, ...Object.keys(defaults).filter((part) => !(part in value))]) : parts;
}

/** Of the value, or of what it is missing from. */
function lineOf(path: Path, places: ReadonlyMap<string, Place>): number | undefined {
  for (let length = path.length; length >= 0; length--) {
    const place = places.get(formatPath(path.slice(0, length)));
    if (place !== undefined) return place.line;
  }
  return undefined;
}
