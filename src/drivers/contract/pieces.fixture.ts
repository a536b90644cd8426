/**
 * The memory driver with the assemblies of an object store: attempts stand side by side, what is gathered can be read by
 * the piece once a piece is full, and the pieces go when they become an object.
 */
import { randomBytes } from 'node:crypto';
import { DriverError, type AppendOptions, type Appender, type Assemblies, type AssemblyState, type Driver, type Source, type Stat } from '../driver.ts';
import { memoryDriver, type MemoryOptions } from '../memory/memory.ts';

interface Piece {
  readonly key: string;
  readonly size: number;
}

export function pieceDriver(pieceBytes: number, options: MemoryOptions = {}): Driver {
  const memory = memoryDriver(options);
  const assemblies = new PieceAssemblies(memory, pieceBytes);
  return new Proxy(memory, {
    get(target, key) {
      if (key === 'assemblies') return assemblies;
      // A look costs a request.
      if (key === 'stampNow') return undefined;
      const value: unknown = Reflect.get(target, key);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

class PieceAssemblies implements Assemblies {
  readonly exclusive = false;
  readonly growing = false;
  readonly #driver: Driver;
  readonly #pieceBytes: number;

  constructor(driver: Driver, pieceBytes: number) {
    this.#driver = driver;
    this.#pieceBytes = pieceBytes;
  }

  create(prefix: string): AssemblyState {
    return { prefix, offset: 0, parts: [] };
  }

  async append(state: AssemblyState, options: AppendOptions = {}): Promise<Appender> {
    return new PieceAppender(this.#driver, state, this.#pieceBytes, options.onLanded ?? (() => undefined));
  }

  async open(state: AssemblyState): Promise<Source | undefined> {
    return new PieceSource(this.#driver, piecesOf(state), { size: state.offset, modifiedMs: 0, stamp: '' });
  }

  async complete(state: AssemblyState, key: string): Promise<Stat> {
    const chunks: Buffer[] = [];
    for (const piece of piecesOf(state)) chunks.push(await bytesOf(this.#driver, piece));
    const stat = await this.#driver.put(key, Buffer.concat(chunks));
    await this.discard(state);
    return stat;
  }

  async discard({ prefix }: AssemblyState): Promise<void> {
    for await (const { key } of this.#driver.list(`${prefix}/`)) await this.#driver.delete([key]);
  }
}

class PieceAppender implements Appender {
  readonly #driver: Driver;
  readonly #pieceBytes: number;
  readonly #attempt = randomBytes(8).toString('hex');
  readonly #onLanded: () => void;
  #state: AssemblyState;
  #waiting: Buffer = Buffer.alloc(0);
  #writes: Promise<void> = Promise.resolve();

  constructor(driver: Driver, state: AssemblyState, pieceBytes: number, onLanded: () => void) {
    this.#driver = driver;
    this.#state = state;
    this.#pieceBytes = pieceBytes;
    this.#onLanded = onLanded;
  }

  async write(chunk: Uint8Array): Promise<void> {
    const bytes = Buffer.from(chunk);
    this.#writes = this.#writes.then(async () => {
      this.#waiting = Buffer.concat([this.#waiting, bytes]);
      while (this.#waiting.length >= this.#pieceBytes) await this.#land(this.#pieceBytes);
    });
    return this.#writes;
  }

  landed(): AssemblyState {
    return this.#state;
  }

  async finish(): Promise<AssemblyState> {
    await this.#writes;
    if (this.#waiting.length > 0) await this.#land(this.#waiting.length);
    return this.#state;
  }

  async abandon(): Promise<void> {
    for await (const { key } of this.#driver.list(`${this.#state.prefix}/${this.#attempt}/`)) await this.#driver.delete([key]);
  }

  async #land(size: number): Promise<void> {
    const pieces = piecesOf(this.#state);
    const key = `${this.#state.prefix}/${this.#attempt}/${String(pieces.length).padStart(6, '0')}`;
    const bytes = this.#waiting.subarray(0, size);
    this.#waiting = this.#waiting.subarray(size);
    // Takes a while, as the network would.
    await new Promise(setImmediate);
    await this.#driver.put(key, bytes);
    this.#state = { ...this.#state, offset: this.#state.offset + size, parts: [...pieces, { key, size }] };
    this.#onLanded();
  }
}

class PieceSource implements Source {
  readonly stat: Stat;
  readonly #driver: Driver;
  readonly #pieces: readonly Piece[];

  constructor(driver: Driver, pieces: readonly Piece[], stat: Stat) {
    this.#driver = driver;
    this.#pieces = pieces;
    this.stat = stat;
  }

  async *stream({ start, end }: { readonly start: number; readonly end: number }): AsyncGenerator<Buffer> {
    let at = 0;
    for (const piece of this.#pieces) {
      const [from, until] = [Math.max(start - at, 0), Math.min(end + 1 - at, piece.size)];
      if (from < until) yield (await bytesOf(this.#driver, piece)).subarray(from, until);
      at += piece.size;
    }
  }

  async close(): Promise<void> {}
}

async function bytesOf(driver: Driver, { key }: Piece): Promise<Buffer> {
  await new Promise(setImmediate);
  const stored = await driver.get(key, { maxBytes: Infinity });
  if (stored === undefined) throw new DriverError('retryable', `${key} is gone`);
  return stored.bytes;
}

/** As this file writes them. */
function piecesOf({ parts }: AssemblyState): readonly Piece[] {
  return parts as readonly Piece[];
}
