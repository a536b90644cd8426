/**
 * JSON whose text is kept: where members and elements stand in it, and how one is put in or taken out with everything
 * else, numbers and white space included, left as somebody wrote it. Knows nothing of clients.
 */

export interface JsonNode {
  readonly start: number;
  readonly end: number;
  readonly value: unknown;
  /** Of an object. */
  readonly members: readonly JsonMember[] | undefined;
  /** Of an array. */
  readonly elements: readonly JsonNode[] | undefined;
}

export interface JsonMember {
  readonly key: string;
  /** Where its key begins. */
  readonly start: number;
  readonly end: number;
  readonly node: JsonNode;
}

const SPACE = /[\t\n\r ]*/y;
const STRING = /"(?:[^"\\]|\\.)*"/y;
const ATOM = /[-+.\w]+/y;

/** @throws SyntaxError where it is not JSON, or an object has a key twice */
export function readJson(text: string): JsonNode {
  JSON.parse(text); // from here on it is known to be well-formed
  let at = 0;
  const take = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0] ?? '';
    at += found.length;
    return found;
  };
  const node = (): JsonNode => {
    take(SPACE);
    const start = at;
    const members = text[at] === '{' ? sequence('}', member) : undefined;
    const elements = text[at] === '[' && members === undefined ? sequence(']', node) : undefined;
    if (members === undefined && elements === undefined) take(text[at] === '"' ? STRING : ATOM);
    return { start, end: at, value: JSON.parse(text.slice(start, at)) as unknown, members, elements };
  };
  const member = (): JsonMember => {
    take(SPACE);
    const start = at;
    const key = JSON.parse(take(STRING)) as string;
    take(SPACE);
    at += 1; // the colon
    const value = node();
    return { key, start, end: at, node: value };
  };
  const sequence = <T>(close: string, read: () => T): T[] => {
    const items: T[] = [];
    at += 1;
    for (take(SPACE); text[at] !== close; take(SPACE)) {
      if (text[at] === ',') at += 1;
      items.push(read());
    }
    at += 1;
    return items;
  };
  const root = node();
  refuseTwins(root);
  return root;
}

function refuseTwins(node: JsonNode): void {
  const keys = node.members?.map(({ key }) => key) ?? [];
  const twin = keys.find((key, i) => keys.indexOf(key) !== i);
  if (twin !== undefined) throw new SyntaxError(`the key ${JSON.stringify(twin)} is there twice`);
  for (const child of [...(node.elements ?? []), ...(node.members ?? []).map((one) => one.node)]) refuseTwins(child);
}

export function memberOf(node: JsonNode, key: string): JsonMember | undefined {
  return node.members?.find((member) => member.key === key);
}

/** Behind the last member of an object. */
export function addMember(text: string, object: JsonNode, key: string, value: unknown): string {
  const last = object.members?.at(-1);
  const lead = leadOf(text, object, object.members?.[0]?.start);
  const indent = /\n([\t ]*)$/.exec(lead)?.[1];
  const unit = indent === undefined ? undefined : unitOf(text, indent);
  const written = JSON.stringify(value, undefined, unit).replaceAll('\n', `\n${indent ?? ''}`);
  const member = `${JSON.stringify(key)}: ${written}`;
  if (last !== undefined) return splice(text, last.end, last.end, `,${lead === '' ? ' ' : lead}${member}`);
  return splice(text, object.start, object.end, indent === undefined ? `{ ${member} }` : `{${lead}${member}\n${indent.slice(unit?.length ?? 0)}}`);
}

/** Before the first element of an array. */
export function prependElements(text: string, array: JsonNode, values: readonly unknown[]): string {
  const words = values.map((value) => JSON.stringify(value));
  const first = array.elements?.[0];
  if (first === undefined) return splice(text, array.start, array.end, `[${words.join(', ')}]`);
  const lead = text.slice(array.start + 1, first.start);
  const gap = lead.includes('\n') ? lead : ' ';
  return splice(text, first.start, first.start, words.map((word) => `${word},${gap}`).join(''));
}

/** One of the members of an object or of the elements of an array, with the comma that goes with it. */
export function removeItem(text: string, items: readonly { readonly start: number; readonly end: number }[], index: number): string {
  const item = items[index];
  if (item === undefined) return text;
  const [before, after] = [items[index - 1], items[index + 1]];
  if (after !== undefined) return splice(text, item.start, after.start, '');
  if (before !== undefined) return splice(text, before.end, item.end, '');
  const open = text.slice(0, item.start).trimEnd().length;
  const close = item.end + (text.slice(item.end).length - text.slice(item.end).trimStart().length);
  return splice(text, open, close, '');
}

/** White space before an object's first member; of an object without members, what it would be. */
function leadOf(text: string, object: JsonNode, first: number | undefined): string {
  if (first !== undefined) return text.slice(object.start + 1, first);
  const line = text.slice(text.lastIndexOf('\n', object.start) + 1);
  const indent = /^[\t ]*/.exec(line)?.[0] ?? '';
  return `\n${indent}${unitOf(text, indent)}`;
}

/** One step of indentation, as this text has it. */
function unitOf(text: string, indent: string): string {
  return /\n([\t ]+)"/.exec(text)?.[1] ?? (indent.startsWith('\t') ? '\t' : '  ');
}

function splice(text: string, from: number, to: number, instead: string): string {
  return text.slice(0, from) + instead + text.slice(to);
}
