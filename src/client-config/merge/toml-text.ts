/**
 * Lines of ours in a TOML file that other people write too. They are put in as text, between marks, so that nothing else
 * of the file changes; the result is parsed, and taken only where it says what was there before and what we added.
 */
import { isDeepStrictEqual } from 'node:util';
import { parse, TomlError } from 'smol-toml';
import type { Merged } from '../change.ts';
import { Refused } from '../request.ts';

export type Table = { readonly [key: string]: unknown };

/** @throws Refused where it is no TOML */
export function readToml(text: string, file: string): Table {
  try {
    return parse(text) as Table;
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw new Refused(`${file} cannot be read as TOML, so nothing can be added to it: line ${error.line}: ${error.message.split('\n', 1)[0]}`, { cause: error });
  }
}

/** `block` at `offset`, in place of `was`. @throws Refused where the file then says anything but its own words and the block's */
export function insert(text: string, { offset, was = '', is, says }: { readonly offset: number; readonly was?: string; readonly is: string; readonly says: Table }, file: string): Merged {
  const start = offset > 0 && text[offset - 1] !== '\n' ? '\n' : '';
  const block = start + is;
  const merged = text.slice(0, offset) + block + text.slice(offset + was.length);
  const wanted = combine(readToml(text, file), says);
  let got: Table | undefined;
  try {
    got = parse(merged) as Table;
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
  }
  if (got === undefined || !isDeepStrictEqual(plain(got), plain(wanted))) throw new Refused(`${file}: our lines do not fit in as text; add them by hand:\n${is.trimEnd()}`);
  return { text: merged, undo: { kind: 'text', swaps: [{ was, is: block }] } };
}

/** Where the first table begins. Lines within a string or an array may look alike: `insert` finds out. */
export function firstTable(text: string): number {
  const found = /^[ \t]*\[/m.exec(text);
  return found === null ? text.length : found.index;
}

export function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** What is at a path of keys. */
export function at(table: Table, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) => (isTable(value) && Object.hasOwn(value, key) ? value[key] : undefined), table);
}

function combine(one: Table, other: Table): Table {
  const sum: Record<string, unknown> = { ...one };
  for (const [key, value] of Object.entries(other)) {
    const there = sum[key];
    sum[key] = isTable(there) && isTable(value) ? combine(there, value) : value;
  }
  return sum;
}

/** The parser's tables have no prototype, ours have. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  return isTable(value) ? new Map(Object.entries(value).map(([key, inner]) => [key, plain(inner)])) : value;
}

/** Takes our lines out of a file that was edited since. @throws Refused where they were changed */
export function withoutSwaps(before: string, swaps: readonly { readonly was: string; readonly is: string }[], file: string): string {
  let text = before;
  for (const { was, is } of swaps) {
    const offset = text.indexOf(is);
    if (offset === -1 && was === '' && !text.includes(is.trim().split('\n', 1)[0] ?? '')) continue; // taken out by hand
    if (offset === -1 || text.includes(is, offset + 1)) throw new Refused(`${file}: our lines were changed since: take out what is between the marks of umbra client-config by hand, then revert again`);
    text = text.slice(0, offset) + was + text.slice(offset + is.length);
  }
  return text;
}
