/** A section of another registry's configuration, read with words that say which key is wrong; and what comes of it. */
import type { StorageConfig } from '../config/config.ts';

/** Where another registry keeps its images. */
export interface From {
  readonly kind: 'distribution' | 'zuul-registry';
  readonly storage: StorageConfig;
  /** Before everything that the registry wrote; ends in `/`. */
  readonly root: string;
}

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The words of a section, each with its whole key in what is said of it. */
export class Section {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #key: string;
  readonly #fail: (problem: string) => never;

  constructor(values: Readonly<Record<string, unknown>>, key: string, fail: (problem: string) => never) {
    this.#values = values;
    this.#key = key;
    this.#fail = fail;
  }

  /** '' counts as not given. */
  text(name: string): string | undefined {
    const value = this.#values[name];
    if (value === undefined || value === null || value === '') return undefined;
    if (typeof value === 'string' || typeof value === 'number') return String(value);
    return this.fail(name, 'expected text');
  }

  need(name: string): string {
    return this.text(name) ?? this.fail(name, 'expected a value');
  }

  flag(name: string, otherwise: boolean): boolean {
    const value = this.#values[name];
    if (value === undefined || value === null) return otherwise;
    if (typeof value === 'boolean') return value;
    if (value === 'true' || value === 'false') return value === 'true';
    return this.fail(name, 'expected true or false');
  }

  fail(name: string, problem: string): never {
    return this.#fail(`${this.#key}.${name}: ${problem}`);
  }
}
