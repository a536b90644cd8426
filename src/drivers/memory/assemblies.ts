/**
 * Assemblies of the memory driver. Bytes in progress stand in the tree under the names that `assembly-file.ts` gives;
 * every step is one turn of the event loop, so whoever finds a file under its name owns it.
 */
import { FRESH, assemblyKey, assemblyState, finishedFile, parseAssemblyFile, superseded, type AssemblyFile } from '../assembly-file.ts';
import { DriverError, type Appender, type Assemblies, type AssemblyState, type CallOptions, type Source, type Stat } from '../driver.ts';
import { checkKey } from '../key.ts';
import { MemoryBytes } from './bytes.ts';
import { MemorySource } from './source.ts';
import { statOf, type MemoryTree } from './tree.ts';

export class MemoryAssemblies implements Assemblies {
  readonly growing = true;
  readonly exclusive = true;
  readonly #tree: MemoryTree;
  #attempts = 0;

  constructor(tree: MemoryTree) {
    this.#tree = tree;
  }

  create(prefix: string): AssemblyState {
    checkKey(prefix);
    return assemblyState(prefix, 0, undefined);
  }

  async append(state: AssemblyState, options: CallOptions = {}): Promise<Appender> {
    options.signal?.throwIfAborted();
    const from = this.#find(state);
    if (from === undefined && (finishedFile(state) !== undefined || this.#files(state.prefix).length > 0)) throw superseded(state.prefix);
    const bytes = (from === undefined ? undefined : this.#tree.get(assemblyKey(state.prefix, from))?.bytes) ?? new MemoryBytes();
    if (from !== undefined) this.#tree.delete(assemblyKey(state.prefix, from));
    const attempt = String(++this.#attempts).padStart(16, '0');
    return new MemoryAppender(this.#tree, state, { kind: 'open', attempt, base: finishedFile(state)?.attempt ?? FRESH }, bytes.first(state.offset));
  }

  async open(state: AssemblyState, options: CallOptions = {}): Promise<Source | undefined> {
    options.signal?.throwIfAborted();
    const file = this.#find(state);
    const object = file === undefined ? undefined : this.#tree.get(assemblyKey(state.prefix, file));
    return object === undefined ? undefined : new MemorySource(statOf(object), object.bytes);
  }

  async complete(state: AssemblyState, key: string, options: CallOptions = {}): Promise<Stat> {
    options.signal?.throwIfAborted();
    checkKey(key);
    const file = finishedFile(state);
    if (file === undefined) {
      if (this.#files(state.prefix).length > 0) throw superseded(state.prefix);
      return this.#tree.set(key, new MemoryBytes());
    }
    const from = assemblyKey(state.prefix, file);
    const object = this.#tree.get(from);
    if (object === undefined) throw superseded(state.prefix);
    const stat = this.#tree.set(key, object.bytes);
    this.#tree.delete(from);
    return stat;
  }

  async discard(state: AssemblyState, options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    for (const file of this.#files(state.prefix)) this.#tree.delete(assemblyKey(state.prefix, file));
  }

  /** The file that carries the state on: its own, or that of an attempt which began from it. */
  #find(state: AssemblyState): AssemblyFile | undefined {
    const own = finishedFile(state);
    const files = this.#files(state.prefix);
    return files.find((file) => file.attempt === own?.attempt) ?? files.find((file) => file.base === (own?.attempt ?? FRESH));
  }

  #files(prefix: string): AssemblyFile[] {
    const files: AssemblyFile[] = [];
    const lead = `${prefix}/`;
    for (let entry = this.#tree.from(lead); entry?.[0].startsWith(lead); entry = this.#tree.after(entry[0])) {
      const file = parseAssemblyFile(entry[0].slice(lead.length));
      if (file !== undefined) files.push(file);
    }
    return files;
  }
}

class MemoryAppender implements Appender {
  readonly #tree: MemoryTree;
  readonly #from: AssemblyState;
  readonly #file: AssemblyFile;
  readonly #bytes: MemoryBytes;
  #ended = false;

  constructor(tree: MemoryTree, from: AssemblyState, file: AssemblyFile, bytes: MemoryBytes) {
    this.#tree = tree;
    this.#from = from;
    this.#file = file;
    this.#bytes = bytes;
    tree.set(this.#key, bytes);
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#checkOwned();
    this.#bytes.append(chunk);
    this.#tree.set(this.#key, this.#bytes);
  }

  async finish(): Promise<AssemblyState> {
    this.#checkOwned();
    this.#ended = true;
    return this.#rename({ ...this.#file, kind: 'bytes' }, this.#bytes);
  }

  async abandon(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#tree.get(this.#key) === undefined) return;
    const base = finishedFile(this.#from);
    if (base === undefined) this.#tree.delete(this.#key);
    else this.#rename(base, this.#bytes.first(this.#from.offset));
  }

  get #key(): string {
    return assemblyKey(this.#from.prefix, this.#file);
  }

  #rename(file: AssemblyFile, bytes: MemoryBytes): AssemblyState {
    this.#tree.delete(this.#key);
    this.#tree.set(assemblyKey(this.#from.prefix, file), bytes);
    return assemblyState(this.#from.prefix, bytes.size, file);
  }

  #checkOwned(): void {
    if (this.#ended) throw new DriverError('permanent', `the attempt on ${this.#from.prefix} has ended`);
    if (this.#tree.get(this.#key) === undefined) throw superseded(this.#from.prefix);
  }
}
