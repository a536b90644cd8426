/** From a configuration file, or none, to the effective configuration. Whatever is wrong is told at once, in one ConfigError. */
import { lstatSync } from 'node:fs';
import { dirname, resolve as resolvePath } from 'node:path';
import * as v from 'valibot';
import type { Report } from './checks.ts';
import type { StorageConfig } from './config.ts';
import type { Dialect, ParsedDocument, Place } from './document.ts';
import { readTextFile } from './files.ts';
import { ConfigError, formatPath } from './problem.ts';
import type { Path, Problem } from './problem.ts';
import { NamedFiles } from './named-files.ts';
import { resolveSettings, resolveStore } from './resolve.ts';
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
  /** The file, in our words whatever it is written in. */
  readonly document: ParsedDocument;
  /** It is written in another program's words. */
  readonly foreign: boolean;
}

/**
 * @param file undefined: `umbra.yaml` in the working directory if there is one, else the defaults
 * @param dialect another program's words, in which the file may be written too
 * @throws ConfigError
 */
export async function loadConfig(file: string | undefined, surroundings: Surroundings, dialect?: Dialect): Promise<Loaded> {
  const { cwd, env, processors } = surroundings;
  const name = file ?? DEFAULT_FILE;
  const path = resolvePath(cwd, name);
  if (file === undefined && lstatSync(path, { throwIfNoEntry: false }) === undefined) {
    // Nothing in the defaults asks for another program's YAML.
    return { ...interpret(EMPTY, undefined, { folder: cwd, processors, cwd, env, parseYaml: () => undefined }), document: EMPTY, foreign: false };
  }
  const text = readFile(path, name);
  // The YAML parser takes longer to load than everything else here together.
  const { isIn, readDocument, readForeign } = await import('./document.ts');
  const written = readDocument(text, env, dialect);
  const foreign = dialect !== undefined && isIn(dialect, written);
  const document = foreign ? dialect.translate(written, surroundings) : written;
  return { ...interpret(document, name, { folder: dirname(path), processors, cwd, env, parseYaml: readForeign }), document, foreign };
}

/**
 * The `storage` of another program's file alone, whatever else is wrong with it. Undefined: it is no such file.
 * @throws ConfigError
 */
export async function loadForeignStorage(file: string, { cwd, env, processors }: Surroundings, dialect: Dialect): Promise<StorageConfig | undefined> {
  const path = resolvePath(cwd, file);
  const { isIn, readDocument, readForeign } = await import('./document.ts');
  const written = readDocument(readFile(path, file), env, dialect);
  if (!isIn(dialect, written)) return undefined;
  const document = dialect.translateStorage(written, { cwd });
  const problems = new Problems(file, document);
  const { output, issues = [], success } = v.safeParse(SETTINGS, document.value);
  for (const { path: at = [], message } of issues) problems.add(at.map(({ key }) => key as string | number), message); // of maps and lists only
  const machine: Machine = { folder: dirname(path), processors, cwd, env, parseYaml: readForeign };
  const report: Report = (at, message) => problems.add(at, message);
  if (!success) problems.throwAny();
  const storage = resolveStore((output as Settings).storage, 'storage', { files: new NamedFiles(machine.folder, report), machine, report, elsewhere: new Map() });
  problems.throwAny();
  return storage;
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

/** All that is wrong with a document, in the words that the file is written in. */
class Problems {
  readonly #file: string | undefined;
  readonly #document: ParsedDocument;
  readonly #found: Problem[] = [];

  constructor(file: string | undefined, document: ParsedDocument) {
    this.#file = file;
    this.#document = document;
    for (const fault of document.faults) this.#found.push({ file, line: fault.line, column: fault.column, key: formatPath(fault.path), message: fault.message });
    if (document.value === undefined) this.throwAny();
  }

  add(path: Path, message: string): void {
    const key = formatPath(path);
    // A value whose variable is not set would be reported a second time, as empty.
    if (this.#document.faults.some((fault) => formatPath(fault.path) === key)) return;
    const { line, spelled } = placeOf(path, this.#document.places);
    this.#found.push({ file: this.#file, line, column: undefined, key: spelled, message });
  }

  throwAny(): void {
    if (this.#found.length > 0) throw new ConfigError(this.#found);
  }
}

/** Of the value, or of what it is missing from. */
function placeOf(path: Path, places: ReadonlyMap<string, Place>): { readonly line: number | undefined; readonly spelled: string } {
  for (let length = path.length; length >= 0; length--) {
    const place = places.get(formatPath(path.slice(0, length)));
    if (place === undefined) continue;
    const rest = formatPath(['', ...path.slice(length)]);
    return { line: place.line, spelled: place.spelled === undefined ? formatPath(path) : `${place.spelled}${rest}` };
  }
  return { line: undefined, spelled: formatPath(path) };
}

function interpret(document: ParsedDocument, file: string | undefined, machine: Machine): Resolved & { readonly file: string | undefined } {
  const { value, faults } = document;
  const problems = new Problems(file, document);
  const { output, issues = [] } = v.safeParse(SETTINGS, value);
  const paths = issues.map(({ path = [] }): Path => path.map(({ key }) => key as string | number)); // of maps and lists only
  for (const [i, path] of paths.entries()) problems.add(path, issues[i]?.message ?? '');

  // What can be said of the parts that are sound is said at once, too.
  // Parts without a default are known, too.
  const defaults: Settings = { upstreamStorage: undefined, coordination: undefined, proxyCa: undefined, tagExpiry: undefined, clusters: undefined, node: undefined, ...v.parse(SETTINGS, {}) };
  const broken = brokenParts([...faults.map(({ path }) => path), ...paths], value as object, defaults);
  if (broken === 'all') problems.throwAny();
  const isBroken = (part: unknown): boolean => broken === 'all' || broken.has(part);
  const settings: Settings = {
    ...defaults,
    ...Object.fromEntries(Object.entries(output as Settings).filter(([part]) => !isBroken(part))),
  };
  const resolved = resolveSettings(settings, machine, (path, message, needs = []) => {
    if (![path[0], ...needs].some(isBroken)) problems.add(path, message);
  });
  problems.throwAny();
  return { ...resolved, file };
}

/** The top-level keys that nothing can be concluded from. One that is unknown may be any of those that are missing. */
function brokenParts(paths: readonly Path[], value: object, defaults: Settings): ReadonlySet<unknown> | 'all' {
  const parts = new Set(paths.map(([part]) => part));
  if (parts.has(undefined)) return 'all';
  const unknown = [...parts].some((part) => part !== undefined && !(part in defaults));
  return unknown ? new Set([...parts, ...Object.keys(defaults).filter((part) => !(part in value))]) : parts;
}
