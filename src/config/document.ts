/**
 * A YAML text as plain values, with `${NAME}` replaced, that still knows where each value was written. Knows YAML 1.2
 * and nothing of which keys there are.
 */
import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml';
import type { Document as YamlDocument, Node, YAMLError, YAMLMap } from 'yaml';
import { formatPath } from './problem.ts';
import type { Path } from './problem.ts';
import { substitute } from './substitution.ts';
import type { Environment, Substituted } from './substitution.ts';

/** Where a value was written. */
export interface Place {
  readonly line: number;
  /** The environment variables that the value came from. */
  readonly variables: readonly string[];
  /** Text: as a file of ours would write it. */
  readonly written?: string;
  /** What the file calls it, where that is not what we call it. */
  readonly spelled?: string;
}

export interface Fault {
  readonly path: Path;
  readonly line: number;
  /** For syntax errors, where no key tells the spot. */
  readonly column?: number;
  readonly message: string;
}

export interface ParsedDocument {
  /** Maps (without a prototype), lists, text, numbers, booleans and null. An empty file is an empty map. */
  readonly value: unknown;
  /** By path as `formatPath` writes it. Paths could only clash by keys with dots, of which each level has one kind. */
  readonly places: ReadonlyMap<string, Place>;
  readonly faults: readonly Fault[];
}

/** Another program's file, which a key at its root tells from ours. */
export interface Dialect {
  readonly root: string;
  /** Of the whole text, before YAML is parsed: what would be none stands in for by other characters, one for one. */
  readonly shield: (text: string) => string;
  readonly unshield: (text: string) => string;
  /** Of each text below `root`; elsewhere texts are ours. */
  readonly substitute: (text: string, env: Environment) => Substituted;
  /** In our words; `places` say what the file called them. Where something is wrong below `root`, the value is undefined. */
  readonly translate: (document: ParsedDocument, surroundings: DialectSurroundings) => ParsedDocument;
  /** The same of the part `storage` alone, whatever stands beside it. */
  readonly translateStorage: (document: ParsedDocument, surroundings: DialectSurroundings) => ParsedDocument;
}

export interface DialectSurroundings {
  readonly cwd: string;
}

/** Deeper than any configuration; an alias inside its own anchor would be endless. */
const MAX_DEPTH = 32;
/** A few aliases of aliases multiply to any size. */
const MAX_VALUES = 100_000;
/** An object cannot be trusted to show these as ordinary keys. */
const UNUSABLE_KEYS: readonly string[] = ['__proto__', 'constructor', 'prototype'];

/** @param dialect whose files are read too, in their own words */
export function readDocument(text: string, env: Environment, dialect?: Dialect): ParsedDocument {
  const lines = new LineCounter();
  // Duplicate keys are found below, where their path is known.
  const document = parseDocument(shield(dialect?.shield(text) ?? text), { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  const faults = syntaxFaults([...document.errors, ...document.warnings], lines);
  return faults.length > 0 ? { value: undefined, places: new Map(), faults } : new Reader(document, lines, env, dialect).read();
}

export function isIn({ root }: Dialect, { value }: ParsedDocument): boolean {
  return typeof value === 'object' && value !== null && root in value;
}

/**
 * Another program's YAML (1.1, as PyYAML reads it), as plain values.
 * @throws Error that tells the line and repeats nothing of the text
 */
export function readForeign(text: string): unknown {
  const lines = new LineCounter();
  const document = parseDocument(text, { version: '1.1', lineCounter: lines, prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) throw new Error(`line ${lines.linePos(error.pos[0]).line} is not YAML (${error.code})`);
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw new Error('its aliases cannot be resolved', { cause });
  }
}

/**
 * In YAML the braces of an unquoted `${NAME}` end or begin a flow map, so `{ password: ${NAME} }` would be an error.
 * Characters for private use stand in for them while YAML is parsed, one for one, which keeps every position.
 */
function shield(text: string): string {
  return text.replace(/\$\{([^{}\n]*)\}/g, '$\uE000$1\uE001');
}

function unshield(text: string): string {
  return text.replaceAll('$\uE000', '${').replaceAll('\uE001', '}');
}

/** One for each line: after its first error the parser stumbles on, over what is none. */
function syntaxFaults(errors: readonly YAMLError[], lines: LineCounter): readonly Fault[] {
  const faults = new Map<number, Fault>();
  for (const { pos, code, message } of errors) {
    const { line, col } = lines.linePos(pos[0]);
    if (faults.has(line) || (faults.size > 0 && message.includes('in YAML stream'))) continue;
    const text =
      code === 'MULTIPLE_DOCS' ? 'expected one document, found a second' : unshield(message.slice(0, 1).toLowerCase() + message.slice(1));
    faults.set(line, { path: [], line, column: col, message: text });
  }
  return [...faults.values()];
}

class Reader {
  readonly #document: YamlDocument.Parsed;
  readonly #lines: LineCounter;
  readonly #env: Environment;
  readonly #dialect: Dialect | undefined;
  readonly #places = new Map<string, Place>();
  readonly #faults: Fault[] = [];
  #values = 0;

  constructor(document: YamlDocument.Parsed, lines: LineCounter, env: Environment, dialect: Dialect | undefined) {
    this.#document = document;
    this.#lines = lines;
    this.#env = env;
    this.#dialect = dialect;
  }

  read(): ParsedDocument {
    const root = this.#document.contents;
    const empty = root === null || (isScalar(root) && root.value === null);
    const value = empty ? Object.create(null) : this.#value(root, [], 1);
    return { value, places: this.#places, faults: this.#faults };
  }

  #value(node: Node | null, path: Path, line: number): unknown {
    this.#values += 1;
    if (path.length > MAX_DEPTH || this.#values > MAX_VALUES) {
      // Once is enough: the first says all there is to say.
      if (!this.#faults.some(({ message }) => message === TOO_LARGE)) this.#fault(path, line, TOO_LARGE);
      return null;
    }
    if (isAlias(node)) {
      const anchored = node.resolve(this.#document);
      if (anchored === undefined) this.#fault(path, line, `expected an anchor &${node.source} before this alias`);
      return this.#value(anchored ?? null, path, line);
    }
    this.#places.set(formatPath(path), { line, variables: [] });
    if (isMap(node)) return this.#map(node, path);
    if (isSeq(node))
      return node.items.map((item, i) => this.#value(item as Node | null, [...path, i], this.#lineOf(item as Node | null) ?? line));
    if (!isScalar(node) || typeof node.value !== 'string') return isScalar(node) ? node.value : null;
    const replace = this.#dialect !== undefined && path[0] === this.#dialect.root ? this.#dialect.substitute : substitute;
    const { text, variables, errors, written } = replace(this.#unshield(node.value), this.#env);
    for (const error of errors) this.#fault(path, line, error);
    this.#places.set(formatPath(path), { line, variables, written });
    return text;
  }

  #unshield(text: string): string {
    return unshield(this.#dialect?.unshield(text) ?? text);
  }

  #map(node: YAMLMap, path: Path): Record<string, unknown> {
    const map: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    const firstLines = new Map<string, number>();
    for (const { key, value } of node.items) {
      const line = this.#lineOf(key as Node | null) ?? this.#places.get(formatPath(path))?.line ?? 1;
      const name = nameOf(key);
      const first = name === undefined ? undefined : firstLines.get(name);
      if (name === undefined || UNUSABLE_KEYS.includes(name)) {
        this.#fault(
          path,
          line,
          name === undefined ? 'expected a key of plain text (one that begins with [ or { needs quotes)' : `${name} cannot be a key`,
        );
      } else if (first !== undefined) {
        this.#fault([...path, name], line, `the key was given before, on line ${first}`);
      } else {
        firstLines.set(name, line);
        map[name] = this.#value(value as Node | null, [...path, name], line);
      }
    }
    return map;
  }

  #lineOf(node: Node | null): number | undefined {
    return node?.range == null ? undefined : this.#lines.linePos(node.range[0]).line;
  }

  #fault(path: Path, line: number, message: string): void {
    this.#faults.push({ path, line, message });
  }
}

/** `5000:` is as good a key as `"5000":`. */
function nameOf(key: unknown): string | undefined {
  if (!isScalar(key)) return undefined;
  if (typeof key.value === 'number' || typeof key.value === 'boolean') return String(key.value);
  return typeof key.value === 'string' ? unshield(key.value) : undefined;
}

const TOO_LARGE = `expected at most ${MAX_DEPTH} levels and ${MAX_VALUES} values (an alias inside its own anchor?)`;
