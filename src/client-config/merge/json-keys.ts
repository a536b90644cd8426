/** Words of ours in a JSON file that other people write too: strings in lists, and values at paths. */
import { isDeepStrictEqual } from 'node:util';
import type { Change, JsonListUndo, JsonSetUndo, ServiceNeed, Undo } from '../change.ts';
import { Refused } from '../request.ts';
import { addMember, memberOf, prependElements, readJson, removeItem } from './json-text.ts';
import type { JsonNode } from './json-text.ts';

export interface JsonKeys {
  readonly path: string;
  /** Strings that must be among those of a list; ours come first. */
  readonly lists?: readonly { readonly key: string; readonly values: readonly string[] }[];
  readonly sets?: readonly { readonly path: readonly string[]; readonly value: unknown }[];
  /** Says why it is of no use in such a file, if it is. */
  readonly objection?: (file: Readonly<Record<string, unknown>>) => string | undefined;
  readonly secret?: boolean;
  readonly inHome?: boolean;
  readonly needs?: ServiceNeed;
}

export function jsonKeys(keys: JsonKeys): Change {
  const { path, secret = false, inHome = false, needs } = keys;
  return { path, mode: secret ? 0o600 : 0o644, how: 'json', content: fresh(keys), secret, inHome, needs, merge: (text) => merge(text, keys) };
}

function fresh({ lists = [], sets = [] }: JsonKeys): string {
  const file: Record<string, unknown> = {};
  for (const { key, values } of lists) file[key] = values;
  for (const { path, value } of sets) {
    let at = file;
    for (const step of path.slice(0, -1)) at = (at[step] ??= {}) as Record<string, unknown>; // made here, all of it
    at[path.at(-1) ?? ''] = value;
  }
  return `${JSON.stringify(file, undefined, 2)}\n`;
}

function merge(before: string | undefined, keys: JsonKeys): { readonly text: string; readonly undo: Undo } {
  const { path: file, lists = [], sets = [], objection } = keys;
  const listUndos: JsonListUndo[] = [];
  const setUndos: JsonSetUndo[] = [];
  const undo: Undo = { kind: 'json', lists: listUndos, sets: setUndos };
  const nothing = before === undefined || before.trim() === '';
  let text = nothing ? '{}\n' : before;
  const objected = objection?.(open(text, file).value as Readonly<Record<string, unknown>>); // open() saw that it is an object
  if (objected !== undefined) throw new Refused(`${file}: ${objected}`);

  for (const { key, values } of lists) {
    const root = open(text, file);
    const member = memberOf(root, key);
    const there = member?.node.value ?? [];
    if (!Array.isArray(there) || !there.every((one) => typeof one === 'string')) throw new Refused(`${file}: "${key}" is no list of strings: mend it first`);
    const missing = values.filter((value) => !there.includes(value));
    if (missing.length === 0) continue;
    if (member === undefined) text = addMember(text, root, key, missing);
    else if (member.node.elements === undefined) throw new Refused(`${file}: "${key}" is null: remove it first`);
    else text = prependElements(text, member.node, missing);
    listUndos.push({ key, values: missing, made: member === undefined });
  }

  for (const { path, value } of sets) {
    let node = open(text, file);
    let depth = 0;
    for (let next = memberOf(node, path[0] ?? ''); next !== undefined; next = memberOf(node, path[depth] ?? '')) {
      node = next.node;
      depth += 1;
      if (depth === path.length) break;
      if (node.members === undefined) throw new Refused(`${file}: "${path.slice(0, depth).join('.')}" is no object: mend it first`);
    }
    if (depth === path.length) {
      if (isDeepStrictEqual(node.value, value)) continue;
      throw new Refused(`${file}: "${path.join('.')}" is set already, to something else: remove it first`);
    }
    const rest = path.slice(depth + 1).reduceRight((inner: unknown, key) => ({ [key]: inner }), value);
    text = addMember(text, node, path[depth] ?? '', rest);
    setUndos.push({ path, value, made: path.length - depth - 1 });
  }
  return listUndos.length + setUndos.length === 0 && before !== undefined ? { text: before, undo } : { text: nothing ? fresh(keys) : text, undo };
}

/** Takes our words out of a file that was edited since. @throws Refused where they were changed */
export function withoutJsonKeys(before: string, undo: Undo & { readonly kind: 'json' }, file: string): string {
  let text = before;
  for (const { key, values, made } of undo.lists) {
    for (const value of values) {
      const elements = memberOf(open(text, file), key)?.node.elements ?? [];
      const index = elements.findIndex((element) => element.value === value);
      if (index !== -1) text = removeItem(text, elements, index);
    }
    text = made ? removeEmpty(text, [key], file) : text;
  }
  for (const { path, value, made } of undo.sets) {
    const [parent, member] = find(text, path, file);
    if (parent === undefined || member === undefined) continue;
    if (!isDeepStrictEqual(member.value, value)) throw new Refused(`${file}: "${path.join('.')}" was changed since: remove it by hand if it is not wanted, then revert again`);
    text = removeItem(text, parent.members ?? [], parent.members?.findIndex(({ node }) => node === member) ?? -1);
    for (let depth = path.length - 1; depth >= path.length - made; depth -= 1) text = removeEmpty(text, path.slice(0, depth), file);
  }
  return text;
}

function removeEmpty(text: string, path: readonly string[], file: string): string {
  const [parent, node] = find(text, path, file);
  const items = node?.members ?? node?.elements;
  if (parent === undefined || items === undefined || items.length > 0) return text;
  return removeItem(text, parent.members ?? [], parent.members?.findIndex((member) => member.node === node) ?? -1);
}

/** The value at a path, and the object that it is in. */
function find(text: string, path: readonly string[], file: string): readonly [JsonNode | undefined, JsonNode | undefined] {
  let parent: JsonNode | undefined;
  let node: JsonNode | undefined = open(text, file);
  for (const key of path) {
    parent = node;
    node = node === undefined ? undefined : memberOf(node, key)?.node;
  }
  return [parent, node];
}

function open(text: string, file: string): JsonNode {
  let root: JsonNode;
  try {
    root = readJson(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Refused(`${file} cannot be read as JSON, so nothing can be added to it: ${error.message}`, { cause: error });
  }
  if (root.members === undefined) throw new Refused(`${file} holds no JSON object, so nothing can be added to it`);
  return root;
}
