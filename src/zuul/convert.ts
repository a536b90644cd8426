/** `umbra config convert`: a zuul-registry's file as one of ours. */
import { stringify } from 'yaml';
import type { ParsedDocument } from '../config/document.ts';
import { formatPath, type Path } from '../config/problem.ts';
import { literally } from '../config/substitution.ts';

export interface Converted {
  /** YAML. What came from a variable still does. */
  readonly text: string;
  /** Keys of the secrets that stand in it for everybody to read. */
  readonly clear: readonly string[];
}

const SECRETS: readonly string[] = ['secret', 'password', 'secretAccessKey', 'tempUrlKey'];

/** @param document in our words, as the dialect gave it */
export function convert({ value, places }: ParsedDocument): Converted {
  const clear: string[] = [];
  const written = (inner: unknown, path: Path): unknown => {
    if (Array.isArray(inner)) return inner.map((item, i) => written(item, [...path, i]));
    if (typeof inner === 'object' && inner !== null) return Object.fromEntries(Object.entries(inner).map(([key, item]) => [key, written(item, [...path, key])]));
    if (typeof inner !== 'string') return inner;
    const key = formatPath(path);
    const text = places.get(key)?.written ?? literally(inner);
    // A text that its variables are not all of is shown, in part.
    if (SECRETS.includes(String(path.at(-1))) && !/^\$\{\w+\}$/.test(text)) clear.push(key);
    return text;
  };
  return { text: stringify(written(value, []), { lineWidth: 0 }), clear };
}
