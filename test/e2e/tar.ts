/** Writes tar archives (POSIX ustar): the same entries always give the same bytes, so that layers have lasting digests. */
export interface TarEntry {
  /** Relative, at most 100 bytes; a folder's ends in `/`. */
  readonly path: string;
  readonly bytes?: Uint8Array;
  /** Makes it a symbolic link. */
  readonly target?: string;
}

const BLOCK = 512;

export function tar(entries: readonly TarEntry[]): Buffer {
  const blocks = entries.flatMap((entry) => {
    const bytes = entry.bytes ?? Buffer.alloc(0);
    return [header(entry, bytes.length), bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function header(entry: TarEntry, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): number => block.write(value.toString(8).padStart(length - 1, '0'), at);
  block.write(entry.path, 0, 100);
  octal(0o755, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  block.write(entry.path.endsWith('/') ? '5' : entry.target === undefined ? '0' : '2', 156);
  block.write(entry.target ?? '', 157, 100);
  block.write('ustar\0' + '00', 257);
  // The checksum is taken with its own field as spaces.
  block.fill(' ', 148, 156);
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return block;
}
