/**
 * Listings in the byte order of whole keys. A directory sorts as its name and `/`, and pieces of long components are
 * joined before they are sorted, since `<piece>/` and `<piece>%/…` interleave.
 */
import type { Dirent } from 'node:fs';
import fs from 'node:fs/promises';
import type { CallOptions, Entry } from '../driver.ts';
import { orAbsent, stat, statOf } from './calls.ts';
import { pieceOf, type FilesystemPaths } from './paths.ts';
import { isComponent } from '../key.ts';

export interface ListingOptions extends CallOptions {
  readonly startAfter?: string;
}

interface Node {
  /** A whole component. */
  readonly name: string;
  readonly path: string;
  readonly leaf: boolean;
}

interface Level {
  /** What the keys of this level begin with. */
  readonly lead: string;
  readonly nodes: readonly Node[];
  next: number;
}

/** Looked at together, at most; the first few come alone, for those who want no more. */
const MAX_BATCH = 64;

/** The keys that begin with `prefix`, from behind `startAfter`. */
export async function* listKeys(paths: FilesystemPaths, prefix: string, options: ListingOptions): AsyncGenerator<Entry> {
  for await (const files of inBatches(keysBelow(paths, prefix, options.startAfter ?? ''), options.signal)) {
    const found = await Promise.all(files.map(({ path }) => orAbsent(stat(path))));
    for (const [index, { key }] of files.entries()) {
      const stats = found[index];
      options.signal?.throwIfAborted();
      if (stats?.isFile() === true) yield { key, ...statOf(stats) };
    }
  }
}

/** The components that follow `prefix`. A directory without a key below it, as a crash may leave one, is none. */
export async function* listChildren(paths: FilesystemPaths, prefix: string, options: ListingOptions): AsyncGenerator<{ readonly name: string; readonly leaf: boolean }> {
  const { startAfter = '' } = options;
  const nodes = (await readLevel(paths.ofLevel(prefix), '')).filter(({ name }) => name > startAfter).toSorted((a, b) => order(a.name, b.name));
  for await (const batch of inBatches(nodes, options.signal)) {
    const holding = await Promise.all(batch.map(async ({ path, leaf }) => leaf || (await holdsKey(path))));
    for (const [index, { name, leaf }] of batch.entries()) {
      options.signal?.throwIfAborted();
      if (holding[index] === true) yield { name, leaf };
    }
  }
}

async function* keysBelow(paths: FilesystemPaths, prefix: string, startAfter: string): AsyncGenerator<{ readonly key: string; readonly path: string }> {
  const cut = prefix.lastIndexOf('/') + 1;
  const open = async (path: string, lead: string, beginning: string): Promise<Level> => {
    const nodes = (await readLevel(path, '')).filter((node) => {
      const text = lead + sortedAs(node);
      return node.name.startsWith(beginning) && (text > startAfter || (!node.leaf && startAfter.startsWith(text)));
    });
    return { lead, nodes: nodes.toSorted((a, b) => order(sortedAs(a), sortedAs(b))), next: 0 };
  };
  const levels: Level[] = [await open(paths.ofLevel(prefix.slice(0, cut)), prefix.slice(0, cut), prefix.slice(cut))];
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const node = level.nodes[level.next++];
    if (node === undefined) levels.pop();
    else if (node.leaf) yield { key: level.lead + node.name, path: node.path };
    else levels.push(await open(node.path, `${level.lead}${node.name}/`, ''));
  }
}

/** What stands in a directory, pieces joined, in no order. */
async function readLevel(path: string, lead: string): Promise<Node[]> {
  const nodes: Node[] = [];
  for (const entry of (await orAbsent(fs.readdir(path, { withFileTypes: true }))) ?? []) {
    const piece = entry.isDirectory() ? pieceOf(entry.name) : undefined;
    if (piece !== undefined) nodes.push(...(await readLevel(`${path}/${entry.name}`, lead + piece)));
    else if (isNode(entry)) nodes.push({ name: lead + entry.name, path: `${path}/${entry.name}`, leaf: entry.isFile() });
  }
  return nodes;
}

function isNode(entry: Dirent): boolean {
  return (entry.isFile() || entry.isDirectory()) && isComponent(entry.name);
}

async function holdsKey(path: string): Promise<boolean> {
  const directory = await orAbsent(fs.opendir(path, { bufferSize: 8 }));
  for await (const entry of directory ?? []) {
    const name = `${path}/${entry.name}`;
    if (entry.isFile() ? isNode(entry) : entry.isDirectory() && (pieceOf(entry.name) !== undefined || isNode(entry)) && (await holdsKey(name))) return true;
  }
  return false;
}

async function* inBatches<T>(items: AsyncIterable<T> | Iterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T[]> {
  let batch: T[] = [];
  let size = 1;
  signal?.throwIfAborted();
  for await (const item of items) {
    batch.push(item);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
    size = Math.min(size * 4, MAX_BATCH);
  }
  signal?.throwIfAborted();
  if (batch.length > 0) yield batch;
}

function sortedAs(node: Node): string {
  return node.leaf ? node.name : `${node.name}/`;
}

/** Names are ASCII, so the order of UTF-16 units is byte order. */
function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
