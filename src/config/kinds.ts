/**
 * The kinds of value a configuration file is made of, as valibot schemas whose messages say what was expected and, but
 * for secrets, what was found. Descriptions and patterns are what editors see of them.
 */
import * as v from 'valibot';
import type { ViewId } from '../oci/name.ts';
import { nearest, show } from './problem.ts';
import { DURATION_PATTERN, SIZE_PATTERN, formatDuration, formatSize, parseDuration, parseSize } from './quantity.ts';
import { viewProblem } from './words.ts';
import type { ProblemOf } from './words.ts';

/** Takes the file's spelling, gives the value. */
export type Kind<Output> = v.GenericSchema<unknown, Output>;

/** Timers take no more than 2^31 - 1 milliseconds and fire at once beyond. */
const LONGEST_TIMER_MS = 24 * 86_400_000;
const LONGEST_MS = 3650 * 86_400_000;

/** A map with these keys and no others. Every unknown key is reported, with the one that was probably meant. */
export function map<const Entries extends v.ObjectEntries>(
  description: string,
  entries: Entries,
): Kind<v.InferOutput<v.ObjectSchema<Entries, undefined>>> {
  const known = Object.keys(entries);
  return v.pipe(
    v.unknown(),
    v.check(
      (input) => isMap(input),
      (issue) => `expected a map, got ${show(issue.input)}`,
    ),
    v.looseObject(entries, ({ expected }) => `missing${describe(entries[expected.slice(1, -1)])}`),
    v.rawCheck(({ dataset: { value }, addIssue }) => {
      if (!isMap(value)) return;
      for (const key of Object.keys(value).filter((name) => !known.includes(name))) {
        const meant = nearest(key, known);
        const hint = meant === undefined ? `; expected one of ${known.join(', ')}` : `; did you mean ${JSON.stringify(meant)}?`;
        addIssue({ message: `unknown key${hint}`, path: [{ type: 'object', origin: 'key', input: value, key, value: value[key] }] });
      }
    }),
    v.description(description),
  );
}

/** A map whose keys the user chooses. */
export function record<Value>(description: string, keyProblemOf: ProblemOf, value: Kind<Value>): Kind<Record<string, Value>> {
  return v.pipe(
    v.unknown(),
    v.check(
      (input) => isMap(input),
      (issue) => `expected a map, got ${show(issue.input)}${issue.input === null ? ' (write {} for none)' : ''}`,
    ),
    v.record(
      v.pipe(
        v.string(),
        v.check(
          (key) => keyProblemOf(key) === undefined,
          (issue) => keyProblemOf(issue.input) ?? '',
        ),
      ),
      value,
    ),
    v.description(description),
  );
}

export function list<Item>(description: string, item: Kind<Item>): Kind<Item[]> {
  return v.pipe(
    v.array(item, (issue) => `expected a list, got ${show(issue.input)}`),
    v.description(description),
  );
}

/** Text that is not empty, and fits a grammar where one is given. */
export function text(description: string, problemOf: ProblemOf = () => undefined): Kind<string> {
  return v.pipe(
    v.string(({ input }) => {
      if (typeof input === 'object') return `${problemOf('') ?? 'expected text'}, got ${show(input)}`;
      return `${problemOf(show(input)) ?? 'expected text'}, got ${show(input)} (text that looks like something else needs quotes)`;
    }),
    v.description(description),
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed) return;
      const problem = dataset.value === '' ? 'expected text' : problemOf(dataset.value);
      if (problem !== undefined) addIssue({ message: `${problem}, got ${show(dataset.value)}` });
    }),
  );
}

export function viewId(description: string): Kind<ViewId> {
  return v.pipe(
    text(description, viewProblem),
    v.transform((word) => word as ViewId), // viewProblem found none
  );
}

/** Text that no message repeats. */
export function secret(description: string, problemOf: ProblemOf = () => undefined): Kind<string> {
  return v.pipe(
    v.string('expected text (a number needs quotes)'),
    v.description(description),
    v.rawCheck(({ dataset, addIssue }) => {
      const problem = !dataset.typed ? undefined : dataset.value === '' ? 'expected text, got ""' : problemOf(dataset.value);
      if (problem !== undefined) addIssue({ message: problem });
    }),
  );
}

/** Accepts the words in quotes too, since that is how `${NAME}` gives them. */
export function flag(description: string): Kind<boolean> {
  return v.pipe(
    v.union([v.boolean(), v.picklist(['true', 'false'])], (issue) => `expected true or false, got ${show(issue.input)}`),
    v.description(description),
    v.transform((value) => value === true || value === 'true'),
  );
}

/** One, or a list of them. */
export function oneOrMany<Item>(description: string, item: Kind<Item>): Kind<Item[]> {
  return v.pipe(
    v.union([item, v.array(item)], (issue) => {
      // What is wrong with the one, or with items of the list, says more than that it is neither.
      const inner = issue.issues?.find(({ path }) => (path !== undefined) === Array.isArray(issue.input))?.message;
      return inner ?? `expected one or a list, got ${show(issue.input)}`;
    }),
    v.description(description),
    v.transform((value) => (Array.isArray(value) ? value : [value])),
  );
}

/** A flag, or a list that stands for more than true. */
export function flagOrList<Item>(description: string, item: Kind<Item>): Kind<boolean | Item[]> {
  return v.pipe(
    v.union([v.boolean(), v.picklist(['true', 'false']), v.array(item)], (issue) => {
      // Of a list, what is wrong with its items says more than that it is neither.
      const inner = Array.isArray(issue.input) ? issue.issues?.find(({ path }) => path !== undefined)?.message : undefined;
      return inner ?? `expected true, false or a list, got ${show(issue.input)}`;
    }),
    v.description(description),
    v.transform((value) => (Array.isArray(value) ? value : value === true || value === 'true')),
  );
}

export function oneOf<const Word extends string>(description: string, words: readonly Word[]): Kind<Word> {
  return v.pipe(
    v.picklist(words, (issue) => `expected one of ${words.join(', ')}, got ${show(issue.input)}`),
    v.description(description),
  );
}

interface Range {
  readonly min: number;
  readonly max: number;
}

/** Milliseconds. One that only ages are compared with may be longer than any timer. */
export function duration(
  description: string,
  { min = 0, timer = true }: { readonly min?: number; readonly timer?: boolean } = {},
): Kind<number> {
  const max = timer ? LONGEST_TIMER_MS : LONGEST_MS;
  return quantity(description, 'a duration such as 250ms, 60s, 5m, 1h or 1d', {
    min,
    max,
    pattern: DURATION_PATTERN,
    parse: parseDuration,
    format: formatDuration,
  });
}

/** Bytes. */
export function size(description: string, { min, max = Number.MAX_SAFE_INTEGER }: Partial<Range> & { readonly min: number }): Kind<number> {
  return quantity(description, 'a size such as 512k, 4MiB or 1GiB', {
    min,
    max,
    pattern: SIZE_PATTERN,
    parse: parseSize,
    format: formatSize,
  });
}

/** A whole number, in quotes too, since that is how `${NAME}` gives it. */
export function count(description: string, { min, max }: Range): Kind<number> {
  const what = `a number from ${min} to ${max}`;
  return v.pipe(
    v.union([v.number(), v.string()], (issue) => `expected ${what}, got ${show(issue.input)}`),
    v.description(description),
    v.metadata({ pattern: '^[1-9]\\d*$', minimum: min, maximum: max }),
    v.rawTransform(({ dataset: { value }, addIssue, NEVER }) => {
      const number = typeof value === 'number' || /^\d+$/.test(value) ? Number(value) : Number.NaN;
      if (Number.isInteger(number) && number >= min && number <= max) return number;
      addIssue({ message: `expected ${what}, got ${show(value)}` });
      return NEVER;
    }),
  );
}

/** A whole number or the word. */
export function countOr<const Word extends string>(description: string, word: Word, { min, max }: Range): Kind<number | Word> {
  const what = `${word} or a number from ${min} to ${max}`;
  return v.pipe(
    v.union([v.number(), v.string()], (issue) => `expected ${what}, got ${show(issue.input)}`),
    v.description(description),
    v.metadata({ pattern: `^(?:${word}|[1-9]\\d*)$`, minimum: min, maximum: max }),
    v.rawTransform(({ dataset: { value }, addIssue, NEVER }) => {
      if (value === word) return word;
      const count = typeof value === 'number' || /^\d+$/.test(value) ? Number(value) : Number.NaN;
      if (Number.isInteger(count) && count >= min && count <= max) return count;
      addIssue({ message: `expected ${what}, got ${show(value)}` });
      return NEVER;
    }),
  );
}

function quantity(
  description: string,
  what: string,
  {
    min,
    max,
    pattern,
    parse,
    format,
  }: Range & {
    readonly pattern: string;
    readonly parse: (input: string | number) => number | undefined;
    readonly format: (value: number) => string;
  },
): Kind<number> {
  return v.pipe(
    v.union([v.number(), v.string()], (issue) => `expected ${what}, got ${show(issue.input)}`),
    v.description(description),
    v.metadata({ pattern }),
    v.rawTransform(({ dataset: { value }, addIssue, NEVER }) => {
      const amount = parse(value);
      if (amount === undefined) addIssue({ message: `expected ${what}, got ${show(value)}` });
      else if (amount < min) addIssue({ message: `expected at least ${format(min)}, got ${show(value)}` });
      else if (amount > max) addIssue({ message: `expected at most ${format(max)}, got ${show(value)}` });
      else return amount;
      return NEVER;
    }),
  );
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function describe(entry: v.ObjectEntries[string] | undefined): string {
  const description = entry === undefined ? undefined : v.getDescription(entry as v.GenericSchema);
  return description === undefined ? '' : `: ${description.replace(/\.$/, '')}`;
}
