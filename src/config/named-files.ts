/** Files as values of the configuration name them: secrets, certificates, folders. What is wrong with one is reported at that value. */
import { resolve as resolvePath } from 'node:path';
import type { Report } from './checks.ts';
import { Secret } from './config.ts';
import { checkReadable, checkedCertificates, readSecretFile, readTextFile } from './files.ts';
import { formatPath, type Path } from './problem.ts';
import type { ProblemOf } from './words.ts';

export class NamedFiles {
  readonly #folder: string;
  readonly #report: Report;
  readonly #contents = new Map<string, string>();

  constructor(folder: string, report: Report) {
    this.#folder = folder;
    this.#report = report;
  }

  /** What was read, by the key of the value. */
  get contents(): ReadonlyMap<string, string> {
    return this.#contents;
  }

  path(text: string): string {
    return resolvePath(this.#folder, text);
  }

  required(text: string, at: Path): string {
    const path = this.path(text);
    this.#try(at, () => checkReadable(path));
    return path;
  }

  readable(text: string | undefined, at: Path): string | undefined {
    return text === undefined ? undefined : this.required(text, at);
  }

  /** A secret that stands in the file, or in the file that `<key>File` names. */
  secret(
    text: string | undefined,
    file: string | undefined,
    at: Path,
    key: string,
    problemOf: ProblemOf = () => undefined,
  ): Secret | undefined {
    if (file === undefined) return text === undefined ? undefined : new Secret(text);
    const path = this.path(file);
    this.#contents.set(formatPath([...at, key]), path);
    return this.#try([...at, `${key}File`], () => {
      const secret = readSecretFile(path);
      const problem = problemOf(secret);
      if (problem !== undefined) throw new Error(`${problem} in ${path}`);
      return new Secret(secret);
    });
  }

  /** PEM text, or the path of a file that holds it. */
  certificates(text: string | undefined, at: Path): string | undefined {
    if (text === undefined) return undefined;
    if (text.includes('-----BEGIN')) return this.#try(at, () => checkedCertificates(text, 'the text'));
    const path = this.path(text);
    this.#contents.set(formatPath(at), path);
    return this.#try(at, () => checkedCertificates(readTextFile(path), path));
  }

  #try<T>(at: Path, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      this.#report(at, (error as Error).message); // files.ts throws nothing else
      return undefined;
    }
  }
}
