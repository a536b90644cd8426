/**
 * One field of a resource: what may stand there and what is said when something else does, as Magnum's types (wsme) have
 * it. The API reference is made from the same words.
 */
import { shown } from './problem.ts';

export type Value = string | number | boolean | Labels | null;
export type Labels = Readonly<Record<string, string>>;

export interface FieldType {
  /** For the reference: `text`, `true or false`, … */
  readonly words: string;
  /** The value in its one spelling, or what is wrong with it as a sentence. Never asked about null. */
  readonly read: (value: unknown) => { readonly value: Value } | { readonly problem: string };
}

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  /** A sentence. */
  readonly description: string;
  /** Where nothing or null is given. */
  readonly fallback?: Value;
  /** Must be given, and cannot be removed. */
  readonly mandatory?: boolean;
  /** Cannot be removed by PATCH, though it need not be given. */
  readonly kept?: boolean;
}

/** What is answered but cannot be set. */
export interface ReadOnlyField {
  readonly name: string;
  readonly words: string;
  readonly description: string;
}

const MAX_TEXT = 255;

export function text({ min = 1, max = MAX_TEXT, pattern, expected }: { readonly min?: number; readonly max?: number; readonly pattern?: RegExp; readonly expected?: string } = {}): FieldType {
  return {
    words: expected ?? `text of ${min} to ${max} characters`,
    read(value) {
      if (typeof value !== 'string') return { problem: 'Value should be a text.' };
      if (value.includes('\0')) return { problem: 'Value should have no NUL character.' }; // PostgreSQL has no such text
      if (value.length < min) return { problem: `Value should have a minimum character requirement of ${min}` };
      if (value.length > max) return { problem: `Value should have a maximum character requirement of ${max}` };
      if (pattern !== undefined && !pattern.test(value)) return { problem: `Value should match the pattern ${pattern.source}` };
      return { value };
    },
  };
}

/** Text by a rule of its own. @param problemOf gives what is wrong as a sentence */
export function checkedText(words: string, problemOf: (value: string) => string | undefined, spell: (value: string) => string = (value) => value): FieldType {
  const plain = text();
  return {
    words,
    read(given) {
      const read = plain.read(given);
      if ('problem' in read) return read;
      const value = read.value as string; // as `text` reads
      const problem = problemOf(value);
      return problem === undefined ? { value: spell(value) } : { problem };
    },
  };
}

export function integer(min: number, max?: number): FieldType {
  return {
    words: max === undefined ? `a number, ${min} at least` : `a number from ${min} to ${max}`,
    read(value) {
      const number = typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
      if (typeof number !== 'number' || !Number.isSafeInteger(number)) return { problem: 'Value should be an integer.' };
      if (number < min) return { problem: `Value should be greater or equal to ${min}` };
      if (max !== undefined && number > max) return { problem: `Value should be lower or equal to ${max}` };
      return { value: number };
    },
  };
}

export function oneOf(words: readonly string[]): FieldType {
  return {
    words: words.map((word) => `\`${word}\``).join(', '),
    read: (value) => (words.includes(value as string) /* of any type */ ? { value: value as string } : { problem: `Value should be one of: ${words.map((word) => `'${word}'`).join(', ')}` }),
  };
}

const YES: ReadonlySet<string> = new Set(['1', 't', 'true', 'on', 'y', 'yes']);
const NO: ReadonlySet<string> = new Set(['0', 'f', 'false', 'off', 'n', 'no']);

/** As oslo.utils' `bool_from_string(strict=True)`. Undefined: neither. */
export function readBoolean(value: unknown): boolean | undefined {
  if (typeof value === 'boolean') return value;
  const word = typeof value === 'string' || typeof value === 'number' ? String(value).trim().toLowerCase() : '';
  return YES.has(word) ? true : NO.has(word) ? false : undefined;
}

export const boolean: FieldType = {
  words: 'true or false',
  read(given) {
    const value = readBoolean(given);
    return value === undefined ? { problem: `Unrecognized value '${shown(given)}', acceptable values are: ${[...NO, ...YES].map((word) => `'${word}'`).join(', ')}` } : { value };
  },
};

const MAX_LABELS = 256;
const MAX_LABEL = 4_096;

/** Values become text, as clients of every version send them. */
export const labels: FieldType = {
  words: 'a map of text',
  read(given) {
    if (typeof given !== 'object' || given === null || Array.isArray(given)) return { problem: 'Value should be a map of labels.' };
    const entries = Object.entries(given as Readonly<Record<string, unknown>>); // an object, and no list
    if (entries.length > MAX_LABELS) return { problem: `Value should have at most ${MAX_LABELS} labels` };
    const bad = entries.find(([key, value]) => key === '' || key.length > MAX_TEXT || !['string', 'number', 'boolean'].includes(typeof value) || String(value).length > MAX_LABEL);
    if (bad !== undefined) return { problem: `Wrong type of label ${shown(bad[0])}. Expected a text, a number, true or false, of at most ${MAX_LABEL} characters` };
    return { value: Object.fromEntries(entries.map(([key, value]) => [key, String(value)])) };
  },
};
