/**
 * The files of a machine whose root is a folder: `/`, or that of an image or of a test. Links are followed, and never lead
 * out of that folder. What is written is there whole or not at all, whenever the process dies.
 */
import { closeSync, fchmodSync, fchownSync, fstatSync, fsyncSync, lstatSync, mkdirSync, openSync, readFileSync, readdirSync, readlinkSync, renameSync, rmSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Refused } from '../request.ts';
import { actAs } from './identity.ts';
import type { Owner } from './identity.ts';

export interface FileState {
  readonly bytes: Buffer;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

const NOT_ALLOWED: ReadonlySet<string | undefined> = new Set(['EACCES', 'EPERM']);
const MAX_LINKS = 40;
const MODE_BITS = 0o7777;

export class Disk {
  readonly root: string;
  readonly #step: (what: string) => void;

  /** @param step is called before everything that changes the disk; tests let the process die there */
  constructor(root: string, step: (what: string) => void = () => undefined) {
    this.root = root.replace(/\/+$/, '');
    this.#step = step;
  }

  /** Where a path leads, as a path of this machine. Parts that are not there yet are taken for folders. */
  resolve(path: string): string {
    let at = '';
    let left = path.split('/');
    for (let links = 0; left.length > 0; ) {
      const [part = '', ...rest] = left;
      left = rest;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        at = at.slice(0, Math.max(0, at.lastIndexOf('/')));
        continue;
      }
      const target = this.#link(`${at}/${part}`);
      if (target === undefined) {
        at = `${at}/${part}`;
        continue;
      }
      links += 1;
      if (links > MAX_LINKS) throw new Refused(`${path}: more than ${MAX_LINKS} links lead on from there`);
      if (target.startsWith('/')) at = '';
      left = [...target.split('/'), ...left];
    }
    return at === '' ? '/' : at;
  }

  /** Undefined where nothing is there. `path` is resolved. @throws Refused where something other than a file is there */
  read(path: string): FileState | undefined {
    const stat = statSync(this.#at(path), { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    if (!stat.isFile()) throw new Refused(`${path} is no file`);
    return { bytes: readFileSync(this.#at(path)), mode: stat.mode & MODE_BITS, uid: stat.uid, gid: stat.gid };
  }

  exists(path: string): boolean {
    return lstatSync(this.#at(this.resolve(path)), { throwIfNoEntry: false }) !== undefined;
  }

  /** Names in a folder; none where there is no such folder. */
  list(path: string): readonly string[] {
    const at = this.#at(this.resolve(path));
    return statSync(at, { throwIfNoEntry: false })?.isDirectory() === true ? readdirSync(at).toSorted() : [];
  }

  /** The folders above a resolved path that are not there, outermost first. */
  missingFolders(path: string): readonly string[] {
    const parent = dirname(path);
    if (parent === '/' || lstatSync(this.#at(parent), { throwIfNoEntry: false }) !== undefined) return [];
    return [...this.missingFolders(parent), parent];
  }

  /** Whose a folder is; undefined where there is no such folder. */
  ownerOfFolder(path: string): Owner | undefined {
    const stat = statSync(this.#at(this.resolve(path)), { throwIfNoEntry: false });
    return stat?.isDirectory() === true ? { uid: stat.uid, gid: stat.gid } : undefined;
  }

  /** @param as whose home it is in, here and below: what is done is done as them. @throws Refused where they may not */
  makeFolder(path: string, mode = 0o755, as?: Owner): void {
    this.#act(path, as, () => {
      this.#step(`mkdir ${path}`);
      mkdirSync(this.#at(path), { mode, recursive: true });
    });
  }

  /** @returns whether it is gone now */
  removeEmptyFolder(path: string, as?: Owner): boolean {
    if (lstatSync(this.#at(path), { throwIfNoEntry: false }) === undefined) return true;
    if (this.list(path).length > 0) return false;
    this.#act(path, as, () => {
      this.#step(`rmdir ${path}`);
      rmdirSync(this.#at(path));
    });
    return true;
  }

  write(path: string, { bytes, mode, uid, gid }: FileState, as?: Owner): void {
    const temporary = this.#temporaryOf(path);
    const file = this.#act(temporary, as, () => {
      rmSync(this.#at(temporary), { force: true });
      this.#step(`open ${temporary}`);
      return openSync(this.#at(temporary), 'wx', 0o600);
    });
    try {
      this.#step(`write ${temporary}`);
      writeFileSync(file, bytes);
      fsyncSync(file);
      // Of what is open: in a folder of others, another file may stand at the path by now.
      const made = fstatSync(file);
      if (made.uid !== uid || made.gid !== gid) fchownSync(file, uid, gid);
      fchmodSync(file, mode); // last: a change of the owner takes bits away
    } finally {
      closeSync(file);
    }
    this.#act(path, as, () => {
      this.#step(`rename to ${path}`);
      renameSync(this.#at(temporary), this.#at(path));
      this.#flush(dirname(path));
    });
  }

  remove(path: string, as?: Owner): void {
    this.#act(path, as, () => {
      this.#step(`remove ${path}`);
      rmSync(this.#at(path), { force: true });
      this.#flush(dirname(path));
    });
  }

  /** What a process that died while it wrote has left. */
  removeTemporaryOf(path: string, as?: Owner): void {
    const temporary = this.#temporaryOf(path);
    if (lstatSync(this.#at(temporary), { throwIfNoEntry: false }) === undefined) return;
    this.#act(temporary, as, () => {
      this.#step(`remove ${temporary}`);
      rmSync(this.#at(temporary));
    });
  }

  #act<T>(path: string, as: Owner | undefined, act: () => T): T {
    try {
      return actAs(as, act);
    } catch (error) {
      if (as === undefined || !NOT_ALLOWED.has((error as NodeJS.ErrnoException).code)) throw error;
      throw new Refused(`${path}: user ${as.uid}, in whose home it is to be, may not write there`, { cause: error });
    }
  }

  #temporaryOf(path: string): string {
    return join(dirname(path), `.${path.slice(path.lastIndexOf('/') + 1)}.umbra-client-config`);
  }

  #flush(folder: string): void {
    const handle = openSync(this.#at(folder), 'r');
    try {
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
  }

  #link(path: string): string | undefined {
    return lstatSync(this.#at(path), { throwIfNoEntry: false })?.isSymbolicLink() === true ? readlinkSync(this.#at(path)) : undefined;
  }

  #at(path: string): string {
    return `${this.root}${path}`;
  }
}
