/** Tables of ours in a TOML file that other people write too: at its end, or before its first table. */
import type { Change, ServiceNeed } from '../change.ts';
import { Refused } from '../request.ts';
import { marked } from '../toml-words.ts';
import { at, firstTable, insert, readToml } from './toml-text.ts';
import type { Table } from './toml-text.ts';

export interface TomlBlock {
  readonly path: string;
  /** The file, where there is none yet. */
  readonly content: string;
  /** What is put into one that is there. */
  readonly block: string;
  readonly place: 'end' | 'first';
  /** Keys of the block that the file must not have yet, each as a path. */
  readonly keys: readonly (readonly string[])[];
  /** Says why the block is of no use in such a file, if it is. */
  readonly objection?: (file: Table) => string | undefined;
  readonly secret?: boolean;
  readonly needs?: ServiceNeed;
}

export function tomlBlock({ path, content, block, place, keys, objection, secret = false, needs }: TomlBlock): Change {
  return {
    path,
    mode: secret ? 0o600 : 0o644,
    how: 'toml',
    content,
    secret,
    inHome: false,
    needs,
    merge(text) {
      if (text === undefined || text.trim() === '' || text === content) return { text: content, undo: { kind: 'text', swaps: [{ was: '', is: content }] } };
      const file = readToml(text, path);
      const objected = objection?.(file);
      if (objected !== undefined) throw new Refused(`${path}: ${objected}`);
      const taken = keys.find((key) => at(file, key) !== undefined);
      if (taken !== undefined) throw new Refused(`${path}: ${spelt(taken)} is there already: take it out, or add by hand what is wanted:\n${block.trimEnd()}`);
      const is = marked(block);
      return insert(text, { offset: place === 'end' ? text.length : firstTable(text), is, says: readToml(is, path) }, path);
    },
  };
}

function spelt(path: readonly string[]): string {
  return path.map((key) => (/^[\w-]+$/.test(key) ? key : JSON.stringify(key))).join('.');
}
