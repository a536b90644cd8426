/** A document of ours as it is put together from another, which remembers where each value was written and as what. */
import type { Fault, ParsedDocument, Place } from '../config/document.ts';
import { formatPath, type Path } from '../config/problem.ts';

type Container = Record<string | number, unknown>;

export class Translation {
  readonly #from: ReadonlyMap<string, Place>;
  readonly #value: Container = Object.create(null) as Container;
  readonly #places = new Map<string, Place>();

  /** @param from the places of the other document */
  constructor(from: ReadonlyMap<string, Place>) {
    this.#from = from;
  }

  /** A value under another key, as it was written. Undefined: not given. */
  put(to: Path, value: unknown, from: Path): void {
    if (value === undefined) return;
    this.#set(to, value);
    this.locate(to, from);
  }

  /** Whatever is said of the one is said of the other. */
  locate(to: Path, from: Path): void {
    const place = this.#from.get(formatPath(from));
    if (place !== undefined) this.#places.set(formatPath(to), { ...place, spelled: formatPath(from) });
  }

  /** A value that was made of others. The first of those that were given is what it is called. */
  derive(to: Path, value: unknown, ...from: readonly Path[]): void {
    this.#set(to, value);
    const given = from.flatMap((path) => {
      const place = this.#from.get(formatPath(path));
      return place === undefined ? [] : [{ ...place, spelled: formatPath(path) }];
    });
    const [first] = given;
    if (first === undefined) return;
    this.#places.set(formatPath(to), { line: first.line, spelled: first.spelled, variables: given.flatMap(({ variables }) => variables) });
  }

  /** A part of the document that is in our words already. */
  keep(key: string, value: unknown): void {
    this.#value[key] = value;
    for (const [path, place] of this.#from) if (path === key || path.startsWith(`${key}.`) || path.startsWith(`${key}[`)) this.#places.set(path, place);
  }

  document(faults: readonly Fault[]): ParsedDocument {
    const root = this.#from.get('');
    if (root !== undefined) this.#places.set('', root);
    return { value: this.#value, places: this.#places, faults };
  }

  #set(to: Path, value: unknown): void {
    let container = this.#value;
    for (const [i, key] of to.slice(0, -1).entries()) {
      container[key] ??= typeof to[i + 1] === 'number' ? [] : Object.create(null);
      container = container[key] as Container; // just made, or by an earlier path of the same shape
    }
    const last = to.at(-1);
    if (last !== undefined) container[last] = value;
  }
}
