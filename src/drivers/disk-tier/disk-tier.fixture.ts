/** What the tests of the disk tier share: a store that tells what was read of it, and a tier with all strings in hand. */
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOfData, keys, type Generation } from '../../content/keys.ts';
import { digestOf } from '../../oci/digest.ts';
import { systemTimers } from '../../workers/timers.ts';
import type { DiskCount } from './events.ts';
import { DiskPaths, diskEntry } from './files.ts';
import { diskTier, type DiskTier, type DiskTierOptions } from './disk-tier.ts';
import type { ByteRange, CallOptions, Driver, Source } from '../driver.ts';
import { memoryDriver } from '../memory/memory.ts';
import { patterned } from '../contract/store.contract.ts';

export const MiB: number = 1024 * 1024;
const ROOM = 1024 * MiB;

/** An object store in memory: no random access, bytes in pieces, and every reading of it is written down. */
export class TellingStore {
  readonly driver: Driver;
  readonly opened: string[] = [];
  readonly streamed: { readonly key: string; readonly range: ByteRange }[] = [];
  /** Awaited before each piece that is given. */
  gate: (position: number) => Promise<void> = async () => undefined;
  /** Changes a piece on its way. */
  spoil: (piece: Buffer) => Buffer = (piece) => piece;
  open = 0;

  constructor() {
    const memory = memoryDriver();
    const self = this;
    this.driver = new Proxy<Driver>(memory, {
      get(target, name) {
        if (name === 'stampNow') return undefined;
        if (name === 'open') return (key: string, options?: CallOptions) => self.#open(target, key, options);
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  /** Puts a blob; its key. */
  async blob(bytes: Buffer, generation: string = 'a'.repeat(32)): Promise<string> {
    const key = keys.data(digestOf(bytes), generation as Generation);
    await this.driver.put(key, bytes);
    return key;
  }

  async #open(target: Driver, key: string, options?: CallOptions): Promise<Source | undefined> {
    this.opened.push(key);
    const source = await target.open(key, options);
    if (source === undefined) return undefined;
    this.open++;
    let closed = false;
    return {
      stat: source.stat,
      stream: (range, streaming) => this.#stream(source, key, range, streaming),
      close: async () => {
        if (!closed) this.open--;
        closed = true;
        await source.close();
      },
    };
  }

  async *#stream(source: Source, key: string, range: ByteRange, { signal }: CallOptions = {}): AsyncGenerator<Buffer> {
    this.streamed.push({ key, range });
    let position = range.start;
    for await (const chunk of source.stream(range)) {
      for (let at = 0; at < chunk.length; at += 64 * 1024) {
        signal?.throwIfAborted();
        await this.gate(position);
        signal?.throwIfAborted();
        const piece = chunk.subarray(at, at + 64 * 1024);
        position += piece.length;
        yield this.spoil(piece);
      }
    }
  }
}

export interface Tier {
  readonly tier: DiskTier;
  readonly root: string;
  readonly store: TellingStore;
  readonly counts: Partial<Record<DiskCount, number>>;
  readonly reports: { readonly kind: string; readonly [field: string]: unknown }[];
  /** What `nowMs` says. */
  nowMs: number;
  used: number;
  /** Another tier over the same disk and store, as another process has it. */
  another(options?: Partial<DiskTierOptions>): Tier;
  /** Files on the disk, without their folders. */
  files(): Promise<string[]>;
}

export class Tiers {
  readonly #roots: string[] = [];
  readonly #tiers: DiskTier[] = [];

  async make(options: Partial<DiskTierOptions> = {}, store: TellingStore = new TellingStore()): Promise<Tier> {
    const root = options.root ?? (await mkdtemp(join(tmpdir(), 'umbra-disk-')));
    if (options.root === undefined) this.#roots.push(root);
    return this.#tier(root, store, options);
  }

  async close(): Promise<void> {
    for (const tier of this.#tiers.splice(0)) await tier.close();
    for (const root of this.#roots.splice(0)) await rm(root, { recursive: true, force: true });
  }

  #tier(root: string, store: TellingStore, options: Partial<DiskTierOptions>): Tier {
    const counts: Partial<Record<DiskCount, number>> = {};
    const reports: { readonly kind: string }[] = [];
    const made: Tier = {
      root, store, counts, reports,
      nowMs: Date.now(),
      used: 0,
      tier: diskTier(store.driver, {
        root,
        maxBytes: ROOM,
        digestOf: digestOfData,
        timers: systemTimers,
        nowMs: () => made.nowMs,
        random: () => 1, // no second look
        events: {
          count: (what) => void (counts[what] = (counts[what] ?? 0) + 1),
          used: (bytes) => void (made.used = bytes),
          report: (event) => void reports.push(event),
        },
        ...options,
      }),
      another: (others = {}) => this.#tier(root, store, { ...options, ...others }),
      files: async () => (await readdir(join(root, 'v1'), { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile() && entry.name !== 'usage').map(({ name }) => name),
    };
    this.#tiers.push(made.tier);
    return made;
  }
}

/** Bytes of a blob that is like no other. */
export function blobOf(size: number, seed = 1): Buffer {
  return patterned(size, seed);
}

/** The file that a blob has on the disk. */
export function fileOf(root: string, key: string): string {
  const digest = digestOfData(key);
  if (digest === undefined) throw new Error(`${key} is no key of a blob`);
  return new DiskPaths(root).blob(diskEntry(key, digest).name);
}

/** As a disk does that goes bad: changes a bit of the byte at `at`, from the end where that is negative. */
export async function flip(file: string, at: number): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    const position = at < 0 ? (await handle.stat()).size + at : at;
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, position);
    byte.writeUInt8(byte.readUInt8(0) ^ 1);
    await handle.write(byte, 0, 1, position);
  } finally {
    await handle.close();
  }
}

/** Reads the whole blob, or a range, as a body does: random access where there is any. */
export async function readBlob(driver: Driver, key: string, range?: ByteRange): Promise<Buffer | undefined> {
  const source = await driver.open(key);
  if (source === undefined) return undefined;
  try {
    const { start, end } = range ?? { start: 0, end: source.stat.size - 1 };
    const pieces: Buffer[] = [];
    if (source.read === undefined) {
      for await (const chunk of source.stream({ start, end })) pieces.push(chunk);
      return Buffer.concat(pieces);
    }
    for (let position = start; position <= end; ) {
      const piece = Buffer.alloc(Math.min(100_000, end + 1 - position));
      const count = await source.read(piece, position);
      if (count === 0) throw new Error(`nothing at byte ${position}`);
      pieces.push(piece.subarray(0, count));
      position += count;
    }
    return Buffer.concat(pieces);
  } finally {
    await source.close();
  }
}
