/** A plain tar (POSIX ustar, with pax headers for long paths) of the files, to unpack at /: the same files are always the same bytes. */
import type { NodeFile } from '../node-file.ts';

const BLOCK = 512;
const NAME_BYTES = 100;

export function tar(files: readonly NodeFile[]): Buffer {
  const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  return Buffer.concat([...sorted.flatMap(entry), Buffer.alloc(2 * BLOCK)]);
}

function entry({ path, mode, content }: NodeFile): readonly Buffer[] {
  const name = Buffer.from(path.slice(1));
  const bytes = Buffer.from(content);
  const long = name.length > NAME_BYTES ? padded(Buffer.from('pax_header'), 0o644, 'x', record('path', name)) : [];
  return [...long, ...padded(name.subarray(0, NAME_BYTES), mode, '0', bytes)];
}

/** https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_03: its own length is part of it. */
function record(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  let length = rest.length;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function padded(name: Buffer, mode: number, type: string, bytes: Buffer): readonly Buffer[] {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void => void block.write(value.toString(8).padStart(length - 1, '0'), at);
  name.copy(block);
  octal(mode, 100, 8);
  octal(0, 108, 8); // root
  octal(0, 116, 8);
  octal(bytes.length, 124, 12);
  octal(0, 136, 12);
  block.write(type, 156);
  block.write('ustar\u000000', 257);
  // The checksum is taken with its own field as spaces.
  block.fill(' ', 148, 156);
  octal(block.reduce((sum, byte) => sum + byte, 0), 148, 7);
  return [block, bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)];
}
