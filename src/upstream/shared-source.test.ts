import { describe, expect, test } from 'vitest';
import type { Source } from '../drivers/driver.ts';
import { SharedSource, SourceMoved } from './shared-source.ts';
import { someBytes } from './fill.fixture.ts';

const KIB = 1024;
const never = new AbortController().signal;

class Counted implements Source {
  readonly stat: Source['stat'];
  readonly bytes: Buffer;
  /** Of each read. */
  readonly positions: number[] = [];
  closed = 0;
  fails: Error | undefined;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.stat = { size: bytes.length, modifiedMs: 0, stamp: '' };
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    this.positions.push(position);
    if (this.fails !== undefined) throw this.fails;
    // Short, as a read may be.
    return this.bytes.copy(into, 0, position, position + Math.min(into.length, 200 * KIB));
  }

  stream(): AsyncIterable<Buffer> {
    throw new Error('expected random access to be used');
  }

  async close(): Promise<void> {
    this.closed += 1;
  }
}

async function all(shared: SharedSource, start: number, end: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of shared.stream(start, end, never)) {
    chunks.push(chunk);
    await new Promise(setImmediate);
  }
  return Buffer.concat(chunks);
}

describe('a source that several readers use', () => {
  test('is read once for all who are at the same place', async () => {
    const source = new Counted(someBytes(3000 * KIB));
    const shared = new SharedSource(Promise.resolve(source));
    const got = await Promise.all(Array.from({ length: 8 }, async () => all(shared, 0, 3000 * KIB)));
    for (const bytes of got) expect(bytes.equals(source.bytes)).toBe(true);
    expect(new Set(source.positions).size).toBe(source.positions.length);
  });

  test('gives each reader its own range', async () => {
    const source = new Counted(someBytes(1000 * KIB));
    const shared = new SharedSource(Promise.resolve(source));
    for (let n = 0; n < 5; n++) shared.hold();
    const ranges = [[0, 10], [5, 1000 * KIB], [300 * KIB, 301 * KIB], [999 * KIB, 1000 * KIB], [7, 7]] as const;
    const got = await Promise.all(ranges.map(async ([start, end]) => all(shared, start, end)));
    for (const [i, [start, end]] of ranges.entries()) expect(got[i]?.equals(source.bytes.subarray(start, end))).toBe(true);
  });

  test('is closed with its last holder', async () => {
    const source = new Counted(someBytes(10));
    const shared = new SharedSource(Promise.resolve(source));
    shared.hold();
    shared.release();
    await all(shared, 0, 10);
    expect(source.closed).toBe(0);
    shared.release();
    await new Promise(setImmediate);
    expect(source.closed).toBe(1);
  });

  test('is read again after a read failed', async () => {
    const source = new Counted(someBytes(10));
    const shared = new SharedSource(Promise.resolve(source));
    source.fails = new Error('input/output error');
    await expect(all(shared, 0, 10)).rejects.toThrow('input/output error');
    source.fails = undefined;
    expect((await all(shared, 0, 10)).equals(source.bytes)).toBe(true);
  });

  test('says so where there was nothing to open', async () => {
    await expect(all(new SharedSource(Promise.resolve(undefined)), 0, 10)).rejects.toBeInstanceOf(SourceMoved);
    await expect(all(new SharedSource(Promise.reject(new Error('no descriptors left'))), 0, 10)).rejects.toThrow('no descriptors left');
  });
});
