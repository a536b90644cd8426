/**
 * Assemblies as files below their prefix, named as `assembly-file.ts` says. The name is the ownership: an attempt
 * takes a finished file over by renaming it, which only one can do and which is also how `complete` takes it. The file
 * of an attempt that did not finish may still be written to by its stalled owner, in another process; it is taken over
 * by copying what the state vouches for and removing the name, so that late writes go to a file that nobody reads.
 * A crash between that removal and the new name loses the upload, never mixes it.
 */
import { existsSync, fstatSync } from 'node:fs';
import fs from 'node:fs/promises';
import { FRESH, assemblyKey, assemblyState, finishedFile, parseAssemblyFile, superseded, type AssemblyFile } from '../assembly-file.ts';
import { DriverError, type Appender, type Assemblies, type AssemblyState, type CallOptions, type Source, type Stat } from '../driver.ts';
import { FilesystemAppender, type AppenderPlace } from './appender.ts';
import { close, driverError, failedWith, ftruncate, ifThere, open, orAbsent, read, rename, stat, statOf, unlink, utimes, write } from './calls.ts';
import type { FilesystemFolders } from './folders.ts';
import type { FilesystemPaths } from './paths.ts';
import { FilesystemSource } from './source.ts';
import type { FilesystemSync } from './sync.ts';
import type { FilesystemTemporary } from './temporary.ts';
import { checkKey } from '../key.ts';

const COPY_BYTES = 1024 * 1024;

export interface FilesystemParts {
  readonly paths: FilesystemPaths;
  readonly folders: FilesystemFolders;
  readonly sync: FilesystemSync;
  readonly temporary: FilesystemTemporary;
  /** 16 characters of base64url, never the same twice. */
  readonly newId: () => string;
}

export class FilesystemAssemblies implements Assemblies {
  readonly growing = true;
  readonly exclusive = true;
  readonly #parts: FilesystemParts;

  constructor(parts: FilesystemParts) {
    this.#parts = parts;
  }

  create(prefix: string): AssemblyState {
    checkKey(prefix);
    return assemblyState(prefix, 0, undefined);
  }

  async append(state: AssemblyState, options: CallOptions = {}): Promise<Appender> {
    const finished = finishedFile(state);
    const own: AssemblyFile = { kind: 'open', attempt: this.#parts.newId(), base: finished?.attempt ?? FRESH };
    try {
      for (;;) {
        options.signal?.throwIfAborted();
        if (finished !== undefined && (await this.#rename(state, finished, own))) return await this.#goOn(state, own);
        const files = await this.#files(state.prefix);
        if (finished !== undefined && files.some((file) => file.attempt === finished.attempt)) continue; // given back just now
        const begun = files.find((file) => file.base === own.base);
        if (begun === undefined && (finished !== undefined || files.length > 0)) throw superseded(state.prefix);
        if (begun !== undefined && !(await this.#takeOver(state, begun, own))) continue;
        const appender = finished === undefined ? await this.#begin(state, own) : await this.#goOn(state, own);
        if (appender !== undefined) return appender;
      }
    } catch (error) {
      throw driverError(error, `append to ${state.prefix}`);
    }
  }

  async open(state: AssemblyState, options: CallOptions = {}): Promise<Source | undefined> {
    const finished = finishedFile(state);
    try {
      for (;;) {
        options.signal?.throwIfAborted();
        const source = finished === undefined ? undefined : await this.#open(state, finished);
        if (source !== undefined) return source;
        const files = await this.#files(state.prefix);
        const begun = files.find((file) => file.attempt === finished?.attempt || file.base === (finished?.attempt ?? FRESH));
        if (begun === undefined) return undefined;
        const running = await this.#open(state, begun);
        if (running !== undefined) return running; // else renamed since: look again
      }
    } catch (error) {
      throw driverError(error, `open ${state.prefix}`);
    }
  }

  async complete(state: AssemblyState, key: string, options: CallOptions = {}): Promise<Stat> {
    checkKey(key);
    options.signal?.throwIfAborted();
    try {
      const finished = finishedFile(state);
      if (finished === undefined) return await this.#completeEmpty(state, key);
      const { folders, paths, temporary } = this.#parts;
      const from = this.#path(state, finished);
      const time = temporary.uniqueTime();
      const stats = (await ifThere(utimes(from, time, time))) ? await orAbsent(stat(from)) : undefined;
      if (stats === undefined) throw superseded(state.prefix);
      if (stats.size !== state.offset) throw lost(state, stats.size);
      const to = paths.of(key);
      await folders.into(to, async () => {
        try {
          await rename(from, to);
        } catch (error) {
          if (failedWith(error, 'ENOENT') && !existsSync(from)) throw superseded(state.prefix);
          throw error;
        }
      });
      await folders.prune([from]);
      return statOf(stats);
    } catch (error) {
      throw driverError(error, `complete ${state.prefix} as ${key}`);
    }
  }

  async discard(state: AssemblyState, options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    try {
      const made = (await this.#files(state.prefix)).map((file) => this.#path(state, file));
      for (const path of made) await ifThere(unlink(path));
      await this.#parts.folders.prune(made);
    } catch (error) {
      throw driverError(error, `discard ${state.prefix}`);
    }
  }

  /** Opens the file that bears this attempt's name and holds the state's bytes. */
  async #goOn(state: AssemblyState, own: AssemblyFile): Promise<Appender> {
    const path = this.#path(state, own);
    const fd = await orAbsent(open(path, 'r+'));
    if (fd === undefined) throw superseded(state.prefix);
    try {
      const { size } = fstatSync(fd);
      if (size < state.offset) throw lost(state, size);
      if (size > state.offset) await ftruncate(fd, state.offset);
    } catch (error) {
      await close(fd);
      throw error;
    }
    return new FilesystemAppender(this.#place(state, own, path, fd), this.#parts.sync);
  }

  /**
   * Makes the file of a first attempt, for which no name shows who came first. Of several that begin at once the
   * greatest id stays, and makes the others go; undefined: this one went, and then the one it went for did, too.
   */
  async #begin(state: AssemblyState, own: AssemblyFile): Promise<Appender | undefined> {
    const path = this.#path(state, own);
    const fd = await this.#parts.folders.into(path, () => open(path, 'wx+'));
    try {
      for (;;) {
        const files = await this.#files(state.prefix);
        const rivals = files.filter((file) => file.attempt !== own.attempt);
        if (rivals.length === files.length) break; // one that began later took this one over
        if (rivals.length === 0) return new FilesystemAppender(this.#place(state, own, path, fd), this.#parts.sync);
        if (rivals.some((rival) => rival.base !== FRESH || rival.attempt > own.attempt)) break;
        // And look again: one that finished meanwhile has another name.
        for (const rival of rivals) await ifThere(unlink(this.#path(state, rival)));
      }
      await ifThere(unlink(path));
      if ((await this.#files(state.prefix)).length > 0) throw superseded(state.prefix);
    } catch (error) {
      await close(fd);
      throw error;
    }
    await close(fd);
    return undefined;
  }

  /** Gets the state's bytes from an attempt that did not finish, or whose new state was never recorded. False: somebody else was faster. */
  async #takeOver(state: AssemblyState, begun: AssemblyFile, own: AssemblyFile): Promise<boolean> {
    const { folders, temporary } = this.#parts;
    const from = this.#path(state, begun);
    if (own.base === FRESH) return ifThere(unlink(from)); // nothing to keep; `#begin` makes the file
    const copy = await this.#copyFirst(state, from);
    if (copy === undefined) return false;
    if (!(await ifThere(unlink(from)))) {
      await temporary.remove(copy);
      return false;
    }
    const to = this.#path(state, own);
    await folders.into(to, () => rename(copy, to));
    return true;
  }

  /** Copies the bytes that the state vouches for into a temporary file; undefined where the file is gone. */
  async #copyFirst(state: AssemblyState, from: string): Promise<string | undefined> {
    const source = await orAbsent(open(from, 'r'));
    if (source === undefined) return undefined;
    try {
      const { path, fd } = await this.#parts.temporary.create();
      try {
        const buffer = Buffer.allocUnsafe(Math.min(COPY_BYTES, state.offset));
        for (let position = 0; position < state.offset; ) {
          const { bytesRead } = await read(source, buffer, 0, Math.min(buffer.length, state.offset - position), position);
          if (bytesRead === 0) throw lost(state, position);
          for (let done = 0; done < bytesRead; ) done += (await write(fd, buffer, done, bytesRead - done, position + done)).bytesWritten;
          position += bytesRead;
        }
        return path;
      } catch (error) {
        await this.#parts.temporary.remove(path);
        throw error;
      } finally {
        await close(fd);
      }
    } finally {
      await close(source);
    }
  }

  async #completeEmpty(state: AssemblyState, key: string): Promise<Stat> {
    const { folders, paths, temporary } = this.#parts;
    if ((await this.#files(state.prefix)).length > 0) throw superseded(state.prefix);
    const file = await temporary.write(new Uint8Array(0), false);
    try {
      const to = paths.of(key);
      await folders.into(to, () => rename(file.path, to));
      return statOf(file.stats);
    } catch (error) {
      await temporary.remove(file.path);
      throw error;
    }
  }

  async #open(state: AssemblyState, file: AssemblyFile): Promise<Source | undefined> {
    const fd = await orAbsent(open(this.#path(state, file), 'r'));
    return fd === undefined ? undefined : new FilesystemSource(state.prefix, fd, statOf(fstatSync(fd)), file.kind === 'open');
  }

  async #rename(state: AssemblyState, from: AssemblyFile, to: AssemblyFile): Promise<boolean> {
    return ifThere(rename(this.#path(state, from), this.#path(state, to)));
  }

  #place(state: AssemblyState, own: AssemblyFile, path: string, fd: number): AppenderPlace {
    const finished: AssemblyFile = { ...own, kind: 'bytes' };
    const base = finishedFile(state);
    return {
      prefix: state.prefix,
      path,
      fd,
      offset: state.offset,
      finished: async (size) => {
        if (!(await this.#rename(state, own, finished))) throw superseded(state.prefix);
        return assemblyState(state.prefix, size, finished);
      },
      abandoned: async () => {
        if (base !== undefined) await this.#rename(state, own, base);
        else if (await ifThere(unlink(path))) await this.#parts.folders.prune([path]);
      },
    };
  }

  async #files(prefix: string): Promise<AssemblyFile[]> {
    const names = (await orAbsent(fs.readdir(this.#parts.paths.of(prefix)))) ?? [];
    return names.map(parseAssemblyFile).filter((file) => file !== undefined);
  }

  #path(state: AssemblyState, file: AssemblyFile): string {
    return this.#parts.paths.of(assemblyKey(state.prefix, file));
  }
}

function lost(state: AssemblyState, size: number): DriverError {
  return new DriverError('permanent', `${state.prefix} holds ${size} of ${state.offset} bytes: the rest was lost in a crash`);
}
