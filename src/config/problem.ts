/**
 * What is wrong with a configuration, as data: where, which key, what was expected. All problems of a file are
 * gathered and thrown as one ConfigError.
 */

/** The way to a value: keys of maps and indices of lists. */
export type Path = readonly (string | number)[];

export interface Problem {
  /** As the user named it; undefined where no file is involved. */
  readonly file: string | undefined;
  /** From 1. */
  readonly line: number | undefined;
  /** From 1; given for syntax errors only, where no key tells the spot. */
  readonly column: number | undefined;
  /** Written as `upstreams.docker.io.policy`; empty for the file as a whole. */
  readonly key: string;
  readonly message: string;
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const sorted = problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0));
    super(sorted.map(formatProblem).join('\n'));
    this.problems = sorted;
  }
}

/** `umbra.yaml:12: upstreams.docker.io.policy: expected one of proxy, approved, local, got "prox"`. */
export function formatProblem({ file, line, column, key, message }: Problem): string {
  const place = [file, line, column].filter((part) => part !== undefined).join(':');
  return [place, key, message].filter((part) => part !== '').join(': ');
}

/** `['listeners', 0, 'tls']` is `listeners[0].tls`. */
export function formatPath(path: Path): string {
  return path.map((part, i) => (typeof part === 'number' ? `[${part}]` : i === 0 ? part : `.${part}`)).join('');
}

/** How a value of the file is shown in a message: short, and never with credentials that a URL may carry. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a map';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string') return typeof value;
  const safe = value.replace(/\/\/.*@/, '//***@');
  return JSON.stringify(safe.length > 80 ? `${safe.slice(0, 80)}…` : safe);
}

/** The candidate that `word` most likely meant: few edits away for its length, case aside. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const allowed = Math.max(1, Math.floor(word.length / 3));
  return candidates
    .map((candidate) => ({ candidate, edits: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ edits }) => edits <= allowed)
    .toSorted((a, b) => a.edits - b.edits)[0]?.candidate;
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  const at = (i: number, j: number): number => rows[i]?.[j] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const replaced = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Number.POSITIVE_INFINITY;
      row[j] = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, replaced, swapped);
    }
  }
  return at(a.length, b.length);
}
